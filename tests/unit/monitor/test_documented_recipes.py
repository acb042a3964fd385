"""What docs/triggers-testing.md prints under "From other systems" makes samples, as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.metrics import read_record

GUIDE = Path(__file__).parents[3] / "docs" / "triggers-testing.md"
ANSWER = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [
            {"metric": {"service": "a"}, "values": [[1767225600, "0.5"], [1767225615.5, "NaN"]]},
            {"metric": {"service": "b"}, "values": [[1767225590, "+Inf"], [1767225595, "2"]]},
        ],
    },
}
CSV = "timestamp,value\n2026-01-01 00:00:00,3\n2026-01-01T01:00:05+01:00,4.5\n"


def _recipes() -> list[str]:
    section = (
        GUIDE.read_text(encoding="utf-8").partition("### From other systems\n")[2].partition("\n### ")[0]
    )
    return re.findall(r"```sh\n(python -c .*?)```", section, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("number", "files", "expected"),
    [
        (
            0,
            {"answer.json": json.dumps(ANSWER)},
            [
                {"metric": "response_time_p95_ms", "component": "b", "time": 1767225595, "value": 2000.0},
                {"metric": "response_time_p95_ms", "component": "a", "time": 1767225600, "value": 500.0},
            ],
        ),
        (
            1,
            {"history.csv": CSV},
            [
                {
                    "metric": "queue_length",
                    "component": "checkout",
                    "time": "2026-01-01T00:00:00+00:00",
                    "value": 3.0,
                },
                {
                    "metric": "queue_length",
                    "component": "checkout",
                    "time": "2026-01-01T01:00:05+01:00",
                    "value": 4.5,
                },
            ],
        ),
    ],
    ids=["Prometheus", "CSV"],
)
def test_a_recipe_as_printed(
    number: int, files: dict[str, str], expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    python = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{python}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", "-euc", _recipes()[number]], cwd=tmp_path, env=env, check=True)
    lines = (tmp_path / "samples.jsonl").read_bytes().splitlines()
    assert [json.loads(line) for line in lines] == expected
    assert all(not read_record(line).unread for line in lines)
