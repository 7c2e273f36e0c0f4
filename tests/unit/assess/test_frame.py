"""Frames of runs that are not as they should be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cropmask.assess.design import encode_sample
from cropmask.assess.draw import Stratifier, find_strips
from cropmask.assess.frame import (
    Choice,
    Frame,
    count_frame,
    draw_sample,
    find_frame,
)
from cropmask.errors import Rejected
from cropmask.grid import Tile
from cropmask.product import NODATA, Product
from cropmask.remote.fetch import ReadOptions
from cropmask.store.folder import FolderStore
from tests.demo_run import EASTERN, WESTERN, YEAR, Results


def open_regions(folder: Path, tiles: tuple[Tile, ...], *names: str) -> Frame:
    regions = {name: (Product(name, "1.1.0"), tiles) for name in names}
    return find_frame(FolderStore(folder), regions, YEAR, ("mask", "filtered"), ReadOptions())


def test_a_region_of_two_models_is_refused(results: Results, tmp_path: Path) -> None:
    copied = results.copied(tmp_path / "results")
    item = next(path for path in copied.items() if str(EASTERN[1]) in path.name)
    document = json.loads(item.read_text())
    document["properties"]["cropmask:model"]["sha256"] = "0" * 64
    item.write_text(json.dumps(document))
    with pytest.raises(Rejected, match=r"different models \(x221y075 .*x222y075 .* 00000000"):
        open_regions(copied.folder, EASTERN, "eastern")


def read_mask(folder: Path, region: str) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    with rasterio.open(next((folder / f"crop_mask_{region}").rglob("*_mask.tif"))) as file:
        return np.asarray(file.read(1))


def test_a_pixel_of_two_regions_is_in_the_frame_of_the_first(
    results: Results, tmp_path: Path
) -> None:
    """The same tile in two regions, of which the first has mapped the western half only."""
    copied = results.copied(tmp_path / "results")
    first, second = (copied.folder / f"crop_mask_{name}" for name in ("eastern", "southern"))
    name = str(EASTERN[0])
    kept = [path for path in first.rglob("*") if path.is_file() and name in path.name]
    for path in kept:
        below = str(path.relative_to(first)).replace("eastern", "southern")
        (second / below).parent.mkdir(parents=True, exist_ok=True)
        (second / below).write_bytes(path.read_bytes())
    for path in kept:
        if path.name.endswith(("_mask.tif", "_filtered.tif")):
            with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
                pixels = file.read(1)
                pixels[:, pixels.shape[1] // 2 :] = NODATA
                file.write(pixels, 1)
    eastern, southern = (read_mask(copied.folder, each) for each in ("eastern", "southern"))
    edge = eastern.shape[1] // 2
    frame = open_regions(copied.folder, EASTERN[:1], "southern", "eastern")
    counts = count_frame(frame, Stratifier("mask"))
    expected = {
        (region, value): int((part == value).sum())
        for region, part in (("eastern", eastern), ("southern", southern[:, edge:]))
        for value in (0, 1)
    }
    found = {
        (region, value): size
        for (_, region, value), size in zip(counts.names, counts.pixels, strict=True)
    }
    assert found == {key: size for key, size in expected.items() if size}
    assert counts.pixels.sum() == np.count_nonzero(southern != NODATA)
    choice = Choice(np.full(len(counts.names), 20), "equal", 0)
    sample = draw_sample(frame, Stratifier("mask"), counts, choice)
    np.testing.assert_array_equal(sample.region == "southern", sample.column >= edge)


@pytest.mark.parametrize(
    ("rows", "value", "problem"),
    [(960, 7, "the value 7, which is no class"), (480, 1, "480 x 480 pixels of uint8")],
)
def test_a_raster_that_is_no_map_of_the_tile_is_refused(
    results: Results, tmp_path: Path, rows: int, value: int, problem: str
) -> None:
    copied = results.copied(tmp_path / "results")
    path = next((copied.folder / "crop_mask_eastern").rglob(f"*{EASTERN[0]}*_mask.tif"))
    with rasterio.open(path) as file:
        profile = {**file.profile, "width": rows, "height": rows, "blockxsize": 128}
    with rasterio.open(path, "w", **{**profile, "blockysize": 128}) as file:
        file.write(np.full((rows, rows), value, np.uint8), 1)
    frame = open_regions(copied.folder, EASTERN, "eastern")
    with pytest.raises(Rejected, match=problem) as refused:
        count_frame(frame, Stratifier("mask"))
    assert "\n" not in str(refused.value)


def test_pixels_of_many_tiles_are_found_beyond_what_32_bits_hold() -> None:
    strip = 512 * 9_600
    counts = [np.full((19, 1), strip, np.int32)] * 1_000
    numbers = np.array([0, strip, 2**31, 9 * 10**10])
    hits = find_strips(counts, [numbers])
    found = [
        (each.tile * 19 + each.strip) * strip + number for each in hits for number in each.number
    ]
    assert found == numbers.tolist()


def test_threads_and_the_order_of_regions_do_not_matter(results: Results) -> None:
    places = {"eastern": EASTERN, "western": (WESTERN,)}
    found = set()
    for names, threads in ((("eastern", "western"), 1), (("western", "eastern"), 4)):
        regions = {name: (Product(name, "1.1.0"), places[name][::-1]) for name in names}
        options = ReadOptions(threads=threads)
        store = FolderStore(results.folder)
        frame = find_frame(store, regions, YEAR, ("filtered", "mask"), options)
        counts = count_frame(frame, Stratifier("filtered"))
        choice = Choice(np.full(len(counts.names), 25), "equal", 3)
        found.add(encode_sample(draw_sample(frame, Stratifier("filtered"), counts, choice)))
    assert len(found) == 1


def test_an_item_of_no_pixel_size_is_refused(results: Results, tmp_path: Path) -> None:
    copied = results.copied(tmp_path / "results")
    item = next(path for path in copied.items() if str(EASTERN[1]) in path.name)
    document = json.loads(item.read_text())
    document["properties"]["cropmask:resolution"] = 0
    item.write_text(json.dumps(document))
    with pytest.raises(Rejected, match="a pixel has 0 m"):
        open_regions(copied.folder, EASTERN, "eastern")
