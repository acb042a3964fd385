"""What every command that a person gives has."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from chassis.errors import UsageError
from chassis.settings import Settings
from cli.commands import issued


def test_a_command_is_issued_now_and_expires() -> None:
    fields = issued(Settings(), "slow")

    assert fields["reason"] == "slow"
    assert fields["issued_by"]
    assert fields["expires_at"] - fields["issued_at"] == timedelta(minutes=10)


def test_who_has_no_name_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under any number: no password entry, nothing in the environment."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)

    assert issued(Settings(), "")["issued_by"] == "uid 54321"


def test_a_reason_that_no_command_may_have_is_wrong_use() -> None:
    assert len(issued(Settings(), "r" * 2_000)["reason"]) == 2_000
    with pytest.raises(UsageError, match=r"^--reason has 2001 characters, more than 2000"):
        issued(Settings(), "r" * 2_001)


def test_a_reason_of_bytes_that_are_no_text_is_sent_all_the_same() -> None:
    assert issued(Settings(), os.fsdecode(b"f\xfcr alle"))["reason"] == "f?r alle"
