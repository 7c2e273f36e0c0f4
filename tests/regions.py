"""Whole regions for tests of planning: items with checksums for many tiles, and no pixels."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cropmask.core.strips import DEVIATION, REFLECTANCE
from cropmask.grid import CRS, EPSG, Tile
from cropmask.region.region import Ancillary, load_region
from cropmask.stac.facts import ModelFacts
from cropmask.store.protocol import Store
from cropmask.task import Period
from cropmask.tile.job import Job
from tests.results import make_facts, put_facts

YEAR = Period.parse("2019")
NAME = "testland"


@dataclass(frozen=True)
class RegionWorld:
    """A region file, and a static catalog with GeoMAD of its tiles."""

    folder: Path
    region: Path
    catalog: Path
    tiles: tuple[Tile, ...]

    @property
    def items(self) -> Path:
        """Folder of the items, as a catalog of its own kind."""
        return self.folder / "gm_s2_semiannual"

    @property
    def ancillary(self) -> Path:
        """Folder of the layers."""
        return self.folder / "layers"

    def item_file(self, tile: Tile, half: int) -> Path:
        """One item; ``half`` is 0 or 1."""
        name = str(tile)
        folder = self.items / name[:4] / name[4:] / str(YEAR.halves[half])
        return next(folder.glob("*.stac-item.json"))

    def edit(self, old: str, new: str) -> None:
        """Replace a text in the region file, which must be there."""
        text = self.region.read_text()
        assert old in text
        self.region.write_text(text.replace(old, new))


def block(columns: int, rows: int, *, x: int = 200, y: int = 70) -> tuple[Tile, ...]:
    """Tiles of a rectangle, sorted."""
    return tuple(Tile(x + i, y + j) for i in range(columns) for j in range(rows))


def make_region(
    folder: Path,
    tiles: Iterable[Tile],
    *,
    without: Iterable[Tile] = (),
    years: tuple[int, ...] = (2019,),
) -> RegionWorld:
    """Write a region of exactly these tiles; ``without`` some there is no GeoMAD."""
    tiles = tuple(sorted(tiles))
    folder.mkdir(parents=True, exist_ok=True)
    layers = {name: folder / "layers" / f"{name}.tif" for name in Ancillary.model_fields}
    (folder / "layers").mkdir()
    for name, path in layers.items():
        path.write_text(f"pixels of {name}")
    model = load_region("eastern").model()
    lines = [
        f'name = "{NAME}"',
        'title = "A made-up region"',
        'version = "1.0.0"',
        'boundary = "boundary.geojson"',
        f'models.forest = {{ file = "{model.file}", sha256 = "{model.sha256}" }}',
        f'models.boosted = {{ file = "{model.file}", sha256 = "{"ab" * 32}" }}',
        "[ancillary]",
        *(f'{name} = "{path}"' for name, path in layers.items()),
        "[limits]",
        "slope_percent = 50.0",
    ]
    (folder / "region.toml").write_text("\n".join(lines) + "\n")
    (folder / "boundary.geojson").write_text(json.dumps(_boundary(tiles)))
    skipped = set(without)
    links = []
    for year in years:
        for tile in tiles:
            if tile not in skipped:
                links += [_put_item(folder, tile, half) for half in Period.parse(str(year)).halves]
    collection = {"type": "Collection", "id": "gm_s2_semiannual", "links": links}
    (folder / "gm_s2_semiannual").mkdir(exist_ok=True)
    (folder / "gm_s2_semiannual/collection.json").write_text(json.dumps(collection))
    child = {"rel": "child", "href": "./gm_s2_semiannual/collection.json"}
    catalog = {"type": "Catalog", "id": "testland", "links": [child]}
    (folder / "catalog.json").write_text(json.dumps(catalog))
    return RegionWorld(folder, folder / "region.toml", folder / "catalog.json", tiles)


def _boundary(tiles: Iterable[Tile]) -> dict[str, Any]:
    """The inside of every tile: they touch nobody."""
    rings = []
    for tile in tiles:
        left, bottom, right, top = tile.bounds
        a, b, c, d = left + 10, bottom + 10, right - 10, top - 10
        rings.append([[[a, b], [c, b], [c, d], [a, d], [a, b]]])
    return {
        "type": "MultiPolygon",
        "coordinates": rings,
        "crs": {"type": "name", "properties": {"name": CRS}},
    }


def _put_item(folder: Path, tile: Tile, half: Period) -> dict[str, str]:
    name = str(tile)
    place = f"{name[:4]}/{name[4:]}/{half}"
    label = f"gm_s2_semiannual_{tile}_{half}"
    start, end = half.interval
    assets = {
        band: {
            "href": f"./{label}_{band}.tif",
            "file:checksum": "1220" + sha256(f"{label} {band}".encode()).hexdigest(),
        }
        for band in (*REFLECTANCE, *DEVIATION)
    }
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": label,
        "collection": "gm_s2_semiannual",
        "properties": {
            "datetime": start,
            "start_datetime": start,
            "end_datetime": end,
            "created": "2021-06-15T05:00:00Z",
            "odc:region_code": name,
            "proj:epsg": EPSG,
        },
        "links": [],
        "assets": assets,
    }
    target = folder / "gm_s2_semiannual" / place
    target.mkdir(parents=True)
    (target / f"{label}.stac-item.json").write_text(json.dumps(item))
    return {"rel": "item", "href": f"./{place}/{label}.stac-item.json"}


def put_result(store: Store, job: Job) -> None:
    """The item of a result; there are no files beside it."""
    basis = job.basis
    facts = make_facts(
        job.task.tile,
        basis.region.product,
        period=job.task.period,
        resolution=basis.resolution,
        run_key=job.run_key,
        run_key_parts=job.parts.short,
        model=ModelFacts(basis.recipe, basis.region.model(basis.recipe).sha256),
    )
    put_facts(store, facts, item_only=True)
