"""The few names that a playbook may leave open, and filling them in.

``{target.<name>}`` is an address from the settings, ``{component}`` and ``{execution}`` name
what runs, ``{prior.<path>}`` is a value that was observed before a step, for its undo. Nothing
that an event carries is ever filled in, but the names of the component and the execution.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_TARGET = re.compile(r"^target\.([A-Za-z0-9_-]+)$")
_PRIOR = re.compile(r"^prior((?:\.[A-Za-z0-9_-]+)+)$")


class TemplateError(ValueError):
    """A template names something that is not there. The message says what."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the placeholders stand for now; ``prior`` maps the paths that an undo names to what was there."""

    component: str
    execution: str
    targets: Mapping[str, str]
    prior: Mapping[str, Any] = field(default_factory=dict)


def placeholders(value: Any) -> Iterator[str]:
    """Every placeholder's name in a value of strings, lists and mappings."""
    if isinstance(value, str):
        yield from (match.group(1) for match in _PLACEHOLDER.finditer(value))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from placeholders(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from placeholders(item)


def target_of(placeholder: str) -> str | None:
    """The target's name, if the placeholder stands for one."""
    match = _TARGET.match(placeholder)
    return match.group(1) if match else None


def problem_with(placeholder: str, *, prior: bool) -> str | None:
    """Why this placeholder cannot be used, or None; ``prior`` where a prior value is known."""
    if placeholder in ("component", "execution") or _TARGET.match(placeholder):
        return None
    if _PRIOR.match(placeholder):
        return None if prior else f"{{{placeholder}}} is known only in the json of an undo"
    return f"{{{placeholder}}} stands for nothing"


def fill(value: Any, names: Names) -> Any:
    """Fill in a value; a string that is one placeholder takes the type of what it stands for.

    Raises TemplateError.
    """
    if isinstance(value, str):
        whole = _PLACEHOLDER.fullmatch(value)
        if whole:
            return _lookup(whole.group(1), names)
        return _PLACEHOLDER.sub(lambda match: str(_lookup(match.group(1), names)), value)
    if isinstance(value, Mapping):
        return {key: fill(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, names) for item in value]
    return value


def fill_text(text: str, names: Names) -> str:
    """Fill in an address or an argument, which stays a text. Raises TemplateError."""
    return str(fill(text, names))


def picked(value: Any, prior: Any) -> dict[str, Any]:
    """What was observed of each ``{prior.…}`` in an undo, by its path: it is journaled beside the undo and
    filled in as it is, whatever is in it. Raises TemplateError for what is not there, or cannot be kept.
    """
    names = [name for name in placeholders(value) if _PRIOR.match(name)]
    return {path: _to_be_kept(path, prior) for path in (name.removeprefix("prior.") for name in names)}


def _to_be_kept(path: str, prior: Any) -> Any:
    found = pick(prior, path)
    if storable(found) != found:
        raise TemplateError(f"what was observed at {path!r} holds what cannot be journaled: {found!r:.80}")
    return found


def storable(value: Any) -> Any:
    """A JSON value as the journal can hold it. Targets answer more than JSON allows: numbers that are not
    finite become None, NUL and halves of characters a sign in their place."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {storable_text(key): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value


def storable_text(text: str) -> str:
    """A text as the journal can hold it."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def pick(value: Any, path: str) -> Any:
    """The part of a JSON value at a dotted path. Raises TemplateError naming the missing part."""
    found = value
    for part in path.split("."):
        if isinstance(found, Mapping) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise TemplateError(f"there is no {part!r} of {path!r} in what was observed")
    return cast("Any", found)


def _lookup(placeholder: str, names: Names) -> Any:
    if placeholder == "component":
        return names.component
    if placeholder == "execution":
        return names.execution
    target = target_of(placeholder)
    if target is not None:
        if target not in names.targets:
            raise TemplateError(f"there is no target {target!r} in the settings (executor.targets)")
        return names.targets[target].rstrip("/")
    if _PRIOR.match(placeholder):
        path = placeholder.removeprefix("prior.")
        if path not in names.prior:
            raise TemplateError(f"there is no {path!r} in what was observed")
        return names.prior[path]
    raise TemplateError(f"{{{placeholder}}} stands for nothing")
