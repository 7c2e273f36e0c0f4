"""Tiles of polygons, and the command that lists them."""

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import shape

from cropmask.cli.tiles import tiles
from cropmask.errors import Misconfigured, Rejected
from cropmask.grid import AFRICA_10, Tile, intersects, tile_polygon, tiles_within
from cropmask.region import load_region, models_folder
from cropmask.sources.boundary import load_boundary

SIZE = AFRICA_10.size
HERE = Tile(215, 75)
LEFT, BOTTOM, RIGHT, TOP = HERE.bounds


def test_the_box_of_a_tile_is_its_bounds():
    assert tile_polygon(HERE).bounds == HERE.bounds
    assert tile_polygon(HERE).area == SIZE**2


def test_a_tile_has_itself_only():
    # Its eight neighbors share an edge or a corner, and no area.
    assert tiles_within(tile_polygon(HERE)) == (HERE,)


def test_a_sliver_beyond_the_edge_counts():
    wider = shapely.box(LEFT, BOTTOM, RIGHT + 0.01, TOP)
    assert tiles_within(wider) == (HERE, Tile(216, 75))


def test_tiles_are_sorted_by_column_then_row():
    found = tiles_within(tile_polygon(HERE).buffer(1, join_style="mitre"))
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
@given(*2 * [st.integers(-1_000_000, 1_000_000)], *2 * [st.integers(1, 400_000)])
def test_the_tiles_of_a_box_are_those_that_share_an_area(x, y, width, height):
    area = shapely.box(x, y, x + width, y + height)
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
    assert result.stderr == "no tile of southern lies in the polygons given\n"


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
    assert run(*words, "--geojson", str(path)).stdout == "x218y075\n"
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
    with pytest.raises(Misconfigured, match=r"tiles\.geojson cannot be written: No such file"):
        run("--region", "eastern", "--geojson", str(path))


def test_the_help_shows_examples_as_they_are_typed():
    text = run("--help").stdout
    assert "  cropmask tiles --region eastern\n" in text
    assert "\b" not in text


def test_a_region_is_required():
    result = run()
    assert result.exit_code == 2
    assert "Missing option '--region'" in result.stderr


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
