"""The boundaries that come along: how they were made, and how close to the official ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from shapely.geometry import shape

from cropmask.cli.tiles import tiles
from cropmask.grid import tiles_within
from cropmask.region.region import load_region, region_names
from cropmask.sources.boundary import load_boundary
from tests.shareddata import shared

REPOSITORY = Path(__file__).parents[2]
OFFICIAL = {
    "eastern": 390,
    "western": 287,
    "northern": 717,
    "sahel": 1091,
    "southern": 338,
    "southeast": 266,
    "central": 663,
    "indian_ocean": 103,
}


@pytest.fixture(scope="module", params=OFFICIAL)
def pair(request):
    """Name of a region, its official boundary and its own."""
    path = official_path(request.param)
    return request.param, load_boundary(path), load_boundary(load_region(request.param).boundary)


def official_path(name):
    return shared(f"regions/{name}.geojson")


def test_the_official_boundary_has_exactly_the_official_tiles(pair):
    name, official, _ = pair
    assert len(tiles_within(official)) == OFFICIAL[name]


def test_all_regions_together_have_the_official_tiles():
    found = [tiles_within(load_boundary(official_path(name))) for name in OFFICIAL]
    assert sum(map(len, found)) == 3855
    assert len(set().union(*found)) == 3475


def test_our_boundary_covers_what_the_official_one_does(pair):
    _, official, ours = pair
    assert ours.is_valid
    assert ours.intersection(official).area / ours.union(official).area >= 0.975


def test_our_boundary_has_the_official_tiles_within_two_percent(pair):
    name, _, ours = pair
    assert len(tiles_within(ours)) == pytest.approx(OFFICIAL[name], rel=0.02)


def test_the_command_lists_exactly_390_tiles_of_the_official_eastern():
    words = ["--region", "eastern", "--boundary", str(official_path("eastern"))]
    result = CliRunner().invoke(tiles, words, catch_exceptions=False)
    assert len(result.stdout.splitlines()) == 390


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_number_of_tiles_needs_no_official_file(name):
    ours = tiles_within(load_boundary(load_region(name).boundary))
    assert len(ours) == pytest.approx(OFFICIAL[name], rel=0.02)


def test_every_region_is_compared():
    assert set(region_names()) == set(OFFICIAL)


@pytest.mark.parametrize("name", OFFICIAL)
def test_boundary_files_are_plain_geojson_with_their_source(name):
    region = load_region(name)
    document = json.loads(region.boundary.read_text(encoding="utf-8"))
    (feature,) = document["features"]
    assert "crs" not in document
    assert feature["properties"]["credit"] == "Natural Earth, public domain"
    assert tuple(feature["properties"]["countries"]) == region.countries
    outline = shape(feature["geometry"])
    assert outline.is_valid
    assert all(part.exterior.is_ccw for part in outline.geoms)
    west, south, east, north = outline.bounds
    assert -20 < west < east < 65
    assert -36 < south < north < 38


# Two countries side by side, 10 to 11 and 11 to 12 degrees east, which share arc 0; the second
# has an island that the grid of half degrees has made a single point (arc 3).
WORLD = {
    "type": "Topology",
    "transform": {"scale": [0.5, 0.5], "translate": [10, 0]},
    "arcs": [
        [[2, 0], [0, 2]],
        [[2, 2], [-2, 0], [0, -2], [2, 0]],
        [[2, 0], [2, 0], [0, 2], [-2, 0]],
        [[3, 3], [0, 0]],
    ],
    "objects": {
        "countries": {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Polygon", "properties": {"name": "Westland"}, "arcs": [[0, 1]]},
                {
                    "type": "MultiPolygon",
                    "properties": {"name": "S. Sudan"},
                    "arcs": [[[2, -1]], [[3]]],
                },
            ],
        }
    },
}


@pytest.fixture
def make_boundary(tmp_path):
    """Runs the script on the made-up world; returns the process and the boundary's path."""
    (tmp_path / "world.json").write_text(json.dumps(WORLD))
    script = REPOSITORY / "docs" / "make_boundaries.py"

    def make(countries):
        region = tmp_path / "region.toml"
        region.write_text(
            f'name = "two"\nboundary = "outline.geojson"\ncountries = {json.dumps(countries)}\n'
        )
        words = [sys.executable, script, "--world", tmp_path / "world.json", region]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done, tmp_path / "outline.geojson"

    return make


def test_the_script_joins_countries_along_their_shared_arc(make_boundary):
    done, path = make_boundary(["Westland", "South Sudan"])
    assert done.returncode == 0, done.stderr
    outline = shape(json.loads(path.read_text())["features"][0]["geometry"])
    assert len(outline.geoms) == 1
    assert outline.bounds == (10, 0, 12, 1)
    assert outline.area == 2
    first = path.read_bytes()
    make_boundary(["Westland", "South Sudan"])
    assert path.read_bytes() == first


def test_the_script_decodes_an_arc_backward(make_boundary):
    _, path = make_boundary(["South Sudan"])
    outline = shape(json.loads(path.read_text())["features"][0]["geometry"])
    assert outline.is_valid
    assert (outline.bounds, outline.area) == ((11, 0, 12, 1), 1)


def test_the_script_names_an_unknown_country_and_its_neighbors(make_boundary):
    done, path = make_boundary(["Wesland"])
    assert done.returncode == 1
    assert done.stderr == ("Error: no country 'Wesland' in the outlines: did you mean Westland?\n")
    assert not path.exists()
