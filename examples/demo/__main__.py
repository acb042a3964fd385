"""``python -m examples.demo``: the whole thing on this machine, with one command.

Exit status: 0 if the rollback succeeded and was verified, 1 if not, 2 for wrong arguments,
130 after an interrupt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from chassis.embedded.process_group import ProcessGroup, clear_leftovers
from chassis.errors import BackoutError, UsageError
from examples.demo.infrastructure import embedded_infrastructure
from examples.demo.scenario import Outcome, play
from examples.demo.screen import Screen
from examples.demo.summary import judge, summarise
from examples.demo.system import System

_RULES = Path("examples/docrag/triggers.yml")


def main(argv: list[str] | None = None) -> int:
    options = _parse(argv)
    screen = Screen()
    try:
        return asyncio.run(_interruptible(_run(options, screen)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        screen.line("interrupted; everything is stopped", "yellow")
        return 130
    except BackoutError as error:
        screen.line(str(error), "bold red", "✘")
        screen.line(f"The logs are in {options.state_dir / 'logs'}", "dim")
        return error.exit_code


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo",
        description="Play the demo on a real Kafka and a real Postgres, started for it.",
    )
    parser.add_argument("--state-dir", type=Path, default=Path(".backout/demo"), help="default: %(default)s")
    cache = os.environ.get("BACKOUT_CACHE_DIR", "~/.cache/backout")
    parser.add_argument("--cache-dir", type=Path, default=Path(cache), help="downloads; default: %(default)s")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    return parser.parse_args(argv)


async def _interruptible(work: Any) -> int:
    """Run ``work``; SIGTERM ends it as an interrupt does, with everything stopped."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return int(await task)


async def _run(options: argparse.Namespace, screen: Screen) -> int:
    state_dir: Path = options.state_dir.absolute()
    _make_empty(state_dir)
    screen.line(f"Triggers from {_RULES}: as shipped, but for: 10s, so that you need not wait minutes")
    with ProcessGroup(state_dir) as group:
        async with (
            embedded_infrastructure(state_dir, options.cache_dir, group, screen.progress) as infrastructure,
            System(infrastructure, group, state_dir, told=screen.starting) as system,
        ):
            screen.stage("Everything is ready: the sample system and monitor, executor, notifier, analyzer")
            outcome = await play(system, told=screen.event, stage=screen.stage)
            reports = system.reports()
            if options.keep:
                # Now: what a person does with it from here on is no part of the demo's verdict.
                status = _finish(outcome, reports, system, screen)
                await _stay(system, screen)
            screen.line("stopping …", "dim")
        return status if options.keep else _finish(outcome, reports, system, screen)


def _make_empty(state_dir: Path) -> None:
    """A run begins with nothing of the one before: its processes, then its files."""
    clear_leftovers(state_dir)
    try:
        for name in ("postgres", "kafka", "receivers", "sample", "logs", "reports"):
            if (state_dir / name).exists():
                shutil.rmtree(state_dir / name)
        (state_dir / "summary.json").unlink(missing_ok=True)
        state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot clear {state_dir}: {error}. Is it another user's? "
            "Remove it, or name another with --state-dir"
        ) from error


def _finish(outcome: Outcome, reports: dict[str, Path], system: System, screen: Screen) -> int:
    verdict = judge(outcome, system)
    places = {
        "mailbox": system.receivers_dir / "mailbox",
        "status page": system.receivers_dir / "status_page.html",
        "Slack": system.receivers_dir / "slack.html",
        "logs": system.state_dir / "logs",
        "summary": system.state_dir / "summary.json",
    }
    summary = summarise(outcome, verdict, reports, places)
    (system.state_dir / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    screen.verdict(verdict, summary)
    return 0 if verdict.passed else 1


async def _stay(system: System, screen: Screen) -> None:
    addresses = {"Kafka": system.infrastructure.bootstrap_servers, "sample system": system.sample_url}
    for name, address in {**addresses, **system.receivers["pages"]}.items():
        screen.line(f"{name.replace('_', ' ')}: {address}", "bold")
    screen.lines("To use `backout` on it, in another shell:", [". .venv/bin/activate", *system.exports()])
    screen.line("It keeps running; Ctrl-C stops it, and so does `make clean`", "bold")
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    sys.exit(main())
