"""YAML files as values that remember where they were written.

A configuration file is read by people and written by people, so every mistake in it is
answered with the file, the line and what to write instead, and as many mistakes as can be
found are reported in one reading. What YAML allows and a configuration never needs is
refused: aliases (a few lines of them expand to billions of nodes), custom tags, merge keys,
several documents, duplicate keys, and files or nestings beyond any sensible size.

    document = load_yaml_file(path)                       # or load_yaml(text, name="triggers.yml")
    fields = document.fields(required=("name",), optional=("for",))
    fields["name"].string()                               # ConfigError with file:line otherwise
    raise fields["name"].error("there is no such thing", mend="Name one of a, b")

A reader that wants every mistake collects them: ``with problems.collect(): …`` around each
independent part, and ``problems.raise_any()`` at the end.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import yaml

from chassis.errors import ConfigError, ConfigErrors

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 100_000
MAX_BITS = 1_023
"""Whole numbers beyond it are no floating-point numbers, and no setting needs them."""
_FAST: Any = getattr(yaml, "CSafeLoader", None)
"""libyaml's parser is twenty times as fast: a thousand triggers are some ten thousand lines. PyYAML has
it in its wheels, and lacks it where it was built without."""

Scalar = str | int | float | bool | date | bytes | None


@dataclass(frozen=True, slots=True)
class Located:
    """One node of a YAML document and the line (from 1) on which it begins.

    ``content`` is a scalar, a tuple of nodes, or a dict from keys to nodes; ``key_lines`` holds
    the line of each key of a mapping.
    """

    content: Scalar | tuple[Located, ...] | dict[str, Located]
    name: str
    line: int
    key_lines: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def place(self) -> str:
        """``<file>:<line>``."""
        return f"{self.name}:{self.line}"

    def error(self, problem: str, *, mend: str) -> ConfigError:
        """The error to raise about this node."""
        return ConfigError(problem, place=self.place, mend=mend)

    def plain(self) -> Any:
        """The same value as plain dicts, lists and scalars."""
        if isinstance(self.content, dict):
            return {key: node.plain() for key, node in self.content.items()}
        if isinstance(self.content, tuple):
            return [node.plain() for node in self.content]
        return self.content

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.content, dict)

    @property
    def is_sequence(self) -> bool:
        return isinstance(self.content, tuple)

    def mapping(self) -> dict[str, Located]:
        """The mapping's nodes by key; raises ConfigError for anything else."""
        if not isinstance(self.content, dict):
            self._wrong_kind("a mapping", "Write `key: value` lines")
        return self.content

    def sequence(self) -> tuple[Located, ...]:
        """The sequence's nodes; raises ConfigError for anything else."""
        if not isinstance(self.content, tuple):
            self._wrong_kind("a list", "Write it as `- item` lines")
        return self.content

    def string(self) -> str:
        """A non-empty string; raises ConfigError for anything else."""
        if not isinstance(self.content, str):
            self._wrong_kind("a text", "Put it in quotes")
        if not self.content.strip():
            raise self.error("is empty", mend="Write a text")
        return self.content

    def boolean(self) -> bool:
        if not isinstance(self.content, bool):
            self._wrong_kind("true or false", "Write `true` or `false` without quotes")
        return self.content

    def integer(self) -> int:
        if isinstance(self.content, bool) or not isinstance(self.content, int):
            self._wrong_kind("a whole number", "Write digits without quotes")
        return self.content

    def number(self) -> float:
        """A finite number; raises ConfigError for anything else."""
        if isinstance(self.content, bool) or not isinstance(self.content, int | float):
            self._wrong_kind("a number", "Write a number without quotes")
        if self.content != self.content or self.content in (float("inf"), float("-inf")):
            raise self.error("is not a finite number", mend="Write a finite number")
        return float(self.content)

    def one_of(self, choices: Iterable[str]) -> str:
        """A string that is one of ``choices``; raises ConfigError that lists them."""
        known = tuple(choices)
        text = self.string()
        if text not in known:
            raise self.error(f"{text!r} is not known here", mend=_suggest(text, known))
        return text

    def fields(self, *, required: Iterable[str] = (), optional: Iterable[str] = ()) -> dict[str, Located]:
        """The mapping's nodes by key, when its keys are exactly of those named.

        Raises ConfigErrors that names each unknown key on its own line, and each missing one.
        """
        nodes = self.mapping()
        needed = tuple(required)
        known = tuple(dict.fromkeys((*needed, *optional)))
        wrong = [
            ConfigError(
                f"unknown key {key!r}",
                place=f"{self.name}:{self.key_lines.get(key, self.line)}",
                mend=_suggest(key, known),
            )
            for key in nodes
            if key not in known
        ]
        wrong += [
            self.error(f"the key {key!r} is missing", mend=f"Add `{key}: …`")
            for key in needed
            if key not in nodes
        ]
        if wrong:
            raise ConfigErrors(wrong)
        return nodes

    def known_fields(
        self, problems: Problems, *, required: Iterable[str] = (), optional: Iterable[str] = ()
    ) -> dict[str, Located]:
        """As ``fields``, but unknown and missing keys are added to ``problems``, so that they do not hide
        what is wrong with the others, which are given."""
        known = (*required, *optional)
        with problems.collect():
            self.fields(required=required, optional=optional)
        return {key: node for key, node in self.mapping().items() if key in known}

    def _wrong_kind(self, wanted: str, mend: str) -> NoReturn:
        raise self.error(f"{_describe(self.content)} where {wanted} is needed", mend=mend)


