"""Which samples a trigger looks at, and how it tells them apart.

A trigger is evaluated once for each group: a component and, where its ``group_by`` names
labels, their values. A sample without such a label counts as one whose value is the empty
text, as in Prometheus.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

Sign = Literal["=", "!=", "=~", "!~"]
SIGNS: tuple[Sign, ...] = ("=~", "!~", "!=", "=")
Labels = Mapping[str, str]
COMPONENT = "component"

_LABEL = r"[A-Za-z_][A-Za-z0-9_.-]{0,127}"
_MATCHER = re.compile(rf'\s*({_LABEL})\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^"\s=~][^"]*?|))\s*')


class Group(NamedTuple):
    """A component and, in the order of their names, the further labels of its group."""

    component: str
    labels: tuple[tuple[str, str], ...] = ()

    def as_mapping(self) -> dict[str, str]:
        return {COMPONENT: self.component, **dict(self.labels)}

    def __str__(self) -> str:
        return self.component + "".join(f", {name} {value!r}" for name, value in self.labels)


@dataclass(frozen=True)
class Matcher:
    """One condition on a label, or on ``component``, as Alertmanager writes it; patterns match the
    whole value."""

    label: str
    sign: Sign
    value: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.value)

    def fits(self, labels: Labels) -> bool:
        found = labels.get(self.label, "")
        is_equal = found == self.value if self.sign in ("=", "!=") else bool(self._pattern.fullmatch(found))
        return is_equal is (self.sign in ("=", "=~"))

    def __str__(self) -> str:
        quoted = self.value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.label}{self.sign}"{quoted}"'


def parse_matcher(text: str) -> Matcher:
    """Read ``route="/pay"``, ``host =~ web-.*`` and the like; raises ValueError with what is wrong."""
    match = _MATCHER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:60]!r} is no label, sign ({' '.join(SIGNS)}) and value")
    label, written, quoted, bare = match.groups()
    sign = next(known for known in SIGNS if known == written)
    value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    if sign in ("=~", "!~"):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value[:60]!r} is no pattern: {error}") from None
    return Matcher(label, sign, value)


@dataclass(frozen=True, slots=True)
class Selection:
    """The samples of one metric that a trigger looks at, and the labels that tell its groups apart."""

    matchers: tuple[Matcher, ...] = ()
    group_by: tuple[str, ...] = ()

    @property
    def labels(self) -> frozenset[str]:
        """Every label of a sample that has to be read."""
        return frozenset((*self.group_by, *(matcher.label for matcher in self.matchers))) - {COMPONENT}

    def group_of(self, component: str, labels: Labels) -> Group | None:
        """The group of a sample with these labels; None if the trigger does not look at it."""
        if self.matchers:
            known = {**labels, COMPONENT: component}
            if not all(matcher.fits(known) for matcher in self.matchers):
                return None
        if not self.group_by:
            return Group(component)
        return Group(component, tuple((name, labels.get(name, "")) for name in self.group_by))


EVERYTHING = Selection()


def selection(matchers: Sequence[str], group_by: Sequence[str]) -> Selection:
    """From the texts of a definition; ``group_by`` without the component. Raises ValueError."""
    return Selection(tuple(parse_matcher(text) for text in matchers), tuple(sorted(group_by)))
