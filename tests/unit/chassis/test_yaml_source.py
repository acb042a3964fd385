"""A mistake in a YAML file is answered with its file, its line and the mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from chassis import yaml_source
from chassis.errors import ConfigError, ConfigErrors
from chassis.yaml_source import MAX_BYTES, Located, Problems, load_yaml, load_yaml_file

DOCUMENT = """\
# a comment
triggers:
  - name: slow
    for: 5m
    threshold: 0.25
    immediate: true
    note: "yes"
"""


def test_values_keep_their_lines() -> None:
    document = load_yaml(DOCUMENT, name="t.yml")
    trigger = document.mapping()["triggers"].sequence()[0].mapping()
    assert trigger["name"].string() == "slow"
    assert trigger["name"].place == "t.yml:3"
    assert trigger["threshold"].number() == 0.25
    assert trigger["immediate"].boolean() is True
    assert trigger["note"].string() == "yes"
    assert document.plain() == {
        "triggers": [{"name": "slow", "for": "5m", "threshold": 0.25, "immediate": True, "note": "yes"}]
    }


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "is empty"),
        ("# only a comment\n", 1, "is empty"),
        ("a: 1\nb: [1, 2\n", 3, "not valid YAML"),
        ("a: 1\n\tb: 2\n", 2, "not valid YAML"),
        (BOMB, 2, "the alias *a is not allowed"),
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' again (first on line 1)"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "the tag"),
        ("a: {b: 1}\nc:\n  <<: {d: 1}\n", 3, "a merge key"),
        ("a: 1\n---\nb: 2\n", 2, "a second document"),
        ("a: 1\n? [x]\n: 2\n", 2, "a key that is not a text"),
        ("a: 2026-13-45\n", 1, "cannot be read"),
        ("\n" + "[" * 40 + "]" * 40, 2, "more than 32 levels"),
        ("a: 1\nb: \x00\n", None, "not valid YAML"),
    ],
)
def test_what_is_refused_names_its_line(text: str, line: int | None, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_yaml(text, name="t.yml")
    assert problem in str(caught.value)
    assert caught.value.place == ("t.yml" if line is None else f"t.yml:{line}")
    assert caught.value.mend


def test_a_document_that_is_too_large_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ConfigError, match="larger than"):
        load_yaml("a: " + "x" * MAX_BYTES, name="t.yml")


def test_deep_nesting_does_not_exhaust_the_stack() -> None:
    with pytest.raises(ConfigError, match="levels of nesting"):
        load_yaml("[" * 50_000, name="t.yml")


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (Located.string, "5"),
        (Located.string, "''"),
        (Located.integer, "true"),
        (Located.integer, "1.5"),
        (Located.number, "'1'"),
        (Located.number, ".nan"),
        (Located.number, ".inf"),
        (Located.boolean, "1"),
        (Located.mapping, "[1]"),
        (Located.sequence, "{a: 1}"),
    ],
)
def test_a_value_of_the_wrong_kind_is_an_error_at_its_line(read: object, text: str) -> None:
    node = load_yaml(f"# first\na: {text}\n", name="t.yml").mapping()["a"]
    assert callable(read)
    with pytest.raises(ConfigError) as caught:
        read(node)
    assert caught.value.place == "t.yml:2"


def test_fields_reports_every_unknown_and_missing_key() -> None:
    document = load_yaml("nmae: x\nfor: 5m\nextra: 1\n", name="t.yml")
    with pytest.raises(ConfigErrors) as caught:
        document.fields(required=("name",), optional=("for",))
    places = {(error.place, error.problem) for error in caught.value.errors}
    assert places == {
        ("t.yml:1", "unknown key 'nmae'"),
        ("t.yml:3", "unknown key 'extra'"),
        ("t.yml:1", "the key 'name' is missing"),
    }
    assert "Did you mean 'name'?" in str(caught.value)


def test_problems_collects_errors_and_raises_them_together() -> None:
    document = load_yaml("a: x\nb: y\n", name="t.yml").mapping()
    problems = Problems()
    for node in document.values():
        with problems.collect():
            node.integer()
    with pytest.raises(ConfigErrors) as caught:
        problems.raise_any()
    assert [error.place for error in caught.value.errors] == ["t.yml:1", "t.yml:2"]


def test_a_file_that_is_missing_or_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: no such file"):
        load_yaml_file(tmp_path / "none.yml")
    latin = tmp_path / "latin.yml"
    latin.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        load_yaml_file(latin, name="latin.yml")
    assert caught.value.place == "latin.yml:2"


ROOT = Path(__file__).parents[3]
FILES = sorted(
    path
    for folder in ("config", "schemas", "examples", "tests")
    for pattern in ("*.yml", "*.yaml")
    for path in (ROOT / folder).rglob(pattern)
)
ODD = {
    "empty values": "a:\nb: ''\nc: ~\nd: [ ]\ne: {}\n",
    "blocks": "a: |\n  one\n  two\nb: >-\n  three\n\n  four\n# end\nc: 'it''s'\n",
    "numbers": "a: 0x1f\nb: 1_000\nc: 1e3\nd: -.inf\ne: 12:30\nf: 2026-01-02\ng: 0o7\n",
    "words": 'a: yes\nb: No\nc: nULL\nd: on off\ne: é日本\nf: "\\u00e9\\n"\n',
    "flows": "{a: [1, 2, {b: c}], 'd': \"e\"}\n",
    "a broken flow": "a: [1, 2\nb: 3\n",
    "a tab": "a:\n\t- b\n",
    "a strange character": "a: b\x07c\n",
    "a lone surrogate": "a: \ud800\n",
    "a bad indent": "a: 1\n  b: 2\n",
    "a colon": "a: b: c\n",
    "an alias": "a: &x 1\nb: *x\n",
}


def told(text: str) -> object:
    """All that is read of a text, with its lines, or what is said of it."""

    def lines(node: Located) -> object:
        below = node.content if isinstance(node.content, tuple) else ()
        if isinstance(node.content, dict):
            below = tuple(node.content.values())
        return (node.line, node.key_lines, [lines(each) for each in below])

    try:
        document = load_yaml(text, name="t.yml")
    except ConfigError as error:
        return str(error)
    return document, lines(document)


@pytest.mark.parametrize(
    "text",
    [*(pytest.param(path.read_text(encoding="utf-8"), id=path.name) for path in FILES)]
    + [pytest.param(text, id=name) for name, text in ODD.items()],
)
def test_it_is_read_alike_with_and_without_libyaml(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert yaml_source._FAST is not None
    fast = told(text)
    monkeypatch.setattr(yaml_source, "_FAST", None)
    assert fast == told(text)
