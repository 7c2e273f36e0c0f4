"""Files of labeled places: every kind gives the same places, and what is wrong gets one line."""

from __future__ import annotations

import json
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from cropmask.errors import CropmaskError, Misconfigured, Rejected
from cropmask.remote.limits import ReadLimits
from cropmask.sources.points import find_column, load_points
from tests.shareddata import shared

PLACES = [(36.8, -1.3), (37.25, -0.5)]
SQUARE = [[36.8, -1.3], [36.81, -1.3], [36.81, -1.29], [36.8, -1.29], [36.8, -1.3]]


def put_csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def put_geojson(path: Path, *features: dict[str, Any], **more: Any) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **more}))
    return path


def feature(geometry: dict[str, Any] | None, **values: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": values}


def point(x: float, y: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [x, y]}


def put_gpkg(
    path: Path,
    rows: list[tuple[bytes | None, str]],
    *,
    srs: int = 4326,
    layers: tuple[str, ...] = ("fields",),
) -> Path:
    """A GeoPackage as the standard describes it, each layer with the same rows."""
    with closing(sqlite3.connect(path)) as base:
        base.execute(
            "CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT, srs_id INTEGER, organization TEXT, "
            "organization_coordsys_id INTEGER, definition TEXT)"
        )
        base.execute(
            "CREATE TABLE gpkg_geometry_columns (table_name TEXT, column_name TEXT, "
            "geometry_type_name TEXT, srs_id INTEGER, z INTEGER, m INTEGER)"
        )
        base.execute(
            "INSERT INTO gpkg_spatial_ref_sys VALUES ('x', ?, 'epsg', ?, 'undefined')", (srs, srs)
        )
        for name in layers:
            base.execute(f'CREATE TABLE "{name}" (fid INTEGER PRIMARY KEY, geom BLOB, class TEXT)')
            base.execute(
                "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 'GEOMETRY', ?, 0, 0)",
                (name, srs),
            )
            base.executemany(f'INSERT INTO "{name}" (geom, class) VALUES (?, ?)', rows)
        base.commit()
    return path


def blob(geometry: shapely.Geometry, *, srs: int = 4326, envelope: bool = False) -> bytes:
    """Header of GeoPackage 1.2, with or without an envelope, and WKB."""
    head = b"GP" + struct.pack("<BBi", 0, 1 | (2 if envelope else 0), srs)
    box = geometry.bounds
    if envelope:
        head += struct.pack("<4d", box[0], box[2], box[1], box[3])
    return head + shapely.to_wkb(geometry)


def test_every_kind_of_file_gives_the_same_places(tmp_path: Path) -> None:
    to_meters = Transformer.from_crs("EPSG:4326", "EPSG:6933", always_xy=True)
    to_utm = Transformer.from_crs("EPSG:4326", "EPSG:32737", always_xy=True)
    lines = [f"{x},{y},crop" for x, y in PLACES]
    utm = [to_utm.transform(*place) for place in PLACES]
    meters = [to_meters.transform(*place) for place in PLACES]
    geometries = [shapely.Point(place) for place in PLACES]
    legacy = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::6933"}}
    rows = [(blob(geometry, envelope=at == 1), "crop") for at, geometry in enumerate(geometries)]
    files = {
        put_csv(tmp_path / "a.csv", "lon,lat,class", *lines): None,
        put_csv(tmp_path / "b.csv", "﻿Longitude;Latitude;class", *lines).rename(
            tmp_path / "b.txt"
        ): None,
        put_geojson(
            tmp_path / "c.geojson", *(feature(point(*p), **{"class": "crop"}) for p in PLACES)
        ): None,
        put_geojson(
            tmp_path / "d.json",
            *(feature(point(*p), **{"class": "crop"}) for p in meters),
            crs=legacy,
        ): None,
        put_gpkg(tmp_path / "e.gpkg", rows): None,
        put_gpkg(
            tmp_path / "f.gpkg",
            [(blob(shapely.Point(p), srs=32737), "crop") for p in utm],
            srs=32737,
        ): None,
        put_csv(
            tmp_path / "g.csv", "x,y,class", *(f"{x!r},{y!r},crop" for x, y in utm)
        ): "EPSG:32737",
    }
    text = (tmp_path / "b.txt").read_text().replace(",", ";")
    (tmp_path / "b.txt").write_text(text)
    for path, crs in files.items():
        found = load_points(path, crs=crs)
        assert [row["class"] for row in found.rows] == ["crop", "crop"], path
        np.testing.assert_allclose(found.lon_lat, PLACES, rtol=0, atol=1e-8, err_msg=str(path))
        np.testing.assert_allclose(
            shapely.get_coordinates(found.geometries), meters, rtol=0, atol=1e-3, err_msg=str(path)
        )


def test_degrees_come_through_as_they_are(tmp_path: Path) -> None:
    path = put_csv(tmp_path / "a.csv", "lon,lat", "36.123456789012,-1.2", "37,-2")
    assert load_points(path).lon_lat.tolist() == [[36.123456789012, -1.2], [37, -2]]


def test_polygons_are_valid_and_their_places_inside(tmp_path: Path) -> None:
    bow = [[36.0, -1.0], [36.02, -0.98], [36.02, -1.0], [36.0, -0.98], [36.0, -1.0]]
    path = put_geojson(
        tmp_path / "a.geojson",
        feature(
            {"type": "Polygon", "coordinates": [SQUARE]}, n=1, share=0.5, ok=True, nothing=None
        ),
        feature({"type": "Polygon", "coordinates": [bow]}, n=2.0),
    )
    found = load_points(path)
    assert found.rows[0] == {"n": "1", "share": "0.5", "ok": "true", "nothing": ""}
    assert found.rows[1] == {"n": "2"}
    assert found.columns == ("n", "share", "ok", "nothing")
    assert shapely.is_valid(found.geometries).all()
    to_meters = Transformer.from_crs("EPSG:4326", "EPSG:6933", always_xy=True)
    inside = shapely.points(np.column_stack(to_meters.transform(*found.lon_lat.T)))
    assert shapely.contains(found.geometries, inside).all()


def test_the_export_of_collect_earth_is_a_csv() -> None:
    found = load_points(shared("validation/ceo_export_labeler-1.csv"))
    assert len(found.rows) == 100
    assert found.columns[-1] == "Is the sample area entirely: crop, non-crop, mixed, or unsure?"
    assert found.lon_lat[0].tolist() == [34.449691767665584, 10.335860572234957]


def broken_files(folder: Path) -> dict[str, tuple[Path, dict[str, str], str]]:
    """What is wrong: the file, options, and words of the message."""
    good = blob(shapely.Point(36, -1))
    line = {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}
    csv = "id,lon,lat,class"

    def of(name: str, path: Path, words: str, **options: str) -> None:
        assert path.suffix
        made[name] = (path, options, words)

    made: dict[str, tuple[Path, dict[str, str], str]] = {}
    of("far east", put_csv(folder / "1.csv", csv, "a,200,5,crop"), "row 1 lies at 200, 5, outside")
    of("meters", put_csv(folder / "2.csv", csv, "a,3e6,-2e5,1"), "name the coordinate system with")
    of("nan", put_csv(folder / "3.csv", csv, "a,1,1,1", "b,nan,5,1"), "row 2 has a coordinate that")
    of("word", put_csv(folder / "4.csv", csv, "a,here,5,1"), "row 1 has no place: here, 5")
    of("gap", put_csv(folder / "5.csv", csv, "a,,5,1"), "row 1 has no place: nothing, 5")
    of("infinite", put_csv(folder / "6.csv", csv, "a,inf,5,1"), "a coordinate that is no number")
    of("empty", put_csv(folder / "7.csv", ""), "it is empty")
    of("header only", put_csv(folder / "8.csv", csv), "it is empty")
    of("no lat", put_csv(folder / "9.csv", "id,lon", "a,1"), "no columns 'lon' and 'lat'; it has")
    of("short row", put_csv(folder / "10.csv", csv, "a,1,2"), "row 1 has 3 values instead of 4")
    of("twice", put_csv(folder / "11.csv", "lon,lat,a,a", "1,2,3,4"), "several columns 'a'")
    of("quote", put_csv(folder / "12.csv", csv, 'a,1,2,"x'), "it is no CSV")
    (folder / "13.csv").write_bytes(b"lon,lat\n\xff\xfe,1\n")
    of("no text", folder / "13.csv", "not text in UTF-8")
    of("kind", put_csv(folder / "14.shp", csv), "its ending is none of .geojson")
    of("crs", put_csv(folder / "15.csv", csv, "a,1,2,1"), "unknown coordinate system", crs="EPSG:1")
    of(
        "other crs",
        put_csv(folder / "16.csv", csv, "a,1e30,2,1"),
        "outside of WGS 84 / UTM",
        crs="EPSG:32737",
    )
    of("no features", put_geojson(folder / "17.geojson"), "it is empty")
    (folder / "18.geojson").write_text('{"type": "FeatureCollection", "features": 3}')
    of("not a list", folder / "18.geojson", "no FeatureCollection")
    (folder / "19.geojson").write_text('{"type": "FeatureCollection", "features": [{"geome')
    of("cut short", folder / "19.geojson", "not valid JSON")
    text = '{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": '
    (folder / "20.geojson").write_text(text + '"Point", "coordinates": [NaN, 1]}}]}')
    of("bare nan", folder / "20.geojson", "NaN is no number")
    of("null", put_geojson(folder / "21.geojson", feature(None)), "row 1 has no geometry")
    of("line", put_geojson(folder / "22.geojson", feature(line)), "row 1 is a LineString")
    odd = feature({"type": "Point", "coordinates": ["x", 1]})
    of("odd", put_geojson(folder / "23.geojson", odd), "feature 1 cannot be read")
    of("feature", put_geojson(folder / "24.geojson", {"a": 1}), "feature 1 cannot be read")
    flat = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0], [0, 0]]]}
    of("flat", put_geojson(folder / "25.geojson", feature(flat)), "a polygon without area")
    of("text", put_csv(folder / "26.gpkg", "no database"), "it is no GeoPackage")
    of("empty layer", put_gpkg(folder / "27.gpkg", []), "it is empty")
    of("no geometry", put_gpkg(folder / "28.gpkg", [(None, "a")]), "row 1 has no geometry")
    of("no header", put_gpkg(folder / "29.gpkg", [(b"abc", "a")]), "geometry of row 1 cannot be")
    of("cut", put_gpkg(folder / "30.gpkg", [(good[:-4], "a")]), "geometry of row 1 cannot be")
    two = put_gpkg(folder / "31.gpkg", [(good, "a")], layers=("b", "c"))
    of("layers", two, "give --layer, one of 'b', 'c'")
    of("no layer", two, "no layer 'd', but 'b', 'c'", layer="d")
    of("no crs", put_gpkg(folder / "32.gpkg", [(good, "a")], srs=-1), "give --crs")
    of("bad crs", put_gpkg(folder / "33.gpkg", [(good, "a")], srs=7), "coordinate system")
    return made


