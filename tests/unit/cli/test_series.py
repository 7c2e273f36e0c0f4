"""A series on the command line: refused, fitted, made, left alone, changed by another year."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click import Command
from click.testing import CliRunner, Result

from cropmask.cli.explain import explain
from cropmask.cli.main import cropmask
from cropmask.cli.plan import plan
from cropmask.cli.reconcile import reconcile
from cropmask.cli.results import ls, rm, sync
from cropmask.cli.run import list_
from cropmask.cli.sample import sample
from cropmask.cli.series import series
from cropmask.cli.status import status
from cropmask.cli.submit import submit
from cropmask.core.series import (
    GAIN,
    LOSS,
    STABLE_CROP,
    STABLE_OTHER,
    UNCERTAIN,
    mix_neighbors,
    smooth_years,
)
from cropmask.errors import Interrupted, Misconfigured, Rejected
from cropmask.fleet.attempt import ChildWork
from cropmask.fleet.compute import compute
from cropmask.fleet.recordfiles import load_run
from cropmask.fleet.records import State
from cropmask.grid import Tile
from cropmask.operate import fitseries
from cropmask.operate.submit import make_messages
from cropmask.product import NODATA_16, SERIES_BANDS
from cropmask.results.finder import find_item, make_place
from cropmask.results.seriesfile import find_series, series_key
from cropmask.store.folder import FolderStore
from cropmask.task import Order, Period, Task
from cropmask.tile import series as path
from cropmask.tile.series import run_series
from tests.regions import NAME
from tests.stac_validation import assert_valid
from tests.years import (
    FEW_PIXELS,
    PERIOD,
    PLACE,
    PRODUCT,
    TASK,
    TILES,
    YearlyMaps,
    draw_prob,
    draw_truth,
    put_year,
)

REGION = ("--region", NAME, "--years", "2019-2024")


def run(maps: YearlyMaps, *words: str) -> Result:
    return CliRunner(env=maps.places).invoke(series, words, catch_exceptions=False)


@pytest.fixture
def maps(yearly: YearlyMaps) -> YearlyMaps:
    """Maps of years, and the series of them."""
    return yearly


@pytest.fixture
def copied(yearly: YearlyMaps, tmp_path: Path) -> YearlyMaps:
    return yearly.copied(tmp_path / "results")


def read(maps: YearlyMaps, band: str) -> np.ndarray:
    with rasterio.open(
        maps.folder / PLACE.key(f"{PRODUCT.series.label(str(TILES[0]), str(PERIOD))}_{band}.tif")
    ) as file:
        return file.read(1)


def test_bands_are_those_of_the_whole_tile_at_once(maps: YearlyMaps) -> None:
    prob = draw_prob(draw_truth())
    fitted = find_series(maps.store, PRODUCT, PERIOD, 100)
    assert fitted is not None
    whole = smooth_years(prob, fitted.model)
    assert (read(maps, "class") == whole.kind).all()
    known = whole.kind != 255
    history = read(maps, "history")
    assert (history[known] == whole.path[known]).all()
    assert (history[~known] == NODATA_16).all()
    bits = (history[..., None] >> np.arange(6)) & 1
    years = 2019 + np.arange(6)
    assert (read(maps, "years")[known] == bits.sum(-1)[known]).all()
    first = np.where(bits == 1, years, 9999).min(-1)
    assert (read(maps, "first")[known] == np.where(first == 9999, 0, first)[known]).all()
    assert (read(maps, "last")[known] == np.where(bits == 1, years, 0).max(-1)[known]).all()
    turned = np.where(bits[..., 1:] != bits[..., :-1], years[1:], 0).max(-1)
    assert (read(maps, "changed")[known] == turned[known]).all()
    assert (read(maps, "observed")[known] == (prob != 255).sum(0)[known]).all()
    assert (read(maps, "flickers") == whole.flickers).all()


def test_what_changed_is_found_and_what_flickers_is_not(maps: YearlyMaps) -> None:
    truth, prob = draw_truth(), draw_prob(draw_truth())
    kind = read(maps, "class")
    known = kind != 255
    changed = (truth[0] != truth[-1])[known]
    flagged = np.isin(kind, (GAIN, LOSS))[known]
    naive = ((prob[0] > 50) != (prob[-1] > 50))[known]
    assert (flagged & changed).sum() / flagged.sum() > 0.9
    assert (naive & changed).sum() / naive.sum() < 0.6
    assert (kind[known] == UNCERTAIN).any()
    assert (read(maps, "flickers")[known] > 0).any()


def test_the_item_says_what_it_was_made_of(maps: YearlyMaps) -> None:
    item = find_item(maps.store, PLACE)
    assert item is not None
    assert_valid(item.document)
    said = item.properties["cropmask:series"]
    for rate in said["rates"].values():
        assert rate["low"] < rate["value"] < rate["high"]
    assert said["band"] == "prob"
    assert said["missing_years"] == []
    links = [link for link in item.document["links"] if link["rel"] == "derived_from"]
    assert len(links) == 6
    for link in links:
        year = json.loads((maps.folder / PLACE.item).parent.joinpath(link["href"]).read_text())
        assert year["collection"] == PRODUCT.name
    figures = item.statistics
    kinds = {
        "stable_other": STABLE_OTHER,
        "stable_crop": STABLE_CROP,
        "gain": GAIN,
        "loss": LOSS,
        "uncertain": UNCERTAIN,
    }
    pixels = read(maps, "class")
    for name, kind in kinds.items():
        assert figures[f"{name}_hectares"] == (pixels == kind).sum()
    assert set(item.document["properties"]["renders"]) == {band.name for band in SERIES_BANDS}


def test_again_nothing_is_done_and_anew_the_same_bytes(copied: YearlyMaps) -> None:
    names = sorted(entry.key for entry in copied.store.list("crop_series_"))
    before = {name: copied.store.get(name) for name in names}
    said = json.loads(run(copied, *REGION, "--json").output)
    assert [tile["state"] for tile in said["tiles"]] == ["SKIPPED"]
    assert not said["new"]
    site = copied.site()

    def stop() -> None:
        raise Interrupted("stopped before the item")

    with pytest.raises(Interrupted):
        run_series(TASK, site, overwrite=True, check=stop)
    assert find_item(copied.store, PLACE) is None
    run_series(TASK, site)
    assert {name: copied.store.get(name) for name in names} == before


def test_another_map_of_a_year_makes_another_series(copied: YearlyMaps) -> None:
    prob = draw_prob(draw_truth(), seed=1)
    put_year(copied.store, TILES[0], PERIOD.years[3], prob[3], key="b")
    with pytest.raises(Rejected, match="other maps of years: use --overwrite"):
        run_series(TASK, copied.site())
    run_series(TASK, copied.site(), overwrite=True)
    item = find_item(copied.store, PLACE)
    assert item is not None
    assert run_series(TASK, copied.site()).state == "SKIPPED"


def test_a_year_without_a_map_is_evidence_of_nothing(copied: YearlyMaps) -> None:
    gone = make_place(PRODUCT, Task(TILES[0], NAME, PERIOD.years[1]))
    shutil.rmtree(copied.folder / gone.folder)
    run_series(TASK, copied.site(), overwrite=True)
    item = find_item(copied.store, PLACE)
    assert item is not None
    assert item.properties["cropmask:series"]["missing_years"] == ["2020--P1Y"]
    prob = draw_prob(draw_truth())
    prob[1] = 255
    fitted = find_series(copied.store, PRODUCT, PERIOD, 100)
    assert fitted is not None
    assert (read(copied, "class") == smooth_years(prob, fitted.model).kind).all()
    also = make_place(PRODUCT, Task(TILES[0], NAME, PERIOD.years[0]))
    shutil.rmtree(copied.folder / also.folder)
    with pytest.raises(Rejected, match=r"a map of 4 of the years 2019--P6Y.*needs 5"):
        run_series(TASK, copied.site(), overwrite=True)


def test_a_damaged_map_is_not_used(copied: YearlyMaps) -> None:
    file = next((copied.folder / PRODUCT.name).rglob("*2022--P1Y_prob.tif"))
    text = bytearray(file.read_bytes())
    text[len(text) // 2] ^= 1
    file.write_bytes(text)
    with pytest.raises(Rejected, match=r"2022--P1Y_prob.tif"):
        run_series(TASK, copied.site(), overwrite=True)


def test_rates_may_be_given(copied: YearlyMaps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitseries, "MOST_PIXELS", FEW_PIXELS)
    with pytest.raises(Rejected, match=r"is there already.*series fit .* --gain 0.01 --overwrite'"):
        run(copied, *REGION, "--gain", "0.01")
    said = run(copied, "fit", *REGION, "--gain", "0.01", "--overwrite")
    assert "gain a year  1.000 % (given)" in said.output
    with pytest.raises(Rejected, match="another model"):
        run_series(TASK, copied.site())
    again = run(copied, "fit", *REGION)
    assert again.output.startswith("The rates are there already")
    key = series_key(PRODUCT, PERIOD, 100)
    other = Period.parse("2019--P5Y")
    copied.store.put(series_key(PRODUCT, other, 100), copied.store.get(key), "application/json")
    with pytest.raises(Misconfigured, match=r"it is of .*, 2019--P6Y, at 100 m"):
        find_series(copied.store, PRODUCT, other, 100)
    copied.store.put(key, b"{}", "application/json")
    with pytest.raises(Misconfigured, match="fit the series anew"):
        run(copied, "fit", *REGION)
    copied.store.remove(key)
    with pytest.raises(Misconfigured, match=r"cropmask series fit --region .* --years 2019-2024"):
        run_series(TASK, copied.site())


def test_too_few_years_are_refused_with_the_reason(maps: YearlyMaps) -> None:
    said = run(maps, "--region", NAME, "--years", "2019-2021")
    assert said.exit_code == 2
    assert "3 years are too few" in said.output
    assert "all change vanishes" in " ".join(said.output.split())
    there = "where there are 2019, 2020, 2021, 2022, 2023, 2024; the most that one has is"
    with pytest.raises(Rejected, match=f"none has maps of 5 of the years .*, {there} 1: map more"):
        run(maps, "--region", NAME, "--years", "2012-2019")
    with pytest.raises(Rejected, match=f"of 5 of the seasons 2019-07--P6Y .*, {there} 0: map more"):
        run(maps, "--region", NAME, "--years", "2019/20-2024/25")
    refused = {
        "2019--P3Y": "too few",
        "2019--P16Y": "at most 15 years",
        "2019-07--P3Y": "3 seasons are too few .*map more seasons, such as 2019-07--P5Y",
        "2019-03--P6Y": "no series of calendar years or seasons: write it like 2019--P6Y or 2019-",
    }
    for text, why in refused.items():
        with pytest.raises(Rejected, match=why):
            Period.of_task(text)
    assert run(maps, "--region", NAME).exit_code == 2
    slip = run(maps, "--region", NAME, "--years", "2020-07")
    assert "is no span of years: write it like 2019-2024" in " ".join(slip.output.split())
    assert run(maps, *REGION, "fit", *REGION).exit_code == 2


def test_years_that_nobody_mapped_are_told(
    copied: YearlyMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitseries, "MOST_PIXELS", FEW_PIXELS)
    slip = ("--region", NAME, "--years", "2017-2024")
    assert "no tile has a map of 2017, 2018" in run(copied, "fit", *slip).stderr
    said = run(copied, "fit", *slip, "--json")
    assert json.loads(said.stdout)["unmapped_years"] == ["2017--P1Y", "2018--P1Y"]
    whole = run(copied, *REGION)
    assert "warning" not in whole.stderr
    (left_out,) = [line for line in whole.output.splitlines() if "left out" in line]
    assert left_out.startswith(f"  left out  tile {TILES[1]} has a map of 4 of the years")
    assert left_out.count(str(TILES[1])) == 1
    with pytest.raises(Rejected, match=rf"can be made: tile {TILES[1]} has a map of 4"):
        run(copied, *REGION, "--tiles", str(TILES[1]))
    assert f"cropmask sample --region {NAME} --period {PERIOD} --points 600" in whole.output


class Listener:
    """In place of a worker: lets everything be published."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def tell(self, message: Any) -> None:
        self.heard.append(message)

    def ask(self, _question: Any) -> None:
        return None


