"""Other stream processors that count the monitor's samples, each in an environment of its own.

``<name>/requirements.txt`` is locked; ``<name>/count.py`` prints what it measured as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = Path(".backout") / "bench" / "peers"
PATIENCE_S = 180


@dataclass(frozen=True, slots=True)
class Peer:
    """``times``: how many times its rate the monitor is to have. The slower ones are given only the
    first ``messages``; a rate is counted from the first to the last of them."""

    name: str
    label: str
    times: float
    messages: int


PEERS = (
    Peer("bytewax", "Bytewax, counting", 2.0, 1_000_000),
    Peer("quixstreams", "Quix Streams, counting", 8.0, 100_000),
    Peer("faust", "Faust, counting", 50.0, 20_000),
)


def install(peer: Peer) -> None:
    """Make the peer's environment, if it is not there. Raises CalledProcessError."""
    uv = [str(Path(sys.executable).with_name("uv"))]
    requirements = HERE / peer.name / "requirements.txt"
    directory = ENVIRONMENTS / peer.name
    stamp = directory / "installed.txt"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == requirements.read_text(encoding="utf-8"):
        return
    subprocess.run([*uv, "venv", "-q", "--clear", str(directory), "--python", sys.executable], check=True)
    python = directory / "bin" / "python"
    command = [*uv, "pip", "install", "-q", "--python", str(python), "--require-hashes"]
    subprocess.run([*command, "-r", str(requirements)], check=True)
    stamp.write_text(requirements.read_text(encoding="utf-8"), encoding="utf-8")


def rate(peer: Peer, bootstrap: str, topic: str, messages: int) -> float:
    """Messages a second of one run. Raises RuntimeError with what it said if it failed."""
    argv = [str(ENVIRONMENTS / peer.name / "bin" / "python"), str(HERE / peer.name / "count.py")]
    argv += [bootstrap, topic, str(min(messages, peer.messages))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    if done.returncode != 0:
        raise RuntimeError(f"{peer.label} failed:\n{done.stderr[-2_000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["rate"])
