"""What a change of a schema breaks, for consumers and producers that are not changed with it.

Releases are upgraded one service at a time, and topics keep old events for weeks. So a version
of a contract must read what an older producer wrote (topics are replayed), and what it writes
must be read by an older consumer. Only two things are free: a new optional field, which older
consumers pass over, and a new kind of event, or of record on a topic without events, which they
set aside as a dead letter. (So consumers are upgraded before the producer of a new kind.)

``v1/`` holds the schemas and the examples of the released contract, as ``make schemas`` and
``python -m schemas.generate --record v1`` left them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Schema = Mapping[str, Any]
Victim = Literal["older consumer", "newer consumer", "both"]
NEW_KINDS_AT = frozenset({"$.type", "$.kind"})
"""The enumerations that name the events: these may grow."""

_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


@dataclass(frozen=True, slots=True)
class Break:
    """One incompatible change: where, what, and who is broken by it. ``older consumer`` cannot
    read what is written from now on, ``newer consumer`` cannot read what was written before."""

    path: str
    change: str
    victim: Victim

    def __str__(self) -> str:
        return f"{self.path}: {self.change} ({self.victim})"


def breaking_changes(old: Schema, new: Schema) -> list[Break]:
    """Every change from ``old`` to ``new``, two JSON Schemas, that breaks one of the two sides."""
    return list(_compare(_Node(old, old, "$"), _Node(new, new, "$")))


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of a schema, and the document in which its references are resolved."""

    schema: Schema
    document: Schema
    path: str

    def at(self, schema: Schema, path: str) -> _Node:
        return _Node(schema, self.document, path)

    def resolved(self) -> _Node:
        reference = self.schema.get("$ref")
        if reference is None:
            return self
        target: Any = self.document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        return self.at(target, self.path).resolved()

    def alternatives(self) -> dict[str, _Node]:
        """The branches of a union by what tells them apart; a plain schema is its own only one."""
        node = self.resolved()
        branches = node.schema.get("anyOf") or node.schema.get("oneOf")
        if not branches:
            return {_sort(node.schema): node}
        return {
            name: alternative
            for branch in branches
            for name, alternative in node.at(branch, node.path).alternatives().items()
        }


def _sort(schema: Schema) -> str:
    """What tells the branches of a union apart: the kind of event, the title, or the type."""
    kind = schema.get("properties", {}).get("kind", {}).get("const")
    if kind is not None:
        return f"kind {kind}"
    if schema.get("type") == "object" and "title" in schema:
        return str(schema["title"])
    return str(schema.get("type", "anything"))


def _compare(old: _Node, new: _Node) -> Iterator[Break]:
    before, after = old.alternatives(), new.alternatives()
    path = old.path
    for name in sorted(before.keys() - after.keys()):
        yield Break(path, f"{name} is no longer accepted", "newer consumer")
    for name in sorted(after.keys() - before.keys()):
        is_kind = name.startswith("kind ") or (path == "$" and after[name].schema.get("type") == "object")
        if not is_kind:
            yield Break(path, f"{name} is new", "older consumer")
    for name in sorted(before.keys() & after.keys()):
        yield from _compare_one(before[name], after[name])


def _compare_one(old: _Node, new: _Node) -> Iterator[Break]:
    yield from _values(old, new)
    yield from _bounds(old, new)
    yield from _forms(old, new)
    yield from _properties(old, new)
    for keyword, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        before, after = old.schema.get(keyword), new.schema.get(keyword)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            path = old.path + suffix
            yield from _compare(old.at(before, path), new.at(after, path))
        elif before != after:
            yield Break(old.path + suffix, f"{keyword} changed", "both")


def _values(old: _Node, new: _Node) -> Iterator[Break]:
    before, after = _enumerated(old.schema), _enumerated(new.schema)
    if before is None and after is None:
        return
    if before is None or after is None:
        victim: Victim = "older consumer" if after is None else "newer consumer"
        yield Break(old.path, "any value or a fixed few", victim)
        return
    for value in sorted(before - after):
        yield Break(old.path, f"{value} is no longer a value", "newer consumer")
    if old.path not in NEW_KINDS_AT:
        for value in sorted(after - before):
            yield Break(old.path, f"{value} is a new value", "older consumer")


def _enumerated(schema: Schema) -> set[str] | None:
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return None if values is None else {repr(value) for value in values}


def _bounds(old: _Node, new: _Node) -> Iterator[Break]:
    for keywords, sign in ((_LOWER_BOUNDS, 1), (_UPPER_BOUNDS, -1)):
        for keyword in keywords:
            before, after = old.schema.get(keyword), new.schema.get(keyword)
            if before == after:
                continue
            tighter = before is None or (after is not None and (after - before) * sign > 0)
            victim: Victim = "newer consumer" if tighter else "older consumer"
            yield Break(old.path, f"{keyword} {before} became {after}", victim)


def _forms(old: _Node, new: _Node) -> Iterator[Break]:
    for keyword in ("pattern", "format"):
        before, after = old.schema.get(keyword), new.schema.get(keyword)
        if before != after:
            yield Break(old.path, f"{keyword} {before} became {after}", "both")


def _properties(old: _Node, new: _Node) -> Iterator[Break]:
    before: Schema = old.schema.get("properties", {})
    after: Schema = new.schema.get("properties", {})
    needed_before = set(old.schema.get("required", ()))
    needed_after = set(new.schema.get("required", ()))
    for name in sorted(before.keys() - after.keys()):
        yield Break(f"{old.path}.{name}", "removed or renamed", "older consumer")
    for name in sorted(needed_after - needed_before):
        yield Break(f"{old.path}.{name}", "now required", "newer consumer")
    for name in sorted((needed_before - needed_after) & after.keys()):
        yield Break(f"{old.path}.{name}", "no longer required", "older consumer")
    for name in sorted(before.keys() & after.keys()):
        path = f"{old.path}.{name}"
        yield from _compare(old.at(before[name], path), new.at(after[name], path))
