"""A directory with triggers, in which ``backout triggers`` is run as people run it."""

from __future__ import annotations

from pathlib import Path

import pytest

TARGETS = 'default: "{component}"\n'
OWN_RULES = "rules.yml"


def enter(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    rules: str,
    *,
    at: str = OWN_RULES,
    targets: str = TARGETS,
) -> Path:
    """Put ``rules`` into the file ``at``, and targets, and go there, with no setting from outside."""
    for name, text in ((at, rules), ("config/targets.yml", targets)):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    monkeypatch.chdir(directory)
    for setting in ("BACKOUT_CONFIG_DIR", "BACKOUT_MONITOR__ALLOWED_LATENESS_S"):
        monkeypatch.delenv(setting, raising=False)
    return directory
