"""COGs: valid, exact, the same bytes every time, with overviews that do not mix classes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rio_cogeo.cogeo import cog_validate

from cropmask.core.cropmap import CropMap, find_valid
from cropmask.errors import CropmaskError
from cropmask.grid import Tile, geobox
from cropmask.product import BANDS, FILTERED, GROUND, MASK, PROB, Band, Rgba
from cropmask.results.cog import (
    load_file_facts,
    write_cog,
    write_thumbnail,
    write_visual,
)
from cropmask.stac.facts import make_sha1_text, visual_box
from cropmask.stac.footprint import thumbnail_box

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:odc"),
]

TILE = Tile(215, 75)
GREEN = (0, 255, 0, 255)


def square(pixels: int) -> GeoBox:
    """The upper left corner of a tile."""
    return geobox(TILE, 10)[:pixels, :pixels]


def scene(pixels: int, seed: int = 0) -> CropMap:
    """Fields of 8 x 8 pixels; the upper left is nodata."""
    rng = np.random.default_rng(seed)
    fields = rng.integers(0, 101, (-(-pixels // 8),) * 2)
    prob = np.kron(fields, np.ones((8, 8), int))[:pixels, :pixels] + rng.integers(
        -3, 4, (pixels,) * 2
    )
    prob = prob.clip(0, 100).astype(np.uint8)
    mask = (prob > 50).astype(np.uint8)
    nodata = np.zeros_like(mask, bool)
    nodata[: pixels // 3, : pixels // 2] = True
    bands = (np.where(nodata, 255, band).astype(np.uint8) for band in (mask, prob, mask))
    return CropMap(*bands)


@pytest.mark.parametrize("band", BANDS, ids=lambda band: band.name)
@pytest.mark.parametrize("pixels", [40, 512, 1600])
def test_cog_is_valid_and_exact(tmp_path: Path, band: Band, pixels: int) -> None:
    path, box = tmp_path / "a.tif", square(pixels)
    array = getattr(scene(pixels), band.name)
    write_cog(path, array, box, band, credit="An Agency, CC-BY-4.0")
    valid, errors, warnings = cog_validate(path, strict=True)
    assert valid, (errors, warnings)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), array)
        assert file.count == 1
        assert file.nodata == 255
        assert file.dtypes == ("uint8",)
        assert file.crs.to_epsg() == 6933
        assert file.transform == box.transform
        assert file.descriptions == (band.name,)
        assert file.units == (band.unit,)
        assert file.block_shapes == [(512, 512)]
        assert file.compression.name == "deflate"
        interpretation = ColorInterp.palette if band.classes else ColorInterp.gray
        assert file.colorinterp == (interpretation,)
        assert file.tags()["TIFFTAG_COPYRIGHT"] == "An Agency, CC-BY-4.0"
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(
    ("band", "crop"), [(MASK, (0, 255, 0, 255)), (FILTERED, (255, 255, 0, 255)), (PROB, None)]
)
def test_classes_have_a_color_table_at_every_zoom(
    tmp_path: Path, band: Band, crop: Rgba | None
) -> None:
    write_cog(tmp_path / "a.tif", getattr(scene(1600), band.name), square(1600), band)
    for level in (None, 0, 1):
        with rasterio.open(tmp_path / "a.tif", overview_level=level) as file:
            if crop is None:
                with pytest.raises(ValueError, match="NULL color table"):
                    file.colormap(1)
            else:
                colors = file.colormap(1)
                assert (colors[0], colors[1], colors[255]) == (GROUND, crop, (0, 0, 0, 0))


def overview(path: Path, level: int = 0) -> NDArray[np.uint8]:
    with rasterio.open(path, overview_level=level) as file:
        found: NDArray[np.uint8] = file.read(1)
    return found


def quads(*rows: str) -> NDArray[np.uint8]:
    """A 1024 x 1024 array of 2 x 2 patterns repeated, ``rows`` being four values each."""
    patterns = [np.array(row.split(), np.uint8).reshape(2, 2) for row in rows]
    strip = np.concatenate(patterns, axis=1)
    return np.tile(strip, (512, -(-1024 // strip.shape[1])))[:, :1024]


@pytest.mark.parametrize("band", [MASK, FILTERED], ids=lambda band: band.name)
def test_overviews_of_classes_are_the_most_frequent(tmp_path: Path, band: Band) -> None:
    array = quads("1 1 1 0", "0 0 0 1", "255 255 255 1", "255 255 255 255")
    write_cog(tmp_path / "a.tif", array, square(1024), band)
    np.testing.assert_array_equal(overview(tmp_path / "a.tif")[0, :4], [1, 0, 1, 255])
    assert set(np.unique(overview(tmp_path / "a.tif"))) == {0, 1, 255}


def test_overviews_of_probabilities_are_means_without_nodata(tmp_path: Path) -> None:
    array = quads("10 20 30 40", "255 255 80 60", "255 255 255 7", "255 255 255 255")
    write_cog(tmp_path / "a.tif", array, square(1024), PROB)
    np.testing.assert_array_equal(overview(tmp_path / "a.tif")[0, :4], [25, 70, 7, 255])


def digests(folder: Path, threads: int) -> dict[str, str]:
    folder.mkdir()
    crop_map, box = scene(1600), geobox(TILE, 60)
    for band in BANDS:
        write_cog(
            folder / f"{band.name}.tif", getattr(crop_map, band.name), box, band, threads=threads
        )
    write_visual(folder / "visual.tif", crop_map.mask, MASK, box, visual_box(box))
    write_thumbnail(folder / "thumbnail.png", crop_map, box)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


_AGAIN = """
import sys, json
from pathlib import Path
from tests.unit.results.test_cog import digests
print(json.dumps(digests(Path(sys.argv[1]), 3)))
"""


def test_bytes_are_the_same_again_elsewhere_and_with_more_threads(tmp_path: Path) -> None:
    first = digests(tmp_path / "first", 1)
    assert len(first) == 5
    assert digests(tmp_path / "other name", 2) == first
    done = subprocess.run(
        [sys.executable, "-c", _AGAIN, str(tmp_path / "process")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.strip() == str(first).replace("'", '"')


@pytest.mark.parametrize("resolution", [10, 20, 60, 100])
def test_visual_box_covers_the_tile_in_whole_pixels(resolution: int) -> None:
    box = geobox(TILE, resolution)
    small = visual_box(box)
    assert max(small.shape) <= 1024
    assert min(small.shape) > 480
    assert tuple(small.boundingbox) == pytest.approx(tuple(box.boundingbox))
    assert box.shape[0] % small.shape[0] == 0


def test_visual_is_a_small_rgba_cog_of_the_mask(tmp_path: Path) -> None:
    path, box, crop_map = tmp_path / "v.tif", geobox(TILE, 60), scene(1600)
    write_visual(path, crop_map.mask, MASK, box, visual_box(box))
    valid, errors, warnings = cog_validate(path, strict=True)
    assert valid, (errors, warnings)
    with rasterio.open(path) as file:
        pixels = file.read()
        assert file.shape == tuple(visual_box(box).shape) == (800, 800)
        assert file.transform == visual_box(box).transform
        assert [band.name for band in file.colorinterp] == ["red", "green", "blue", "alpha"]
        assert file.nodata is None
    colors, counts = np.unique(pixels.reshape(4, -1), axis=1, return_counts=True)
    assert {tuple(color) for color in colors.T} == {(0, 0, 0, 0), GREEN}
    share = (crop_map.mask == 1).mean()
    assert counts[-1] / counts.sum() == pytest.approx(share, abs=0.02)
    np.testing.assert_array_equal(overview(path), pixels[0, ::2, ::2])


def test_visual_without_reduction_is_the_mask(tmp_path: Path) -> None:
    crop_map = scene(960)
    box = geobox(TILE, 100)
    write_visual(tmp_path / "v.tif", crop_map.mask, MASK, box, visual_box(box))
    with rasterio.open(tmp_path / "v.tif") as file:
        np.testing.assert_array_equal(file.read(4) == 255, crop_map.mask == 1)


def test_thumbnail(tmp_path: Path) -> None:
    path, crop_map = tmp_path / "t.png", scene(400)
    write_thumbnail(path, crop_map, square(400))
    assert [p.name for p in tmp_path.iterdir()] == ["t.png"]
    with rasterio.open(path) as file:
        assert file.driver == "PNG"
        pixels = np.moveaxis(file.read(), 0, -1)
    expected = np.zeros((400, 400, 4), np.uint8)
    expected[crop_map.filtered == 0] = GROUND
    expected[crop_map.filtered == 1] = (255, 255, 0, 255)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ((slice(30, 107), slice(50, 192)), (231, 426)),  # enlarged three times
        ((slice(0, 1), slice(5, 6)), (512, 512)),
        ((slice(0, 1600), slice(0, 700)), (400, 175)),
    ],
)
def test_thumbnail_shows_what_is_there(
    tmp_path: Path, window: tuple[slice, slice], expected: tuple[int, int]
) -> None:
    crop_map, box = empty(1600), geobox(TILE, 60)
    rng = np.random.default_rng(0)
    for band in (crop_map.mask, crop_map.prob, crop_map.filtered):
        band[window] = rng.integers(0, 2, band[window].shape)
    valid = find_valid(crop_map.mask)
    assert valid is not None
    assert (valid.rows, valid.columns) == window
    write_thumbnail(tmp_path / "t.png", crop_map, box, valid)
    place = thumbnail_box(valid, box)
    with rasterio.open(tmp_path / "t.png") as file:
        assert file.shape == tuple(place.shape) == expected
        assert (file.read(4) == 255).all()
        yellow = file.read(3) == 0
    assert place.boundingbox == pytest.approx(box[window].boundingbox)
    if expected[0] > box[window].shape[0]:
        times = expected[0] // box[window].shape[0]
        np.testing.assert_array_equal(yellow[::times, ::times], crop_map.filtered[window] == 1)


@pytest.mark.parametrize(("resolution", "edge"), [(60, 400), (100, 480)])
def test_thumbnail_is_small(tmp_path: Path, resolution: int, edge: int) -> None:
    box = geobox(TILE, resolution)
    write_thumbnail(tmp_path / "t.png", scene(box.shape[0]), box)
    with rasterio.open(tmp_path / "t.png") as file:
        assert file.shape == (edge, edge)


def test_thumbnail_colors_stand_apart() -> None:
    def luminance(color: Rgba) -> float:
        linear = [((c / 255 + 0.055) / 1.055) ** 2.4 for c in color[:3]]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05

    assert luminance(FILTERED.classes[1].color) / luminance(GROUND) > 4.5


def empty(pixels: int) -> CropMap:
    bands = (np.full((pixels, pixels), 255, np.uint8) for _ in BANDS)
    return CropMap(*bands)


def test_a_tile_of_nodata_is_transparent(tmp_path: Path) -> None:
    crop_map, box = empty(960), geobox(TILE, 100)
    write_cog(tmp_path / "a.tif", crop_map.prob, box, PROB)
    write_visual(tmp_path / "v.tif", crop_map.mask, MASK, box, visual_box(box))
    write_thumbnail(tmp_path / "t.png", crop_map, box)
    assert set(np.unique(overview(tmp_path / "a.tif"))) == {255}
    for name in ("v.tif", "t.png"):
        with rasterio.open(tmp_path / name) as file:
            assert not file.read().any()


@pytest.mark.parametrize(
    "array", [np.zeros((40, 40), np.float32), np.zeros((40, 41), np.uint8)], ids=["float", "shape"]
)
def test_wrong_arrays_are_refused(tmp_path: Path, array: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        write_cog(tmp_path / "a.tif", array, square(40), MASK)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_one_line(tmp_path: Path) -> None:
    box, crop_map = square(40), scene(40)
    writes: list[Callable[[Path], None]] = [
        lambda path: write_cog(path, crop_map.mask, box, MASK),
        lambda path: write_visual(path, crop_map.mask, MASK, box, visual_box(box)),
        lambda path: write_thumbnail(path, crop_map, box),
    ]
    for write in writes:
        with pytest.raises(CropmaskError, match="cannot be written") as caught:
            write(tmp_path / "none" / "a.tif")
        assert "\n" not in str(caught.value)


_FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from cropmask.errors import Interrupted
from cropmask.results.cog import write_cog
from cropmask.product import PROB
from tests.unit.results.test_cog import square
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
array = np.random.default_rng(0).integers(0, 101, (1024, 1024), dtype=np.uint8)
path = Path(sys.argv[1])
write_cog(path, array, square(1024), PROB)
whole = path.read_bytes()
for share in (0.01, 0.5, 0.8, 0.99, 0.9999):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(len(whole) * share), resource.RLIM_INFINITY))
    try:
        write_cog(path, array, square(1024), PROB)
    except Interrupted as error:
        assert "cannot be written" in str(error), error
        assert not path.exists(), share
    else:
        sys.exit(f"a file cut to {share} passed for whole: {path.read_bytes() == whole}")
"""


