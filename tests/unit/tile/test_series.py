"""One tile of a series: what its evidence is read of, and stopped at every one of its writes."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio

from cropmask.contract import ExitCode
from cropmask.core.series import smooth_years
from cropmask.errors import Reason, Rejected
from cropmask.operate import fitseries
from cropmask.operate.fitseries import fit_region_series
from cropmask.operate.mapseries import map_series
from cropmask.region.region import load_region
from cropmask.results import publish
from cropmask.results.finder import find_item, make_place
from cropmask.results.seriesfile import RegionSeries, find_series
from cropmask.site.site import Site
from cropmask.stac.links import join_href
from cropmask.store.protocol import Store
from cropmask.task import Task
from cropmask.testing.store import MemoryStore
from cropmask.tile import series as path
from cropmask.tile.series import SeriesJob, run_series
from tests.regions import NAME
from tests.years import (
    EDGE,
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


@pytest.fixture
def copied(yearly: YearlyMaps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> YearlyMaps:
    monkeypatch.setattr(fitseries, "MOST_PIXELS", 1000)
    return yearly.copied(tmp_path / "results")


def test_calibrated_percentages_are_the_evidence_and_masks_decide_what_flickers(
    copied: YearlyMaps,
) -> None:
    truth = draw_truth()
    prob, calibrated = draw_prob(truth), draw_prob(truth, seed=1)
    for year, votes, shares in zip(PERIOD.years, prob, calibrated, strict=True):
        put_year(copied.store, TILES[0], year, votes, key="c", calibrated=shares)
    region = load_region(str(copied.region.region))
    found = fit_region_series(region, PERIOD, copied.site(), overwrite=True).fitted
    assert found.band == "calibrated"
    run_series(TASK, copied.site(), overwrite=True)
    item = find_item(copied.store, PLACE)
    assert item is not None
    assert item.properties["cropmask:series"]["band"] == "calibrated"
    masks = np.where(prob == 255, 255, np.where(prob > 50, 100, 0)).astype(np.uint8)
    expected = smooth_years(masks, found.model, evidence=calibrated)
    for band, pixels in (("class", expected.kind), ("flickers", expected.flickers)):
        name = item.assets[band]["href"].removeprefix("./")
        np.testing.assert_array_equal(
            rasterio.open(copied.folder / PLACE.key(name)).read(1), pixels
        )

    put_year(copied.store, TILES[0], PERIOD.years[3], prob[3], key="d")
    with pytest.raises(Rejected, match=r"2022--P1Y.*no band 'calibrated'.*fit them anew") as why:
        run_series(TASK, copied.site(), overwrite=True)
    assert why.value.reason is Reason.MISSING_BAND
    assert find_item(copied.store, PLACE) is not None, "nothing of the series that is there is lost"


def cut_short(data: bytes) -> bytes:
    return data[:3000]


def replace_by_text(_data: bytes) -> bytes:
    return b"a page of a server that was down"


@pytest.mark.parametrize(
    ("ending", "damage", "reason"),
    [
        ("_prob.tif", cut_short, "truncated input"),
        ("_prob.tif", replace_by_text, "no raster"),
        (".stac-item.json", replace_by_text, "bad item"),
    ],
)
def test_rates_are_learned_without_tiles_whose_maps_are_damaged(
    copied: YearlyMaps,
    caplog: pytest.LogCaptureFixture,
    ending: str,
    damage: Callable[[bytes], bytes],
    reason: str,
) -> None:
    region, site = load_region(str(copied.region.region)), copied.site()

    def fit() -> RegionSeries:
        return fit_region_series(region, PERIOD, site, overwrite=True).fitted

    without = fit()
    other = TILES[1]
    for year, prob in zip(PERIOD.years, draw_prob(draw_truth(seed=1)), strict=True):
        put_year(copied.store, other, year, prob)
    whole = fit()
    assert (whole.tiles, dict(whole.left_out)) == (2, {})
    folder = make_place(PRODUCT, Task(other, NAME, PERIOD.years[2])).folder
    path = next((copied.folder / folder).glob(f"*{ending}"))
    path.write_bytes(damage(path.read_bytes()))
    found = fit()
    assert (found.tiles, dict(found.left_out)) == (1, {str(other): reason})
    assert found.rates["gain"]["value"] == pytest.approx(without.rates["gain"]["value"], rel=0.5)
    kept = find_series(copied.store, PRODUCT, PERIOD, 100)
    assert kept is not None
    assert dict(kept.left_out) == {str(other): reason}
    (line,) = [each.message for each in caplog.records if "no rates" in each.message]
    assert line.startswith(f"no rates are learned from tile {other}: {path}")
    made = map_series(NAME, PERIOD, site, overwrite=True)
    assert [*made.done] == [TILES[0]]
    assert not made.is_whole
    assert str(path) in str(made.left_out[other])
    item = find_item(copied.store, PLACE)
    assert item is not None
    assert item.properties["cropmask:series"]["left_out_of_rates"] == {str(other): reason}
    if ending == "_prob.tif":
        again = (
            f"cropmask-job --region {copied.region.region} --period 2021--P1Y --tile {other} "
            "--model forest --resolution 100 --bands none --overwrite"
        )
        for said in (line, str(made.left_out[other])):
            assert "make the map again, with" in said
            assert again in said
    shutil.rmtree(copied.folder / folder.replace(str(other)[:4], str(TILES[0])[:4]))
    path = next((copied.folder / PRODUCT.name).rglob(f"*{TILES[0]}_2019--P1Y*{ending}"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Rejected, match=re.escape(str(path))):
        fit()


class Recording(MemoryStore):
    """Results in memory, and what was written to them one after the other."""

    def __init__(self, before: dict[str, bytes]) -> None:
        super().__init__()
        for key, data in before.items():
            self.put(key, data, "")
        self.writes: list[tuple[str, bytes]] = []

    def put(self, key: str, source: bytes | Path, content_type: str) -> None:
        super().put(key, source, content_type)
        if hasattr(self, "writes"):
            self.writes.append((key, self.get(key)))

    def put_if_absent(self, key: str, data: bytes, content_type: str) -> bool:
        is_free = super().put_if_absent(key, data, content_type)
        if is_free:
            self.writes.append((key, data))
        return is_free


def contents(store: Store) -> dict[str, bytes]:
    return {entry.key: store.get(entry.key) for entry in store.list("")}


def compute_once(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Keep what is computed and read of a region and its tiles: what is tried are writes."""

    def remember(module: ModuleType, name: str) -> None:
        known: dict[object, Any] = {}
        function = getattr(module, name)

        def call(first: Any, *others: Any) -> Any:
            key = first.task.tile if isinstance(first, SeriesJob) else None
            if key not in known:
                known[key] = function(first, *others)
            return known[key]

        patch.setattr(module, name, call)

    def remember_file(name: str) -> None:
        function = getattr(publish, name)

        def call(place: Path, *others: Any) -> None:
            kept = folder / place.name
            if not kept.exists():
                function(kept, *others)
            shutil.copy(kept, place)

        patch.setattr(publish, name, call)

    def encode(job: SeriesJob, place: Path, *others: Any) -> None:
        kept = folder / str(job.task.tile)
        if not kept.exists():
            computed(job, place, *others)
            shutil.copytree(place, kept)
        shutil.copytree(kept, place, dirs_exist_ok=True)

    folder.mkdir()
    computed = path._encode
    patch.setattr(path, "_encode", encode)
    remember(path, "_smooth")
    remember(fitseries, "_take_samples")
    remember(fitseries, "fit_series")
    remember_file("write_visual")
    remember_file("write_picture")


