"""Samples drawn from a run, against its bands read whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer

from cropmask.assess import frame as frame_module
from cropmask.assess.design import Sample, encode_sample
from cropmask.assess.districts import Districts
from cropmask.assess.draw import Stratifier, choose_pixels, find_strips, near_edges
from cropmask.assess.frame import Choice, Frame, count_frame, draw_sample, find_frame
from cropmask.assess.samplefiles import load_sample
from cropmask.assess.size import allocate
from cropmask.errors import Rejected
from cropmask.grid import Tile, tile_at
from cropmask.product import Product
from cropmask.remote.fetch import ReadOptions
from cropmask.store.folder import FolderStore
from tests.demo_run import EASTERN, WESTERN, YEAR, Results

Sizes = NDArray[np.int64]
PRODUCTS = {
    "eastern": (Product("eastern", "1.1.0"), EASTERN),
    "western": (Product("western", "1.1.0"), (WESTERN,)),
}


def open_frame(results: Results, *names: str, bands: tuple[str, ...] = ()) -> Frame:
    store = FolderStore(results.folder)
    regions = {name: PRODUCTS[name] for name in names or PRODUCTS}
    wanted = dict.fromkeys(("filtered", "mask", *bands))
    return find_frame(store, regions, YEAR, tuple(wanted), ReadOptions())


def draw(
    frame: Frame,
    stratifier: Stratifier,
    points: int = 60,
    seed: int = 1,
    plot: int = 1,
    districts: Districts | None = None,
) -> Sample:
    counts = count_frame(frame, stratifier, districts)
    shares = allocate(points, counts.pixels, allocation="equal")
    choice = Choice(shares, "equal", seed, plot)
    return draw_sample(frame, stratifier, counts, choice, districts)


def read_whole(results: Results, region: str, tile: Tile, band: str) -> NDArray[np.uint8]:
    name = str(tile)
    folder = results.folder / PRODUCTS[region][0].folder / name[:4] / name[4:]
    with rasterio.open(next(folder.rglob(f"*_{band}.tif"))) as file:
        return np.asarray(file.read(1))


def test_strata_are_counted_exactly_and_points_lie_in_theirs(results: Results) -> None:
    frame = open_frame(results, bands=("prob",))
    sample = draw(frame, Stratifier("filtered", edges=(20, 60)), points=90)
    strata = sample.design.strata
    assert sample.design.factors == ("region", "class", "prob")
    assert Stratifier.of_design(sample.design) == Stratifier("filtered", edges=(20, 60))
    bands = {
        (region, str(tile)): {
            band: read_whole(results, region, tile, band) for band in ("filtered", "prob", "mask")
        }
        for region, (_, tiles) in PRODUCTS.items()
        for tile in tiles
    }
    named = {"0 to 19": (0, 19), "20 to 59": (20, 59), "60 to 100": (60, 100)}
    for stratum in strata:
        low, high = named[stratum.name.rpartition("prob ")[2]]
        parts = [found for (region, _), found in bands.items() if region == stratum.region]
        expected = sum(
            int(
                (
                    (part["filtered"] == stratum.map_class)
                    & (part["prob"] >= low)
                    & (part["prob"] <= high)
                ).sum()
            )
            for part in parts
        )
        assert stratum.pixels == expected, stratum
        assert stratum.hectares == expected
    every = sum(int((part["filtered"] != 255).sum()) for part in bands.values())
    assert sum(stratum.pixels for stratum in strata) == every
    assert len(sample) == 90
    assert len({*zip(sample.region, sample.tile, sample.row, sample.column, strict=True)}) == 90
    for at in range(len(sample)):
        part = bands[sample.region[at], sample.tile[at]]
        place = sample.row[at], sample.column[at]
        stratum = strata[sample.stratum[at]]
        assert (part["filtered"][place], stratum.region) == (stratum.map_class, sample.region[at])
        assert (sample.mask[at], sample.filtered[at]) == (part["mask"][place], stratum.map_class)
        low, high = named[stratum.name.rpartition("prob ")[2]]
        assert low <= part["prob"][place] <= high
        assert str(tile_at(sample.x[at], sample.y[at])) == sample.tile[at]
    to_meters = Transformer.from_crs("OGC:CRS84", "EPSG:6933", always_xy=True)
    x, y = to_meters.transform(sample.lon, sample.lat)
    np.testing.assert_allclose(x, sample.x, atol=1e-3)
    np.testing.assert_allclose(y, sample.y, atol=1e-3)
    chances = [strata[number].sampled / strata[number].pixels for number in sample.stratum]
    np.testing.assert_array_equal(sample.inclusion_probability, chances)


def test_strips_and_the_order_of_tiles_do_not_matter(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    stratifier = Stratifier("mask", buffer=2)
    frame = open_frame(results, "eastern")
    known = encode_sample(draw(frame, stratifier))
    monkeypatch.setattr(frame_module, "STRIP_ROWS", 77)
    assert encode_sample(draw(frame, stratifier)) == known
    assert encode_sample(draw(frame, stratifier, seed=2)) != known


def test_a_sample_comes_back_from_its_document(results: Results, tmp_path: Path) -> None:
    box = shapely.box(*EASTERN[0].bounds)
    districts = Districts(("Here",), np.array([box], object))
    frame = open_frame(results, "eastern")
    sample = draw(frame, Stratifier("mask", districts=districts.names), districts=districts)
    file = tmp_path / "sample.geojson"
    file.write_text(encode_sample(sample))
    found = load_sample(file)
    assert found.design == sample.design
    for name, array in sample.columns.items():
        np.testing.assert_array_equal(getattr(found, name), array)
    assert {*sample.district.tolist()} == {"Here", ""}
    inside = sample.tile == str(EASTERN[0])
    np.testing.assert_array_equal(sample.district == "Here", inside)
    assert rasterio_points(file) == 60


def rasterio_points(file: Path) -> int:
    return len(json.loads(file.read_text())["features"])


def test_plots_are_nine_pixels_around_their_middle(results: Results) -> None:
    sample = draw(open_frame(results, "eastern"), Stratifier("mask"), points=20, plot=3)
    names, counts = np.unique(sample.plot, return_counts=True)
    assert len(names) == 20
    assert counts.max() == 9
    for name in names:
        mine = sample.plot == name
        assert np.ptp(sample.row[mine]) <= 2
        assert np.ptp(sample.column[mine]) <= 2
        assert len({*sample.stratum[mine].tolist()}) == 1


def change(document: dict[str, Any], change: str) -> object:
    if change == "design":
        del document["design"]
    elif change == "point":
        del document["features"][0]
    elif change == "twice":
        document["features"][1] = document["features"][0]
    elif change == "stratum":
        document["features"][0]["properties"]["stratum"] = "unknown"
    elif change == "text":
        document["features"][0]["properties"]["row"] = "1"
    elif change == "none":
        document["features"] = []
    elif change == "pixels":
        document["design"]["strata"][0]["pixels"] = -1
    elif change == "tile":
        document["design"]["tiles"] = document["design"]["tiles"][:1]
        document["features"][0]["properties"]["tile"] = "x001y001"
    return document


@pytest.mark.parametrize(
    "what", ["design", "point", "twice", "stratum", "text", "none", "pixels", "tile"]
)
def test_a_changed_document_is_refused_in_one_line(
    results: Results, tmp_path: Path, what: str
) -> None:
    sample = draw(open_frame(results, "eastern"), Stratifier("mask"), points=12)
    file = tmp_path / "sample.geojson"
    file.write_text(json.dumps(change(json.loads(encode_sample(sample)), what)))
    with pytest.raises(Rejected) as refused:
        load_sample(file)
    assert "\n" not in str(refused.value)
    assert str(file) in str(refused.value)


def test_tiles_of_a_region_without_a_result_are_told(results: Results) -> None:
    store = FolderStore(results.folder)
    regions = {"eastern": (Product("eastern", "1.1.0"), (*EASTERN, Tile(1, 2)))}
    found = find_frame(store, regions, YEAR, ("mask", "filtered"), ReadOptions())
    assert found.missing == ("x001y002",)
    with pytest.raises(Rejected, match="is finished"):
        find_frame(store, {"eastern": (regions["eastern"][0], [])}, YEAR, ("mask",), ReadOptions())
    with pytest.raises(Rejected, match=r"no band 'spread'.*\+spread"):
        find_frame(store, regions, YEAR, ("mask", "spread"), ReadOptions())


@given(
    st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=1, max_size=12),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_chosen_pixels_are_found_in_their_strips(counts: list[list[int]], seed: int) -> None:
    table = np.array(counts, np.int64)
    pixels = table.sum(axis=0)
    points = pixels // 2
    chosen = choose_pixels(pixels, points, seed)
    codes = [np.repeat(np.arange(3), row) for row in counts]
    hits = find_strips([table[:4], table[4:]] if len(table) > 4 else [table], chosen)
    found = [np.zeros(0, np.int64)] * 3
    for each in hits:
        strip = each.strip + (4 if each.tile else 0)
        for stratum, number in zip(each.stratum, each.number, strict=True):
            assert np.flatnonzero(codes[strip] == stratum).size > number
            before = int(table[:strip, stratum].sum())
            found[stratum] = np.append(found[stratum], before + number)
    for mine, drawn in zip(found, chosen, strict=True):
        np.testing.assert_array_equal(np.sort(mine), drawn)


def test_every_pixel_is_drawn_alike() -> None:
    pixels, points = np.array([40, 7]), np.array([10, 7])
    hits = np.zeros(40)
    for seed in range(2_000):
        first, second = choose_pixels(pixels, points, seed)
        assert len({*first.tolist()}) == 10
        assert second.tolist() == list(range(7))
        hits[first] += 1
    # 2000 draws of a chance of one quarter: 500 +- 19.4 each.
    assert abs(hits - 500).max() < 5 * np.sqrt(2_000 * 0.25 * 0.75)


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_edges_are_where_another_class_is_near(
    rows: int, columns: int, pixels: int, random: Any
) -> None:
    classes = np.array(
        [[random.choice((0, 1, 255)) for _ in range(columns)] for _ in range(rows)], np.uint8
    )
    found = near_edges(classes, pixels)
    for y in range(rows):
        for x in range(columns):
            near = classes[max(y - pixels, 0) : y + pixels + 1, max(x - pixels, 0) : x + pixels + 1]
            other = {0: 1, 1: 0}.get(int(classes[y, x]))
            assert found[y, x] == (other is not None and bool((near == other).any()))
