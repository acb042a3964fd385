"""Reading a playbook back that an executor of another release may have written.

What a person writes is read strictly: an unknown field is a mistake. What the journal holds was valid for
whoever wrote it, and in a rolling upgrade that may be a newer release. Its new fields are of two kinds. One
that says nothing (null, false, empty) leaves everything as it was before there was such a field: that is
the rule for every field that is added (ADR 0032), and it is passed over. One that says something changes
what is done, in a way that this release does not know: it must not be passed over, and the execution is
left to an executor that knows it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)
REASON = "playbook_not_understood"
_SHOWN = 3


class NotUnderstood(Exception):
    """The document says what this release does not know; the message names the fields."""


def read_back(model: type[Model], document: Any) -> Model:
    """The value that ``document`` (decoded JSON) tells. Raises NotUnderstood."""
    document = copy.deepcopy(document)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
    told = [_words(problem) for problem in problems if not _drop_if_it_says_nothing(document, problem)]
    if told:
        more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
        raise NotUnderstood(f"{REASON}: {'; '.join(told[:_SHOWN])}{more}")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise NotUnderstood(f"{REASON}: {error}") from None


def says_nothing(value: object) -> bool:
    """Whether a field of this value leaves everything as it is without the field. A zero says something."""
    return value is None or value is False or (isinstance(value, str | list | tuple | dict) and not value)


def _drop_if_it_says_nothing(document: Any, problem: Any) -> bool:
    """Take an unknown field out of ``document``; False where the problem is another, or it says something."""
    if problem["type"] != "extra_forbidden":
        return False
    holder, name = _holder_of(document, problem["loc"])
    if holder is None or not says_nothing(holder[name]):
        return False
    del holder[name]
    return True


def _holder_of(document: Any, place: Sequence[int | str]) -> tuple[dict[str, Any] | None, str]:
    """The mapping that holds the last field of a place, which on its way names kinds of actions, too."""
    *way, last = place
    found = document
    for part in way:
        if isinstance(part, int) or part in found:
            found = found[part]
    name = str(last)
    return (found, name) if isinstance(found, dict) and name in found else (None, name)


def _words(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{place} is not known to this release"
    return f"{place}: {problem['msg']}"
