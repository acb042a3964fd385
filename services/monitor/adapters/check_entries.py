"""One condition of a trigger: what is measured, over which window, and its thresholds."""

from __future__ import annotations

from services.monitor.adapters.rule_fields import EntryFields, read_choice
from services.monitor.domain.language.aggregates import AGGREGATES, DEFAULT_AGGREGATE, TRAITS, Aggregate
from services.monitor.domain.language.conditions import OPERATORS, Condition, parse_condition
from services.monitor.domain.language.rules import Check

DEFAULT_STALENESS_S = 300
MAX_WINDOW_S = 86_400
"""A pane a second is kept for each component: 7 MB for a day. Also the longest `staleness`."""
CHECK_KEYS = ("metric", "ratio", "when", "aggregate", "window", "staleness", "clear")

NO_CHECK = Check("", DEFAULT_AGGREGATE, DEFAULT_STALENESS_S, Condition(">", 0.0))


class CheckEntry(EntryFields):
    """Reads those of an entry's keys that are in ``CHECK_KEYS``."""

    def check(self) -> Check:
        """The check; what is wrong with it is added to the problems."""
        metric, to = self._metrics()
        when: Condition | None = None
        clear: Condition | None = None
        if "when" in self._fields:
            with self._problems.collect():
                when = self._condition("when")
            with self._problems.collect():
                clear = self._clear(when)
        else:
            self._problems.add(self._node.error("the key 'when' is missing", mend='Add `when: "> 3000"`'))
        aggregate, window = self._aggregate_and_window()
        return Check(metric, aggregate, window, when or NO_CHECK.when, clear, to)

    def _metrics(self) -> tuple[str, str | None]:
        if ("metric" in self._fields) is ("ratio" in self._fields):
            mend = "Write `metric: error_rate`, or `ratio: {of: errors_total, to: requests_total}`"
            self._problems.add(self._node.error("a metric or a ratio is needed, one of them", mend=mend))
            return "", None
        with self._problems.collect():
            if "metric" in self._fields:
                return self._fields["metric"].string(), None
            node = self._fields["ratio"]
            fields = node.fields(required=("of", "to"))
            of, to = fields["of"].string(), fields["to"].string()
            if of == to:
                raise node.error("is a metric's ratio to itself", mend="Name two metrics")
            return of, to
        return "", None

    def _condition(self, key: str) -> Condition:
        node = self._fields[key]
        text = node.string()
        try:
            return parse_condition(text)
        except ValueError as error:
            if "increase" in text or "decrease" in text:
                mend = 'Write aggregate: change, window: 5m, when: "> 15%"'
                raise node.error(f"{text!r} is the form of an early warning", mend=mend) from None
            operators = " ".join(OPERATORS)
            mend = f'Write an operator ({operators}) and a number, as in {key}: "> 3000"'
            raise node.error(str(error), mend=mend) from None

    def _clear(self, when: Condition | None) -> Condition | None:
        if "clear" not in self._fields:
            return None
        clear = self._condition("clear")
        if when is not None and not clear.excludes(when):
            raise self._fields["clear"].error(
                f"`clear: {clear}` overlaps with `when: {when}`, or does not look the other way",
                mend='A trigger of `when: "> 3000"` may have `clear: "< 2500"`',
            )
        return clear

    def _aggregate_and_window(self) -> tuple[Aggregate, int]:
        aggregate: Aggregate | None = None if "aggregate" in self._fields else DEFAULT_AGGREGATE
        if aggregate is None:
            with self._problems.collect():
                aggregate = read_choice(self._fields["aggregate"], AGGREGATES)
        if aggregate is None:
            return NO_CHECK.aggregate, NO_CHECK.window
        traits = TRAITS[aggregate]
        if traits.is_newest:
            why = f"`{aggregate}` looks at the newest sample; how long it counts is its `staleness`"
            self._forbid("window", why)
            return aggregate, self._window("staleness", DEFAULT_STALENESS_S)
        newest = " and ".join(f"`{name}`" for name in AGGREGATES if TRAITS[name].is_newest)
        self._forbid("staleness", f"`{aggregate}` looks at a `window`; only {newest} has a `staleness`")
        if "window" not in self._fields:
            mend = "Add `window: 1m`"
            self._problems.add(self._node.error(f"the aggregate {aggregate!r} needs a window", mend=mend))
        return aggregate, self._window("window", 60, least=traits.least_window)

    def _window(self, key: str, default: int, *, least: int = 1) -> int:
        seconds = self._duration(key, default, least=least)
        if seconds > MAX_WINDOW_S:
            mend = "Write a shorter one, or let the metric itself sum it up"
            self._problems.add(self._fields[key].error(f"a {key} is a day at most", mend=mend))
        return seconds
