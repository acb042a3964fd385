"""What a person sees while the demo runs: one line for each thing that happens, as it happens."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from examples.demo.summary import Verdict
from schemas.incidents import IncidentEvent
from schemas.notifications import DeliveryEvent
from schemas.registry import AnyEvent
from schemas.rollbacks import RollbackEvent
from schemas.triggers import TriggerEvent

_TRIGGER_STYLE = {"fired": "bold red", "firing": "red", "resolved": "green", "no_data": "yellow"}
_ROLLBACK_STYLE = {
    "step_completed": "cyan",
    "validated": "bold cyan",
    "refused": "yellow",
    "step_failed": "bold red",
    "escalation_required": "bold red",
}
# A download reports thousands of times; a person wants to see a line now and then.
_PROGRESS_EVERY_S = 2.0
_CONCLUSION = {
    True: Text("The bad release was rolled back, and the rollback was verified.", "bold green"),
    False: Text("The demo did not end as it must; see ✘ above and the logs.", "bold red"),
}


class Screen:
    """Lines with the seconds since the start; colours only on a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._progress: dict[str, float] = {}

    def line(self, text: str, style: str = "", mark: str = " ") -> None:
        elapsed = f"{time.monotonic() - self._began:6.1f}s "
        self.console.print(Text.assemble((elapsed, "dim"), (f"{mark} ", style), (text, style)))

    def lines(self, title: str, lines: list[str]) -> None:
        """Lines to be copied: without the seconds, and never folded."""
        self.line(title, "bold")
        for text in lines:
            self.console.print(Text(text))

    def stage(self, text: str) -> None:
        """A stage of the scenario: something that the demo itself does."""
        self.line(text, "bold", "▸")

    def progress(self, stage: str, done: int, total: int) -> None:
        """A download or a start: its beginning, its end, and now and then between."""
        now = time.monotonic()
        last = self._progress.get(stage)
        finished = done >= total
        if last is not None and not finished and now - last < _PROGRESS_EVERY_S:
            return
        if finished and last is None and total > 2:
            return  # it was there already: no news
        self._progress[stage] = now
        share = f" {100 * done // total} %" if total > 2 and not finished else (" done" if finished else " …")
        self.line(f"{stage}{share}", "dim")

    def starting(self, name: str) -> None:
        self.line(f"{name} …", "dim")

    def event(self, event: AnyEvent) -> None:
        """An event of the control plane."""
        told = _words(event)
        if told is not None:
            text, style, mark = told
            self.line(text, style, mark)

    def verdict(self, verdict: Verdict, summary: dict[str, Any]) -> None:
        """The end: what held, how long it took, where to look."""
        self.console.print()
        for claim, held, found in verdict.claims:
            mark = Text("✔ ", "green") if held else Text("✘ ", "bold red")
            self.console.print(Text.assemble(mark, f"{claim:<46}", (found, "dim")))
        self._rows("What happened, when", _happened(summary))
        places = [(name, _near(place)) for name, place in summary["places"].items()]
        self._rows("Where to look", [*_report_rows(summary), *places], "cyan")
        self.console.print()
        self.console.print(_CONCLUSION[verdict.passed])

    def _rows(self, title: str, rows: list[tuple[str, str]], style: str = "") -> None:
        """Lines that are never folded: a path or an id that is broken in two cannot be copied."""
        self.console.print()
        self.console.print(title, style="bold")
        for name, value in rows:
            self.console.print(Text.assemble(f"  {name:<18}", (value, style)))


def _happened(summary: dict[str, Any]) -> list[tuple[str, str]]:
    trigger, rollback, timings = summary["trigger"], summary["rollback"], summary["timings_s"]
    rows = []
    if trigger:
        name = f"{trigger['name']} on {trigger['component']}"
        rows.append(("trigger", f"{name}, fired {trigger['fired_at']}"))
    if rollback:
        rows.append(("rollback", f"{rollback['id']}, {rollback['status']} {rollback['completed_at']}"))
    rows += [(name.replace("_", " "), f"{s:.1f} s") for name, s in timings.items() if s is not None]
    return rows


def _near(place: str) -> str:
    """A path as a person in this directory would type it."""
    path = Path(place)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else place


def _report_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f"report ({name})", _near(path)) for name, path in summary["report"].items()]


def _words(event: AnyEvent) -> tuple[str, str, str] | None:
    data = event.data
    if isinstance(data, TriggerEvent):
        return _trigger(data)
    if isinstance(data, RollbackEvent):
        return _rollback(data)
    if isinstance(data, DeliveryEvent):
        style = {"delivered": "blue", "failed": "bold red"}.get(data.kind, "dim")
        return f"{data.about} → {data.receiver} ({data.channel}): {data.kind}", style, "✉"
    if isinstance(data, IncidentEvent):
        return f"incident {data.kind}: {data.incident_id}", "bold magenta", "◆"
    return None


def _trigger(data: TriggerEvent) -> tuple[str, str, str]:
    value = "no data" if data.value is None else f"{data.value:g}"
    text = f"trigger {data.kind}: {data.trigger} on {data.component}, {value} ({data.condition})"
    return text, _TRIGGER_STYLE.get(data.kind, ""), "●"


def _rollback(data: RollbackEvent) -> tuple[str, str, str]:
    style = _ROLLBACK_STYLE.get(data.kind, "")
    if data.kind == "completed":
        style = "bold green" if data.status == "Success" else "bold red"
        return f"rollback completed: {data.status} ({data.reason})", style, "■"
    subject = f" {data.step.id} [{data.step.index}/{data.step.of}] {data.step.status}" if data.step else ""
    checks = "".join(f"; {c.name} {c.value} ({'passed' if c.passed else 'FAILED'})" for c in data.checks)
    about = "" if data.step else f" ({data.reason})"
    return f"rollback {data.kind.replace('_', ' ')}:{subject}{about}{checks}", style, "■"