@pytest.mark.parametrize("limit", [50_000, EDGE**2 - 1, 2 * EDGE**2 - 1])
def test_a_full_disk_below_temporary_files_is_told(
    copied: YearlyMaps, tmp_path: Path, limit: int
) -> None:
    """The system cuts files short that grow over a limit, as a full disk does."""
    shutil.rmtree(copied.folder / PRODUCT.series.name)
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def limit_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    program = "from cropmask.cli.entry import cropmask; cropmask()"
    ended = subprocess.run(
        [sys.executable, "-c", program, "series", *REGION],
        env={**os.environ, **copied.places, "TMPDIR": str(scratch)},
        preexec_fn=limit_files,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == ExitCode.FAILED, ended.stderr
    line = rf"error: {scratch}/.*\.raw cannot be written: .*: free some space and run again\n"
    assert re.fullmatch(line, ended.stderr)
    assert not list(scratch.iterdir())
    assert not list(copied.folder.rglob("crop_series_*.tif"))


def test_killed_after_any_write_and_run_again_the_bytes_are_the_same(
    copied: YearlyMaps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for year, crop in zip(PERIOD.years, draw_truth(seed=2), strict=True):
        put_year(copied.store, TILES[1], year, np.where(crop, 80, 20).astype(np.uint8))
    for name in ("_series", PRODUCT.series.name):
        shutil.rmtree(copied.folder / name)
    compute_once(monkeypatch, tmp_path / "computed")
    site = copied.site()
    assert len(map_series(NAME, PERIOD, site).done) == 2
    monkeypatch.setattr(path, "_open_reader", lambda *_: nullcontext(SimpleNamespace(bytes=0)))
    years = {
        key: data
        for key, data in contents(copied.store).items()
        if key.startswith(f"{PRODUCT.name}/") and key.endswith(".json")
    }

    def run(store: Recording) -> dict[str, bytes]:
        """What the store has then."""
        monkeypatch.setattr(Site, "store", lambda _self: store)
        map_series(NAME, PERIOD, site)
        return contents(store)

    undisturbed = Recording(years)
    whole = run(undisturbed)
    assert {key: copied.store.get(key) for key in whole if key != "catalog.json"}.items() <= (
        whole.items()
    )
    # Rates; collection and catalog; of two tiles eight bands, two pictures, two texts and the item.
    assert len(undisturbed.writes) == 1 + 2 + 2 * 13
    for stop in range(len(undisturbed.writes)):
        left = Recording({**years, **dict(undisturbed.writes[:stop])})
        for tile in TILES:
            item = find_item(left, make_place(PRODUCT.series, replace(TASK, tile=tile)))
            names = {asset["href"] for asset in item.assets.values()} if item else ()
            assert all(left.exists(join_href(item.key, name)) for name in names if item)
        assert run(left) == whole, stop
