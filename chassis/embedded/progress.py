"""How far a download or a start has come, told to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable

# (stage, done, total): a stage is one line on a screen ("Kafka: jars"); done == total ends it.
Progress = Callable[[str, int, int], None]


def no_progress(_stage: str, _done: int, _total: int) -> None:
    """Tell nobody."""
