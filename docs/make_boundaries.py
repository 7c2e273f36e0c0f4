"""Make the boundary of each region from Natural Earth country outlines.

::

    python docs/make_boundaries.py                       # all regions; npm fetches world-atlas
    python docs/make_boundaries.py --world countries-10m.json eastern sahel
    python docs/make_boundaries.py my/region.toml   # any other region file

Without names, the outlines of all their countries go one by one into ``countries.geojson``, too.
Reads the ``countries`` of each region file, joins their outlines (scale 1:10 million, as
packaged in TopoJSON by the npm package ``world-atlas``) and writes the region's boundary as
GeoJSON in longitude and latitude (RFC 7946). The same input gives the same bytes.

What the outlines say, and what was chosen:

- The published boundary of ``northern`` covers all of Western Sahara. Natural Earth draws a
  part of it within Morocco and the rest as an area of its own: both are taken.
- ``sahel`` includes Eritrea and Somaliland, ``central`` Sao Tome and Principe, as published.
- Natural Earth draws Reunion and Mayotte as parts of France: boxes cut them out.
- Natural Earth ends Egypt and Sudan at the parallel of 22 degrees north; the published
  boundaries follow the administrative line. The outlines are kept as they are drawn.
- South Africa is taken without the Prince Edward Islands, as published.
- Mauritius comes with Agalega and Rodrigues, which the published boundary leaves out. The
  published outlines of small islands include their lagoons, which Natural Earth does not draw.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import shapely
from shapely import MultiPolygon, Polygon

REGIONS_FOLDER: Final = Path(__file__).parents[1] / "models"
NPM_PACKAGE: Final = "world-atlas@2.0.2"
MEMBER: Final = "package/countries-10m.json"
MEMBER_SHA256: Final = "3bc6f1d367a9bcec479841bae0e76092f512838411d0cef124e92eec4db45f79"
OUTLINES_CREDIT: Final = "Natural Earth, public domain"
COUNTRIES_FILE: Final = "countries.geojson"
DEGREE_DECIMALS: Final = 5
"""Decimals of degrees, about one meter; the outlines themselves are true to some 200 m."""

NAMES: Final = {
    "Central African Republic": "Central African Rep.",
    "Cote d'Ivoire": "Côte d'Ivoire",
    "DR Congo": "Dem. Rep. Congo",
    "Equatorial Guinea": "Eq. Guinea",
    "Eswatini": "eSwatini",
    "Sao Tome and Principe": "São Tomé and Principe",
    "South Sudan": "S. Sudan",
    "Western Sahara": "W. Sahara",
}
"""Names in region files that world-atlas abbreviates or writes otherwise."""

PARTS: Final = {
    "Mayotte": ("France", (44.8, -13.2, 45.5, -12.5)),
    "Reunion": ("France", (55.0, -21.6, 56.0, -20.7)),
    "South Africa": ("South Africa", (15.0, -36.0, 34.0, -22.0)),
}
"""Parts of an outline: the outline's name, and the box (west, south, east, north) to keep."""


class CountryOutlines:
    """Country outlines of a TopoJSON document, in degrees of longitude and latitude."""

    def __init__(self, topology: dict[str, Any]) -> None:
        transform = topology["transform"]
        scale, shift = np.array(transform["scale"]), np.array(transform["translate"])
        # An arc is its first point, then steps from point to point, in whole grid cells.
        self._arcs = [np.cumsum(arc, axis=0) * scale + shift for arc in topology["arcs"]]
        self._countries = {
            country["properties"]["name"]: country
            for country in topology["objects"]["countries"]["geometries"]
        }

    def outline(self, name: str) -> shapely.Geometry:
        """Valid polygons of a country, by its name in a region file."""
        known, part = PARTS.get(name, (NAMES.get(name, name), None))
        if known not in self._countries:
            near = get_close_matches(known, [*self._countries, *NAMES, *PARTS], n=3, cutoff=0.5)
            hint = f": did you mean {' or '.join(near)}?" if near else ""
            raise click.ClickException(f"no country '{name}' in the outlines{hint}")
        polygons = self._polygons(self._countries[known])
        whole = shapely.union_all([_valid(polygon) for polygon in polygons])
        return whole if part is None else whole.intersection(shapely.box(*part))

    def _polygons(self, country: dict[str, Any]) -> Iterator[Polygon]:
        arcs = country["arcs"] if country["type"] == "MultiPolygon" else [country["arcs"]]
        for polygon in arcs:
            shell, *holes = [self._ring(indices) for indices in polygon]
            # Islands below the grid's resolution have fallen together into two or three points.
            if len(shell) >= 4:
                yield Polygon(shell, [hole for hole in holes if len(hole) >= 4])

    def _ring(self, indices: list[int]) -> np.ndarray:
        """Points of a ring, shape ``(point, 2)``; ``~i`` is arc ``i`` backward."""
        arcs = [self._arcs[i] if i >= 0 else self._arcs[~i][::-1] for i in indices]
        # Each arc starts at the point where the one before it ended.
        return np.concatenate([arcs[0], *(arc[1:] for arc in arcs[1:])])


