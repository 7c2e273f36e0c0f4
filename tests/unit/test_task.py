"""Periods, tasks and run keys: what a message says and how it comes back."""

import json
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmask.errors import Rejected
from cropmask.grid import AFRICA_10, Tile
from cropmask.task import Period, RunKey, Task

MONTHS = st.builds(date, st.integers(1, 9980), st.integers(1, 12), st.just(1))
PERIODS = st.builds(Period, MONTHS, st.integers(1, 120))
TASKS = st.builds(
    Task,
    st.builds(Tile, st.integers(0, AFRICA_10.columns - 1), st.integers(0, AFRICA_10.rows - 1)),
    st.from_regex("[a-z][a-z0-9_]{0,40}", fullmatch=True),
    st.builds(
        Period,
        st.builds(date, st.integers(1, 9980), st.sampled_from((1, 7)), st.just(1)),
        st.just(12),
    ),
)


@pytest.mark.parametrize(
    ("text", "printed", "start", "end"),
    [
        ("2019--P1Y", "2019--P1Y", date(2019, 1, 1), date(2019, 12, 31)),
        ("2019", "2019--P1Y", date(2019, 1, 1), date(2019, 12, 31)),
        ("2019-01--P12M", "2019--P1Y", date(2019, 1, 1), date(2019, 12, 31)),
        ("2020-07--P1Y", "2020-07--P1Y", date(2020, 7, 1), date(2021, 6, 30)),
        ("2020-07--P12M", "2020-07--P1Y", date(2020, 7, 1), date(2021, 6, 30)),
        ("2019-01--P6M", "2019-01--P6M", date(2019, 1, 1), date(2019, 6, 30)),
        ("2019-07--P6M", "2019-07--P6M", date(2019, 7, 1), date(2019, 12, 31)),
        ("2020-02--P1M", "2020-02--P1M", date(2020, 2, 1), date(2020, 2, 29)),
        ("2019-07--P9Y", "2019-07--P9Y", date(2019, 7, 1), date(2028, 6, 30)),
    ],
)
def test_periods_parse_and_print(text, printed, start, end):
    period = Period.parse(text)
    assert (str(period), period.start, period.end) == (printed, start, end)


@pytest.mark.parametrize(
    "text",
    [
        *("", "19", "2019-", "2019--", "2019--P", "2019--P0Y", "2019--P1D", "2019-13--P1M"),
        *("2019-00--P1M", "0000--P1Y", "9999--P10Y", "2019-7--P6M", "x2019--P1Y"),
        *(
            "2019--P1Y ",
            "2019/2020",
            "2019--P1Y\n",
            "\uff12\uff10\uff11\uff19",
            "\u0662\u0660\u0661\u0669--P1Y",
        ),
    ],
)
def test_other_periods_are_refused_in_one_line(text):
    with pytest.raises(Rejected, match="is not a period: write it like 2019--P1Y") as caught:
        Period.parse(text)
    assert "\n" not in str(caught.value)
    assert caught.value.reason == "bad period"


def test_more_years_than_a_pixel_has_bits_are_too_long():
    with pytest.raises(Rejected, match="is too long: a series has at most 15 years"):
        Period.parse("2019--P16Y")


@given(st.sampled_from((1, 7)), st.integers(1, 9970), st.integers(1, 15))
def test_whole_years_come_back_from_what_is_printed_of_them(month, year, count):
    period = Period(date(year, month, 1), 12 * count)
    assert Period.of_span(period.span) == Period.of_span(str(period)) == period
    others = {one.span for one in period.years} | {one.words for one in period.years}
    assert len(others) == (count if month == 1 else 2 * count)


@pytest.mark.parametrize(
    ("text", "words", "span"),
    [
        ("2019", "2019", "2019"),
        ("2019--P6Y", "2019 to 2024", "2019-2024"),
        ("2020-07--P1Y", "July 2020 to June 2021", "2020/21"),
        ("2019-07--P6Y", "July 2019 to June 2025", "2019/20-2024/25"),
        ("2019-07--P6M", "2019-07--P6M", "2019-07--P6M"),
    ],
)
def test_periods_in_words_and_in_few_letters(text, words, span):
    period = Period.parse(text)
    assert (period.words, period.span) == (words, span)


@given(PERIODS)
def test_periods_round_trip_and_end_the_day_before_the_next(period):
    assert Period.parse(str(period)) == period
    after = period.end + timedelta(days=1)
    assert after.day == 1
    assert (after.year - period.start.year) * 12 + after.month - period.start.month == period.months


@given(st.text())
def test_any_text_is_a_period_or_refused(text):
    try:
        period = Period.parse(text)
    except Rejected:
        return
    assert period.start <= period.end


