"""Which component depends on which: ``depends_on`` of targets.yml, read with every mistake named.

depends_on:
  neural_chunking: [pdf_extraction]
  query_api: [neural_chunking, vector_store]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chassis.yaml_source import Located, Problems, load_yaml_file
from services.monitor.adapters.rule_fields import read_name

KEY = "depends_on"
Dependencies = Mapping[str, tuple[str, ...]]


def load_dependencies(path: Path) -> Dependencies:
    """For each component that depends on others, those others; none where there is no such file.

    Raises ConfigErrors with everything that is wrong, a circle included.
    """
    if not path.exists():
        return {}
    return read_dependencies(load_yaml_file(path).mapping().get(KEY))


def read_dependencies(node: Located | None) -> Dependencies:
    """The dependencies that stand at ``node``. Raises ConfigErrors."""
    if node is None:
        return {}
    problems = Problems()
    found: dict[str, tuple[str, ...]] = {}
    for component, needed in node.mapping().items():
        with problems.collect():
            read_name(Located(component, node.name, node.key_lines.get(component, node.line)))
            found[component] = _needed(component, needed)
    problems.raise_any()
    circle = circle_in(found)
    if circle:
        words = " → ".join(circle)
        line = node.key_lines.get(circle[0], node.line)
        place = Located(circle[0], node.name, line)
        raise place.error(f"the dependencies go in a circle: {words}", mend="Leave one of them out")
    return found


def _needed(component: str, node: Located) -> tuple[str, ...]:
    names = tuple(read_name(item) for item in node.sequence())
    if not names:
        raise node.error(f"{component} depends on nothing", mend="Leave the line out, or name a component")
    if component in names:
        raise node.error(f"{component} depends on itself", mend="Name the components that it needs")
    if len(set(names)) < len(names):
        raise node.error("names a component twice", mend="Name each once")
    return names


def circle_in(dependencies: Dependencies) -> tuple[str, ...]:
    """The components of a circle, the first of them again at its end; empty where there is none."""
    done: set[str] = set()
    for start in dependencies:
        # A path and, for each component on it, those that are left to follow: a file may be deep.
        path = [start]
        left = [list(dependencies[start])]
        while path and start not in done:
            if not left[-1]:
                done.add(path.pop())
                left.pop()
                continue
            needed = left[-1].pop()
            if needed in path:
                return (*path[path.index(needed) :], needed)
            if needed not in done:
                path.append(needed)
                left.append(list(dependencies.get(needed, ())))
    return ()


def widest_spread(dependencies: Dependencies) -> int:
    """How many components a failure of one can spread to at most, itself included."""
    above: dict[str, set[str]] = {}
    for component, needed in dependencies.items():
        for name in needed:
            above.setdefault(name, set()).add(component)
    widest = 0
    for start in above:
        reached, following = {start}, [start]
        while following:
            fresh = above.get(following.pop(), set()) - reached
            reached |= fresh
            following += fresh
        widest = max(widest, len(reached))
    return widest
