"""``cropmask tiles``: the tiles of a region, as text, CSV or GeoJSON."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, Final

import click

from cropmask.cli import options
from cropmask.cli.output import put_text
from cropmask.grid import CRS, Tile

_COLUMNS: Final = (
    *("tile", "left", "bottom", "right", "top"),
    *("lon_min", "lat_min", "lon_max", "lat_max"),
)


@click.command()
@options.region_option
@options.boundary_option
@options.aoi_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "geojson"]),
    default="text",
    help="What to print: names only, a table with the boxes in meters (EPSG:6933) and in "
    "degrees, or a map.",
)
@click.option("--geojson", type=options.FILE, help="Write a map of the tiles, too, as for QGIS.")
@options.models_option
def tiles(
    region: str,
    boundary: Path | None,
    aoi: Path | None,
    form: str,
    geojson: Path | None,
    models: Path | None,
) -> None:
    """List the tiles of a region, one name on each line.

    Tiles are squares of 96 km; a tile is listed if the region covers any part of it.

    \b
    Examples:
      cropmask tiles --region eastern
      cropmask tiles --region eastern | wc -l
      cropmask tiles --region eastern --aoi kenya.geojson --geojson kenya-tiles.geojson
      cropmask tiles --region my/region.toml --format csv > tiles.csv
    """
    from cropmask.grid import intersects, tiles_within
    from cropmask.region import load_region
    from cropmask.sources.boundary import load_boundary

    zone = load_region(region, models)
    found = tiles_within(load_boundary(boundary or zone.boundary))
    if aoi is not None:
        area = load_boundary(aoi)
        found = tuple(tile for tile in found if intersects(area, tile))
    if not found:
        click.echo(f"no tile of {zone.name} lies in the polygons given", err=True)
    if geojson is not None:
        put_text(geojson, _encode_geojson(found))
    if form == "text":
        click.echo("".join(f"{tile}\n" for tile in found), nl=False)
    else:
        click.echo((_encode_csv if form == "csv" else _encode_geojson)(found), nl=False)


def _encode_csv(found: tuple[Tile, ...]) -> str:
    """Table of tiles with their boxes in meters of EPSG:6933 and in degrees."""
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(_COLUMNS)
    for tile, box in zip(found, _find_degrees(found), strict=True):
        table.writerow((tile, *(f"{value:.0f}" for value in tile.bounds), *box))
    return lines.getvalue()


def _encode_geojson(found: tuple[Tile, ...]) -> str:
    """Map of tiles: one polygon each, in longitude and latitude (RFC 7946)."""
    features: list[dict[str, Any]] = [
        {
            "type": "Feature",
            "id": str(tile),
            "bbox": box,
            "properties": {"tile": str(tile), "crs": CRS, "bounds": tile.bounds},
            "geometry": {"type": "Polygon", "coordinates": [_ring(*box)]},
        }
        for tile, box in zip(found, _find_degrees(found), strict=True)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}) + "\n"


def _ring(west: float, south: float, east: float, north: float) -> list[tuple[float, float]]:
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]


def _find_degrees(found: tuple[Tile, ...]) -> list[tuple[float, float, float, float]]:
    """Boxes in degrees: in EPSG:6933, edges of tiles are meridians and parallels."""
    import pyproj
    from pyproj.enums import TransformDirection

    from_degrees = pyproj.Transformer.from_crs("OGC:CRS84", CRS, always_xy=True)
    # The grid's outermost tiles reach a little beyond the world.
    edge_x, edge_y = from_degrees.transform(180, 90)
    boxes = []
    for tile in found:
        left, bottom, right, top = tile.bounds
        (west, east), (south, north) = from_degrees.transform(
            [max(left, -edge_x), min(right, edge_x)],
            [max(bottom, -edge_y), min(top, edge_y)],
            direction=TransformDirection.INVERSE,
        )
        boxes.append((round(west, 8), round(south, 8), round(east, 8), round(north, 8)))
    return boxes
