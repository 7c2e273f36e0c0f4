"""``cropmask tiles``: the tiles of a region or a place, as text, CSV, JSON or GeoJSON."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cropmask.cli import options
from cropmask.cli.output import put_text
from cropmask.errors import Misconfigured
from cropmask.grid import CRS, Tile

if TYPE_CHECKING:
    import shapely

    from cropmask.site.site import Site

_COLUMNS: Final = (
    *("tile", "left", "bottom", "right", "top"),
    *("lon_min", "lat_min", "lon_max", "lat_max"),
)
_MADE_BY: Final = {"generator": "cropmask tiles"}
_MARK: Final = json.dumps(_MADE_BY)[1:-1]


@click.command()
@click.option(
    "--region",
    type=options.REGION,
    help="Region, such as eastern, or the path of a region.toml of your own.  [default: whatever "
    "regions cover the place]",
)
@click.option("--at", type=options.PLACE_ON_EARTH, help="The tile of a place, in degrees.")
@click.option("--bbox", type=options.BOX, help="Only tiles that a box in degrees reaches.")
@click.option("--country", type=options.NAME, help="Only tiles of a country, such as Kenya.")
@options.aoi_option
@options.tiles_option
@options.boundary_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "geojson"]),
    default="text",
    help="What to print: names only, a table with the boxes in meters (EPSG:6933) and in "
    "degrees, or a map.",
)
@options.json_option
@click.option("--out", type=options.FILE, help="Write a map of the tiles (GeoJSON), as for QGIS.")
@options.models_option
def tiles(
    region: str | None,
    at: tuple[float, float] | None,
    bbox: tuple[float, float, float, float] | None,
    country: str | None,
    aoi: Path | None,
    tiles: list[Tile] | None,
    boundary: Path | None,
    form: str,
    as_json: bool,
    out: Path | None,
    models: Path | None,
) -> None:
    """List the tiles of a region or a place, one name on each line.

    Tiles are squares of 96 km; a tile is listed if the region covers any of its pixels. Of
    several places, only the tiles that all of them reach are listed.

    \b
    Examples:
      cropmask tiles --at 36.82,-1.29
      cropmask tiles --country Kenya --json
      cropmask tiles --tiles x218y075 --format csv
      cropmask tiles --region eastern | wc -l
      cropmask tiles --region eastern --bbox 36,-2,38,0 --out nairobi-tiles.geojson
      cropmask tiles --region my/region.toml --aoi farms.geojson
    """
    from cropmask.region.region import region_names

    place = _Place(at, bbox, country, aoi, tiles)
    if region is None and place == _Place():
        raise click.UsageError("give a --region, or a place: --at, --bbox, --country, --aoi")
    if boundary is not None and region is None:
        raise click.UsageError("--boundary takes the place of a region's: give --region as well")
    names = region_names(models) if region is None else (region,)
    found = _find_tiles(place, {name: _find_boundary(name, models, boundary) for name in names})
    if not found:
        where = "any region" if region is None else _region_name(region, models)
        click.echo(f"no tile of {where} lies in the place given", err=True)
    if out is not None:
        put_text(out, _encode_geojson(found), _MARK)
    if as_json:
        click.echo(json.dumps(_describe(found)))
    elif form == "text":
        click.echo("".join(f"{tile}\n" for tile in found), nl=False)
        if region is None:
            _tell_regions(found, models)
    else:
        click.echo((_encode_csv if form == "csv" else _encode_geojson)(found), nl=False)


@dataclass(frozen=True, slots=True)
class _Place:
    """What was said of a place; tiles must be in all of it."""

    at: tuple[float, float] | None = None
    bbox: tuple[float, float, float, float] | None = None
    country: str | None = None
    aoi: Path | None = None
    tiles: list[Tile] | None = None

    def areas(self) -> Iterator[shapely.Geometry]:
        """Polygons in EPSG:6933 that a tile must be reached by."""
        from cropmask.region.region import models_folder
        from cropmask.site.site import find_limits
        from cropmask.sources.boundary import load_boundary, load_country, project_box

        if self.bbox is not None:
            yield project_box(*self.bbox)
        if self.country is not None:
            yield load_country(self.country, models_folder() / "countries.geojson")
        if self.aoi is not None:
            yield load_boundary(self.aoi, find_limits(config=options.given_config()))

    def named(self) -> set[Tile] | None:
        """The tiles that it may only be; None for any."""
        from cropmask.sources.boundary import tile_of

        named = None if self.tiles is None else set(self.tiles)
        if self.at is not None:
            here = {tile_of(*self.at)}
            named = here if named is None else named & here
        return named


def _find_tiles(place: _Place, boundaries: Mapping[str, shapely.Geometry]) -> dict[Tile, list[str]]:
    """Names of the regions of each tile in a place, sorted by tile."""
    from cropmask.grid import intersects, tiles_within

    named, reached = place.named(), [set(tiles_within(area)) for area in place.areas()]
    found: dict[Tile, list[str]] = {}
    for name, boundary in boundaries.items():
        if named is None:
            chosen = set(tiles_within(boundary))
        else:
            chosen = {tile for tile in named if intersects(boundary, tile)}
        for tile in chosen.intersection(*reached):
            found.setdefault(tile, []).append(name)
    return {tile: sorted(found[tile]) for tile in sorted(found)}


def _find_boundary(name: str, models: Path | None, other: Path | None) -> shapely.Geometry:
    from cropmask.region.region import load_region
    from cropmask.site.site import find_limits
    from cropmask.sources.boundary import load_boundary

    limits = find_limits(config=options.given_config())
    return load_boundary(other or load_region(name, models).boundary, limits)


def _region_name(region: str, models: Path | None) -> str:
    from cropmask.region.region import load_region

    return load_region(region, models).name


def _tell_regions(found: Mapping[Tile, list[str]], models: Path | None) -> None:
    """Say to people which regions the tiles are of, and how to map the first one."""
    counts = Counter(name for names in found.values() for name in names)
    for name, number in counts.most_common():
        click.echo(f"{number} of region {name}", err=True)
    site = _open_site(models=models)
    if site.synthetic:  # which has one tile only
        site = _open_site(models=models, env="dev")
    for tile, names in list(found.items())[:1]:
        line = site.commands.line("job", "--tile", str(tile), "--region", names[0])
        click.echo(f"map one: {line}", err=True)


def _open_site(**given: object) -> Site:
    """The site of a command that has few options; an output that nobody has named is the usual."""
    from cropmask.site.site import LOCAL_OUTPUT, open_site

    given["config"] = options.given_config()
    try:
        return open_site(options=given)
    except Misconfigured:
        return open_site(options={**given, "output": LOCAL_OUTPUT})


def _describe(found: Mapping[Tile, list[str]]) -> list[dict[str, Any]]:
    """Tiles for programs: name, regions, box in meters and in degrees."""
    return [
        {"tile": str(tile), "regions": found[tile], "bounds": tile.bounds, "bbox": box}
        for tile, box in zip(found, _find_degrees(found), strict=True)
    ]


def _encode_csv(found: Mapping[Tile, list[str]]) -> str:
    """Table of tiles with their boxes in meters of EPSG:6933 and in degrees."""
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(_COLUMNS)
    for tile, box in zip(found, _find_degrees(found), strict=True):
        table.writerow((tile, *(f"{value:.0f}" for value in tile.bounds), *box))
    return lines.getvalue()


def _encode_geojson(found: Mapping[Tile, list[str]]) -> str:
    """Map of tiles: one polygon each, in longitude and latitude (RFC 7946)."""
    features: list[dict[str, Any]] = [
        {
            "type": "Feature",
            "id": tile["tile"],
            "bbox": tile["bbox"],
            "properties": {"crs": CRS} | {k: tile[k] for k in ("tile", "regions", "bounds")},
            "geometry": {"type": "Polygon", "coordinates": [_ring(*tile["bbox"])]},
        }
        for tile in _describe(found)
    ]
    return json.dumps({"type": "FeatureCollection", **_MADE_BY, "features": features}) + "\n"


def _ring(west: float, south: float, east: float, north: float) -> list[tuple[float, float]]:
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]


def _find_degrees(found: Iterable[Tile]) -> list[tuple[float, float, float, float]]:
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
