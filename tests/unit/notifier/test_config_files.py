"""The plan as it stands loads; every mistake in it is named with its line and its mend."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from chassis.errors import ConfigError, ConfigErrors
from chassis.settings import NotifierSettings
from services.notifier.adapters.config_files import check_settings, load_plan, load_receivers
from services.notifier.domain.wording import OWN_TEMPLATES
from tests.unit.notifier.events import ALL_SET, CONFIG, shipped_plan, shipped_receivers

PLAN = CONFIG / "rollback/communication_plan.yml"
RECEIVERS = CONFIG / "receivers.yml"


def test_the_plan_loads_unchanged() -> None:
    raw = yaml.safe_load(PLAN.read_text(encoding="utf-8"))
    plan = shipped_plan()

    assert list(plan.matrix.values()) == [tuple(names) for names in raw["notification_matrix"].values()]
    for name, template in raw["notification_templates"].items():
        loaded = plan.templates[name]
        assert (loaded.subject, loaded.urgency, loaded.content) == (
            template["subject"],
            template["urgency"],
            template["content"],
        )


def test_every_stakeholder_has_a_receiver() -> None:
    receivers = shipped_receivers()
    assert set(receivers) == set(shipped_plan().tiers())
    assert [name for name, one in receivers.items() if one.not_configured] == ["in_app_notification"]


def test_without_settings_every_channel_names_the_one_that_is_missing() -> None:
    receivers = shipped_receivers(NotifierSettings())
    assert "BACKOUT_NOTIFIER__SLACK__TOKEN" in receivers["engineering_team"].not_configured
    assert "BACKOUT_NOTIFIER__SMTP__HOST" in receivers["sales_team"].not_configured
    assert "BACKOUT_NOTIFIER__STATUSPAGE__PAGE_ID" in receivers["status_page_update"].not_configured


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("    - sales_team", "    - executive_team", 10, "there already"),
        ("  short_term_notification:", "  short_term_notifications:", 8, "short_term_notification"),
        ('urgency: "high"', "urgency: high!", 21, "Did you mean 'high'?"),
        ("  rollback_completed:", "  rollback_complete:", 29, "rollback_completed"),
        ("Service Stability Measures", "Service\\nBcc: x@example.org", 20, "line break"),
        ("Impact: Minimal", "Impact: {severity}", 20, "{severity} is no fact"),
        ("Impact: Minimal", "Impact: {component!r}", 20, "alone"),
        ("Impact: Minimal", "Impact: {component", 20, "braces"),
        ('subject: "System Rollback Completed - Service Restored"', 'subject: ""', 30, "is empty"),
        ("    - product_management", "    product_management: x", 5, ""),
    ],
)
def test_a_mistake_in_the_plan_is_named(
    tmp_path: Path, before: str, after: str, line: int, said: str
) -> None:
    text = PLAN.read_text(encoding="utf-8")
    assert before in text
    path = tmp_path / "plan.yml"
    path.write_text(text.replace(before, after, 1), encoding="utf-8")

    with pytest.raises((ConfigError, ConfigErrors)) as caught:
        load_plan(path)
    assert f"plan.yml:{line}:" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "further", "said"),
    [
        ("  sales_team:", "  sale_team:", 0, "Did you mean 'sales_team'?"),
        ("channel: slack", "channel: slak", 0, "Did you mean 'slack'?"),
        ('address: "#incidents"', "address: incidents", 0, '"#incidents"'),
        ("address: sales-team@docrag.example", "address: sales team", 0, "mail address"),
        ("address: sales-team@docrag.example", "address: []", 0, "empty"),
        ("address: sales-team@docrag.example", "adress: x@docrag.example", 0, "address"),
        ("address: document-rag", "address: a/../b", 0, "component"),
        ("channel: in_app", "channel: in_app\n    address: x", 1, "takes no address"),
        ("    address: document-rag\n", "", -1, "has no address"),
    ],
)
def test_a_mistake_in_the_receivers_is_named(
    tmp_path: Path, before: str, after: str, further: int, said: str
) -> None:
    text = RECEIVERS.read_text(encoding="utf-8")
    line = text[: text.index(before)].count("\n") + 1 + further
    path = tmp_path / "receivers.yml"
    path.write_text(text.replace(before, after, 1), encoding="utf-8")

    with pytest.raises((ConfigError, ConfigErrors)) as caught:
        load_receivers(path, shipped_plan(), ALL_SET)
    assert f"receivers.yml:{line}:" in str(caught.value)
    assert said in str(caught.value)


def test_own_words_may_replace_ours(tmp_path: Path) -> None:
    path = tmp_path / "plan.yml"
    own = '  rollback_failed:\n    subject: "S {component}"\n    urgency: low\n    content: "C {status}"\n'
    path.write_text(PLAN.read_text(encoding="utf-8") + own, encoding="utf-8")
    template = load_plan(path).templates["rollback_failed"]
    assert template.fill({"component": "c", "status": "Failed"}) == ("S c", "C Failed\n")


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"smtp": {"host": "h", "sender": "nobody"}}, "BACKOUT_NOTIFIER__SMTP__SENDER"),
        ({"smtp": {"host": "h", "sender": "a@b\r\nBcc: c@d"}}, "BACKOUT_NOTIFIER__SMTP__SENDER"),
        ({"slack": {"base_url": "slack.com"}}, "BACKOUT_NOTIFIER__SLACK__BASE_URL"),
        ({"statuspage": {"base_url": "ftp://x"}}, "BACKOUT_NOTIFIER__STATUSPAGE__BASE_URL"),
    ],
)
def test_a_setting_that_cannot_work_is_named(settings: dict[str, object], place: str) -> None:
    with pytest.raises(ConfigError, match=place):
        check_settings(NotifierSettings.model_validate(settings))


def test_facts_can_neither_add_a_line_nor_a_flood() -> None:
    template = shipped_plan().templates["rollback_refused"]
    subject, content = template.fill(
        {"component": "a\r\nBcc: x", "reason": "y" * 10_000, "why": "z\n\n\x00z"}
    )
    assert subject == "Rollback Refused - a Bcc: x"
    assert len(content) < 2_000
    assert "\x00" not in content
    assert "Details: z z" in content


def test_our_own_words_can_be_filled_in() -> None:
    for template in OWN_TEMPLATES:
        template.check()
        subject, content = template.fill({"component": "c"})
        assert subject
        assert "{" not in subject + content
