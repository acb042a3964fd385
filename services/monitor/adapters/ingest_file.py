"""``ingest.yml`` of the configuration directory: what foreign metrics are called here.

metrics:
  - {from: http.server.request.duration, to: "response_time_{stat}_ms", factor: 1000, merge: true}
others: keep            # or drop
components: {shop/checkout: checkout}
"""

from __future__ import annotations

from pathlib import Path

from chassis.yaml_source import Located, Problems, load_yaml_file
from schemas.metrics import Sample, sample_problem
from services.monitor.domain.ingest.names import Names, Renaming

FILE = "ingest.yml"


def load_names(config_dir: Path) -> Names:
    """Read the mapping; without the file, all metrics keep their names. Raises ConfigErrors."""
    path = config_dir / FILE
    if not path.exists():
        return Names()
    problems = Problems()
    fields = load_yaml_file(path).known_fields(problems, optional=("metrics", "others", "components"))
    metrics: dict[str, Renaming] = {}
    if "metrics" in fields:
        with problems.collect():
            for node in fields["metrics"].sequence():
                with problems.collect():
                    _add(metrics, node, problems)
    components: dict[str, str] = {}
    if "components" in fields:
        with problems.collect():
            for name, node in fields["components"].mapping().items():
                with problems.collect():
                    components[name] = _component(node)
    keep_others = True
    with problems.collect():
        keep_others = "others" not in fields or fields["others"].one_of(("keep", "drop")) == "keep"
    problems.raise_any()
    return Names(metrics, components, keep_others)


def _add(metrics: dict[str, Renaming], node: Located, problems: Problems) -> None:
    fields = node.known_fields(problems, required=("from",), optional=("to", "factor", "merge"))
    origin, to, factor, merge = "", None, 1.0, False
    if "from" in fields:
        with problems.collect():
            origin = fields["from"].string()
            if origin in metrics:
                raise fields["from"].error(f"{origin!r} is named twice", mend="Keep one entry a metric")
    if "to" in fields:
        with problems.collect():
            to = fields["to"].string()
    if "factor" in fields:
        with problems.collect():
            factor = fields["factor"].number()
            if factor == 0.0:
                mend = "Write another number, such as 1000"
                raise fields["factor"].error("would make every value 0", mend=mend)
    if "merge" in fields:
        with problems.collect():
            merge = fields["merge"].boolean()
    metrics[origin] = Renaming(to, factor, merge)


def _component(node: Located) -> str:
    component = node.string()
    problem = sample_problem(Sample("metric", component, 0.0, 0.0))
    if problem is not None:
        raise node.error(problem.error, mend="Name the component as triggers and playbooks do")
    return component
