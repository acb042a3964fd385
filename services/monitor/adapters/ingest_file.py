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
    fields = load_yaml_file(path).fields(optional=("metrics", "others", "components"))
    problems = Problems()
    metrics: dict[str, Renaming] = {}
    for node in fields["metrics"].sequence() if "metrics" in fields else ():
        with problems.collect():
            _add(metrics, node)
    components: dict[str, str] = {}
    for name, node in fields["components"].mapping().items() if "components" in fields else ():
        with problems.collect():
            components[name] = _component(node)
    keep_others = True
    with problems.collect():
        keep_others = "others" not in fields or fields["others"].one_of(("keep", "drop")) == "keep"
    problems.raise_any()
    return Names(metrics, components, keep_others)


def _add(metrics: dict[str, Renaming], node: Located) -> None:
    fields = node.fields(required=("from",), optional=("to", "factor", "merge"))
    origin = fields["from"].string()
    if origin in metrics:
        raise fields["from"].error(f"{origin!r} is named twice", mend="Keep one entry a metric")
    factor = fields["factor"].number() if "factor" in fields else 1.0
    if factor == 0.0:
        raise fields["factor"].error("would make every value 0", mend="Write another number, such as 1000")
    metrics[origin] = Renaming(
        to=fields["to"].string() if "to" in fields else None,
        factor=factor,
        merge=fields["merge"].boolean() if "merge" in fields else False,
    )


def _component(node: Located) -> str:
    component = node.string()
    problem = sample_problem(Sample("metric", component, 0.0, 0.0))
    if problem is not None:
        raise node.error(problem.error, mend="Name the component as triggers and playbooks do")
    return component
