"""``backout report``: what is missing is asked for before anything is written."""

from __future__ import annotations

import pytest

from cli import main as command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--data-corruption or --security-breach, one of them"),
        (("--data-corruption", "--security-breach"), "one of them"),
        (("--data-corruption", "--reason", "x"), "say where it was noticed, with --component"),
        (("--data-corruption", "--component", "x"), "say what was seen, with --reason"),
        (("--data-corruption", "--component", "x", "--reason", " "), "with --reason"),
        (("--security-breach", "--component", "a b", "--reason", "x"), "--component: String should match"),
        (("--security-breach", "--component", "a", "--reason", "x" * 2_001), "--reason: String should have"),
        (
            ("--security-breach", "--component", "a", "--reason", "x", "--by", "y" * 201),
            "--by: String should",
        ),
        (("--security-breach", "--component", "a", "--reason", "x"), "no Kafka is set"),
    ],
)
def test_wrong_use_is_a_message_and_status_2(
    arguments: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: object,
) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setattr("sys.argv", ["backout", "report", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert shown.err.startswith("backout: ")
    assert words in shown.err
    assert shown.out == ""