def _valid(geometry: shapely.Geometry) -> shapely.Geometry:
    return shapely.make_valid(geometry, method="structure", keep_collapsed=False)


def make_boundary(outlines: CountryOutlines, countries: list[str]) -> MultiPolygon:
    """Outline of several countries as one, rounded, valid, in a canonical order."""
    joined = shapely.union_all([outlines.outline(name) for name in countries])
    rounded = _valid(shapely.set_precision(joined, 10.0**-DEGREE_DECIMALS))
    polygons = [part for part in shapely.get_parts(rounded) if part.area > 0]
    return shapely.orient_polygons(MultiPolygon(polygons).normalize())


def encode_outlines(outlines: Iterable[tuple[dict[str, Any], MultiPolygon]]) -> str:
    """GeoJSON text of outlines, each with its properties, compact; a line each if several."""
    features = [
        json.dumps(
            {
                "type": "Feature",
                "properties": properties
                | {
                    "credit": OUTLINES_CREDIT,
                    "source": f"https://www.naturalearthdata.com, 1:10m, npm {NPM_PACKAGE}",
                },
                "geometry": {"type": "MultiPolygon", "coordinates": _round(outline)},
            },
            separators=(",", ":"),
            ensure_ascii=False,
        )
        for properties, outline in outlines
    ]
    return '{"type":"FeatureCollection","features":[' + ",\n".join(features) + "]}\n"


def _round(outline: MultiPolygon) -> list[list[list[list[float]]]]:
    return [
        [
            [[round(x, DEGREE_DECIMALS), round(y, DEGREE_DECIMALS)] for x, y in ring.coords]
            for ring in (polygon.exterior, *polygon.interiors)
        ]
        for polygon in outline.geoms
    ]


def load_outlines(path: Path | None) -> CountryOutlines:
    """Outlines of a ``countries-10m.json``, or of the one that npm fetches."""
    if path is not None:
        return CountryOutlines(json.loads(path.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "pack", NPM_PACKAGE, "--silent"],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        archive = next(Path(folder).glob("*.tgz"))
        with tarfile.open(archive) as files:
            member = files.extractfile(MEMBER)
            content = member.read() if member else b""
    if sha256(content).hexdigest() != MEMBER_SHA256:
        raise click.ClickException(
            f"{MEMBER} of {NPM_PACKAGE} is not the file it was: check it first"
        )
    return CountryOutlines(json.loads(content))


def region_files(names: tuple[str, ...]) -> list[Path]:
    """Region files of names or paths; all regions beside this script without any."""
    if not names:
        return sorted(REGIONS_FOLDER.glob("*/region.toml"))
    return [
        Path(name) if name.endswith(".toml") else REGIONS_FOLDER / name / "region.toml"
        for name in names
    ]


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option(
    "--world",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"countries-10m.json of {NPM_PACKAGE}; without it, npm fetches the package",
)
@click.argument("regions", nargs=-1)
def main(world: Path | None, regions: tuple[str, ...]) -> None:
    """Write the boundary of each region named (or given by the path of its region.toml)."""
    outlines = load_outlines(world)
    found = [(path, tomllib.loads(path.read_text("utf-8"))) for path in region_files(regions)]
    for path, region in found:
        names = region["countries"]
        about = {"region": region["name"], "countries": names}
        write(path.parent / region["boundary"], [(about, make_boundary(outlines, names))])
    if not regions:
        countries = sorted(name for _, region in found for name in region["countries"])
        each = [({"country": name}, make_boundary(outlines, [name])) for name in countries]
        write(REGIONS_FOLDER / COUNTRIES_FILE, each)


def write(target: Path, outlines: list[tuple[dict[str, Any], MultiPolygon]]) -> None:
    """Write a file of outlines, and say how large it is."""
    text = encode_outlines(outlines)
    target.write_text(text, encoding="utf-8", newline="\n")
    polygons = sum(len(outline.geoms) for _, outline in outlines)
    click.echo(f"{target}: {polygons} polygons, {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