def test_halves_of_a_year_are_the_two_geomad_periods():
    assert [str(half) for half in Period.year_of("2019").halves] == ["2019-01--P6M", "2019-07--P6M"]


@given(st.integers(1, 9980), st.integers(1, 60))
def test_halves_meet_and_fill_the_period(year, half):
    period = Period(date(year, 3, 1), 2 * half)
    first, second = period.halves
    assert (first.start, second.end) == (period.start, period.end)
    assert first.end + timedelta(days=1) == second.start


def test_interval_is_written_as_the_published_items_do():
    assert Period.parse("2019").interval == ("2019-01-01T00:00:00Z", "2019-12-31T23:59:59.999999Z")


@pytest.mark.parametrize("text", ["2019-01--P6M", "2019-02--P12M", "2019--P2Y", "2019-07--P2Y"])
def test_a_map_needs_a_calendar_year_or_a_season(text):
    with pytest.raises(Rejected, match="is not a calendar year, nor twelve months from July"):
        Period.year_of(text)


def test_a_season_has_the_halves_of_two_years():
    season = Period.year_of("2020-07--P1Y")
    assert [str(half) for half in season.halves] == ["2020-07--P6M", "2021-01--P6M"]
    assert season.order_halves("season") == season.halves
    assert season.order_halves("calendar") == season.halves[::-1]
    assert (str(season.calendar_year), str(season.before)) == ("2020--P1Y", "2019-07--P1Y")
    assert season.words == "July 2020 to June 2021"


@pytest.mark.parametrize("order", ["calendar", "season"])
def test_the_halves_of_a_calendar_year_have_one_order(order):
    year = Period.year_of("2019")
    assert year.order_halves(order) == year.halves
    assert (year.calendar_year, year.words) == (year, "2019")


@given(TASKS)
def test_tasks_round_trip(task):
    assert Task.from_json(task.to_json()) == task


def test_a_task_is_three_words():
    task = Task(Tile(215, 75), "eastern", Period.parse("2019"))
    assert task.to_json() == '{"period": "2019--P1Y", "region": "eastern", "tile": "x215y075"}'


GOOD = {"tile": "x215y075", "region": "eastern", "period": "2019--P1Y"}


@pytest.mark.parametrize(
    "text",
    [
        *("", "x215y075", "null", "[]", "1", '"task"', "{}", "[" * 100_000),
        json.dumps(GOOD | {"extra": "1"}),
        json.dumps({key: GOOD[key] for key in ("tile", "region")}),
        json.dumps(GOOD | {"tile": 215}),
        json.dumps(GOOD | {"region": None}),
        json.dumps(GOOD)[:-1],
        json.dumps(GOOD)[:-1] + ', "tile": "x215y076"}',
        json.dumps(GOOD) + " " * 1000,
    ],
)
def test_other_messages_are_refused(text):
    with pytest.raises(Rejected, match="the message is not a task") as caught:
        Task.from_json(text)
    assert caught.value.reason == "bad message"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tile": "nowhere"}, "not a tile name"),
        ({"tile": "x\uff12\uff11\uff15y\uff10\uff17\uff15"}, "not a tile name"),
        ({"period": "2019-01--P6M"}, "calendar year"),
    ],
)
def test_words_of_a_message_are_checked(change, problem):
    with pytest.raises(Rejected, match=problem):
        Task.from_json(json.dumps(GOOD | change))


@pytest.mark.parametrize(
    "region",
    [
        *("", "/x.toml", "x.toml", "../eastern", "eastern/", "./eastern", "eastern\0", "Eastern"),
        *(
            "https://x/region.toml",
            "s3://b/region.toml",
            "eastern.",
            "a" * 42,
            "\ud800",
            "\u0435astern",
        ),
    ],
)
def test_a_message_names_its_region_by_name_only(region):
    with pytest.raises(Rejected, match="is not the name of a region") as caught:
        Task.from_json(json.dumps(GOOD | {"region": region}))
    assert caught.value.reason == "bad region"


def test_run_keys_depend_on_values_and_not_on_their_order():
    key = RunKey.of(model="ab", inputs=["x", "y"])
    assert key == RunKey.of(inputs=["x", "y"], model="ab")
    assert len(str(key)) == 64
    others = [
        RunKey.of(model="ac", inputs=["x", "y"]),
        RunKey.of(model="ab", inputs=["y", "x"]),
        RunKey.of(model="ab", inputs=["x", "y"], more=None),
    ]
    assert len({key, *others}) == 4


def test_run_keys_stay_the_same_between_versions():
    # A fixed value: results on disk are recognized by it.
    assert str(RunKey.of(model="ab", code=1)) == KEY


KEY = "cd06194e7fb53ba28bf57690e4fbf165501216a8a2aba4074d5dbd879de101f7"
