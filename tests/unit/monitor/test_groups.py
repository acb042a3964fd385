"""Matchers and groups: which samples a trigger looks at, and which of them it judges together."""

from __future__ import annotations

import pytest

from services.monitor.domain.language.groups import Group, parse_matcher, selection
from services.monitor.domain.language.rules import rule_from_definition, trigger_id
from tests.unit.monitor.engine_log import T0, rule, run
from tests.unit.monitor.reference import LogRecord, Point


@pytest.mark.parametrize(
    ("text", "labels", "fits"),
    [
        ("zone=east", {"zone": "east"}, True),
        ("zone=east", {"zone": "eastern"}, False),
        ('zone = "east"', {"zone": "east"}, True),
        ("zone=", {}, True),
        ('zone=""', {"zone": "east"}, False),
        ("zone!=east", {}, True),
        ("zone!=east", {"zone": "east"}, False),
        ("host=~web-[0-9]+", {"host": "web-12"}, True),
        ("host=~web", {"host": "web-12"}, False),
        ("host !~ web-.*", {"host": "db-1"}, True),
        ("host !~ web-.*", {"host": "web-1"}, False),
        (r'path="a \"b\" \\c"', {"path": 'a "b" \\c'}, True),
        ("component=~(query|search)_api", {"component": "query_api"}, True),
    ],
)
def test_a_matcher_is_read_as_alertmanager_writes_it(text: str, labels: dict[str, str], fits: bool) -> None:
    matcher = parse_matcher(text)
    assert matcher.fits(labels) is fits
    assert parse_matcher(str(matcher)) == matcher


@pytest.mark.parametrize(
    "text",
    ["", "zone", "=east", "zone=~(", 'zone="east', 'zone==east west"', "zone==east", "zone=~~x", "9=x"],
)
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse_matcher(text)


def test_a_component_can_be_matched() -> None:
    only = selection(["component=query_api"], [])
    assert only.labels == frozenset()
    assert only.group_of("query_api", {}) == Group("query_api")
    assert only.group_of("search_api", {"component": "query_api"}) is None


def test_a_nul_in_a_label_is_no_part_of_a_group() -> None:
    """No database can keep one: the executor would set the trigger aside and roll nothing back."""
    points = [Point("m", "api", T0, 11.0, (("zone", "e\0st"),))]
    (fired,) = run([rule(group_by=["zone"])], [LogRecord(0, T0, tuple(points))])
    assert fired.group == {"component": "api", "zone": "e\N{REPLACEMENT CHARACTER}st"}


def test_each_group_has_a_phase_and_an_id_of_its_own() -> None:
    by_zone = rule(matchers=["host!=spare"], group_by=["zone"])
    points = [
        Point("m", "api", T0, 11.0, (("zone", "east"), ("host", "a"))),
        Point("m", "api", T0, 9.0, (("zone", "west"), ("host", "a"))),
        Point("m", "api", T0, 99.0, (("zone", "west"), ("host", "spare"))),
        Point("m", "api", T0, 12.0),
    ]
    outcomes = run([by_zone], [LogRecord(0, T0, tuple(points))])
    assert [(o.group, o.value, o.kind) for o in outcomes] == [
        ({"component": "api", "zone": ""}, 12.0, "fired"),
        ({"component": "api", "zone": "east"}, 11.0, "fired"),
    ]
    assert len({o.trigger_id for o in outcomes}) == 2
    assert all(o.trigger_id.startswith("slow:api-") for o in outcomes)
    assert "m{host!=\"spare\"} of api, zone 'east' is 11" in outcomes[1].why


def test_samples_of_one_group_are_judged_together() -> None:
    mean = rule(aggregate="avg", window=10, group_by=["zone"])
    other = rule("by_host", group_by=["host"])
    points = [
        Point("m", "api", T0, value, (("zone", "east"), ("host", host)))
        for value, host in ((15.0, "a"), (7.0, "b"))
    ]
    outcomes = run([mean, other], [LogRecord(0, T0, tuple(points))])
    assert [(o.rule.name, o.group["component"], o.value) for o in outcomes] == [
        ("by_host", "api", 15.0),
        ("slow", "api", 11.0),
    ]


def test_the_component_alone_has_the_plain_id() -> None:
    assert trigger_id("slow", Group("api"), T0) == "slow:api:20260101T000000Z"


def test_matchers_and_groups_are_part_of_the_definition() -> None:
    plain, narrow = rule(), rule(matchers=["zone=east"], group_by=["zone", "host"])
    assert plain.hash != narrow.hash
    assert rule_from_definition(narrow.definition()) == narrow
