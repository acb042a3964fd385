"""Make .venv what the locked requirements say, and do nothing when it is so already.

Every make target begins here. So this runs on any Python 3, to be able to say that it is too
old, uses the standard library alone, and holds a lock: two targets in one checkout must not
build one environment at the same time.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
STAMP = VENV / ".installed"
INPUTS = ("requirements/uv.txt", "requirements/dev.txt", "pyproject.toml", "requirements/install.py")
WITHOUT_A_NETWORK = (
    "if the lines above tell of no connection: what is neither in .venv nor in uv's cache has to be "
    "downloaded once. Connect this machine, or name a package index that it reaches "
    "(PIP_INDEX_URL and UV_DEFAULT_INDEX), then run `make install` again"
)


def main():
    go_on_under_a_new_python()
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_current():
            return
        begun = time.monotonic()
        STAMP.unlink(missing_ok=True)  # else a sync that ends half-way passes for the old environment
        try:
            make_environment()
        except KeyboardInterrupt:
            sys.exit("environment: interrupted; the next make goes on from here")
        except subprocess.CalledProcessError as error:
            sys.exit(
                f"environment: not made, because this failed: {' '.join(map(str, error.cmd))}\n"
                f"environment: {WITHOUT_A_NETWORK}"
            )
        STAMP.write_text(wanted())
        say(f"ready in {time.monotonic() - begun:.0f} s")


def go_on_under_a_new_python():
    """Where this Python is too old, look for a newer one on this machine, or say what is missing."""
    if sys.version_info >= OLDEST:
        return
    for minor in range(OLDEST[1], OLDEST[1] + 10):
        path = shutil.which(f"python3.{minor}")
        if path and subprocess.call([path, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(path, [path, __file__])
    sys.exit(
        f"environment: Python 3.11 or newer is needed, and {sys.executable} is {sys.version.split()[0]}. "
        "Install one, or name it: make PYTHON=/path/to/python3.11"
    )


def wanted():
    """What the environment is made from: the locks, the interpreter's version and the place."""
    digest = hashlib.sha256(f"{ROOT} {sys.version_info[:2]}".encode())
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def is_current():
    return works() and STAMP.is_file() and STAMP.read_text() == wanted()


def works():
    """Whether .venv has an interpreter of our version: after an upgrade or a move it has not."""
    ours = (sys.version_info[:2], str(VENV))
    check = f"import sys; sys.exit((sys.version_info[:2], sys.prefix) != {ours!r})"
    try:
        return subprocess.call([BIN / "python", "-c", check], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def make_environment():
    if not works() or not (BIN / "pip").exists():
        say(f"making .venv with Python {sys.version.split()[0]}")
        make_venv()
    say("installing the locked requirements (downloaded the first time)")
    pip = (BIN / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")
    run(*pip, "--require-hashes", "-r", "requirements/uv.txt")
    # Four services start at once in the demo and in every end-to-end test: compiled once, here,
    # they need half the processor for it.
    locked = ("--compile-bytecode", "--require-hashes", "requirements/dev.txt")
    sync(BIN / "uv", "pip", "sync", "--python", VENV, *locked)
    # The sync removes the project itself, so it is put back each time. It fetches nothing.
    editable = ("--offline", "--no-build-isolation", "--no-deps", "-e", ".")
    run(BIN / "uv", "pip", "install", "--quiet", "--python", VENV, *editable)


def sync(*command):
    """Sync from .venv and uv's cache alone, and where that is not enough, from the package index.

    In this order, because uv asks the index even for what is installed already: without a network
    it would wait for time-outs and fail. Alone, the attempt takes milliseconds, and what it says is
    of no interest. The hashes hold either way.
    """
    try:
        run(*command, "--offline", "--quiet", "--quiet")
    except subprocess.CalledProcessError:
        run(*command, "--quiet")


def make_venv():
    if subprocess.call([sys.executable, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL):
        sys.exit(
            f"environment: {sys.executable} comes without venv. On Debian and Ubuntu: "
            "apt install python3-venv; elsewhere install a complete Python"
        )
    run(sys.executable, "-m", "venv", "--clear", VENV)


def run(*command):
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.check_call(command, cwd=ROOT, env=environment)


def say(text):
    print("environment:", text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
