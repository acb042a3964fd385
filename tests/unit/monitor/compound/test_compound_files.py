"""Compound triggers as they are written: the shipped ones, and every mistake with its place and mend."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from chassis.errors import ConfigErrors
from cli.triggers import app
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.dependencies import circle_in, load_dependencies, widest_spread
from services.monitor.domain.compound.definitions import (
    FULL_ROLLBACK,
    Cascade,
    CompoundRule,
    MemberFilter,
    Reported,
    Several,
)
from services.monitor.domain.language.rules import SEVERITIES, Action

CONFIG = Path(__file__).resolve().parents[4] / "config"
TRIGGERS = (
    "triggers: [{name: slow, metric: ms, when: '> 100'}, {name: errors, metric: errors, when: '> 5'}]\n"
)
TARGETS = "default: '{component}'\ndepends_on:\n  b: [a]\n  c: [b]\n"


def _load(directory: Path, entries: str, targets: str = TARGETS) -> tuple[CompoundRule, ...]:
    (directory / "rollback").mkdir(exist_ok=True)
    (directory / "playbooks").mkdir(exist_ok=True)
    (directory / "playbooks" / "pdf_extraction.yml").touch()
    (directory / "targets.yml").write_text(targets)
    (directory / "rollback" / "triggers.yml").write_text(TRIGGERS)
    (directory / "rollback" / "compound.yml").write_text("compound_triggers:\n" + entries)
    return load_config(directory).compounds


def test_the_plans_critical_failure_conditions_ship() -> None:
    rules = {rule.name: rule for rule in load_config(CONFIG).compounds}
    grave = MemberFilter(severities=("high", "critical"))
    depends_on = tuple(
        sorted((c, tuple(sorted(n))) for c, n in load_dependencies(CONFIG / "targets.yml").items())
    )
    assert {name: rule.condition for name, rule in rules.items()} == {
        "several_components_failing": Several(3, 300, grave),
        "data_corruption": Reported(("data_corruption",)),
        "security_breach": Reported(("security_breach",)),
        "cascading_failure": Cascade(3, 900, depends_on, grave),
    }
    assert {rule.action for rule in rules.values()} == {FULL_ROLLBACK}
    assert {rule.severity for rule in rules.values()} == {"critical"}
    assert {name for name, rule in rules.items() if rule.immediate} == {"data_corruption", "security_breach"}


def test_every_field_is_read(tmp_path: Path) -> None:
    several, cascade, report = _load(
        tmp_path,
        "  - {name: several, at_least: 2 components, window: 1m, severity: high,\n"
        "     members: {triggers: [slow], severity: high}, immediate: true,\n"
        "     then: {notify: engineering_team}}\n"
        "  - {name: spread, cascade: 3, window: 90s, then: {rollback: pdf_extraction}}\n"
        "  - {name: told, report: [security_breach, data_corruption]}\n",
    )
    assert several.condition == Several(2, 60, MemberFilter(("slow",), ("high",)))
    assert (several.severity, several.action) == ("high", Action("notify", "engineering_team"))
    assert several.immediate
    assert cascade.condition == Cascade(3, 90, (("b", ("a",)), ("c", ("b",))), MemberFilter((), SEVERITIES))
    assert cascade.action == Action("rollback", "pdf_extraction")
    assert report.condition == Reported(("security_breach", "data_corruption"))
    assert report.action == FULL_ROLLBACK
    assert report.place.endswith("compound.yml:6")


@pytest.mark.parametrize(
    ("entry", "problem", "mend"),
    [
        ("{name: x, window: 1m}", "no condition where one condition is needed", "`at_least: 3 components`"),
        ("{name: x, report: data_corruption, cascade: 3}", "`cascade` and `report` where", "Write one of"),
        ("{name: x, at_least: 3}", "the key 'window' is missing", "Add `window: 5m`"),
        ("{name: x, at_least: 1 component, window: 1m}", "1 components are not several", "Write 2 to 1000"),
        ("{name: x, at_least: many, window: 1m}", "'many' is no number", "Write `at_least: 3 components`"),
        ("{name: x, at_least: true, window: 1m}", "True where a text", "Put it in quotes"),
        ("{name: x, at_least: 3, window: 25h}", "a day at most", "Write less"),
        ("{name: x, at_least: 3, window: 300}", "300 has no unit", "as in 30s, 5m"),
        ("{name: x, at_least: 3, window: 1m, members: {}}", "restricts nothing", "Name `triggers`"),
        ("{name: x, at_least: 3, window: 1m, members: {triggers: []}}", "empty list", "Name one at least"),
        (
            "{name: x, at_least: 3, window: 1m, members: {triggers: [slwo]}}",
            "'slwo' is not known here",
            "Did you mean 'slow'?",
        ),
        (
            "{name: x, at_least: 3, window: 1m, members: {severity: [grave]}}",
            "'grave' is not known",
            "low, medium",
        ),
        ("{name: x, cascade: 4, window: 1m}", "can spread over 3 components at most", "depends on which"),
        ("{name: x, report: fire}", "'fire' is not known here", "data_corruption, security_breach"),
        ("{name: x, report: []}", "names no kind of report", "Known here"),
        ("{name: x, report: data_corruption, window: 1m}", "a report fires by itself", "Remove `window`"),
        (
            "{name: x, report: data_corruption, then: {rollback: '{component}'}}",
            "of no single component",
            "'full_system', which stands for all",
        ),
        (
            "{name: x, report: data_corruption, then: {rollback: nobody}}",
            "there is no playbook 'nobody'",
            "full_system, pdf_extraction",
        ),
        ("{name: x, report: data_corruption, then: {}}", "one action is needed", "{rollback: full_system}"),
        ("{name: x, report: data_corruption, for: 5m}", "unknown key 'for'", ""),
        ("{report: data_corruption}", "the key 'name' is missing", "Add `name"),
        ("{name: slow, report: data_corruption}", "the name 'slow' is taken (at", "another name"),
        ("{name: x, report: data_corruption, immediate: 1}", "true or false", "without quotes"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_mend(
    tmp_path: Path, entry: str, problem: str, mend: str
) -> None:
    with pytest.raises(ConfigErrors) as caught:
        _load(tmp_path, f"  - {entry}\n  - {{name: good, report: data_corruption}}\n")
    (error,) = caught.value.errors
    assert problem in error.problem
    assert mend in error.mend
    assert error.place.endswith("compound.yml:2")


def test_all_mistakes_are_found_in_one_reading(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        _load(
            tmp_path,
            "  - {name: x, at_least: 0, window: 1m, severity: worst}\n"
            "  - {name: y, report: data_corruption}\n"
            "  - {name: y, report: data_corruption}\n",
        )
    assert [error.place.rsplit(":")[-1] for error in caught.value.errors] == ["2", "2", "4"]


@pytest.mark.parametrize(
    ("depends_on", "problem"),
    [
        ("{b: [a], a: [c], c: [b]}", "go in a circle: "),
        ("{a: [a]}", "a depends on itself"),
        ("{a: []}", "a depends on nothing"),
        ("{a: [b, b]}", "names a component twice"),
        ("{'a/b': [c]}", "'a/b' is not a name"),
        ("{a: b}", "where a list is needed"),
        ("[a]", "where a mapping is needed"),
    ],
)
def test_dependencies_with_a_mistake(tmp_path: Path, depends_on: str, problem: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        _load(
            tmp_path,
            "  - {name: good, report: data_corruption}\n",
            f"depends_on: {depends_on}\n" + TARGETS[:23],
        )
    assert any(problem in error.problem for error in caught.value.errors)
    assert all("targets.yml:1" in error.place for error in caught.value.errors)


def test_circles_and_spread() -> None:
    assert circle_in({}) == ()
    assert circle_in({"d": ("b", "c"), "b": ("a",), "c": ("a",)}) == ()
    assert set(circle_in({"x": ("a",), "a": ("b",), "b": ("c",), "c": ("a",)})) == {"a", "b", "c"}
    deep = {f"n{number}": (f"n{number + 1}",) for number in range(5_000)}
    assert circle_in(deep) == ()
    assert circle_in({**deep, "n5000": ("n0",)}) != ()
    assert widest_spread({}) == 0
    assert widest_spread({"d": ("b", "c"), "b": ("a",), "c": ("a",), "y": ("x",)}) == 4


def test_check_shows_them_and_finds_their_members_in_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = "  - {name: x, at_least: 2, window: 1m, members: {triggers: [slow, errors], severity: high}}\n"
    _load(tmp_path, entry)
    monkeypatch.setenv("BACKOUT_CONFIG_DIR", str(tmp_path))
    file = tmp_path / "rollback" / "compound.yml"
    shown = CliRunner().invoke(app, ["check", str(file)])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout == (
        f"{file}:2: x: at least 2 components firing within 1m by slow or errors of severity high (critical) "
        "→ rollback full_system\n1 triggers, no mistakes\n"
    )
    file.write_text(file.read_text().replace("errors]", "gone]"))
    with pytest.raises(ConfigErrors, match="'gone' is not known here"):
        CliRunner().invoke(app, ["check", str(file)], catch_exceptions=False)
