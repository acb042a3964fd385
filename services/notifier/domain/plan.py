"""The communication plan as values: who is told, by when, in which words.

A template's words may name facts of the event, ``{component}`` for example; which names there
are is fixed (``FACTS``), so that a wrong one is found when the plan is loaded, not when
people wait for the message.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from schemas.notifications import Channel, Tier

Urgency = Literal["low", "medium", "high", "critical"]
URGENCIES: tuple[Urgency, ...] = ("low", "medium", "high", "critical")

FACTS = ("component", "status", "reason", "why", "playbook", "execution", "incident", "requested_by")

TIER_KEYS: Mapping[str, Tier] = {
    "immediate_notification": "immediate",
    "short_term_notification": "short_term",
    "customer_notification": "customer",
}
"""The keys of the plan's matrix."""

PROMISES: Mapping[Tier, timedelta] = {
    "immediate": timedelta(minutes=5),
    "short_term": timedelta(minutes=15),
    "customer": timedelta(minutes=30),
}
"""By when a tier is told; the plan's matrix states these as comments."""

_MAX_FACT = 300


class BadTemplate(ValueError):
    """A template that cannot be filled in; the message says why."""


@dataclass(frozen=True, slots=True)
class Template:
    """Subject and content of one announcement, with facts in braces."""

    name: str
    subject: str
    urgency: Urgency
    content: str

    def check(self) -> None:
        """Raise BadTemplate for a text that cannot be filled in."""
        if any(ord(character) < 32 for character in self.subject):
            raise BadTemplate("the subject has a line break or another control character in it")
        for text in (self.subject, self.content):
            for fact in _named(text):
                if fact not in FACTS:
                    raise BadTemplate(f"{{{fact}}} is no fact of a rollback; there are {', '.join(FACTS)}")

    def fill(self, facts: Mapping[str, str]) -> tuple[str, str]:
        """Subject and content with the facts put in, each on one line and of bounded length.

        Facts come from events: whatever is in one, it can neither add a line to the subject nor
        drown the content.
        """
        bounded = {name: one_line(facts.get(name, "")) for name in FACTS}
        return self.subject.format_map(bounded), self.content.format_map(bounded).strip() + "\n"


def _named(text: str) -> list[str]:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise BadTemplate(f"braces do not match ({error}); write {{{{ and }}}} for the signs") from error
    for _, name, form, conversion in parts:
        if name is not None and (form or conversion):
            raise BadTemplate(f"{{{name}…}}: write the name of a fact alone")
    return [name for _, name, _, _ in parts if name is not None]


def one_line(value: str, limit: int = _MAX_FACT) -> str:
    """Printable, on one line, and of at most ``limit`` characters."""
    words = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return words if len(words) <= limit else words[: limit - 1] + "…"


@dataclass(frozen=True, slots=True)
class CommunicationPlan:
    """The matrix (stakeholders by tier, in the plan's order) and the templates by name."""

    matrix: Mapping[Tier, tuple[str, ...]]
    templates: Mapping[str, Template]

    def tiers(self) -> Mapping[str, Tier]:
        """The tier of each stakeholder."""
        return {name: tier for tier, names in self.matrix.items() for name in names}


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where a stakeholder is told. ``not_configured`` says why nothing can be sent, or is empty."""

    name: str
    channel: Channel
    addresses: tuple[str, ...] = ()
    not_configured: str = ""

    @property
    def address(self) -> str:
        return ", ".join(self.addresses)
