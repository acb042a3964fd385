"""Write ``jgo.lock.toml`` anew: ``python -m chassis.embedded.lock_jars``, after changing a version.

The lock holds coordinates and SHA-256 sums, and no address: where packages come from is the
resolver's own setting.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from chassis.embedded.jars import COORDINATES, LOCK_FILE


def write_lock(path: Path = LOCK_FILE) -> int:
    """Resolve ``COORDINATES``, fetch every jar and write their lock to ``path``; the number of jars."""
    from jgo.maven import MavenContext
    from jgo.parse import Endpoint

    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), local_repos=[], timeout=60)
        wanted = [
            context.create_dependency(replace(coordinate, scope="compile"))
            for coordinate in Endpoint.parse(COORDINATES).coordinates
        ]
        inputs, transitive = context.resolver.resolve(wanted)
        kept = [*inputs, *(item for item in transitive if item.scope in ("compile", "runtime"))]
        lines = ["# Written by `python -m chassis.embedded.lock_jars`; do not edit.", ""]
        for artifact in (dependency.artifact for dependency in kept):
            digest = hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()
            lines += [
                "[[dependencies]]",
                f'groupId = "{artifact.groupId}"',
                f'artifactId = "{artifact.artifactId}"',
                f'version = "{artifact.version}"',
                f'packaging = "{artifact.packaging}"',
                f'sha256 = "{digest}"',
                "",
            ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return len(kept)


if __name__ == "__main__":
    sys.stdout.write(f"{write_lock()} jars locked in {LOCK_FILE.name}\n")
