"""``backout triggers test``: unit tests for trigger files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from chassis.settings import load_settings
from chassis.yaml_source import Problems
from cli.output import Output, OutputOption, write_json
from services.monitor.adapters.trigger_test_files import TestFile, load_tests
from services.monitor.domain.language.durations import format_duration
from services.monitor.handlers.trigger_tests import Judged, run_test


def run_tests(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Test files.", show_default=False)],
    output: OutputOption = Output.TABLE,
) -> None:
    """Run tests of triggers: samples written in a line, and the phases expected at times.

    The engine of the live service runs them. Exit status 1 if a test fails, 2 with file, line and
    mend of every mistake if a file is wrong.
    """
    settings = load_settings()
    problems = Problems()
    loaded: list[TestFile] = []
    for path in files:
        with problems.collect():
            loaded.append(load_tests(path, settings.config_dir))
    problems.raise_any()
    judged = [(file, run_test(each, file.rules, file.compounds)) for file in loaded for each in file.tests]
    failed = sum(1 for _, each in judged if not each.passed)
    if output is Output.JSON:
        write_json(_as_json(judged, failed))
    else:
        for _, each in judged:
            _show(each)
        typer.echo(f"{len(judged) - failed} passed, {failed} failed")
    if failed:
        raise typer.Exit(1)


def _show(judged: Judged) -> None:
    typer.echo(f"{'ok  ' if judged.passed else 'FAIL'} {judged.test.place}: {judged.test.name}")
    for failure in judged.failures:
        typer.echo(f"     {failure.place}")
        typer.echo(f"     - expected {failure.expected}")
        typer.echo(f"     + found    {failure.found}")
        for line in failure.why:
            typer.echo(f"       {line}")


def _as_json(judged: Iterable[tuple[TestFile, Judged]], failed: int) -> dict[str, Any]:
    tests = [
        {
            "file": str(file.path),
            "place": each.test.place,
            "name": each.test.name,
            "passed": each.passed,
            "failures": [
                {
                    "place": failure.place,
                    "expected": failure.expected,
                    "found": failure.found,
                    "why": failure.why,
                    "nearest": None if failure.nearest is None else format_duration(failure.nearest),
                }
                for failure in each.failures
            ],
        }
        for file, each in judged
    ]
    return {"passed": len(tests) - failed, "failed": failed, "tests": tests}
