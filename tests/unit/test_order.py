"""Orders are what messages say; nothing else passes for one."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.errors import Rejected
from cropmask.fleet.records import AttemptKey, AttemptRecord, RunRecord, State
from cropmask.grid import RESOLUTIONS, Tile
from cropmask.product import RECIPES
from cropmask.task import Order, Period, Task, make_run_id, parse_run_id

tiles = st.builds(Tile, st.integers(0, 360), st.integers(0, 152))
periods = st.builds(
    lambda year, month: Period.year_of(f"{year}-{month}--P1Y"),
    st.integers(1985, 2100),
    st.sampled_from(("01", "07")),
)
runs = st.from_regex(r"[a-z0-9][a-z0-9-]{0,38}[a-z0-9]", fullmatch=True)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)
orders = st.builds(
    Order,
    st.builds(Task, tiles, st.sampled_from(["eastern", "sahel"]), periods),
    runs,
    st.sampled_from(RECIPES),
    st.none() | st.sampled_from(RESOLUTIONS),
    st.booleans(),
)


@given(orders)
def test_an_order_survives_its_message(order: Order) -> None:
    assert Order.parse(order.body, order.attributes) == order
    assert len(order.attributes) <= 10
    assert all(order.attributes.values())


def test_a_message_sent_by_hand_needs_no_attributes() -> None:
    order = Order.parse('{"period": "2019", "region": "eastern", "tile": "x215y075"}', {})
    assert (order.run, order.recipe, order.resolution, order.overwrite) == (
        "adhoc",
        "forest",
        None,
        False,
    )


@given(st.text(), st.dictionaries(st.sampled_from(["run", "recipe", "resolution"]), st.text()))
def test_what_is_no_order_is_rejected_and_nothing_else_happens(
    body: str, attributes: dict[str, str]
) -> None:
    with contextlib.suppress(Rejected):
        assert isinstance(Order.parse(body, attributes), Order)


@pytest.mark.parametrize(
    "attributes", [{"recipe": "oak"}, {"resolution": "30"}, {"overwrite": "yes"}, {"run": "A B"}]
)
def test_an_attribute_of_ours_with_a_strange_value_is_rejected(attributes: dict[str, str]) -> None:
    body = Task(Tile(215, 75), "eastern", Period.year_of("2019")).to_json()
    with pytest.raises(Rejected):
        Order.parse(body, attributes)


@given(moments, moments)
def test_names_of_runs_sort_by_time(one: datetime, other: datetime) -> None:
    first, second = (make_run_id(moment, lambda _: "0000") for moment in (one, other))
    assert parse_run_id(first) == first
    assert (first < second) == (one.replace(microsecond=0) < other.replace(microsecond=0))


@given(
    st.builds(
        AttemptKey,
        tiles,
        moments,
        st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
        st.sampled_from(State),
        st.just("crop_mask_eastern"),
        periods.map(str),
        runs,
    )
)
def test_the_name_of_a_document_says_its_attempt(key: AttemptKey) -> None:
    assert AttemptKey.parse(key.key) == key


@given(st.text())
def test_other_keys_name_no_attempt(text: str) -> None:
    assert AttemptKey.parse(f"_runs/a/b/c/{text}.json") is None


@pytest.mark.parametrize("moment", ["20190704T240000000000Z", "20190731T236000000000Z"])
def test_moments_that_no_clock_shows_name_no_attempt(moment: str) -> None:
    key = "_runs/a/b/c/x215y075/{}-0a1b.FAILED.json"
    assert AttemptKey.parse(key.format("20190704T230000000000Z")) is not None
    assert AttemptKey.parse(key.format(moment)) is None


def record(**changes: object) -> AttemptRecord:
    known = {
        "tile": "x215y075",
        "region": "eastern",
        "period": "2019--P1Y",
        "product": "crop_mask_eastern",
        "run": "night-1",
        "attempt": "0a1b",
        "state": State.FAILED,
        "started": "2019-07-04T08:15:00.000123+00:00",
    }
    return AttemptRecord(**{**known, **changes})  # type: ignore[arg-type]


def test_a_record_survives_its_document_and_names_it() -> None:
    made = record(stages=({"stage": "write", "wall_seconds": 1.5},), reason="connection")
    again = AttemptRecord.from_json(made.to_json())
    assert (again.reason, again.state, list(again.stages)) == (
        made.reason,
        State.FAILED,
        list(made.stages),
    )
    assert AttemptKey.parse(made.key.key) == again.key


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tile": 1}', "null", "[" * 100_000])
def test_no_record_is_rejected(text: str) -> None:
    for kind in (AttemptRecord, RunRecord):
        with pytest.raises(Rejected):
            kind.from_json(text)


@given(st.lists(tiles, unique=True), runs, st.sampled_from(RECIPES), st.sampled_from(RESOLUTIONS))
def test_a_run_gives_one_order_a_tile(
    some: list[Tile], run: str, recipe: str, resolution: int
) -> None:
    made = RunRecord(
        run=run,
        region="eastern",
        product="crop_mask_eastern",
        period="2019--P1Y",
        submitted="2019-07-04T08:15:00+00:00",
        recipe=recipe,
        resolution=resolution,
        overwrite=False,
        tiles=tuple(map(str, some)),
    )
    assert RunRecord.from_json(made.to_json()) == made
    assert [order.task.tile for order in made.orders()] == some
    assert {(order.run, order.recipe) for order in made.orders()} <= {(run, recipe)}
