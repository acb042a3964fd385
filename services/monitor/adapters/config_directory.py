"""The monitor's part of the configuration directory.

rollback/*.yml    triggers (and the communication plan, which is the notifier's)
monitoring/*.yml  the plan's early warnings and predictive alerts
breakers.yml      circuit breakers
targets.yml       which component's playbook a trigger leads to, and which component depends on which
playbooks/*.yml   only their names matter here
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chassis.errors import ConfigError
from chassis.yaml_source import Located, Problems, load_yaml_file
from services.monitor.adapters.breaker_files import FILE as BREAKERS_FILE
from services.monitor.adapters.breaker_files import load_breakers
from services.monitor.adapters.compound_files import Surroundings, load_compounds, triggers_named
from services.monitor.adapters.dependencies import KEY as DEPENDENCIES
from services.monitor.adapters.dependencies import Dependencies, load_dependencies
from services.monitor.adapters.predictive_files import load_predictive_alerts
from services.monitor.adapters.rule_files import load_rules, read_rules
from services.monitor.domain.breakers.breaker_plan import NO_BREAKERS, BreakerPlans
from services.monitor.domain.compound.definitions import CompoundRule
from services.monitor.domain.language.rules import COMPONENT_PLACEHOLDER, Rule
from services.monitor.domain.language.targets import Target, Targets
from services.monitor.domain.prediction.alerts import PredictiveAlert


@dataclass(frozen=True, slots=True)
class MonitorConfig:
    rules: tuple[Rule, ...]
    targets: Targets
    breakers: BreakerPlans = NO_BREAKERS
    predictive: tuple[PredictiveAlert, ...] = ()
    compounds: tuple[CompoundRule, ...] = ()


def load_config(config_dir: Path, rule_files: Sequence[Path] = ()) -> MonitorConfig:
    """Read targets, breakers and triggers: of ``rule_files``, or else of ``rollback/*.yml`` and
    ``monitoring/*.yml``.

    Raises ConfigErrors with everything that is wrong, and ConfigError where there is no such
    directory or no trigger at all: a monitor that watches nothing would look healthy.
    """
    if not config_dir.is_dir():
        raise ConfigError(
            "there is no such configuration directory",
            place=str(config_dir.absolute()),
            mend="Begin where it is, or name it in BACKOUT_CONFIG_DIR",
        )
    playbooks = playbook_names(config_dir)
    problems = Problems()
    targets = Targets()
    with problems.collect():
        targets = load_targets(config_dir, playbooks)
    targets_are_read = not problems.errors
    paths = list(rule_files) or _rule_paths(config_dir)
    # Without targets every trigger would seem to lead nowhere.
    usable = targets if targets_are_read else Targets(default=COMPONENT_PLACEHOLDER)
    reader = read_rules(paths, problems, targets=usable, playbooks=playbooks)
    rules = tuple(reader.rules)
    breakers = NO_BREAKERS
    with problems.collect():
        breakers = load_breakers(config_dir / BREAKERS_FILE)
    predictive: tuple[PredictiveAlert, ...] = ()
    with problems.collect():
        predictive = load_predictive_alerts(paths)
    compounds: tuple[CompoundRule, ...] = ()
    with problems.collect():
        compounds = _compounds(config_dir, paths, reader.named, usable, playbooks)
    # A file that cannot be read is complained of by each who reads it.
    problems.drop_repeated()
    problems.raise_any()
    if not rules and not compounds:
        raise ConfigError(
            "there are no triggers",
            place=", ".join(map(str, paths)) or str(config_dir / "rollback"),
            mend="Add triggers to rollback/triggers.yml in the configuration directory",
        )
    return MonitorConfig(rules, targets, breakers, predictive, compounds)


def _compounds(
    config_dir: Path,
    paths: Sequence[Path],
    named: Mapping[str, str],
    targets: Targets,
    playbooks: frozenset[str],
) -> tuple[CompoundRule, ...]:
    depends_on: Dependencies = load_dependencies(config_dir / "targets.yml")
    if not named:
        # A file of compound triggers alone, to be checked: its members are in the directory's files.
        named = triggers_named(load_rules(_rule_paths(config_dir), targets=targets, playbooks=playbooks))
    return load_compounds(paths, Surroundings(named, playbooks, depends_on))


def _rule_paths(config_dir: Path) -> list[Path]:
    return [path for part in ("rollback", "monitoring") for path in sorted((config_dir / part).glob("*.yml"))]


def playbook_names(config_dir: Path) -> frozenset[str]:
    """The components that have a playbook."""
    return frozenset(path.stem for path in (config_dir / "playbooks").glob("*.yml"))


def load_targets(config_dir: Path, playbooks: frozenset[str]) -> Targets:
    """Read ``targets.yml``; without the file there are no targets. Raises ConfigErrors."""
    path = config_dir / "targets.yml"
    if not path.exists():
        return Targets()
    document = load_yaml_file(path)
    fields = document.fields(optional=("targets", "default", DEPENDENCIES))
    problems = Problems()
    lines: list[Target] = []
    if "targets" in fields:
        for node in fields["targets"].sequence():
            with problems.collect():
                lines.append(_line(node, playbooks))
    default: str | None = None
    if "default" in fields:
        with problems.collect():
            default = fields["default"].string()
            if default != COMPONENT_PLACEHOLDER:
                _known_playbook(fields["default"], playbooks)
    problems.raise_any()
    return Targets.of(lines, default)


def _line(node: Located, playbooks: frozenset[str]) -> Target:
    fields = node.fields(required=("playbook",), optional=("metric", "component"))
    if len(fields) == 1:
        raise node.error("fits everything", mend="Name a metric or a component, or make it the `default`")
    return Target(
        metric=fields["metric"].string() if "metric" in fields else None,
        component=fields["component"].string() if "component" in fields else None,
        playbook=_known_playbook(fields["playbook"], playbooks),
    )


def _known_playbook(node: Located, playbooks: frozenset[str]) -> str:
    name = node.string()
    if name not in playbooks:
        known = ", ".join(sorted(playbooks)) or "none"
        raise node.error(f"there is no playbook {name!r}", mend=f"Playbooks are in playbooks/*.yml: {known}")
    return name