@dataclass(slots=True)
class Problems:
    """Collects configuration errors, so that one reading reports them all."""

    errors: list[ConfigError] = field(default_factory=list)

    def collect(self) -> _Collector:
        """Keep a ConfigError or ConfigErrors raised inside, and go on after the block."""
        return _Collector(self.errors)

    def add(self, error: ConfigError) -> None:
        self.errors.append(error)

    def drop_repeated(self) -> None:
        """Keep each error once: what several parts read is complained of by each of them."""
        self.errors = list({str(error): error for error in self.errors}.values())

    def raise_any(self) -> None:
        """Raise ConfigErrors with everything collected, if there is anything."""
        if self.errors:
            raise ConfigErrors(self.errors)


class _Collector:
    """Swallows configuration errors into a list; typed so that checkers know that it may."""

    def __init__(self, errors: list[ConfigError]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, ConfigErrors):
            self._errors.extend(error.errors)
            return True
        if isinstance(error, ConfigError):
            self._errors.append(error)
            return True
        return False


def load_yaml_file(path: Path, *, name: str | None = None) -> Located:
    """Read one YAML file; ``name`` is what errors call it (its path, unless given).

    Raises ConfigError when it cannot be read, is not UTF-8, or is refused by ``load_yaml``.
    """
    shown = name or str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot be read: {reason}", place=shown, mend="Name a readable file") from error
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(raw) <= MAX_BYTES:
            line = raw.count(b"\n", 0, error.start) + 1
            raise ConfigError("is not UTF-8", place=f"{shown}:{line}", mend="Save it as UTF-8") from error
        text = raw.decode("utf-8", "replace")
    return load_yaml(text, name=shown)