def test_planned_sent_computed_and_reconciled(
    copied: YearlyMaps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--region", str(copied.region.region), "--period", str(PERIOD))

    def say(command: Command, *words: str) -> dict[str, Any]:
        said = CliRunner(env=copied.places).invoke(command, [*where, *words, "--json"])
        return json.loads(said.stdout)

    planned = say(plan)
    assert planned["counts"]["unchanged"] == 1
    assert planned["counts"]["invalid"] == 1, "the tile that has too few years"
    copied.store.remove(PLACE.item)
    sent = say(submit)
    assert sent["tiles"] == 1
    assert say(reconcile)["counts"]["partial"] == 1
    record = load_run(copied.store, PRODUCT.series.name, str(PERIOD), sent["run"])
    (message,) = make_messages(record)
    order = Order.parse(message.body, message.attributes)
    listener = Listener()
    for name in ("TMPDIR", "CPL_TMPDIR"):  # as they are is how they are left
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    compute(listener, ChildWork(order, copied.site(), tmp_path, lambda: None))  # type: ignore[arg-type]
    assert listener.heard[-1].state is State.SUCCEEDED, listener.heard[-1]
    found = say(reconcile, "--verify")["counts"]
    assert (found["ok"], found["missing"]) == (1, 1)
    assert say(plan)["counts"]["unchanged"] == 1
    here, other = (say(explain, str(tile)) for tile in TILES)
    assert "the same would be made now" in here["verdict"]
    assert here["old_key"] == here["new_key"] is not None
    assert "has a map of 4 of the years" in other["verdict"]


def test_without_a_period_a_region_has_its_series_too(copied: YearlyMaps, tmp_path: Path) -> None:
    region = ("--region", str(copied.region.region))
    whole = CliRunner(env=copied.places)
    words = [*region, "--period", str(PERIOD)]
    sent = json.loads(whole.invoke(submit, [*words, "--all", "--json"]).stdout)

    def say(command: Command, *words: str) -> Any:
        said = whole.invoke(command, [*words, *region, "--json"], catch_exceptions=False)
        assert said.exit_code == 0, said.output
        return json.loads(said.stdout)

    expected = Counter({PRODUCT.name: 10, PRODUCT.series.name: 1})
    assert Counter(one["product"] for one in say(ls)) == expected
    assert [one["run"] for one in say(list_)] == [sent["run"]]
    assert say(status)["run"] == sent["run"]
    assert "series, 100 m" in whole.invoke(status, region).output
    assert say(explain, str(TILES[0]))["period"] == str(PERIOD)
    for period, number in (("2020", 2), (str(PERIOD), 1)):
        assert len(say(ls, "--period", period)) == number
    target = tmp_path / "copy"
    assert len(say(sync, str(copied.folder), str(target))) == 11
    assert find_item(FolderStore(target), PLACE) is not None
    gone = say(rm, "--tiles", str(TILES[0]), "--yes")
    assert Counter(one["product"] for one in gone) == {PRODUCT.name: 6, PRODUCT.series.name: 1}
    assert find_item(copied.store, PLACE) is None
    # What is not there is made as what is: one size of pixels, and no model.
    copied.store.put(PLACE.item, (target / PLACE.item).read_bytes(), "")
    advice = whole.invoke(reconcile, words).output
    assert f"--period {PERIOD} --resolution 100" in advice


@pytest.mark.parametrize("words", ["colors fit", "campaign"])
def test_what_is_of_a_year_takes_no_series(words: str) -> None:
    said = CliRunner().invoke(cropmask, [*words.split(), "--period", str(PERIOD)])
    assert said.exit_code == 2
    assert "is not a calendar year" in " ".join(said.output.split())


def test_removing_a_yearly_map_tells_which_series_was_made_of_it(copied: YearlyMaps) -> None:
    region = ("--region", str(copied.region.region))

    def remove(tile: Tile, period: str) -> str:
        words = [*region, "--period", period, "--tiles", str(tile), "--yes"]
        said = CliRunner(env=copied.places).invoke(rm, words, catch_exceptions=False)
        assert said.exit_code == 0, said.output
        return said.stderr

    assert "series" not in remove(TILES[1], "2019"), "it has none"
    put_year(copied.store, TILES[0], Period.parse("2025"), draw_prob(draw_truth())[0])
    assert "series" not in remove(TILES[0], "2025"), "it was not made of that year"
    told = remove(TILES[0], "2021")
    assert told.splitlines()[-1] == (
        f"warning: the series {PERIOD} of {TILES[0]} is out of date, as it was made of maps that "
        f"are deleted: 'cropmask plan --region {copied.region.region} --period {PERIOD}'"
    )
    run_series(TASK, copied.site(), overwrite=True)
    put_year(copied.store, TILES[0], Period.parse("2021"), draw_prob(draw_truth())[2])
    assert "series" not in remove(TILES[0], "2021"), "it was made without that map"
    remove(TILES[0], str(PERIOD))
    assert "series" not in remove(TILES[0], "2019")


def test_a_sample_tells_of_a_series_of_other_maps(
    copied: YearlyMaps, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    region = ("--region", str(copied.region.region))
    words = [*region, "--period", str(PERIOD), "--points", "200", "--partial", "--dry-run"]
    words += ["--out", str(tmp_path / "sample.geojson")]

    def draw() -> Result:
        caplog.clear()
        return CliRunner(env=copied.places).invoke(sample, words)

    assert draw().exit_code == 0
    assert not caplog.messages
    put_year(copied.store, TILES[0], PERIOD.years[1], draw_prob(draw_truth(seed=3))[1], key="e")
    assert draw().exit_code == 0
    again = f"cropmask series {' '.join(region)} --years 2019-2024 --resolution 100"
    assert caplog.messages == [
        f"the series of {TILES[0]} is out of date, as it was made of other maps of years than are "
        f"there now: '{again} --overwrite'"
    ]
    run_series(TASK, copied.site(), overwrite=True)
    assert draw().exit_code == 0
    assert not caplog.messages
    shutil.rmtree(copied.folder / PRODUCT.series.name)
    with pytest.raises(Rejected, match=re.escape(f"make the series first, with '{again}'")):
        raise draw().exception or AssertionError


@pytest.mark.parametrize("option", ["--model boosted", "--bands +spread", "--per-tile"])
@pytest.mark.parametrize("command", ["plan", "submit"])
def test_how_a_year_is_mapped_is_not_said_of_a_series(
    copied: YearlyMaps, command: str, option: str
) -> None:
    region = ("--region", str(copied.region.region))

    def say(period: str) -> Result:
        words = [command, *region, "--period", period, *option.split(), "--json"]
        return CliRunner(env=copied.places).invoke(cropmask, words)

    said = say(str(PERIOD))
    assert said.exit_code == 2
    assert option.split()[0] in said.stderr
    assert f"{PERIOD} is a series, which is made of maps" in " ".join(said.stderr.split())
    assert not list(copied.store.list("_queue/"))
    assert "is a series" not in say("2020").output


def test_explain_says_the_command_of_a_series(copied: YearlyMaps) -> None:
    """Whatever settings there are for yearly maps."""
    copied.store.remove(PLACE.item)
    where = ["explain", str(TILES[0]), "--region", str(copied.region.region)]
    places = {**copied.places, "CROPMASK_BANDS": "+spread", "CROPMASK_SEAMLESS": "1"}
    words = [*where, "--period", str(PERIOD)]
    said = CliRunner(env=places).invoke(cropmask, words)
    assert said.exit_code == 0, said.output
    line = f"--period {PERIOD} --tiles {TILES[0]} --resolution 100"
    assert line in " ".join(said.output.split())
    assert "--bands" not in said.output
    assert "--seamless" not in said.output
    refused = CliRunner(env=places).invoke(cropmask, [*words, "--model", "boosted"])
    assert refused.exit_code == 2


@pytest.mark.parametrize("mixes", [False, True])
def test_blocks_do_not_show(
    copied: YearlyMaps, monkeypatch: pytest.MonkeyPatch, *, mixes: bool
) -> None:
    """Neither where neighbors count, across the edges of blocks."""
    monkeypatch.setattr(path, "BLOCK_ROWS", 64)
    monkeypatch.setattr(path, "uses_neighbors", lambda _meters: mixes)
    run_series(TASK, copied.site(), overwrite=True)
    copied.store.remove(PLACE.item)
    run_series(TASK, copied.site())
    fitted = find_series(copied.store, PRODUCT, PERIOD, 100)
    assert fitted is not None
    prob = draw_prob(draw_truth())
    none = np.empty((0, prob.shape[2]), np.uint8)
    evidence = [mix_neighbors(year, none, none) if mixes else year for year in prob]
    whole = smooth_years(prob, fitted.model, evidence=np.array(evidence))
    assert (read(copied, "class") == whole.kind).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--period", "2019--P6Y", "--band", "mask"], "the series of 2019--P6Y has no band 'mask'"),
        (["--band", "history"], "the map of 2019--P1Y has no band 'history': choose of mask"),
    ],
)
def test_a_mosaic_of_a_band_that_is_not_there_is_refused(words: list[str], said: str) -> None:
    result = CliRunner().invoke(cropmask, ["mosaic", "--region", "eastern", *words])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
