"""Tiles of polygons, and the command that lists them."""

import csv
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from shapely.geometry import shape

from cropmask.cli.tiles import tiles
from cropmask.errors import Misconfigured, Rejected
from cropmask.grid import (
    AFRICA_10,
    CRS,
    Tile,
    intersects,
    tile_at,
    tile_polygon,
    tiles_within,
)
from cropmask.region.region import load_region, models_folder, region_names
from cropmask.sources import boundary
from cropmask.sources.boundary import load_boundary, load_country

SIZE = AFRICA_10.size
HERE = Tile(215, 75)
LEFT, BOTTOM, RIGHT, TOP = HERE.bounds


def test_the_box_of_a_tile_is_its_bounds():
    assert tile_polygon(HERE).bounds == HERE.bounds
    assert tile_polygon(HERE).area == SIZE**2


def test_a_tile_has_itself_only():
    # Its eight neighbors share an edge or a corner, and no area.
    assert tiles_within(tile_polygon(HERE)) == (HERE,)


@pytest.mark.parametrize(("beyond", "tiles"), [(4.9, (HERE,)), (5.1, (HERE, Tile(216, 75)))])
def test_what_reaches_no_pixel_center_of_a_neighbor_does_not_count(beyond, tiles):
    wider = shapely.box(LEFT, BOTTOM, RIGHT + beyond, TOP)
    assert tiles_within(wider) == tiles


@settings(max_examples=50, deadline=None)
@given(st.integers(100, 250), st.integers(20, 130), st.integers(5, 9))
def test_the_footprint_of_a_tile_in_degrees_has_that_tile_only(x, y, decimals):
    to_degrees = Transformer.from_crs(CRS, "OGC:CRS84", always_xy=True)
    rounded = shapely.transform(
        tile_polygon(Tile(x, y)),
        lambda points: np.round(np.column_stack(to_degrees.transform(*points.T)), decimals),
    )
    back = shapely.transform(
        rounded,
        lambda points: np.column_stack(to_degrees.transform(*points.T, direction="INVERSE")),
    )
    assert tiles_within(back) == (Tile(x, y),)


@given(st.integers(-17_000_000, 17_000_000), st.integers(-7_000_000, 7_000_000))
def test_a_place_lies_in_one_tile(x, y):
    left, bottom, right, top = tile_at(x, y).bounds
    assert left <= x < right
    assert bottom <= y < top


def test_a_place_off_the_grid_is_refused():
    with pytest.raises(Rejected, match="is off the grid"):
        tile_at(0, 8_000_000)


def test_tiles_are_sorted_by_column_then_row():
    found = tiles_within(tile_polygon(HERE).buffer(10, join_style="mitre"))
    assert found == tuple(Tile(x, y) for x in (214, 215, 216) for y in (74, 75, 76))


def test_a_hole_without_any_part_is_left_out():
    around = tile_polygon(HERE).buffer(SIZE, join_style="mitre").difference(tile_polygon(HERE))
    assert len(tiles_within(around)) == 8
    assert not intersects(around, HERE)


def test_islands_far_apart_do_not_fill_the_space_between():
    islands = shapely.union_all([tile_polygon(Tile(10, 20)), tile_polygon(Tile(300, 100))])
    assert tiles_within(islands) == (Tile(10, 20), Tile(300, 100))


@pytest.mark.parametrize("nothing", [shapely.Polygon(), shapely.MultiPolygon()])
def test_an_empty_boundary_has_no_tiles(nothing):
    assert tiles_within(nothing) == ()


def test_what_lies_off_the_grid_is_left_out():
    everything = shapely.box(-3e7, -3e7, 3e7, 3e7)
    assert len(tiles_within(everything)) == AFRICA_10.columns * AFRICA_10.rows
    assert tiles_within(shapely.box(3e7, 3e7, 4e7, 4e7)) == ()


@settings(max_examples=50, deadline=None)
@given(*2 * [st.integers(-100_000, 100_000)], *2 * [st.integers(1, 40_000)])
def test_the_tiles_of_a_box_are_those_that_share_its_pixels(column, row, width, height):
    area = shapely.box(*(10 * np.array([column, row, column + width, row + height])))
    found = tiles_within(area)
    assert sum(area.intersection(tile_polygon(tile)).area for tile in found) == pytest.approx(
        area.area, rel=1e-6
    )
    assert all(intersects(area, tile) for tile in found)
    columns, rows = {tile.x for tile in found}, {tile.y for tile in found}
    around = (
        Tile(i, j)
        for i in range(min(columns) - 1, max(columns) + 2)
        for j in range(min(rows) - 1, max(rows) + 2)
    )
    assert tuple(tile for tile in around if intersects(area, tile)) == found


def run(*words):
    """What ``cropmask tiles`` prints; its error, if any, is raised."""
    return CliRunner().invoke(tiles, list(words), catch_exceptions=False)