def load_yaml(text: str, *, name: str) -> Located:
    """Read one YAML document from ``text``; ``name`` is what errors call the file.

    Raises ConfigError with ``<name>:<line>`` for a syntax error, an empty document, a second
    document, an alias, a tag, a merge key, a duplicate or non-text key, and for more than
    ``MAX_BYTES`` bytes, ``MAX_DEPTH`` levels or ``MAX_NODES`` nodes.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES} bytes", place=name, mend="Split it into several files")
    if _FAST is not None:
        # What libyaml cannot read, PyYAML's own parser says better, and in the same words everywhere.
        with contextlib.suppress(yaml.YAMLError, UnicodeError):
            return _Reader(name, _FAST).read(text)
    try:
        return _Reader(name, yaml.SafeLoader).read(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark is not None else name
        problem = f"not valid YAML: {error.problem or error.context}"
        raise ConfigError(problem, place=place, mend="Mend the syntax there") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}", place=name, mend="Mend the file") from error


class _Reader:
    """Builds Located nodes from the parser's events, so that nothing is expanded before it is
    counted: PyYAML's own composer recurses and resolves aliases first."""

    def __init__(self, name: str, loader: Any) -> None:
        self._name = name
        self._loader = loader
        self._nodes = 0
        # Only its table of implicit resolvers and its scalar constructors are used.
        self._types: Any = yaml.SafeLoader("")

    def read(self, text: str) -> Located:
        events = self._checked(yaml.parse(text, Loader=self._loader))
        root: Located | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                self._refuse(event, "a second document", "Keep one document in a file")
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, depth=1)
        if root is None or root.content is None:
            raise ConfigError("is empty", place=f"{self._name}:1", mend="Write the configuration in it")
        return root

    def _checked(self, events: Iterator[Any]) -> Iterator[Any]:
        for event in events:
            if isinstance(event, yaml.AliasEvent):
                self._refuse(event, f"the alias *{event.anchor}", "Write the value out; aliases are not read")
            if isinstance(event, yaml.NodeEvent):
                self._nodes += 1
                if self._nodes > MAX_NODES:
                    self._refuse(event, f"more than {MAX_NODES} nodes", "Split it into several files")
                tag = getattr(event, "tag", None)
                if tag not in (None, "!"):
                    self._refuse(event, f"the tag {tag}", "Write a plain value")
            yield event

    def _node(self, event: Any, events: Iterator[Any], *, depth: int) -> Located:
        if depth > MAX_DEPTH:
            self._refuse(event, f"more than {MAX_DEPTH} levels of nesting", "Write it flatter")
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            return Located(self._scalar(event), self._name, line)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(item := next(events), yaml.SequenceEndEvent):
                items.append(self._node(item, events, depth=depth + 1))
            return Located(tuple(items), self._name, line)
        return self._mapping(line, events, depth)

    def _mapping(self, line: int, events: Iterator[Any], depth: int) -> Located:
        nodes: dict[str, Located] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._key(event)
            if key in nodes:
                self._refuse(event, f"the key {key!r} again (first on line {lines[key]})", "Keep one of them")
            lines[key] = event.start_mark.line + 1
            nodes[key] = self._node(next(events), events, depth=depth + 1)
        return Located(nodes, self._name, line, lines)

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse(event, "a key that is not a text", "Write a plain word as the key")
        if event.value == "<<":
            self._refuse(event, "a merge key", "Write the keys out")
        return str(event.value)

    def _scalar(self, event: Any) -> Scalar:
        # A plain scalar has the style None, or with libyaml "".
        if event.style:
            return str(event.value)
        tag = self._types.resolve(yaml.ScalarNode, event.value, (True, False))
        node = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark)
        try:
            value: Scalar = self._types.construct_object(node, deep=True)
        except (ValueError, OverflowError) as error:
            self._refuse(event, f"{_shortened(event.value)} cannot be read ({error})", "Put it in quotes")
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            what = f"the number {_shortened(event.value)} of {len(event.value)} characters"
            self._refuse(event, what, "Write a smaller one, or put it in quotes")
        return value

    def _refuse(self, event: Any, what: str, mend: str) -> NoReturn:
        place = f"{self._name}:{event.start_mark.line + 1}"
        raise ConfigError(f"{what} is not allowed", place=place, mend=mend)


def _describe(content: object) -> str:
    if content is None:
        return "nothing"
    if isinstance(content, dict):
        return "a mapping"
    if isinstance(content, tuple):
        return "a list"
    return _shortened(content)


def _shortened(content: object) -> str:
    text = repr(content)
    return text if len(text) <= 60 else text[:57] + "…"


def _suggest(text: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(text, known, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return "Known here: " + ", ".join(known) if known else "Leave it out"
