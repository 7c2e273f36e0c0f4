"""Features of places against what plain numpy and rasterio make of the files, bit by bit."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import rowcol

from cropmask.assess.labelpoints import LabeledPoint
from cropmask.core.features import FEATURES
from cropmask.errors import Interrupted, Misconfigured, Rejected
from cropmask.grid import Tile, geobox
from cropmask.operate import extract as module
from cropmask.operate.extract import Extraction, extract, load_expressions, pixels_of, plan_windows
from cropmask.region.region import Region, load_region
from cropmask.site.site import Inputs, open_site
from cropmask.task import Period
from cropmask.training.samples import Samples, find_left_out, load_samples
from tests.unit.training.tables import make_region_folder
from tests.worlds import TILE, World, make_world

SHAPE = (96, 128)
ROW, COLUMN = 1000, 2000
LEFT, BOTTOM, _, TOP = TILE.bounds
YEAR = Period.year_of("2019")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(
        tmp_path_factory.mktemp("extract") / "w", size=SHAPE, offset=(ROW, COLUMN), block=32
    )


@pytest.fixture(scope="module")
def valley(tmp_path_factory: pytest.TempPathFactory) -> Region:
    return load_region(str(make_region_folder(tmp_path_factory.mktemp("valley"))))


def place(x: float, y: float, name: str, label: int = 0) -> LabeledPoint:
    return outline(shapely.Point(x, y), name, label)


def outline(geometry: shapely.Geometry, name: str, label: int = 0) -> LabeledPoint:
    to_degrees = Transformer.from_crs("EPSG:6933", "OGC:CRS84", always_xy=True)
    point = shapely.point_on_surface(geometry)
    lon, lat = to_degrees.transform(point.x, point.y)
    return LabeledPoint(name, label, geometry, lon, lat, "2019-05")


def scattered(number: int, seed: int = 0) -> list[LabeledPoint]:
    """Places within the made pixels."""
    random = np.random.default_rng(seed)
    x = LEFT + 10 * (COLUMN + random.uniform(0, SHAPE[1], number))
    y = TOP - 10 * (ROW + random.uniform(0, SHAPE[0], number))
    return [place(x[at], y[at], f"p{at}", at % 2) for at in range(number)]


def run(
    world: World, region: Region, points: Iterable[LabeledPoint], out: Path, **options: Any
) -> Extraction:
    catalog = options.pop("catalog", world.catalog)
    inputs = Inputs(str(catalog), world.ancillary, region.boundary, False)
    site = open_site({}, {"catalog": catalog, "resolution": 10, "output": out.parent})
    return extract(tuple(points), region, inputs, site, YEAR, out, **options)


@cache
def read_once(path: str) -> tuple[NDArray[Any], Affine]:
    with rasterio.open(path) as file:
        return file.read(1), file.transform


TO_DEGREES = Transformer.from_crs("EPSG:6933", "EPSG:4326", always_xy=True)


class Plain:
    """Features of pixels, by their centers, with nothing but numpy and rasterio."""

    def __init__(self, world: World) -> None:
        self.world = world

    def half(self, half: int, x: float, y: float) -> NDArray[np.float32] | None:
        f = np.float32
        band = {}
        for name in (
            *("blue", "green", "red", "nir", "swir_1", "swir_2"),
            *("red_edge_1", "red_edge_2", "red_edge_3", "bcdev", "edev", "sdev"),
        ):
            pixels, grid = read_once(str(self.world.band_file(half, name)))
            row, column = rowcol(grid, x, y)
            if not (0 <= row < pixels.shape[0] and 0 <= column < pixels.shape[1]):
                return None
            band[name] = pixels[row, column]
        if band["blue"] == 0:
            return None
        stored = [band[name] for name in [*band][:9]]
        blue, green, red, nir, swir_1, *_ = reflectances = [f(value) / f(10000) for value in stored]
        deviations = [
            f(-math.log(value)) for value in (band["bcdev"], band["edev"] / f(10000), band["sdev"])
        ]
        evi = f(2.5) * (nir - red) / (nir + f(6) * red - f(7.5) * blue + f(1))
        indices = [
            (nir - red) / (nir + red),
            f(3.618) * evi - f(0.118),
            (green - swir_1) / (green + swir_1),
        ]
        return np.array([*reflectances, *deviations, *indices, self.rain(half, x, y)], np.float32)

    def rain(self, half: int, x: float, y: float) -> np.float32:
        name = ("rain_first_half", "rain_second_half")[half]
        cells, grid = read_once(getattr(self.world.ancillary, name))
        cells = cells.astype(np.float64)

        def position(x: float, y: float) -> tuple[float, float]:
            lon, lat = TO_DEGREES.transform(x, y)
            return (lon - grid.c) / grid.a - 0.5, (lat - grid.f) / grid.e - 0.5

        left, bottom, right, top = TILE.bounds
        first = [math.floor(value) for value in position(left + 5, top - 5)]
        last = [math.floor(value) for value in position(right - 5, bottom + 5)]
        window = cells[first[1] : last[1] + 2, first[0] : last[0] + 2]
        filled = np.where(np.isnan(cells), window[np.isfinite(window)].mean(), cells)
        u, v = position(x, y)
        column, row = math.floor(u), math.floor(v)
        u, v = u - column, v - row
        above = filled[row, column] * (1 - u) + filled[row, column + 1] * u
        below = filled[row + 1, column] * (1 - u) + filled[row + 1, column + 1] * u
        return np.float32(above * (1 - v) + below * v)

    def slope(self, x: float, y: float) -> np.float32:
        pixels, grid = read_once(str(self.world.ancillary.slope))
        value = pixels[rowcol(grid, x, y)]
        return np.float32(np.nan if value == -9999 else value)

    def features(self, x: float, y: float) -> NDArray[np.float32] | None:
        """All 33 of the pixel with this center; None without GeoMAD in both half-years."""
        halves = [self.half(half, x, y) for half in (0, 1)]
        if halves[0] is None or halves[1] is None:
            return None
        found = np.array([*halves[0], *halves[1], self.slope(x, y)], np.float32)
        found[~np.isfinite(found)] = 0
        return found


def center(x: float, y: float) -> tuple[float, float]:
    """Center of the pixel of a place; on a border that in the east and the north."""
    return (
        LEFT + 10 * math.floor((x - LEFT) / 10) + 5,
        BOTTOM + 10 * math.floor((y - BOTTOM) / 10) + 5,
    )


def test_points_have_the_features_of_their_pixels(
    world: World, valley: Region, tmp_path: Path
) -> None:
    points = scattered(60)
    found = run(world, valley, points, tmp_path / "s.txt")
    table = load_samples(tmp_path / "s.txt")
    plain = Plain(world)
    expected = {
        point.id: features
        for point in points
        if (features := plain.features(*center(point.geometry.x, point.geometry.y))) is not None
    }
    assert 30 < len(expected) < 60  # some pixels are holes
    assert table.origins.ids == tuple(expected)
    np.testing.assert_array_equal(table.features, np.stack([*expected.values()]))
    known = {point.id: point for point in points}
    assert table.labels.tolist() == [known[name].label for name in expected]
    assert table.origins.lon_lat is not None
    degrees = [(known[name].lon, known[name].lat) for name in expected]
    np.testing.assert_allclose(table.origins.lon_lat, degrees, rtol=0, atol=1e-9)
    assert set(table.origins.dates or ()) == {"2019-05"}
    assert set(table.origins.tiles or ()) == {str(TILE)}
    assert set(table.origins.pixels if table.origins.pixels is not None else ()) == {1}
    left = tuple(point.id for point in points if point.id not in expected)
    assert found.left_out == {"no GeoMAD": left} == find_left_out(table.remarks)
    assert (found.rows, found.crop_rows) == (len(expected), int(table.labels.sum()))


def test_polygons_have_the_medians_of_their_pixels(
    world: World, valley: Region, tmp_path: Path
) -> None:
    random = np.random.default_rng(3)
    points = []
    for at in range(12):
        x = LEFT + 10 * (COLUMN + random.uniform(20, SHAPE[1] - 20))
        y = TOP - 10 * (ROW + random.uniform(20, SHAPE[0] - 20))
        corners = [
            (x + far * math.cos(turn), y + far * math.sin(turn))
            for turn in np.linspace(0, 2 * math.pi, 9)[:-1]
            for far in (random.uniform(15, 120),)
        ]
        points.append(outline(shapely.Polygon(corners).buffer(0), f"f{at}", at % 2))
    run(world, valley, points, tmp_path / "s.txt")
    table = load_samples(tmp_path / "s.txt")
    plain = Plain(world)
    assert table.origins.ids == tuple(point.id for point in points)
    for row, point in enumerate(points):
        west, south, east, north = point.geometry.bounds
        x, y = np.meshgrid(
            np.arange(math.floor(west / 10) * 10 + 5, east + 10, 10),
            np.arange(math.floor(south / 10) * 10 + 5, north + 10, 10),
        )
        inside = shapely.contains_xy(point.geometry, x, y)
        pixels = [plain.features(*xy) for xy in zip(x[inside], y[inside], strict=True)]
        seen = np.stack([values for values in pixels if values is not None])
        assert len(seen) < len(pixels) or len(pixels) < 40  # holes do not count
        np.testing.assert_array_equal(table.features[row], np.median(seen, axis=0))
        assert table.origins.pixels is not None
        assert table.origins.pixels[row] == len(seen)
    # Another statement: NDVI of a median is not the median of NDVI.
    red, nir, ndvi = (FEATURES.index(f"{name}_S1") for name in ("red", "nir", "NDVI"))
    of_medians = (table.features[:, nir] - table.features[:, red]) / (
        table.features[:, nir] + table.features[:, red]
    )
    assert np.abs(of_medians - table.features[:, ndvi]).max() > 1e-3


def test_expressions_are_medians_of_values(world: World, valley: Region, tmp_path: Path) -> None:
    file = tmp_path / "features.txt"
    file.write_text(
        "# ours\n\nnd(nir_S1, red_S1)  # NDVI\nslope\nratio(rain_S1,sum(rain_S1,rain_S2))\n"
    )
    texts = load_expressions(file)
    assert texts == ("nd(nir_S1, red_S1)", "ratio(rain_S1, sum(rain_S1, rain_S2))")
    x, y = LEFT + 10 * (COLUMN + 60), TOP - 10 * (ROW + 60)
    square = outline(shapely.box(x, y, x + 90, y + 90), "square", 0)
    points = [square, *scattered(20)]
    run(world, valley, points, tmp_path / "plain.txt")
    run(world, valley, points, tmp_path / "more.txt", expressions=texts)
    plain, more = (load_samples(tmp_path / f"{name}.txt") for name in ("plain", "more"))
    assert more.names[33:] == tuple(text.replace(" ", "") for text in texts)
    np.testing.assert_array_equal(more.features[:, :33], plain.features)
    np.testing.assert_array_equal(more.compute(FEATURES), plain.features)
    found = more.compute(texts)
    np.testing.assert_array_equal(found[:, 0], plain.compute(("NDVI_S1",))[:, 0])
    of_medians = plain.compute(texts)
    assert (found[0] != of_medians[0]).any()  # an area
    np.testing.assert_array_equal(found[1:], of_medians[1:])  # pixels
    with pytest.raises(Rejected, match="another period or other inputs"):
        run(world, valley, points, tmp_path / "plain.txt", expressions=texts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slope\n__import__('os')", "line 2: .* is no feature: only names, commas"),
        ("nd(nir_S1,red_S1)\n\nnd(nir_S1, red_S1)", "lines 1 and 3 are the same"),
        ("#" * 200_000, "too large"),
    ],
)
def test_files_of_no_features(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "features.txt"
    file.write_text(text)
    with pytest.raises(Rejected, match=words):
        load_expressions(file)


def test_a_file_of_features_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xff\xfe\x00")
    for path, words in ((tmp_path / "f", "it is not text"), (tmp_path / "none", "No such file")):
        with pytest.raises(Misconfigured, match=words):
            load_expressions(path)


def test_a_polygon_may_count_as_a_point_on_it(world: World, valley: Region, tmp_path: Path) -> None:
    x, y = LEFT + 10 * (COLUMN + 50), TOP - 10 * (ROW + 50)
    square = shapely.box(x, y, x + 100, y + 100)
    tiny = shapely.box(x + 201, y + 1, x + 202, y + 2)  # holds no center of a pixel
    points = [outline(square, "square", 1), outline(tiny, "tiny", 0)]
    run(world, valley, points, tmp_path / "s.txt", at="center")
    table = load_samples(tmp_path / "s.txt")
    for row, point in enumerate(points):
        inner = shapely.point_on_surface(point.geometry)
        np.testing.assert_array_equal(
            table.features[row], Plain(world).features(*center(inner.x, inner.y))
        )
    run(world, valley, points, tmp_path / "m.txt")
    medians = load_samples(tmp_path / "m.txt")
    np.testing.assert_array_equal(medians.features[1], table.features[1])
    assert medians.origins.pixels is not None
    assert 60 < medians.origins.pixels[0] <= 100


def test_a_pixel_with_one_half_counts_where_the_region_says_so(
    world: World, valley: Region, tmp_path: Path
) -> None:
    first, second = (half.reflectance[0] != 0 for half in world.halves)
    row, column = np.argwhere(first & ~second)[0]
    both = np.argwhere(first & second)[0]
    points = [
        place(LEFT + 10 * (COLUMN + c) + 5, TOP - 10 * (ROW + r) - 5, f"p{at}", at)
        for at, (r, c) in enumerate([(row, column), both])
    ]
    limits = valley.limits.model_copy(update={"require_both_halves": False})
    found = run(world, valley.model_copy(update={"limits": limits}), points, tmp_path / "s.txt")
    assert found.rows == 2
    table = load_samples(tmp_path / "s.txt")
    assert (table.features[0, 16:31] == 0).all()
    assert (table.features[0, :3] > 0).all()
    assert run(world, valley, points, tmp_path / "b.txt").left_out == {"no GeoMAD": ("p0",)}


def test_borders_belong_to_the_east_and_the_north() -> None:
    west, _, _, north = TILE.bounds
    edge, row = 9600, (153 - TILE.y) * 9600
    corners = {
        (west, north - 96_000): (row + edge - 1, TILE.x * edge),
        (west + 10, north - 10): (row, TILE.x * edge + 1),
        (west + 95_999.9, north - 0.1): (row, TILE.x * edge + edge - 1),
        (west, north): (row - 1, TILE.x * edge),  # of the tile in the north
    }
    for (x, y), expected in corners.items():
        rows, columns = pixels_of(shapely.Point(x, y), 10) or ((), ())
        assert (rows[0], columns[0]) == expected


@given(
    st.lists(st.tuples(st.integers(0, 9599), st.integers(0, 9599)), min_size=1, max_size=60),
    st.booleans(),
)
def test_windows_hold_every_pixel_once(pixels: list[tuple[int, int]], is_dense: bool) -> None:
    rows, columns = np.array(pixels).T // (12 if is_dense else 1)
    seen = np.zeros(len(rows), int)
    cells = 0
    for window, mine in plan_windows(rows, columns):
        seen[mine] += 1
        assert (rows[mine] >= window.row).all()
        assert (rows[mine] < window.row + window.rows).all()
        assert (columns[mine] >= window.column).all()
        assert (columns[mine] < window.column + window.columns).all()
        assert window.row >= 0
        assert window.row + window.rows <= 9600
        cells += window.pixels
        assert window.pixels <= 8 * 512 * 512
    assert (seen == 1).all()
    occupied = len({(row // 512, column // 512) for row, column in zip(rows, columns, strict=True)})
    # Joining reads at most two squares more than it saves openings.
    assert cells <= (3 * occupied - 2) * 512 * 512


def test_few_far_points_are_read_by_small_windows(
    world: World, valley: Region, tmp_path: Path
) -> None:
    inside = scattered(10)
    far = [place(LEFT + 90_005 + 10 * at, TOP - 90_005, f"far{at}") for at in range(5)]
    found = run(world, valley, [*inside, *far], tmp_path / "s.txt")
    assert found.windows == 2
    assert found.pixels <= SHAPE[0] * SHAPE[1] + 5  # of 92 million in the tile
    assert set(found.left_out["no GeoMAD"]) >= {point.id for point in far}


@pytest.fixture(scope="module")
def two_tiles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World, World]:
    """Neighbors with pixels on both sides of their border, as a folder of items."""
    folder = tmp_path_factory.mktemp("two")
    size, rows = (40, 30), 1000
    west = make_world(folder / "a", size=size, offset=(rows, 9600 - 30), holes=0)
    east = make_world(folder / "b", Tile(216, 75), size=size, offset=(rows, 0), holes=0, seed=1)
    return folder, west, east


def test_a_polygon_across_tiles_has_all_its_pixels(
    two_tiles: tuple[Path, World, World], valley: Region, tmp_path: Path
) -> None:
    folder, west, east = two_tiles
    border, top = TILE.bounds[2], TOP - 10_000
    box = shapely.box(border - 52, top - 198, border + 31, top - 101)
    ends = [place(border - 5, top - 5, "west", 1), place(border + 5, top - 5, "east", 1)]
    run(west, valley, [outline(box, "both"), *ends], tmp_path / "s.txt", catalog=folder)
    table = load_samples(tmp_path / "s.txt")
    assert table.origins.pixels is not None
    assert table.origins.tiles == ("x215y075", "x215y075", "x216y075")
    blue = [world.halves[0].reflectance[0].astype(np.float32) for world in (west, east)]
    pixels = np.concatenate([blue[0][10:20, 25:], blue[1][10:20, :3]], axis=1) / np.float32(10_000)
    assert table.origins.pixels[0] == pixels.size == 80
    column = FEATURES.index("blue_S1")
    assert table.features[0, column] == np.median(pixels)
    assert table.features[1, column] == blue[0][0, -1] / np.float32(10_000)
    assert table.features[2, column] == blue[1][0, 0] / np.float32(10_000)


def spread(folder: Path) -> list[LabeledPoint]:
    border, top = TILE.bounds[2], TOP - 10_000
    return [
        place(border + side * (5 + 10 * at), top - 5 - 10 * at, f"{side}{at}", at % 2)
        for at in range(20)
        for side in (1, -1)
    ]


def test_a_run_that_failed_goes_on_where_it_was(
    two_tiles: tuple[Path, World, World],
    valley: Region,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, west, _ = two_tiles
    points = spread(folder)
    whole = run(west, valley, points, tmp_path / "whole.txt", catalog=folder)
    assert (whole.tiles, whole.tiles_resumed, whole.rows) == (2, 0, 40)
    expected = (tmp_path / "whole.txt").read_bytes()
    out, parts = tmp_path / "s.txt", tmp_path / "s.txt.parts"
    original, asked = module.find_sources, []

    def fail_in_the_east(catalog: object, tile: Tile, *rest: Any, **more: Any) -> Any:
        asked.append(str(tile))
        if tile.x == 216 and len(asked) < 3:
            raise Interrupted("the network is away")
        return original(catalog, tile, *rest, **more)

    monkeypatch.setattr(module, "find_sources", fail_in_the_east)
    with pytest.raises(Interrupted, match="the network is away"):
        run(west, valley, points, out, catalog=folder, threads=1)
    assert not out.exists()
    assert [path.name for path in parts.iterdir()] == ["x215y075.json"]
    content = (parts / "x215y075.json").read_bytes()
    json.loads(content)
    found = run(west, valley, points, out, catalog=folder, threads=1)
    assert found.tiles_resumed == 1
    assert asked == ["x215y075", "x216y075", "x216y075"]  # the first one is not read again
    assert out.read_bytes() == expected
    assert not parts.exists()
    again = run(west, valley, points, out, catalog=folder)
    assert (again.rows, again.crop_rows, again.tiles_resumed) == (40, whole.crop_rows, 2)
    assert len(asked) == 3
    assert out.read_bytes() == expected


def test_parts_of_another_run_are_not_taken(
    two_tiles: tuple[Path, World, World], valley: Region, tmp_path: Path
) -> None:
    folder, west, _ = two_tiles
    points = spread(folder)
    out, parts = tmp_path / "s.txt", tmp_path / "s.txt.parts"
    parts.mkdir()
    (parts / "x215y075.json").write_text('{"key": "other", "places": []}')
    (parts / "x216y075.json").write_text("half a fi")
    assert run(west, valley, points, out, catalog=folder).tiles_resumed == 0
    with pytest.raises(Rejected, match="of other points, another period or other inputs"):
        run(west, valley, points[1:], out, catalog=folder)
    before = out.read_bytes()
    run(west, valley, points[1:], out, catalog=folder, overwrite=True)
    assert out.read_bytes() != before
    (tmp_path / "mine.txt").write_text("my notes\n")
    with pytest.raises(Misconfigured, match="no table that this command has written"):
        run(west, valley, points, tmp_path / "mine.txt", catalog=folder, overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "my notes\n"


def test_threads_and_batches_change_no_byte(
    two_tiles: tuple[Path, World, World],
    valley: Region,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, west, _ = two_tiles
    border, top = TILE.bounds[2], TOP - 10_000
    box = shapely.box(border - 152, top - 198, border + 131, top - 101)
    points = [*spread(folder), outline(box, "box")]
    run(west, valley, points, tmp_path / "a.txt", catalog=folder, threads=4)
    monkeypatch.setattr(module, "_BATCH_PIXELS", 7)
    monkeypatch.setattr(module, "_CELL", 16)
    monkeypatch.setattr(module, "_STRIP_PIXELS", 50)
    run(west, valley, points, tmp_path / "b.txt", catalog=folder, threads=1)
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()


def test_places_without_any_geomad(world: World, valley: Region, tmp_path: Path) -> None:
    other = [place(x, TOP, f"p{x}") for x in (LEFT + 500_000.0, LEFT + 600_000.0)]
    with pytest.raises(Rejected, match=r"none of 2 places .* \(no GeoMAD\).* not exchanged"):
        run(world, valley, other, tmp_path / "s.txt")
    assert not (tmp_path / "s.txt").exists()
    found = run(world, valley, [*scattered(20), *other], tmp_path / "s.txt")
    assert found.left_out["no GeoMAD"][-2:] == tuple(point.id for point in other)


def test_a_polygon_beyond_all_fields_is_left_out(
    world: World, valley: Region, tmp_path: Path
) -> None:
    huge = outline(shapely.box(LEFT + 5, TOP - 50_000, LEFT + 50_000, TOP - 5), "huge")
    found = run(world, valley, [*scattered(20), huge], tmp_path / "s.txt")
    assert found.left_out["too large"] == ("huge",)


def test_errors_of_inputs_stop_the_run(world: World, valley: Region, tmp_path: Path) -> None:
    broken = world.copied(tmp_path / "w")
    broken.edit_assets(0, B02=None)
    with pytest.raises(Rejected, match="blue"):
        run(broken, valley, scattered(5), tmp_path / "s.txt")
    assert not (tmp_path / "s.txt").exists()


def test_names_with_spaces_come_back(world: World, valley: Region, tmp_path: Path) -> None:
    names = ["field 7", "#1", "100 %", "ß\u2028x", "%20"]
    points = [
        LabeledPoint(name, at % 2, point.geometry, point.lon, point.lat, None)
        for at, (name, point) in enumerate(zip(names, _seen(world), strict=False))
    ]
    run(world, valley, points, tmp_path / "s.txt")
    table: Samples = load_samples(tmp_path / "s.txt")
    assert table.origins.ids == tuple(names)
    assert table.origins.dates == ("-",) * 5


def _seen(world: World) -> list[LabeledPoint]:
    """Places of pixels with GeoMAD in both half-years."""
    first, second = (half.reflectance[0] != 0 for half in world.halves)
    return [
        place(LEFT + 10 * (COLUMN + c) + 5, TOP - 10 * (ROW + r) - 5, "")
        for r, c in np.argwhere(first & second)[:5]
    ]


def test_the_grid_of_pixels_is_that_of_tiles() -> None:
    """The geobox of a tile and the rows and columns that places are given agree."""
    box = geobox(TILE, 60)
    x, y = box.transform @ (7.5, 3.5)
    rows, columns = pixels_of(shapely.Point(x, y), 60) or ((), ())
    assert (rows[0] % 1600, columns[0] % 1600) == (3, 7)
