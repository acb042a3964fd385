"""Faults that can be switched on, to give a rollback something real to do.

They act inside the enhanced extractors alone and are felt by every caller, the service's own measurements
included. They live in memory: a restart ends them.
"""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Chaos(BaseModel):
    """The faults in force. All default to none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enhanced_delay_s: Annotated[float, Field(ge=0, le=30, allow_inf_nan=False)] = 0.0
    """Seconds for which every enhanced extraction holds its worker before it starts to parse."""

    fail_files_matching: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Every enhanced extractor fails on files whose name contains this text."""

    enhanced_lose_nth_line: Annotated[int, Field(ge=2, le=1000)] | None = None
    """The enhanced extractors lose every n-th line of text."""

    def fails(self, name: str) -> bool:
        """Whether the enhanced extractors fail on a file of this name."""
        return self.fail_files_matching is not None and self.fail_files_matching in name

    def degrade(self, page: str) -> str:
        """A page's text with every n-th line lost, if that fault is in force."""
        if self.enhanced_lose_nth_line is None:
            return page
        lines = re.split(r"\r?\n", page)
        kept = (line for number, line in enumerate(lines, 1) if number % self.enhanced_lose_nth_line)
        return "\n".join(kept)


class ChaosSwitch:
    """The faults in force now; replaced as a whole, read by extraction workers."""

    def __init__(self) -> None:
        self.current = Chaos()
