"""Files of a sample: read back, and for those who label it.

GeoPackages and imports of Collect Earth Online say where points are and nothing of the map:
whoever labels must not know what it shows.
"""

from __future__ import annotations

import csv
import io
import sqlite3
import struct
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np

from cropmask.assess.design import Sample, encode_sample, parse_sample
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.remote.limits import USUAL_LIMITS, ReadLimits, parse_json
from cropmask.sources.boundary import load_geojson

LAYER: Final = "points"
DOCUMENT: Final = "cropmask_sample"
"""Table of a GeoPackage whose only row is the GeoJSON document of the sample."""
GPKG_MARK: Final = DOCUMENT.encode()
CEO_MARK: Final = b"LON,LAT,PLOTID"

_APPLICATION: Final = 0x47504B47
_VERSION: Final = 10300
_DEGREES: Final = 4326
_WKT: Final = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],AUTHORITY["EPSG","4326"]]'
)
_SCHEMA: Final = f"""
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY,
  organization TEXT NOT NULL, organization_coordsys_id INTEGER NOT NULL,
  definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT PRIMARY KEY, data_type TEXT NOT NULL,
  identifier TEXT UNIQUE, description TEXT DEFAULT '', last_change DATETIME NOT NULL,
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE,
  srs_id INTEGER REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL UNIQUE REFERENCES
  gpkg_contents(table_name), column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL,
  srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
  PRIMARY KEY (table_name, column_name));
CREATE TABLE {LAYER} (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom POINT,
  id TEXT NOT NULL, plot TEXT NOT NULL, {{classes}}, labeler TEXT, note TEXT);
CREATE TABLE {DOCUMENT} (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, document TEXT);
"""
_MADE: Final = "1970-01-01T00:00:00.000Z"
"""Of every table: equal samples are equal files."""


def encode_geopackage(sample: Sample) -> bytes:
    """GeoPackage 1.3 with a layer of points, whose column of classes is to be filled in.

    It is called ``class``; a sample of change has two, of the first year and the last.
    """
    lon, lat = sample.lon.tolist(), sample.lat.tolist()
    box = (min(lon), min(lat), max(lon), max(lat)) if lon else (0.0, 0.0, 0.0, 0.0)
    with closing(sqlite3.connect(":memory:")) as base:
        names = sample.design.label_columns
        base.executescript(_SCHEMA.format(classes=", ".join(f'"{name}" TEXT' for name in names)))
        base.executemany(
            "INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, NULL)",
            [
                ("WGS 84", _DEGREES, "EPSG", _DEGREES, _WKT),
                ("Undefined cartesian", -1, "NONE", -1, "undefined"),
                ("Undefined geographic", 0, "NONE", 0, "undefined"),
            ],
        )
        base.executemany(
            "INSERT INTO gpkg_contents VALUES (?, ?, ?, '', ?, ?, ?, ?, ?, ?)",
            [
                (LAYER, "features", LAYER, _MADE, *box, _DEGREES),
                (DOCUMENT, "attributes", DOCUMENT, _MADE, None, None, None, None, None),
            ],
        )
        base.execute(
            "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 'POINT', ?, 0, 0)",
            (LAYER, _DEGREES),
        )
        base.executemany(
            f"INSERT INTO {LAYER} (geom, id, plot) VALUES (?, ?, ?)",  # noqa: S608 (a constant)
            zip(
                map(_encode_point, lon, lat), sample.id.tolist(), sample.plot.tolist(), strict=True
            ),
        )
        base.execute(
            f"INSERT INTO {DOCUMENT} (document) VALUES (?)",  # noqa: S608 (a constant)
            (encode_sample(sample),),
        )
        base.commit()
        return base.serialize()


def _encode_point(lon: float, lat: float) -> bytes:
    """Header of GeoPackage without an envelope, then WKB, both little endian."""
    header = struct.pack("<2sBBi", b"GP", 0, 1, _DEGREES)
    return header + struct.pack("<BIdd", 1, 1, lon, lat)


def load_sample(path: Path, limits: ReadLimits = USUAL_LIMITS) -> Sample:
    """Sample of a file that ``cropmask sample`` has written.

    Raises Misconfigured if the file cannot be read; Rejected if it is no such file, or was changed
    so that it contradicts itself.
    """
    if not path.is_file():
        raise Misconfigured(f"sample {path} is no file: give what 'cropmask sample' has written")
    try:
        return parse_sample(_load_document(path, limits))
    except ValueError as error:
        raise Rejected(
            f"sample {path}: {error}; give the GeoJSON that 'cropmask sample' has written",
            reason=Reason.BAD_SAMPLES,
        ) from None


def _load_document(path: Path, limits: ReadLimits) -> Mapping[str, Any]:
    """Document of a GeoJSON, or the one inside of a GeoPackage; ValueError if it has none."""
    if path.suffix.lower() != ".gpkg":
        return load_geojson(path, limits)
    text = _read_document(path)
    if text is None:
        raise ValueError("it is no GeoPackage of a sample")
    return dict(parse_json(text, limits, str(path)))


def _read_document(path: Path) -> str | None:
    """The GeoJSON document inside a GeoPackage of ours; None if it is another file."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
        base.execute("PRAGMA trusted_schema=OFF")
        try:
            found = base.execute(f"SELECT document FROM {DOCUMENT} LIMIT 1").fetchone()  # noqa: S608
        except sqlite3.DatabaseError:
            return None
    return found[0] if found and isinstance(found[0], str) else None


def encode_ceo_plots(sample: Sample) -> str:
    """Plots as Collect Earth Online imports them: ``LON,LAT,PLOTID``, the middle of each."""
    plots, at, counts = np.unique(sample.plot, return_inverse=True, return_counts=True)
    lon, lat = (np.bincount(at, values) / counts for values in (sample.lon, sample.lat))
    rows = [(f"{x:.9f}", f"{y:.9f}", int(plot)) for x, y, plot in zip(lon, lat, plots, strict=True)]
    return _encode_rows(["LON", "LAT", "PLOTID"], rows)


def encode_ceo_samples(sample: Sample) -> str:
    """Points of the plots as Collect Earth Online imports them: numbers, and no class."""
    rows = [
        (f"{lon:.9f}", f"{lat:.9f}", int(plot), number)
        for number, (lon, lat, plot) in enumerate(
            zip(sample.lon.tolist(), sample.lat.tolist(), sample.plot.tolist(), strict=True), 1
        )
    ]
    return _encode_rows(["LON", "LAT", "PLOTID", "SAMPLEID"], rows)


def _encode_rows(head: list[str], rows: Sequence[tuple[str | int, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
