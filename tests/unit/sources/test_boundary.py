"""Polygons from GeoJSON files of every form, and one clear line for the others."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from cropmask.contract import ExitCode
from cropmask.errors import Misconfigured
from cropmask.sources.boundary import load_boundary, load_outline

FROM_DEGREES = Transformer.from_crs("OGC:CRS84", "EPSG:6933", always_xy=True)


def square(west, south, east, north):
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


DEGREES = square(30, -2, 31, -1)
METERS = square(2_900_000, -200_000, 3_000_000, -100_000)
NEXT = square(31, -2, 32, -1)
# What the square of DEGREES becomes: meridians and parallels stay straight.
BOX = shapely.box(*FROM_DEGREES.transform(30, -2), *FROM_DEGREES.transform(31, -1))


def feature(geometry, **properties):
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def crs(name):
    return {"type": "name", "properties": {"name": name}}


@pytest.fixture
def load(tmp_path):
    """Boundary of a document, by way of a file."""

    def of(document):
        path = tmp_path / "polygons.geojson"
        text = document if isinstance(document, str) else json.dumps(document)
        path.write_text(text, encoding="utf-8")
        return load_boundary(path)

    return of


def same_area(one, other):
    """Whether two shapes differ by less than a square meter."""
    return one.symmetric_difference(other).area < 1


@pytest.mark.parametrize(
    "document",
    [
        DEGREES,
        {"type": "MultiPolygon", "coordinates": [DEGREES["coordinates"]]},
        feature(DEGREES, name="one"),
        {"type": "FeatureCollection", "features": [feature(DEGREES), feature(None)]},
        {
            "type": "GeometryCollection",
            "geometries": [{"type": "Point", "coordinates": [0, 0]}, DEGREES],
        },
        feature({"type": "GeometryCollection", "geometries": [DEGREES]}),
        DEGREES | {"crs": None},
    ],
)
def test_every_form_of_geojson_is_read(load, document):
    boundary = load(document)
    assert boundary.geom_type == "Polygon"
    assert same_area(boundary, BOX)


@pytest.mark.parametrize("document", [DEGREES, METERS | {"crs": crs("EPSG:6933")}])
def test_a_byte_order_mark_is_no_obstacle(load, document):
    assert load("\ufeff" + json.dumps(document)).area > 0


@pytest.mark.parametrize(
    "member",
    [
        crs("urn:ogc:def:crs:EPSG::6933"),
        crs("urn:ogc:def:crs:EPSG:9.9:6933"),
        crs("EPSG:6933"),
        crs("epsg:6933"),
        {"type": "EPSG", "properties": {"code": 6933}},
        "EPSG:6933",
    ],
)
def test_meters_are_kept_with_every_form_of_crs(load, member):
    assert load(METERS | {"crs": member}).equals(
        shapely.box(2_900_000, -200_000, 3_000_000, -100_000)
    )


@pytest.mark.parametrize(
    "name", ["urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326", "urn:ogc:def:crs:EPSG::4326"]
)
def test_degrees_are_longitude_first_with_every_form_of_crs(load, name):
    assert same_area(load(DEGREES | {"crs": crs(name)}), BOX)


def test_other_projections_are_brought_to_the_grid(load):
    # UTM zone 36 south: a square of 50 km around a known point.
    to_utm = Transformer.from_crs("OGC:CRS84", "EPSG:32736", always_xy=True)
    x, y = to_utm.transform(33.5, -5.25)
    boundary = load(square(x - 25e3, y - 25e3, x + 25e3, y + 25e3) | {"crs": crs("EPSG:32736")})
    # UTM stretches areas by its scale factor of 0.9996 squared; EPSG:6933 keeps them.
    assert boundary.area == pytest.approx(2.5e9, rel=2e-3)
    assert boundary.contains(shapely.Point(FROM_DEGREES.transform(33.5, -5.25)))


def test_polygons_are_joined(load):
    document = {"type": "FeatureCollection", "features": [feature(DEGREES), feature(NEXT)]}
    boundary = load(document)
    assert boundary.geom_type == "Polygon"
    assert boundary.area == pytest.approx(2 * BOX.area, rel=1e-9)


def test_holes_stay_holes(load):
    hole = square(30.25, -1.75, 30.75, -1.25)["coordinates"]
    boundary = load({"type": "Polygon", "coordinates": DEGREES["coordinates"] + hole})
    assert not boundary.contains(shapely.Point(FROM_DEGREES.transform(30.5, -1.5)))
    assert boundary.contains(shapely.Point(FROM_DEGREES.transform(30.1, -1.5)))


def test_a_ring_that_crosses_itself_is_repaired(load):
    bow = [[30, -2], [31, -1], [31, -2], [30, -1], [30, -2]]
    boundary = load({"type": "Polygon", "coordinates": [bow]})
    assert boundary.is_valid
    assert boundary.area == pytest.approx(BOX.area / 2, rel=0.01)


def test_heights_are_left_out(load):
    ring = [[*point, 1200.0] for point in DEGREES["coordinates"][0]]
    boundary = load({"type": "Polygon", "coordinates": [ring]})
    assert not boundary.has_z
    assert same_area(boundary, BOX)


def test_long_edges_stay_straight_in_degrees(load):
    # Projecting the corners alone would move the middle of this edge by kilometers.
    ring = [[0, 0], [20, 30], [0, 30], [0, 0]]
    boundary = load({"type": "Polygon", "coordinates": [ring]})
    share = np.linspace(0, 1, 101)
    points = shapely.points(*FROM_DEGREES.transform(20 * share, 30 * share))
    assert shapely.distance(boundary.exterior, points).max() < 2


def test_the_whole_world_fits(load):
    world = load(square(-180, -90, 180, 90))
    assert world.area == pytest.approx(5.1e14, rel=0.01)


MALFORMED = {
    "empty file": ("", "is not valid JSON"),
    "cut": (json.dumps(DEGREES)[:-3], "is not valid JSON"),
    "a shapefile": ("PK\x03\x04", "is not valid JSON"),
    "too deep": ("[" * 100_000, "exceeds the limit nesting=64"),
    "a list": ("[1]", "is not GeoJSON: it must be an object with a 'type'"),
    "no type": ("{}", "is not GeoJSON"),
    "a type of a number": ('{"type": 1}', "is not GeoJSON"),
    "unknown type": ('{"type": "Topology"}', "has no polygon: give a GeoJSON file of polygons"),
    "a point": ({"type": "Point", "coordinates": [30, 1]}, "has no polygon"),
    "no features": ({"type": "FeatureCollection", "features": []}, "has no polygon"),
    "no geometry": (feature(None), "has no polygon"),
    "no area": (square(30, 1, 30, 1), "has no polygon"),
    "features missing": ({"type": "FeatureCollection"}, "has a polygon that cannot be read"),
    "features a number": ({"type": "FeatureCollection", "features": 3}, "cannot be read"),
    "feature a text": ({"type": "FeatureCollection", "features": ["x"]}, "cannot be read"),
    "no coordinates": ({"type": "Polygon"}, "has a polygon that cannot be read"),
    "coordinates a text": ({"type": "Polygon", "coordinates": "30 1"}, "cannot be read"),
    "coordinates null": ({"type": "Polygon", "coordinates": None}, "has no polygon"),
    "coordinates of texts": ({"type": "Polygon", "coordinates": [[["a", "b"]]]}, "cannot be read"),
    "two points": ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "cannot be read"),
    "a ragged ring": ({"type": "Polygon", "coordinates": [[[0, 0], [1], [1, 1]]]}, "be read"),
    "not a number": (
        json.dumps(DEGREES).replace("31", "NaN"),
        "is not valid JSON: NaN is no number",
    ),
    "endless": (json.dumps(DEGREES).replace("31", "1e999"), "outside of longitude"),
    "meters without crs": (METERS, "outside of longitude and latitude .* in a 'crs' member"),
    "latitude first": (square(10, 100, 12, 101), "outside of longitude and latitude"),
    "beyond the projection": (
        square(3e8, 0, 4e8, 1e5) | {"crs": crs("EPSG:6933")},
        "coordinates that EPSG:6933 cannot hold: check its coordinate system",
    ),
    "UTM of degrees elsewhere": (
        square(3e8, 0, 4e8, 1e5) | {"crs": crs("EPSG:32736")},
        "coordinates that EPSG:6933 cannot hold",
    ),
    "unknown crs": (METERS | {"crs": crs("EPSG:999999")}, 'system "EPSG:999999": write it like'),
    "crs of a height": (METERS | {"crs": crs("EPSG:5773")}, "unknown coordinate system"),
    "crs by link": (
        METERS | {"crs": {"type": "link", "properties": {"href": "http://example.org"}}},
        "unknown coordinate system null",
    ),
    "crs a number": (METERS | {"crs": 3.5}, "unknown coordinate system"),
    "crs a list": (METERS | {"crs": [1, 2]}, "unknown coordinate system"),
    "crs empty": (METERS | {"crs": {}}, "unknown coordinate system"),
    "crs of nothing": (METERS | {"crs": crs("")}, "unknown coordinate system"),
}


def assert_one_clear_line(path: Path, problem: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing else may reach the terminal
        with pytest.raises(Misconfigured, match=problem) as caught:
            load_boundary(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert caught.value.exit_code == ExitCode.MISCONFIGURED


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_give_one_clear_line(case, tmp_path):
    document, problem = MALFORMED[case]
    path = tmp_path / "bad.geojson"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    assert_one_clear_line(path, problem)


def test_a_lost_file_gives_one_clear_line(tmp_path):
    assert_one_clear_line(tmp_path / "lost.geojson", "cannot be read: No such file")


def test_a_folder_gives_one_clear_line(tmp_path):
    assert_one_clear_line(tmp_path, "cannot be read: Is a directory")


def test_bytes_that_are_no_text_give_one_clear_line(tmp_path):
    (tmp_path / "bad.geojson").write_bytes(b"\xff\xfe\x00{")
    assert_one_clear_line(tmp_path / "bad.geojson", "is not valid JSON")


@pytest.mark.filterwarnings("error")
def test_a_pipe_and_wild_numbers_are_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.geojson")
    with pytest.raises(Misconfigured, match="not a file"):
        load_boundary(tmp_path / "pipe.geojson")
    ring = [[1e308, 0], [1e308, 1], [0, 1e308], [1e308, 0]]
    wild = tmp_path / "wild.geojson"
    wild.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    with pytest.raises(Misconfigured):
        load_boundary(wild)


def test_an_outline_is_what_the_file_says_and_nothing_computed_of_it(tmp_path):
    def outline(document, **how):
        path = tmp_path / "polygons.geojson"
        path.write_text(json.dumps(document, **how), encoding="utf-8")
        return load_outline(path)

    known = outline(feature(DEGREES))
    assert known == [None, ["Polygon", DEGREES["coordinates"]]]
    assert outline(feature(DEGREES, name="other words"), indent=2) == known
    assert outline(feature(square(30, -2, 31.000001, -1))) != known
    assert outline({**feature(DEGREES), "crs": crs("EPSG:4326")}) != known
