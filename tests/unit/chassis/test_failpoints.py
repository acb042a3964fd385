"""Failpoints do nothing unless armed, and then exactly what they are armed for."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from chassis.errors import ConfigError
from chassis.failpoints import FailpointReached, Failpoints


def armed(text: str) -> Failpoints:
    return Failpoints.from_environment({"BACKOUT_FAILPOINTS": text})


def test_an_unarmed_pass_does_nothing() -> None:
    points = Failpoints()
    points.reach("executor.after-act")
    assert points.armed == {}


def test_only_the_armed_pass_of_the_armed_name_raises() -> None:
    points = armed("a=raise@2, b=raise")
    points.reach("c")
    points.reach("a")
    with pytest.raises(FailpointReached, match=r"^a$"):
        points.reach("a")
    points.reach("a")
    with pytest.raises(FailpointReached, match=r"^b$"):
        points.reach("b")


def test_kill_is_a_sigkill() -> None:
    program = (
        "from chassis.failpoints import Failpoints\nFailpoints.from_environment().reach('x')\nprint('alive')"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"BACKOUT_FAILPOINTS": "x=kill"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL
    assert result.stdout == b""


@pytest.mark.parametrize("text", ["a", "a=", "=kill", "a=explode", "a=kill@0", "a=kill@x", "a=kill@²"])
def test_a_malformed_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^BACKOUT_FAILPOINTS: .*name=action"):
        armed(text)
