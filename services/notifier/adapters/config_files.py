"""Reads the communication plan and the receivers; every mistake is named with its line and mend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from chassis.errors import ConfigError
from chassis.settings import NotifierSettings
from chassis.yaml_source import Located, Problems, load_yaml_file
from schemas.notifications import Channel, Tier
from services.notifier.domain.plan import (
    TIER_KEYS,
    URGENCIES,
    BadTemplate,
    CommunicationPlan,
    Receiver,
    Template,
)
from services.notifier.domain.wording import OWN_TEMPLATES, PLAN_TEMPLATES

PLAN_FILE = Path("rollback/communication_plan.yml")
RECEIVERS_FILE = Path("receivers.yml")

_CHANNELS: tuple[Channel, ...] = ("slack", "email", "status_page", "in_app", "none")
_ADDRESSES: Mapping[str, tuple[re.Pattern[str], str]] = {
    "slack": (
        re.compile(r"#[^\s#,]{1,80}|[CG][A-Z0-9]{8,}"),
        'Write a channel, "#incidents", or its id',
    ),
    "email": (
        re.compile(r"[^\s@<>,;:\"]{1,64}@[A-Za-z0-9.-]{1,255}"),
        "Write a mail address, team@example.org",
    ),
    "status_page": (re.compile(r"[A-Za-z0-9_-]{1,80}"), "Write the id of a component of the page"),
}


def load_plan(path: Path) -> CommunicationPlan:
    """The plan's matrix and templates; raises ConfigError or ConfigErrors."""
    document = load_yaml_file(path).fields(required=("notification_matrix", "notification_templates"))
    problems = Problems()
    matrix: dict[Tier, tuple[str, ...]] = {}
    templates = {template.name: template for template in OWN_TEMPLATES}
    with problems.collect():
        matrix = _matrix(document["notification_matrix"])
    with problems.collect():
        node = document["notification_templates"]
        known = (*PLAN_TEMPLATES, *templates)
        for name, value in node.fields(required=PLAN_TEMPLATES, optional=tuple(templates)).items():
            if name in known:
                with problems.collect():
                    templates[name] = _template(name, value)
    problems.raise_any()
    return CommunicationPlan(matrix, templates)


def load_receivers(path: Path, plan: CommunicationPlan, settings: NotifierSettings) -> dict[str, Receiver]:
    """Every stakeholder's receiver; raises ConfigError or ConfigErrors.

    A receiver whose channel's settings are missing says so in ``not_configured``.
    """
    node = load_yaml_file(path).fields(required=("receivers",))["receivers"]
    stakeholders = tuple(plan.tiers())
    unavailable = unavailable_channels(settings)
    problems = Problems()
    found: dict[str, Receiver] = {}
    with problems.collect():
        for name, value in node.fields(required=stakeholders).items():
            with problems.collect():
                found[name] = _receiver(name, value, unavailable)
    problems.raise_any()
    return found


def unavailable_channels(settings: NotifierSettings) -> dict[Channel, str]:
    """Why nothing can be sent on a channel, for each on which nothing can."""
    missing: dict[Channel, str] = {
        "in_app": "there is no receiver for in-app notifications in this version",
        "none": "its channel is none",
    }
    if settings.slack.token is None:
        missing["slack"] = "no Slack token is set (BACKOUT_NOTIFIER__SLACK__TOKEN)"
    if settings.smtp.host is None:
        missing["email"] = "no mail server is set (BACKOUT_NOTIFIER__SMTP__HOST)"
    if settings.statuspage.page_id is None:
        missing["status_page"] = "no page is set (BACKOUT_NOTIFIER__STATUSPAGE__PAGE_ID)"
    elif settings.statuspage.api_key is None:
        missing["status_page"] = "no key of the page is set (BACKOUT_NOTIFIER__STATUSPAGE__API_KEY)"
    return missing


def check_settings(settings: NotifierSettings) -> None:
    """Raise ConfigError for settings that no delivery could succeed with."""
    pattern, _ = _ADDRESSES["email"]
    if settings.smtp.host is not None and not pattern.fullmatch(settings.smtp.sender):
        raise ConfigError(
            f"{settings.smtp.sender!r} is no mail address",
            place="BACKOUT_NOTIFIER__SMTP__SENDER",
            mend="Write backout@your.domain",
        )
    urls = {"SLACK": settings.slack.base_url, "STATUSPAGE": settings.statuspage.base_url}
    for section, url in urls.items():
        if not re.match(r"https?://[^/\s]+", url):
            raise ConfigError(
                f"{url!r} is no http address",
                place=f"BACKOUT_NOTIFIER__{section}__BASE_URL",
                mend="Write https://host/path",
            )


def _matrix(node: Located) -> dict[Tier, tuple[str, ...]]:
    problems = Problems()
    matrix: dict[Tier, tuple[str, ...]] = {}
    seen: dict[str, str] = {}
    for key, value in node.fields(optional=tuple(TIER_KEYS)).items():
        names = []
        with problems.collect():
            for item in value.sequence():
                with problems.collect():
                    name = item.string()
                    if name in seen:
                        raise item.error(f"{name!r} is there already ({seen[name]})", mend="Keep one of them")
                    seen[name] = item.place
                    names.append(name)
        matrix[TIER_KEYS[key]] = tuple(names)
    problems.raise_any()
    return matrix


def _template(name: str, node: Located) -> Template:
    fields = node.fields(required=("subject", "urgency", "content"))
    urgency = next(item for item in URGENCIES if item == fields["urgency"].one_of(URGENCIES))
    template = Template(name, fields["subject"].string(), urgency, fields["content"].string())
    try:
        template.check()
    except BadTemplate as error:
        raise node.error(f"template {name!r}: {error}", mend="Mend the template") from error
    return template


def _receiver(name: str, node: Located, unavailable: Mapping[Channel, str]) -> Receiver:
    fields = node.fields(required=("channel",), optional=("address",))
    word = fields["channel"].one_of(_CHANNELS)
    channel = next(item for item in _CHANNELS if item == word)
    address = fields.get("address")
    if channel not in _ADDRESSES:
        if address is not None:
            raise address.error(f"{channel} takes no address", mend="Leave the address out")
        return Receiver(name, channel, (), unavailable[channel])
    pattern, mend = _ADDRESSES[channel]
    if address is None:
        raise node.error(f"{name} has no address", mend=f"Add `address: …`. {mend}")
    many = channel == "email" and address.is_sequence
    nodes = address.sequence() if many else (address,)
    if not nodes:
        raise address.error("the list of addresses is empty", mend=mend)
    for item in nodes:
        if not pattern.fullmatch(item.string()):
            raise item.error(f"{item.string()!r} is no address for {channel}", mend=mend)
    return Receiver(name, channel, tuple(item.string() for item in nodes), unavailable.get(channel, ""))
