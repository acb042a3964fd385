"""Filling templates in, and holding answers against what is expected."""

from __future__ import annotations

import math
from typing import Any

import pytest

from services.executor.domain.checks import difference, hold_against
from services.executor.domain.playbook import Limit
from services.executor.domain.templates import (
    Names,
    TemplateError,
    fill,
    fill_text,
    pick,
    picked,
    placeholders,
    problem_with,
    storable,
)

NAMES = Names(
    component="extractor",
    execution="rb-1",
    targets={"docrag": "http://127.0.0.1:1/"},
    prior={"routing.mode": "enhanced", "routing.weight": 3, "list.0": True, "route": "/{component}/{id}"},
)
SEEN = {"routing": {"mode": "enhanced", "weight": 3}, "list": [True]}


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        ("{target.docrag}/components/{component}", "http://127.0.0.1:1/components/extractor"),
        ("run {execution}", "run rb-1"),
        ({"mode": "{prior.routing.mode}"}, {"mode": "enhanced"}),
        ("{prior.routing.weight}", 3),
        ("w={prior.routing.weight}", "w=3"),
        ("{prior.list.0}", True),
        # What was observed is no template, whatever it looks like.
        ("{prior.route}", "/{component}/{id}"),
        ("x{prior.route}", "x/{component}/{id}"),
        (["{component}", 1, None, True], ["extractor", 1, None, True]),
    ],
)
def test_fill(value: Any, filled: Any) -> None:
    assert fill(value, NAMES) == filled


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{target.other}", "no target 'other'"),
        ("{prior.routing.nothing}", "no 'routing.nothing' in what was observed"),
        ("{secret}", "{secret} stands for nothing"),
    ],
)
def test_fill_names_what_is_not_there(value: str, said: str) -> None:
    with pytest.raises(TemplateError, match=said.replace("{", r"\{").replace("}", r"\}")):
        fill_text(value, NAMES)


def test_an_undo_keeps_of_what_was_observed_what_it_names() -> None:
    undo = {"url": "{target.docrag}/x", "body": {"mode": "{prior.routing.mode}", "n": ["{prior.list}"]}}

    assert picked(undo, SEEN) == {"routing.mode": "enhanced", "list": [True]}
    for value, said in (
        ("{prior.routing.nothing}", "'nothing' of 'routing.nothing'"),
        ("{prior.list.1}", "'1'"),
    ):
        with pytest.raises(TemplateError, match=f"there is no {said}"):
            picked([value], SEEN)
    with pytest.raises(TemplateError):
        picked(undo, None)


def test_what_a_template_may_name() -> None:
    names = list(placeholders({"a": ["{x}", {"b": "{component}{prior.y}"}], "c": 1}))

    assert names == ["x", "component", "prior.y"]
    assert [problem_with(name, prior=True) is None for name in names] == [False, True, True]
    assert problem_with("prior.y", prior=False) is not None
    assert problem_with("target.", prior=True) is not None


@pytest.mark.parametrize(
    ("expected", "found", "unlike"),
    [
        ({"mode": "original"}, {"mode": "original", "epoch": 3}, None),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, None),
        ([1, {"a": 1}], [1, {"a": 1, "b": 2}], None),
        (1, 1.0, None),
        ({"mode": "original"}, {"mode": "enhanced"}, "mode is 'enhanced', not 'original'"),
        ({"a": {"b": 1}}, {"a": {}}, "a.b is missing"),
        ({"a": 1}, "text", "the answer is no mapping"),
        ({"a": True}, {"a": 1}, "a is 1, not True"),
        ([1], [1, 2], "the answer is [1, 2], not [1]"),
        ([1, [2]], [1, [3]], "the answer.1.0 is 3, not 2"),
    ],
)
def test_difference(expected: Any, found: Any, unlike: str | None) -> None:
    assert difference(expected, found) == unlike


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        ({"accuracy": 0.95}, True),
        ({"accuracy": 0.9499}, False),
        ({"accuracy": 1}, True),
        ({"accuracy": math.nan}, False),
        ({"accuracy": math.inf}, False),
        ({"accuracy": "0.99"}, False),
        ({"accuracy": True}, False),
        ({"accuracy": None}, False),
        ({}, False),
        ("no json", False),
    ],
)
def test_a_limit_is_met_by_a_number_alone(answer: Any, passed: bool) -> None:
    (check,) = hold_against([Limit(name="accuracy", path="accuracy", at_least=0.95)], answer)

    assert check.passed is passed
    assert check.detail


def test_a_limit_from_above() -> None:
    limit = Limit(name="pace", path="pace.max", at_most=1.0, unit="s")
    good, bad = (hold_against([limit], {"pace": {"max": value}})[0] for value in (1.0, 1.01))

    assert (good.passed, bad.passed) == (True, False)
    assert (bad.value, bad.limit, bad.unit, bad.detail) == (1.01, 1.0, "s", "at most 1")
    assert pick({"pace": {"max": 2}}, "pace.max") == 2


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"a": [1, 2.5, True, None, "ü"]}, {"a": [1, 2.5, True, None, "ü"]}),
        (math.nan, None),
        ([-math.inf], [None]),
        ("a\0b", "a\ufffdb"),
        ({"\0": "\ud800"}, {"\ufffd": "?"}),
    ],
)
def test_what_no_database_holds_is_replaced(value: Any, kept: Any) -> None:
    assert storable(value) == kept


@pytest.mark.parametrize("value", [math.nan, "\0", {"deep": ["\ud800"]}])
def test_an_undo_never_restores_another_value_than_was_seen(value: Any) -> None:
    with pytest.raises(TemplateError, match="'mode' holds what cannot be journaled"):
        picked({"to": "{prior.mode}"}, {"mode": value})
    with pytest.raises(TemplateError, match="'mode' holds what cannot be journaled"):
        picked({"to": "x-{prior.mode}"}, {"mode": value})


def test_a_number_of_too_many_digits_fails_its_check() -> None:
    (check,) = hold_against([Limit(name="accuracy", path="a", at_least=0.9)], {"a": 10**400})
    assert not check.passed
