"""A stand-in for CloudWatch: what its statistics, metric math and queries make of values.

Only what the templates use, after the documentation of AWS:

- values of a metric are those with exactly its dimensions;
- an operator, ``IF`` included, has no data where one of its series has none;
- ``FILL`` has data for every period of the time that is looked at;
- ``SUM``, ``AVG``, ``MIN`` and ``MAX`` of several series leave out those without data.

What it does not know is an error.
"""

from __future__ import annotations

import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Final

Series = dict[int, float]
"""Values by the second in which their period begins."""
Value = float | Series | list[Series]

_STATISTICS: Final[dict[str, Callable[[list[float]], float]]] = {
    "Sum": sum,
    "Average": fmean,
    "Minimum": min,
    "Maximum": max,
    "SampleCount": len,
}
_OF_MANY: Final[dict[str, Callable[[list[float]], float]]] = {
    "SUM": sum,
    "AVG": fmean,
    "MIN": min,
    "MAX": max,
    "COUNT": len,
}
_OPERATORS: Final[tuple[dict[str, Callable[[float, float], float]], ...]] = (
    {"OR": lambda a, b: float(bool(a) or bool(b))},
    {"AND": lambda a, b: float(bool(a) and bool(b))},
    {
        "==": lambda a, b: float(a == b),
        "!=": lambda a, b: float(a != b),
        ">": lambda a, b: float(a > b),
        "<": lambda a, b: float(a < b),
        ">=": lambda a, b: float(a >= b),
        "<=": lambda a, b: float(a <= b),
    },
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv},
)
"""By how loosely they bind."""
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|'(?P<text>[^']*)'|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>==|!=|>=|<=|[-+*/<>(),]))"
)
_QUERY: Final = re.compile(
    r'SELECT (?P<function>[A-Z]+)\((?P<metric>\w+)\) FROM SCHEMA\("(?P<namespace>[\w/]+)", '
    r"(?P<dimensions>\w+(?:, \w+)*)\)(?: WHERE (?P<where>.+))?"
)
_WHERE: Final = re.compile(r"(\w+) = '([^']*)'")
_SEARCH: Final = re.compile(r"\{(?P<schema>[\w/,]+)\} (?P<words>.+)")
_WORD: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Metric:
    """What a value belongs to."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Metric:
        """As the API and templates write it."""
        dimensions = {(d["Name"], d["Value"]) for d in given.get("Dimensions", ())}
        return cls(given["Namespace"], given["MetricName"], frozenset(dimensions))


@dataclass(slots=True)
class Recording:
    """Values that were put; it takes what the client of CloudWatch takes."""

    values: dict[Metric, list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Seconds and value, by metric."""

    def put(self, metric: Metric, second: float, value: float) -> None:
        """Keep a value."""
        self.values[metric].append((second, value))

    def put_metric_data(self, Namespace: str, MetricData: Sequence[Mapping[str, Any]]) -> None:
        """Keep values, as boto3's client would put them."""
        for datum in MetricData:
            metric = Metric.parse({"Namespace": Namespace, **datum})
            self.put(metric, datum["Timestamp"].timestamp(), datum["Value"])

    def matching(
        self, namespace: str, name: str, dimensions: Sequence[str], where: Mapping[str, str]
    ) -> Iterator[Metric]:
        """Metrics with just these dimensions, some of which have the values of ``where``."""
        for metric in self.values:
            found = dict(metric.dimensions)
            is_named = (metric.namespace, metric.name, set(found)) == (
                namespace,
                name,
                set(dimensions),
            )
            if is_named and where.items() <= found.items():
                yield metric


@dataclass(frozen=True, slots=True)
class Window:
    """What is looked at: periods of so many seconds, the last of which ends at ``end``."""

    end: int
    period: int
    count: int

    @property
    def starts(self) -> list[int]:
        """Beginnings of the periods."""
        first = self.end - self.count * self.period
        return [first + number * self.period for number in range(self.count)]

    def series(
        self, values: Sequence[tuple[float, float]], make: Callable[[list[float]], float]
    ) -> Series:
        """A statistic of values, period by period; without data where there are none."""
        found: dict[int, list[float]] = defaultdict(list)
        starts = self.starts
        for second, value in values:
            number = int(second - starts[0]) // self.period
            if second >= starts[0] and number < self.count:
                found[starts[number]].append(value)
        return {start: float(make(found[start])) for start in starts if start in found}


