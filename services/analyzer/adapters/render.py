"""Draw a report: JSON, Markdown and one HTML page that needs nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import jinja2

from services.analyzer.domain import plot, wording
from services.analyzer.domain.document import Figures, MetricPart, Report

_SMALL_PLOTS = 12


@dataclass(frozen=True, slots=True)
class Rendered:
    """A report's three files."""

    json: bytes
    markdown: bytes
    html: bytes

    @property
    def sha256(self) -> str:
        """Of ``report.json``, from which the others follow."""
        return hashlib.sha256(self.json).hexdigest()

    def files(self) -> dict[str, bytes]:
        return {"report.json": self.json, "report.md": self.markdown, "report.html": self.html}


def render(report: Report) -> Rendered:
    """The same report always gives the same bytes."""
    environment = _environment()
    main, *others = report.metrics or (None,)
    context = {
        "report": report,
        "main": main,
        "main_plot": main and plot.plot_of(report, main, plot.LARGE, marked=True),
        "small_plots": [
            (part, drawn)
            for part in others
            if part is not None and (drawn := plot.plot_of(report, part, plot.SMALL, marked=False))
        ][:_SMALL_PLOTS],
    }
    return Rendered(
        json=report.to_json(),
        markdown=environment.get_template("report.md.j2").render(context).encode(),
        html=environment.get_template("report.html.j2").render(context).encode(),
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("services.analyzer.adapters"),
        # Whatever is not Markdown ends up in the page; Markdown has its own filter, `cell`.
        autoescape=jinja2.select_autoescape(disabled_extensions=("md.j2",), default=True),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        clock=wording.clock,
        day=wording.day_and_clock,
        iso=_iso,
        seconds=lambda value: "–" if value is None else wording.duration(value),
        number=lambda value: "–" if value is None else wording.number(value),
        quantity=lambda value, metric: "–" if value is None else wording.quantity(value, metric),
        sentence=wording.sentence,
        words=lambda text: str(text).replace("_", " "),
        cell=_cell,
        figure=_figure,
    )
    environment.globals["plural"] = wording.plural
    return environment


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(value: object) -> str:
    """A text within a Markdown table: one line, with nothing that ends the cell or begins a tag."""
    text = " ".join(str(value).split())
    for sign in ("\\", "|", "<", "`", "*", "[", "]"):
        text = text.replace(sign, "\\" + sign)
    return text


def _figure(figures: Figures, part: MetricPart) -> str:
    """A metric in one phase, in a cell: a counter's growth, else the median."""
    if figures.increase is not None:
        return f"+{wording.number(figures.increase)}"
    return "–" if figures.median is None else wording.quantity(figures.median, part.metric)
