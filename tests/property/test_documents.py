"""Whatever JSON stands in a field of a document: the document is used as it is, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.errors import Rejected
from cropmask.fleet.records import AttemptRecord, RunRecord, State
from cropmask.fleet.taskfile import parse_order
from cropmask.grid import Tile
from cropmask.operate.estimate import Estimate
from cropmask.operate.planfile import Need, Plan, TilePlan
from cropmask.task import Period
from cropmask.tile.runkey import Change, ChangeCause

MOMENT = "2026-01-02T03:04:05.000000Z"
CHANGE = Change(ChangeCause.INPUTS, "geomad", "a", "b")
PLAN = Plan(
    region="eastern",
    name="eastern",
    version="1.0.0",
    period=Period.parse("2019"),
    recipe="forest",
    resolution=60,
    environment="local",
    catalog=None,
    output="/results",
    whole_region=True,
    made="2026-01-02T03:04:05+00:00",
    tiles=(TilePlan(Tile(10, 20), Need.CHANGED, "ab", (CHANGE,)), TilePlan(Tile(11, 20), Need.NEW)),
    estimate=Estimate(2, 5.0, 10.0, 480_000_000, 0, "measured"),
)
ATTEMPT = AttemptRecord(
    *("x010y020", "eastern", "2019--P1Y", "crop_mask_eastern", "night-1", "ab12"),
    state=State.FAILED,
    started=MOMENT,
    ended=MOMENT,
    seconds=1.5,
    reason="disk",
    stages=({"stage": "load"},),
    versions={"numpy": "2"},
)
RUN = RunRecord(
    *("night-1", "eastern", "crop_mask_eastern", "2019--P1Y", MOMENT, "forest", 60, False),
    tiles=("x010y020", "x011y020"),
)
LINE = {
    "attributes": {"run": "night-1", "recipe": "forest", "overwrite": "false", "resolution": "60"},
    "body": '{"period": "2019--P1Y", "region": "eastern", "tile": "x010y020"}',
}
READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "plan": (PLAN.to_json(), Plan.from_json),
    "attempt": (ATTEMPT.to_json(), AttemptRecord.from_json),
    "run": (RUN.to_json(), RunRecord.from_json),
    "task file": (json.dumps(LINE), lambda text: parse_order(text.encode() + b"\n", 0)),
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from(["\ud800", "x", "forest", MOMENT, "2019--P1Y", "x010y020", 60, 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)  # fmt: skip


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Path of every value in a document."""
    inner = (
        list(document.items())
        if isinstance(document, dict)
        else list(enumerate(document))
        if isinstance(document, list)
        else []
    )
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def put(document: Any, path: tuple[Any, ...], value: object) -> Any:
    if not path:
        return value
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return document


@pytest.mark.parametrize("kind", READERS)
@given(data=st.data())
def test_any_value_in_any_field(kind: str, data: st.DataObject) -> None:
    text, read = READERS[kind]
    place = data.draw(st.sampled_from(places(json.loads(text))))
    changed = put(json.loads(text), place, data.draw(VALUES))
    try:
        found = read(json.dumps(changed))
    except Rejected:
        return
    if isinstance(found, Plan | AttemptRecord | RunRecord):
        assert type(found).from_json(found.to_json()) == found
        found.to_json().encode()
    if isinstance(found, RunRecord):
        assert len(found.orders()) == len(found.tiles)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("resolution", "x"),
        ("resolution", 7),
        ("resolution", True),
        ("environment", "moon"),
        ("catalog", 5),
        ("output", None),
        ("whole_region", "yes"),
        ("period", 2019),
        ("recipe", []),
        ("estimate", {**asdict(PLAN.estimate), "memory": "much"}),
        ("tiles", [{"tile": 5, "need": "new", "changes": []}]),
        ("name", None),
    ],
)
def test_a_plan_names_the_field_that_is_wrong(field: str, value: object) -> None:
    document = {**json.loads(PLAN.to_json()), field: value}
    field = {"tiles": "tile"}.get(field, field)
    with pytest.raises(Rejected, match=rf"no plan of this version \((estimate\.)?{field}|memory"):
        Plan.from_json(json.dumps(document))


@pytest.mark.parametrize("kind", READERS)
def test_documents_come_back(kind: str) -> None:
    text, read = READERS[kind]
    assert read(text) in (PLAN, ATTEMPT, RUN, parse_order(json.dumps(LINE).encode(), 0))
