"""A stand-in for queries of logs in CloudWatch.

It knows ``filter ispresent``, ``stats ... by``, ``sort`` and ``limit``; all else is an error.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

Row = dict[str, Any]

_FIGURE: Final = re.compile(
    r"(?P<function>sum|count)\((?P<of>\*|[\w.]+|strcontains\([\w.]+, '[^']*'\))\)"
    r"(?P<then>(?: [*/] [\d.]+)*) as (?P<name>\w+)"
)
_CONTAINS: Final = re.compile(r"strcontains\(([\w.]+), '([^']*)'\)")
_BY: Final = re.compile(r"stats (?P<figures>.+) by (?P<field>[\w.]+) as (?P<name>\w+)")
_SOURCE: Final = re.compile(r"SOURCE '(?P<group>[^']+)'")


def as_pod_line(line: str) -> dict[str, Any]:
    """A line of a pod as the CloudWatch add-on puts it: parsed beside, where it is JSON."""
    event: dict[str, Any] = {"log": line}
    try:
        event["log_processed"] = json.loads(line)
    except ValueError:
        return event
    return event


def query_logs(query: str, groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Row]:
    """Rows of a query over events by log group."""
    source, *commands = [command.strip() for command in query.split("|")]
    found = _SOURCE.fullmatch(source)
    if found is None:
        raise ValueError(f"no source: {source}")
    rows: list[Row] = [_flatten(event) for event in groups.get(found["group"], ())]
    for command in commands:
        word, _, rest = command.partition(" ")
        if word == "filter":
            fields = [_inside(one, "ispresent") for one in rest.split(" and ")]
            rows = [row for row in rows if all(field in row for field in fields)]
        elif word == "stats":
            rows = _summarize(command, rows)
        elif word == "sort":
            field, _, order = rest.partition(" ")
            rows = sorted(rows, key=lambda row: row[field], reverse=order == "desc")
        elif word == "limit":
            rows = rows[: int(rest)]
        else:
            raise ValueError(f"unknown command: {command}")
    return rows


def _flatten(event: Mapping[str, Any], before: str = "") -> Row:
    row: Row = {}
    for name, value in event.items():
        if isinstance(value, Mapping):
            row |= _flatten(value, f"{before}{name}.")
        elif value is not None:
            row[before + name] = value
    return row


def _inside(text: str, function: str) -> str:
    if not (text.startswith(f"{function}(") and text.endswith(")")):
        raise ValueError(f"no {function}: {text}")
    return text[len(function) + 1 : -1]


def _summarize(command: str, rows: Sequence[Row]) -> list[Row]:
    found = _BY.fullmatch(command)
    if found is None:
        raise ValueError(f"unknown statistics: {command}")
    figures = re.split(r", (?=sum\(|count\()", found["figures"])
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.get(found["field"])].append(row)
    return [
        {found["name"]: value, **dict(_figure(figure, group) for figure in figures)}
        for value, group in groups.items()
    ]


def _figure(text: str, rows: Sequence[Row]) -> tuple[str, float]:
    found = _FIGURE.fullmatch(text)
    if found is None:
        raise ValueError(f"unknown figure: {text}")
    if found["function"] == "count":
        value = float(len(rows))
    elif contains := _CONTAINS.fullmatch(found["of"]):
        value = float(sum(contains[2] in str(row.get(contains[1], "")) for row in rows))
    else:
        value = float(sum(row.get(found["of"], 0) for row in rows))
    for sign, number in re.findall(r"([*/]) ([\d.]+)", found["then"]):
        value = value * float(number) if sign == "*" else value / float(number)
    return found["name"], value