def test_a_file_that_the_kernel_cuts_short_is_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path / "a.tif")],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr


_FULL_RAW = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from rasterio.windows import Window
from cropmask.errors import Interrupted
from cropmask.results.cog import copy_cog, open_raw
from cropmask.product import PROB
from tests.unit.results.test_cog import square
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
array = np.random.default_rng(0).integers(0, 101, (1024, 1024), dtype=np.uint8)
raw, path = Path(sys.argv[1]), Path(sys.argv[2])
def write():
    with open_raw(raw, square(1024), PROB, {}, compress="DEFLATE") as raster:
        for row in (0, 512):
            raster.write(array[row:row + 512], 1, window=Window(0, row, 1024, 512))
    copy_cog(raw, path, PROB)
write()
whole = raw.stat().st_size
path.unlink()
for share in (0.01, 0.5, 0.8, 0.99, 0.9999):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(whole * share), resource.RLIM_INFINITY))
    try:
        write()
    except Interrupted as error:
        assert "see that there is space for it" in str(error), error
        assert not path.exists(), share
    else:
        sys.exit(f"a file cut to {share} passed for whole")
"""


def test_a_file_of_parts_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    """Whether GDAL says so as it writes, or only as it reads what it closed without a word."""
    done = subprocess.run(
        [sys.executable, "-c", _FULL_RAW, str(tmp_path / "raw.tif"), str(tmp_path / "a.tif")],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr


def test_file_facts(tmp_path: Path) -> None:
    path = tmp_path / "b.bin"
    path.write_bytes(b"abc" * 500_000)
    facts = load_file_facts(path)
    assert (facts.name, facts.size) == ("b.bin", 1_500_000)
    assert facts.multihash == "1220" + hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "a.bin").write_bytes(b"")
    sidecar = tmp_path / "x.sha1"
    sidecar.write_text(make_sha1_text([facts, load_file_facts(tmp_path / "a.bin")]))
    assert [line.split("\t")[1] for line in sidecar.read_text().splitlines()] == ["a.bin", "b.bin"]
    done = subprocess.run(
        ["sha1sum", "--check", "-"],
        input=sidecar.read_text().replace("\t", "  "),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_file_facts_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(CropmaskError, match="cannot be read"):
        load_file_facts(tmp_path / "none")


def test_python_holds_no_copy_of_a_large_band(tmp_path: Path) -> None:
    array = np.zeros((4800, 4800), np.uint8)
    tracemalloc.start()
    write_cog(tmp_path / "a.tif", array, geobox(TILE, 20), MASK)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < array.nbytes / 10