BROKEN = sorted(
    "far east|meters|nan|word|gap|infinite|empty|header only|no lat|short row|twice|quote|no text|"
    "kind|crs|other crs|no features|not a list|cut short|bare nan|null|line|odd|feature|flat|text|"
    "empty layer|no geometry|no header|cut|layers|no layer|no crs|bad crs".split("|")
)


def test_every_broken_file_is_tried(tmp_path: Path) -> None:
    assert sorted(broken_files(tmp_path)) == BROKEN


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_get_one_line(tmp_path: Path, name: str) -> None:
    path, options, words = broken_files(tmp_path)[name]
    with pytest.raises(CropmaskError) as caught:
        load_points(path, **options)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    for name in ("none.csv", "none.gpkg", "none.geojson"):
        with pytest.raises(Misconfigured, match="cannot be read"):
            load_points(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(Misconfigured, match="is not a file"):
        load_points(tmp_path / "folder.csv")


def test_a_layer_of_a_hostile_name_is_a_name(tmp_path: Path) -> None:
    """Names of tables go into a query: one that would end it does not."""
    good = blob(shapely.Point(36, -1))
    path = put_gpkg(tmp_path / "a.gpkg", [(good, "a")], layers=("x; DROP TABLE y; --",))
    assert len(load_points(path).rows) == 1


def test_a_layer_that_never_ends_is_stopped(tmp_path: Path) -> None:
    good = blob(shapely.Point(36, -1))
    path = put_gpkg(tmp_path / "a.gpkg", [(good, "a")])
    endless = (
        "CREATE VIEW fields AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT i AS fid, NULL AS geom, 'a' AS class FROM n WHERE i < 0"
    )
    with closing(sqlite3.connect(path)) as base:
        base.execute("DROP TABLE fields")
        base.execute(endless)
    with pytest.raises(Misconfigured, match="interrupted"):
        load_points(path)


def test_a_polygon_that_would_take_minutes_is_refused(tmp_path: Path) -> None:
    """Edges that all cross each other, few as they are."""
    zigzag = [[36 + (at % 2) * 0.5, 1 - (at * 7919 % 3001) / 3000] for at in range(3000)]
    path = put_geojson(
        tmp_path / "a.geojson", feature({"type": "Polygon", "coordinates": [[*zigzag, zigzag[0]]]})
    )
    with pytest.raises(Rejected, match="boundary_overlaps"):
        load_points(path)
    limits = ReadLimits(file_bytes=1000)
    big = put_gpkg(tmp_path / "a.gpkg", [(blob(shapely.Point(36, -1)), "a")])
    with pytest.raises(Rejected, match="file_bytes"):
        load_points(big, limits=limits)
    with pytest.raises(CropmaskError, match="too big"):
        load_points(big, limits=ReadLimits(document_bytes=50))


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = put_csv(tmp_path / "a.csv", "lon,lat,Class,label,cover", "1,2,a,b,c")
    found = load_points(path)
    assert find_column(found, "cover", ()) == "cover"
    assert find_column(found, None, ("class",)) == "Class"
    assert find_column(found, None, ("date",)) is None
    with pytest.raises(
        Rejected, match="several columns may be meant: name one of 'Class', 'label'"
    ):
        find_column(found, None, ("class", "label"))
    with pytest.raises(Rejected, match="no column 'covr': did you mean 'cover'"):
        find_column(found, "covr", ())