@pytest.fixture
def nairobi(tmp_path):
    """A file with a small square in tile x218y075."""
    path = tmp_path / "nairobi.geojson"
    ring = [[36.9, -1.4], [37.1, -1.4], [37.1, -1.2], [36.9, -1.2], [36.9, -1.4]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    return path


def test_text_is_one_name_a_line_and_nothing_else():
    result = run("--region", "eastern")
    names = result.stdout.splitlines()
    boundary = load_boundary(load_region("eastern").boundary)
    assert names == [str(tile) for tile in tiles_within(boundary)]
    assert len(names) == pytest.approx(390, rel=0.02)
    assert result.stderr == ""


def test_an_area_of_interest_keeps_the_tiles_it_reaches(nairobi):
    names = run("--region", "eastern", "--aoi", str(nairobi)).stdout.splitlines()
    area = load_boundary(nairobi)
    every = run("--region", "eastern").stdout.splitlines()
    assert names == [name for name in every if intersects(area, Tile.parse(name))]
    assert names == ["x218y075"]


def test_an_area_elsewhere_gives_no_line_and_a_note(nairobi):
    result = run("--region", "southern", "--aoi", str(nairobi))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no tile of southern lies in the place given\n"


def test_other_polygons_take_the_place_of_the_boundary(nairobi):
    assert run("--region", "western", "--boundary", str(nairobi)).stdout == "x218y075\n"


def test_csv_has_boxes_in_meters_and_in_degrees(nairobi):
    text = run("--region", "eastern", "--aoi", str(nairobi), "--format", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(text))
    tile = Tile.parse(row["tile"])
    assert tuple(float(row[key]) for key in ("left", "bottom", "right", "top")) == tile.bounds
    assert float(row["lon_min"]) < 36.9 < 37.1 < float(row["lon_max"])
    assert float(row["lat_min"]) < -1.4 < -1.2 < float(row["lat_max"])


def test_geojson_is_a_map_of_the_tiles(tmp_path):
    document = json.loads(run("--region", "indian_ocean", "--format", "geojson").stdout)
    names = run("--region", "indian_ocean").stdout.splitlines()
    features = document["features"]
    assert [feature["properties"]["tile"] for feature in features] == names
    for feature in features:
        polygon = shape(feature["geometry"])
        assert polygon.is_valid
        assert polygon.exterior.is_ccw
        assert list(polygon.bounds) == feature["bbox"]
        assert tuple(feature["properties"]["bounds"]) == Tile.parse(feature["id"]).bounds
    # Read back as polygons, the map covers the same tiles to a millimeter.
    path = tmp_path / "map.geojson"
    path.write_text(json.dumps(document))
    area = load_boundary(path)
    assert area.area == pytest.approx(len(names) * SIZE**2, rel=1e-6)


def test_geojson_goes_to_a_file_beside_the_list(tmp_path, nairobi):
    path = tmp_path / "tiles.geojson"
    words = ("--region", "eastern", "--aoi", str(nairobi))
    assert run(*words, "--out", str(path)).stdout == "x218y075\n"
    assert path.read_text() == run(*words, "--format", "geojson").stdout


def test_the_outermost_tiles_have_degrees_within_the_world(tmp_path):
    world = tmp_path / "world.geojson"
    ring = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]
    world.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    text = run("--region", "eastern", "--boundary", str(world), "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == AFRICA_10.columns * AFRICA_10.rows
    assert {rows[0]["lon_min"], rows[-1]["lon_max"]} == {"-180.0", "180.0"}
    assert all(-90 <= float(row["lat_min"]) < float(row["lat_max"]) <= 90 for row in rows)


def test_regions_are_looked_up_in_the_folder_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("CROPMASK_MODELS", str(tmp_path))
    with pytest.raises(Rejected, match="known regions are none"):
        run("--region", "eastern")
    assert run("--region", "eastern", "--models", str(models_folder())).exit_code == 0


def test_an_unknown_region_is_refused():
    with pytest.raises(Rejected, match="unknown region 'nowhere'"):
        run("--region", "nowhere")


@pytest.mark.parametrize("option", ["--boundary", "--aoi"])
def test_a_lost_file_is_named(option):
    with pytest.raises(Misconfigured, match=r"lost\.geojson cannot be read"):
        run("--region", "eastern", option, "lost.geojson")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    path = tmp_path / "no-folder" / "tiles.geojson"
    found = run("--region", "eastern", "--out", str(path))
    assert found.exit_code == 2
    assert f"the folder of '{path}' is not there: make it" in found.output


def test_a_file_that_is_no_map_of_tiles_is_not_written_over(nairobi):
    before = nairobi.read_text()
    with pytest.raises(Misconfigured, match=r"nairobi\.geojson is there, and is no file of this"):
        run("--region", "eastern", "--aoi", str(nairobi), "--out", str(nairobi))
    assert nairobi.read_text() == before


def test_a_map_of_tiles_is_written_over(tmp_path, nairobi):
    path = tmp_path / "tiles.geojson"
    run("--region", "indian_ocean", "--out", str(path))
    run("--region", "eastern", "--aoi", str(nairobi), "--out", str(path))
    assert [found["id"] for found in json.loads(path.read_text())["features"]] == ["x218y075"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--at", "36.82,-1.29"], ["x218y075"]),  # Nairobi
        (["--at", "36.82,-1.29", "--region", "eastern"], ["x218y075"]),
        (["--at", "36.82,-1.29", "--country", "Uganda"], []),
        (["--bbox", "36.9,-1.4,37.1,-1.2"], ["x218y075"]),
        (["--tiles", "x218y075,x010y020"], ["x218y075"]),
        (["--country", "Mauritius", "--bbox", "57.2,-20.6,58,-19.9"], ["x238y050", "x239y050"]),
    ],
)
def test_a_place_has_its_tiles_without_a_region(words, expected):
    assert run(*words).stdout.split() == expected


