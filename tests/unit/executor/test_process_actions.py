"""Programs that a playbook may run: no shell, a bounded run, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from services.executor.adapters import process_actions
from services.executor.adapters.process_actions import ProcessActions
from services.executor.domain.playbook import Process, ProcessCheck
from services.executor.domain.steps import Acted, Landing, Sight
from services.executor.domain.templates import Names
from tests.polling import alive, poll_until

NAMES = Names(component="extractor", execution="rb-1", targets={})
ROOT = Path(__file__).parents[3]


def script(directory: Path, text: str) -> tuple[str, ...]:
    path = directory / "program.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return sys.executable, str(path)


async def run(argv: tuple[str, ...], *, timeout_s: float = 10.0, repeatable: bool = False) -> Acted:
    actions = ProcessActions([[sys.executable]])
    process = Process(argv=argv, repeatable=repeatable)
    return await actions.run(process, NAMES, key="rb-1/one", epoch=7, timeout_s=timeout_s)


async def test_a_program_gets_its_arguments_as_they_are_and_the_key(tmp_path: Path) -> None:
    argv = script(
        tmp_path,
        """
        import os, pathlib, sys
        kept = [os.environ["BACKOUT_IDEMPOTENCY_KEY"], os.environ["BACKOUT_EPOCH"], *sys.argv[2:]]
        pathlib.Path(sys.argv[1]).write_text("\\n".join(kept))
        """,
    )
    acted = await run((*argv, str(tmp_path / "out"), "{component}", "$HOME; echo a | b"))

    assert acted.landing is Landing.APPLIED
    assert (tmp_path / "out").read_text().splitlines() == ["rb-1/one", "7", "extractor", "$HOME; echo a | b"]


async def test_settings_are_not_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKOUT_POSTGRES__DSN", "postgresql://secret")
    argv = script(tmp_path, "import os, sys; sys.exit('BACKOUT_POSTGRES__DSN' in os.environ)")

    assert (await run(argv)).landing is Landing.APPLIED


async def test_an_exit_status_refuses_with_what_was_said(tmp_path: Path) -> None:
    argv = script(tmp_path, "import sys; print('x' * 9_999); print('disk full'); sys.exit(3)")
    acted = await run(argv)

    assert (acted.landing, acted.retryable) == (Landing.REFUSED, False)
    assert acted.detail.startswith("exit status 3: ")
    assert acted.detail.endswith("disk full")
    assert len(acted.detail) < 2_100
    assert (await run(argv, repeatable=True)).retryable


async def test_what_a_program_says_is_a_text_that_can_be_journaled(tmp_path: Path) -> None:
    argv = script(tmp_path, "import os, sys; os.write(1, b'a\\0b\\xff'); sys.exit(3)")
    assert (await run(argv)).detail == "exit status 3: a\ufffdb\ufffd"


async def test_one_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    argv = script(
        tmp_path,
        f"""
        import pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        part = pathlib.Path({str(tmp_path / "part")!r})
        part.write_text(str(child.pid))
        part.rename({str(tmp_path / "pid")!r})
        time.sleep(600)
        """,
    )
    for timeout_s in (2.0, 8.0, 32.0):  # on a busy machine two programs may not have started by then
        acted = await run(argv, timeout_s=timeout_s)
        assert acted.landing is Landing.UNKNOWN
        if (tmp_path / "pid").exists():
            break

    # By itself it would be there for ten minutes; killed, it is gone once it has had its turn.
    child = int((tmp_path / "pid").read_text())
    await asyncio.to_thread(poll_until, lambda: not alive(child), 10.0, "the child's end")


async def test_what_was_killed_is_waited_for_as_long_as_it_holds_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that has left the group stands in for one that a signal does not end at once."""
    monkeypatch.setattr(process_actions, "_DYING_S", 60.0)
    argv = script(
        tmp_path,
        f"""
        import pathlib, subprocess, sys, time
        late = "import pathlib, time; time.sleep(3); pathlib.Path({str(tmp_path / "late")!r}).touch()"
        subprocess.Popen([sys.executable, "-c", late], start_new_session=True)
        pathlib.Path({str(tmp_path / "begun")!r}).touch()
        time.sleep(600)
        """,
    )
    for timeout_s in (1.0, 8.0, 32.0):
        acted = await run(argv, timeout_s=timeout_s)
        assert acted.landing is Landing.UNKNOWN
        if (tmp_path / "begun").exists():
            break
    assert (tmp_path / "late").exists()


async def test_a_program_that_is_not_there_is_refused() -> None:
    actions = ProcessActions([["/no/such/program"]])
    process = Process(argv=("/no/such/program",))
    acted = await actions.run(process, NAMES, key="k", epoch=1, timeout_s=10)

    assert acted.landing is Landing.REFUSED
    assert "127" in acted.detail


async def test_what_is_not_allowed_is_not_run(tmp_path: Path) -> None:
    argv = script(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')")
    actions = ProcessActions([[sys.executable, "-c"]])
    acted = await actions.run(Process(argv=argv), NAMES, key="k", epoch=1, timeout_s=10)

    assert acted.landing is Landing.REFUSED
    assert "not among the allowed commands" in acted.detail
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("status", "sight"), [(0, Sight.DONE), (1, Sight.NOT_DONE), (2, Sight.UNKNOWN), (127, Sight.UNKNOWN)]
)
async def test_a_check_says_it_by_its_exit_status(tmp_path: Path, status: int, sight: Sight) -> None:
    argv = script(tmp_path, f"import sys; sys.exit({status})")
    seen = await ProcessActions([[sys.executable]]).check(ProcessCheck(argv=argv), NAMES, timeout_s=10)

    assert seen.sight is sight


async def test_a_check_that_hangs_says_nothing(tmp_path: Path) -> None:
    argv = script(tmp_path, "import time; time.sleep(600)")
    seen = await ProcessActions([[sys.executable]]).check(ProcessCheck(argv=argv), NAMES, timeout_s=1)

    assert seen.sight is Sight.UNKNOWN


def start_owner(argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """A process of its own that runs the program."""
    program = """
        import asyncio, sys
        from services.executor.adapters.process_actions import ProcessActions
        from services.executor.domain.playbook import Process
        from services.executor.domain.templates import Names
        process, names = Process(argv=tuple(sys.argv[1:])), Names(component="c", execution="e", targets={})
        actions = ProcessActions([[sys.executable]])
        asyncio.run(actions.run(process, names, key="k", epoch=1, timeout_s=600))
        """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), *argv], cwd=ROOT)


async def test_it_dies_with_the_executor_that_is_killed(tmp_path: Path) -> None:
    argv = script(
        tmp_path,
        f"""
        import os, pathlib, time
        part = pathlib.Path({str(tmp_path / "part")!r})
        part.write_text(str(os.getpid()))
        part.rename({str(tmp_path / "pid")!r})
        time.sleep(600)
        """,
    )
    owner = start_owner(argv)
    try:
        await asyncio.to_thread(poll_until, (tmp_path / "pid").exists, 20.0, "the program's start")
        program = psutil.Process(int((tmp_path / "pid").read_text()))
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait(10)
        await asyncio.to_thread(poll_until, lambda: not alive(program.pid), 10.0, "the program's end")
    finally:
        owner.kill()
        owner.wait(10)
