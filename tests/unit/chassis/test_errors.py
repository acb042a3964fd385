"""Every error says whether it may be tried again, how a command ends, and what to mend."""

from __future__ import annotations

import pytest

from chassis import errors


@pytest.mark.parametrize(
    ("error", "retryable", "exit_code"),
    [
        (errors.TemporaryError("busy", delay=3.0), True, 1),
        (errors.DependencyUnavailable("no answer"), True, 1),
        (errors.NotAssigned("moved"), True, 1),
        (errors.PermanentError("refused"), False, 1),
        (errors.UsageError("no such component"), False, 2),
        (errors.ConfigError("unknown key", place="t.yml:3", mend="Remove it"), False, 2),
        (errors.ConfigErrors([]), False, 2),
        (errors.Unreadable("invalid_json", "not JSON"), False, 1),
        (errors.TooManyDeadLetters("100 in a row"), False, 1),
        (errors.Fenced("another owner"), False, 1),
    ],
)
def test_what_an_error_says_of_itself(error: errors.BackoutError, retryable: bool, exit_code: int) -> None:
    assert error.retryable is retryable
    assert error.exit_code == exit_code


def test_every_error_is_in_the_table() -> None:
    named = {name for name in vars(errors) if isinstance(vars(errors)[name], type)}
    raised = {name for name in named if issubclass(vars(errors)[name], errors.BackoutError)}
    assert raised == {
        "BackoutError",
        "ConfigError",
        "ConfigErrors",
        "DependencyUnavailable",
        "Fenced",
        "NotAssigned",
        "PermanentError",
        "TemporaryError",
        "TooManyDeadLetters",
        "Unreadable",
        "UsageError",
    }


def test_a_delay_is_kept() -> None:
    assert errors.TemporaryError("429", delay=1.5).delay == 1.5
    assert errors.DependencyUnavailable("down").delay is None


def test_a_config_error_names_place_problem_and_mend() -> None:
    error = errors.ConfigError("unknown key `whn`", place="t.yml:12", mend="Write `when`")
    assert str(error) == "t.yml:12: unknown key `whn`. Write `when`"
    assert str(errors.ConfigError("odd", place="t.yml:1", mend="")) == "t.yml:1: odd"


def test_several_config_errors_are_one_message() -> None:
    found = [errors.ConfigError(f"p{n}", place=f"t.yml:{n}", mend="") for n in (1, 2)]
    assert str(errors.ConfigErrors(iter(found))) == "t.yml:1: p1\nt.yml:2: p2"
    assert errors.ConfigErrors(found).errors == tuple(found)
