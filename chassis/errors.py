"""The one error hierarchy of the control plane.

An error says three things that a person or a caller needs: what is wrong, whether the same
call may succeed if it is made again (``retryable``), and which exit status a command ends
with (``exit_code``). Only the place that owns a retry loop looks at ``retryable``.
"""

from __future__ import annotations

from collections.abc import Iterable


class BackoutError(Exception):
    """The base of every error that backout raises on purpose."""

    retryable = False
    exit_code = 1


class TemporaryError(BackoutError):
    """A peer is unreachable or busy: the same call may succeed later.

    ``delay`` is the number of seconds the peer asked us to wait, where it did (HTTP
    ``Retry-After``), otherwise ``None``.
    """

    retryable = True

    def __init__(self, message: str, *, delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class PermanentError(BackoutError):
    """The same call would fail again: something has to change first."""


class UsageError(BackoutError):
    """What was asked for cannot be done as asked: wrong arguments, unknown names."""

    exit_code = 2


class ConfigError(BackoutError):
    """A setting or a configuration file is wrong.

    ``place`` names where (``config/rollback/triggers.yml:12`` or ``BACKOUT_KAFKA__…``),
    ``mend`` says what to write instead.
    """

    exit_code = 2

    def __init__(self, problem: str, *, place: str, mend: str) -> None:
        super().__init__(f"{place}: {problem}. {mend}" if mend else f"{place}: {problem}")
        self.problem = problem
        self.place = place
        self.mend = mend


class ConfigErrors(BackoutError):
    """Everything that is wrong with one or more configuration files, found in one reading."""

    exit_code = 2

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


class Unreadable(BackoutError):
    """A record that its consumer cannot read: it belongs on the dead-letter topic.

    ``reason`` is a short fixed word (``invalid_json``, ``unknown_type``, …) for headers and
    metrics; the message is for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TooManyDeadLetters(BackoutError):
    """So many records in a row were unreadable that the consumer, not the data, is suspect."""


class Fenced(BackoutError):
    """Another owner has taken over: this process must do nothing more under its old claim."""


class NotAssigned(TemporaryError):
    """The group has moved these partitions: whoever has them now reads on from the last commit."""


class DependencyUnavailable(TemporaryError):
    """Kafka, Postgres or another server that the process needs did not answer in time."""