def test_regions_of_the_tiles_are_told_to_people(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = "cropmask-job --tile x218y075 --region eastern"
    output = f"--output {tmp_path / 'output'}"
    told = run("--at", "36.82,-1.29").stderr.splitlines()
    assert told == ["1 of region eastern", f"map one: {line} --env dev {output}"]
    shutil.copytree(models_folder() / "eastern", tmp_path / "mine" / "eastern")
    told = run("--at", "36.82,-1.29", "--models", "mine").stderr.splitlines()
    assert told[1] == f"map one: {line} --env dev {output} --models {tmp_path / 'mine'}"
    monkeypatch.setenv("CROPMASK_CATALOG", "s3://my/catalog.json")
    monkeypatch.setenv("CROPMASK_OUTPUT", "s3://my/results")
    assert run("--at", "36.82,-1.29").stderr.splitlines()[1] == f"map one: {line}"


def test_json_says_regions_and_boxes():
    (found,) = json.loads(run("--at", "36.82,-1.29", "--json").stdout)
    assert (found["tile"], found["regions"]) == ("x218y075", ["eastern"])
    assert tuple(found["bounds"]) == Tile.parse("x218y075").bounds
    west, south, east, north = found["bbox"]
    assert west < 36.82 < east
    assert south < -1.29 < north


def test_a_tile_of_a_border_is_of_both_regions():
    (found,) = json.loads(run("--at", "41.6,-1.2", "--json").stdout)  # Kenya and Somalia
    assert found["regions"] == ["eastern", "sahel"]


def test_every_country_of_the_regions_has_an_outline(monkeypatch):
    # One file for all of them: read once.
    monkeypatch.setattr(boundary, "load_geojson", cache(boundary.load_geojson))
    names = [name for region in region_names() for name in load_region(region).countries]
    outlines = models_folder() / "countries.geojson"
    for name in names:
        assert load_country(name.upper(), outlines).area > 0
    assert len(names) == len(set(names)) == 56


def test_countries_of_a_region_make_its_boundary():
    outlines = models_folder() / "countries.geojson"
    region = load_region("southeast")
    joined = shapely.union_all([load_country(name, outlines) for name in region.countries])
    boundary = load_boundary(region.boundary)
    assert joined.symmetric_difference(boundary).area < 1e-6 * boundary.area


def test_a_country_that_is_not_there_is_guessed():
    with pytest.raises(Rejected, match="no outline of a country 'Kenia': did you mean Kenya"):
        run("--country", "Kenia")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "give a --region, or a place"),
        (["--boundary", "x.geojson", "--at", "1,1"], "give --region as well"),
        (["--at", "36.82"], "'36.82' is not a place in degrees: write it like 36.82,-1.29"),
        (["--at", "nan,1"], "is not a place in degrees"),
        (["--at", "1,91"], "is not a place in degrees"),
        (["--bbox", "1,2,3"], "is not a place in degrees"),
        (["--bbox", "3,2,1,4"], "is empty: give west, south, east and north"),
        (["--tiles", "nonsense"], "'nonsense' is not a tile name"),
    ],
)
def test_a_wrong_command_line_ends_with_usage(words, complaint):
    result = run(*words)
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())


def test_the_help_shows_examples_as_they_are_typed():
    text = run("--help").stdout
    assert "  cropmask tiles --at 36.82,-1.29\n" in text
    assert "\b" not in text


def test_threads_share_a_boundary() -> None:
    """GEOS must not build the index of one geometry twice at once: it would crash the process."""
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    radius = 9e5 + 5e4 * np.sin(40 * angles)
    ring = np.stack([3e6 + radius * np.cos(angles), radius * np.sin(angles)], axis=1)
    tiles = [Tile(x, y) for x in range(200, 225) for y in range(66, 90)]
    expected = {tile: tile in tiles_within(shapely.Polygon(ring)) for tile in tiles[:4]}
    with ThreadPoolExecutor(10) as pool:
        for _ in range(20):
            fresh = shapely.Polygon(ring)
            found = pool.map(partial(intersects, fresh), tiles[:4] * 5)
            assert list(found) == [expected[tile] for tile in tiles[:4]] * 5
