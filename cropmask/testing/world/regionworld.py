"""A made-up region on disk: GeoMAD for every tile of a real region, to practice on.

A few scenes are drawn once, out in the Pacific. Each tile borrows one of them through small VRT
files that give it the tile's place; so hundreds of tiles take seconds and little disk. Everything
says that it is synthetic, and so does whatever is computed from it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import rasterio
import shapely

from cropmask.errors import Misconfigured, Reason, Rejected, write_command
from cropmask.grid import AFRICA_10, Tile, tile_polygon, tiles_within
from cropmask.machine.stages import ShareDone
from cropmask.region.region import Region
from cropmask.task import Period
from cropmask.testing.world.folders import check_room, translate_write_errors
from cropmask.testing.world.geomadstac import CATALOG_FILE
from cropmask.testing.world.rasters import CACHE_MB
from cropmask.testing.world.regionfiles import MODELS_FOLDER, RegionWriter

SCENES: Final = 6
"""Different scenes of a world, unless told."""

_MAX_SCENES: Final = 40
_BYTES_PER_PIXEL: Final = 60
"""What a scene takes while it is made, temporary files included."""
_INSET_M: Final = 1.0
"""A boundary that is cut to some tiles keeps off the edges of the next ones."""


@dataclass(frozen=True, slots=True)
class RegionWorld:
    """A made-up region that is complete on disk."""

    catalog: Path
    """Root of the static STAC catalog: ``--catalog``."""
    models: Path
    """Folder with the region, its models and layers: ``--models``."""
    tiles: tuple[Tile, ...]
    bytes: int
    """Size of all files."""


def make_region_world(
    folder: Path,
    region: Region,
    boundary: shapely.Geometry,
    *,
    tiles: Sequence[Tile] | None = None,
    limit: int | None = None,
    resolution: int = 100,
    period: Period,
    scenes: int = SCENES,
    seed: int = 0,
    grain: int = 1,
    progress: ShareDone | None = None,
) -> RegionWorld:
    """Write a made-up region, whole or not at all; the same arguments give the same bytes.

    Parameters
    ----------
    folder
        Root of the world; must not exist, or be empty. It may be moved later.
    region
        The region whose name and models the world has.
    boundary
        Polygons of the region, EPSG:6933.
    tiles
        Only these; the boundary is cut to them. Default all tiles of the region.
    limit
        Only the first so many of them.
    period
        Calendar year, or season from July; one item a tile and half of it. Or several: fields
        become cropland or other from year to year, and look a little different in each, and
        ``truth/`` says what they are.
    scenes
        How many different scenes there are; which one a tile shows follows from its name.
    resolution, seed, grain, progress
        Those of :func:`~cropmask.testing.world.demoworld.make_world`.

    Raises
    ------
    Rejected
        If a tile is outside of the region, or the number of scenes is none.
    Misconfigured
        If the folder is in use, cannot be written or has no room.
    """
    if not 1 <= scenes <= _MAX_SCENES:
        raise Rejected(f"a made-up region has 1 to {_MAX_SCENES} scenes, not {scenes}")
    every = tiles_within(boundary)
    chosen = _pick_block(every if tiles is None else tuple(sorted(set(tiles))), limit)
    _check_tiles(region, chosen, every)
    translate = translate_write_errors(
        f"the made-up region cannot be written to {folder}", ": choose another folder"
    )
    with translate, _made_whole(folder, scenes * len(period.years), resolution) as part:
        writer = RegionWriter(part, region, chosen, resolution, period.years, scenes, seed, grain)
        with rasterio.Env(GDAL_CACHEMAX=CACHE_MB, GDAL_PAM_ENABLED=False):
            writer.write(progress or (lambda _: None))
        cut = boundary if len(chosen) == len(every) else _cut(boundary, chosen)
        writer.write_models(cut)
        size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
    return RegionWorld(folder / CATALOG_FILE, folder / MODELS_FOLDER, chosen, size)


def _pick_block(tiles: Sequence[Tile], limit: int | None) -> tuple[Tile, ...]:
    """At most so many tiles: those around the middle one, as near to a square as they lie."""
    if limit is None or len(tiles) <= limit:
        return tuple(tiles)
    x, y = (
        sorted(values)[len(tiles) // 2] for values in zip(*((t.x, t.y) for t in tiles), strict=True)
    )
    middle = min(tiles, key=lambda t: (t.x - x) ** 2 + (t.y - y) ** 2)

    def ring(tile: Tile) -> tuple[int, int]:
        across, down = abs(tile.x - middle.x), abs(tile.y - middle.y)
        return max(across, down), across + down

    return tuple(sorted(sorted(tiles, key=ring)[:limit]))


def _check_tiles(region: Region, chosen: Sequence[Tile], every: Sequence[Tile]) -> None:
    outside = [str(tile) for tile in chosen if tile not in set(every)]
    if outside:
        raise Rejected(
            f"outside of region {region.name}: {', '.join(outside[:5])}"
            f"{' and more' if len(outside) > 5 else ''}: "
            f"'{write_command('tiles', '--region', region.argument)}' lists its tiles",
            reason=Reason.OUTSIDE_REGION,
        )
    if not chosen:
        raise Rejected(f"no tile of region {region.name} is asked for: give at least one")


def _cut(boundary: shapely.Geometry, tiles: Sequence[Tile]) -> shapely.Geometry:
    """The boundary inside of some tiles, off the edges of their neighbors."""
    land = shapely.union_all([tile_polygon(tile) for tile in tiles])
    inset = shapely.buffer(land, -_INSET_M, join_style="mitre")
    return shapely.intersection(boundary, inset)


@contextmanager
def _made_whole(folder: Path, scenes: int, resolution: int) -> Iterator[Path]:
    """A folder beside, which takes the place of ``folder`` when it is complete."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Misconfigured(
            f"{folder} is there already and not empty: remove it, or give another --output"
        )
    parent = folder.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    needed = _BYTES_PER_PIXEL * scenes * (int(AFRICA_10.size) // resolution) ** 2
    advice = "free some space, give fewer --scenes, or another --output"
    check_room(parent, needed, "the made-up region", advice)
    part = folder.absolute().with_name(f".{folder.name}-{uuid4().hex}")
    try:
        part.mkdir()
        yield part
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