@dataclass(slots=True)
class Evaluator:
    """Evaluates expressions over a window; ``known`` are series by their ids."""

    recording: Recording
    window: Window
    known: Mapping[str, Value] = field(default_factory=dict)
    _tokens: list[tuple[str, str]] = field(default_factory=list)

    def evaluate(self, expression: str) -> Value:
        """Value of an expression or a query."""
        if expression.startswith("SELECT "):
            return self._query(expression)
        self._tokens = list(_tokenize(expression))
        value = self._operation(0)
        if self._tokens:
            raise ValueError(f"'{expression}' goes on with {self._tokens[0][1]}")
        return value

    def statistic(self, metric: Metric, statistic: str) -> Series:
        """Statistic of one metric."""
        values = self.recording.values.get(metric, ())
        return self.window.series(values, _STATISTICS[statistic])

    def _query(self, query: str) -> Series:
        found = _QUERY.fullmatch(query)
        if found is None:
            raise ValueError(f"no query: {query}")
        conditions = (found["where"] or "").split(" AND ") if found["where"] else []
        where = dict(_match(_WHERE, condition).groups() for condition in conditions)
        dimensions = found["dimensions"].split(", ")
        metrics = self.recording.matching(found["namespace"], found["metric"], dimensions, where)
        values = [value for metric in metrics for value in self.recording.values[metric]]
        return self.window.series(values, _OF_MANY[found["function"]])

    def _operation(self, level: int) -> Value:
        if level == len(_OPERATORS):
            return self._operand()
        value = self._operation(level + 1)
        while self._tokens and self._tokens[0][1] in _OPERATORS[level]:
            operate = _OPERATORS[level][self._tokens.pop(0)[1]]
            value = _apply(operate, value, self._operation(level + 1))
        return value

    def _operand(self) -> Value:
        kind, text = self._tokens.pop(0)
        if kind == "number":
            return float(text)
        if text == "(":
            value = self._operation(0)
            self._expect(")")
            return value
        if kind == "name" and self._tokens and self._tokens[0][1] == "(":
            return self._function(text)
        if kind == "name":
            return self.known[text]
        raise ValueError(f"unexpected {text}")

    def _function(self, name: str) -> Value:
        self._expect("(")
        if name == "SEARCH":
            return self._search()
        arguments = [self._operation(0)]
        while self._tokens[0][1] == ",":
            self._expect(",")
            arguments.append(self._operation(0))
        self._expect(")")
        if name == "IF":
            condition, then, otherwise = arguments
            return _choose(condition, then, otherwise)
        if name == "FILL":
            series, filler = arguments
            return _fill(series, filler, self.window)
        (series,) = arguments
        return _aggregate(_OF_MANY[name], series)

    def _search(self) -> list[Series]:
        words = self._tokens.pop(0)[1]
        self._expect(",")
        statistic = self._tokens.pop(0)[1]
        self._expect(",")
        period = int(self._tokens.pop(0)[1])
        self._expect(")")
        if period != self.window.period:
            raise ValueError(f"searched by {period} s, looked at by {self.window.period} s")
        found = _match(_SEARCH, words)
        namespace, *dimensions = found["schema"].split(",")
        where = dict(_WORD.findall(found["words"]))
        name = where.pop("MetricName")
        metrics = list(self.recording.matching(namespace, name, dimensions, where))
        series = [self.statistic(metric, statistic) for metric in metrics]
        return [found for found in series if found]

    def _expect(self, sign: str) -> None:
        _, found = self._tokens.pop(0)
        if found != sign:
            raise ValueError(f"{sign} expected, not {found}")


def _tokenize(expression: str) -> Iterator[tuple[str, str]]:
    at, text = 0, expression.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"'{text[at:]}' cannot be read")
        at = found.end()
        kind = str(found.lastgroup)
        yield kind, found[kind]


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' cannot be read")
    return found


def _apply(operate: Callable[[float, float], float], left: Value, right: Value) -> Value:
    if isinstance(left, list):
        return [as_series(_apply(operate, one, right)) for one in left]
    if isinstance(right, list):
        return [as_series(_apply(operate, left, one)) for one in right]
    if isinstance(left, dict) or isinstance(right, dict):
        return {
            at: operate(_value_at(left, at), _value_at(right, at)) for at in _shared(left, right)
        }
    return operate(left, right)


def _choose(condition: Value, then: Value, otherwise: Value) -> Value:
    chosen = _shared(condition, then, otherwise)
    return {
        at: _value_at(then if _value_at(condition, at) else otherwise, at) for at in sorted(chosen)
    }


def _fill(series: Value, filler: Value, window: Window) -> Value:
    if isinstance(series, list):
        return [as_series(_fill(one, filler, window)) for one in series]
    return {at: as_series(series).get(at, _value_at(filler, at)) for at in window.starts}


def _aggregate(make: Callable[[list[float]], float], value: Value) -> Value:
    if isinstance(value, list):
        times = sorted({at for series in value for at in series})
        return {at: float(make([one[at] for one in value if at in one])) for at in times}
    return float(make(list(as_series(value).values())))


def _shared(*values: Value) -> list[int]:
    """Times at which all series have data."""
    times = [set(value) for value in values if isinstance(value, dict)]
    return sorted(set.intersection(*times))


def _value_at(value: Value, at: int) -> float:
    if isinstance(value, list):
        raise TypeError("one series is wanted, not several")
    return value[at] if isinstance(value, dict) else value


def as_series(value: Value) -> Series:
    """One series; an error if it is something else."""
    if not isinstance(value, dict):
        raise TypeError("a series is wanted")
    return value
