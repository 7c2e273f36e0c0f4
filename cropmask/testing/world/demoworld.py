"""A made-up world on disk, each tile drawn: a static STAC catalog of GeoMAD, layers, a boundary.

:func:`make_world` writes any tiles; :func:`ensure_world` keeps the demo's in a cache. The default
tile, x010y020, lies in the open South Pacific (longitude -170, latitude -48), so nothing made from
it can be taken for a map.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final
from uuid import uuid4

import rasterio

from cropmask.errors import Rejected
from cropmask.grid import AFRICA_10, Tile, geobox
from cropmask.machine.stages import ShareDone
from cropmask.region.region import Ancillary
from cropmask.task import Period
from cropmask.testing.world.folders import check_room, translate_write_errors, write_json
from cropmask.testing.world.geomadstac import (
    CATALOG_FILE,
    COLLECTION,
    COLLECTION_FILE,
    item_folder,
    item_name,
    item_stem,
    make_geomad_catalog,
    make_geomad_collection,
    make_geomad_item,
)
from cropmask.testing.world.outline import write_outline
from cropmask.testing.world.rasters import CACHE_MB, LAYER_FILES, write_half, write_layers

DEMO_TILE: Final = Tile(10, 20)
DEMO_PERIOD: Final = Period(date(2019, 1, 1), 12)
EDITION: Final = "demo-v1"
"""Folder below the cache; counts up whenever the made-up land changes."""
MARKER: Final = "complete.json"
"""Written last, lists every file and its size."""
BOUNDARY_FILE: Final = "boundary.geojson"
LAYERS_FOLDER: Final = "ancillary"

_LAYERS_SHARE: Final = 0.05
_BYTES_PER_PIXEL: Final = 60
"""What a world takes while it is made, temporary files included."""

_STALE_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class DemoWorld:
    """A made-up world that is complete on disk."""

    catalog: Path
    """Root of the static STAC catalog."""
    ancillary: Ancillary
    """Layers beside GeoMAD, as absolute paths."""
    boundary: Path
    """GeoJSON of the island."""


def make_world(
    folder: Path,
    *,
    tiles: Sequence[Tile] = (DEMO_TILE,),
    resolution: int = 60,
    period: Period = DEMO_PERIOD,
    seed: int = 0,
    boundary: Path | None = None,
    grain: int = 1,
    progress: ShareDone | None = None,
) -> Path:
    """Write a made-up world; the same arguments give the same bytes.

    Parameters
    ----------
    folder
        Root of the world; made when absent, files in it are replaced.
    tiles
        Any tiles of the grid. Neighbors join without a seam, also across worlds.
    resolution
        Pixel size of GeoMAD in meters: 10, 20, 60 or 100. The land is the same at each.
    period
        Calendar year, or season from July; one item a tile and half of it.
    seed
        Another number is another land.
    boundary
        GeoJSON to use as the world's boundary instead of an island around the tiles.
    grain
        Edge of the squares of equal pixels: 4 makes worlds of hundreds of tiles quick.
    progress
        Told the share that is done, 0 to 1.

    Returns
    -------
    Path
        The catalog, ``catalog.json`` in ``folder``.

    Raises
    ------
    Rejected
        If there is no tile, or the pixel size or the grain does not divide a tile.
    """
    tiles = tuple(dict.fromkeys(tiles))
    _check(tiles, resolution, grain)
    tell: ShareDone = progress or (lambda _: None)
    folder.mkdir(parents=True, exist_ok=True)
    with rasterio.Env(GDAL_CACHEMAX=CACHE_MB, GDAL_PAM_ENABLED=False):
        write_layers(
            folder / LAYERS_FOLDER,
            tiles,
            resolution,
            seed=seed,
            grain=grain,
            progress=lambda share: tell(_LAYERS_SHARE * share),
        )
        halves = [(tile, number) for tile in tiles for number in (0, 1)]
        for done, (tile, number) in enumerate(halves):
            half = period.order_halves("calendar")[number]
            files = write_half(
                folder / item_folder(tile, half),
                item_stem(tile, half),
                tile,
                resolution,
                number,
                seed=seed,
                grain=grain,
                progress=_part(tell, done, len(halves)),
            )
            item = make_geomad_item(tile, half, resolution, seed, files)
            write_json(folder / item_folder(tile, half) / item_name(tile, half), item)
    if boundary is None:
        write_outline(folder / BOUNDARY_FILE, tiles, seed)
    else:
        shutil.copyfile(boundary, folder / BOUNDARY_FILE)
    write_json(
        folder / COLLECTION / COLLECTION_FILE, make_geomad_collection(tiles, (period,), resolution)
    )
    write_json(folder / CATALOG_FILE, make_geomad_catalog())
    tell(1.0)
    return folder / CATALOG_FILE


def open_world(folder: Path) -> DemoWorld:
    """World that :func:`make_world` wrote to a folder."""
    layers = folder.absolute() / LAYERS_FOLDER
    return DemoWorld(
        catalog=folder.absolute() / CATALOG_FILE,
        ancillary=Ancillary(
            **{name: str(layers / file) for name, file in LAYER_FILES.items()},
        ),
        boundary=folder.absolute() / BOUNDARY_FILE,
    )


def ensure_world(cache: Path, resolution: int, *, progress: ShareDone | None = None) -> DemoWorld:
    """World of the default tile, made on first use in ``{cache}/demo-v1/{resolution}m``.

    It is made in a folder of its own and renamed when complete, so processes that start at once,
    or die, never leave or see half a world. Without need, ``progress`` is never called.

    Raises
    ------
    Rejected
        If the pixel size is not offered: 10, 20, 60 or 100 meters.
    Misconfigured
        If the cache cannot be written, or has no room.
    """
    _check((DEMO_TILE,), resolution, 1)
    folder = cache / EDITION / f"{resolution}m"
    if not is_complete(folder):
        with translate_write_errors(
            f"the made-up world cannot be written to {cache}",
            "; name a folder that can be written in CROPMASK_CACHE",
        ):
            _build(folder, resolution, progress)
    return open_world(folder)


def is_complete(folder: Path) -> bool:
    """Whether a world's marker is there and every file that it lists has its size."""
    try:
        sizes = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _build(folder: Path, resolution: int, progress: ShareDone | None) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    needed = _BYTES_PER_PIXEL * (int(AFRICA_10.size) // resolution) ** 2
    advice = "free some space, or name another folder in CROPMASK_CACHE"
    check_room(folder.parent, needed, "the made-up world", advice)
    _remove_stale(folder)
    part = folder.with_name(f".{folder.name}-{uuid4().hex}")
    try:
        make_world(part, resolution=resolution, progress=progress)
        files = sorted(path for path in part.rglob("*") if path.is_file())
        sizes = {path.relative_to(part).as_posix(): path.stat().st_size for path in files}
        write_json(part / MARKER, sizes)
        _move(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    """Remove what processes left that were killed a day ago or more."""
    for part in folder.parent.glob(f".{folder.name}-*"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(part, ignore_errors=True)


def _move(part: Path, folder: Path) -> None:
    """Rename a complete world into place, unless another process was faster."""
    if folder.exists() and not is_complete(folder):
        # A world that lost files: out of the way in one step, so nobody sees it half removed.
        broken = folder.with_name(f".{folder.name}-{uuid4().hex}")
        with suppress(FileNotFoundError):
            folder.replace(broken)
        shutil.rmtree(broken, ignore_errors=True)
    try:
        part.replace(folder)
    except OSError:
        if not is_complete(folder):
            raise


def _check(tiles: Sequence[Tile], resolution: int, grain: int) -> None:
    if not tiles:
        raise Rejected("a made-up world needs at least one tile")
    size = geobox(tiles[0], resolution).shape[0]
    if grain < 1 or size % grain:
        raise Rejected(f"a grain of {grain} does not divide a tile of {size} pixels")


def _part(tell: ShareDone, done: int, count: int) -> ShareDone:
    def inner(share: float) -> None:
        tell(_LAYERS_SHARE + (1 - _LAYERS_SHARE) * (done + share) / count)

    return inner
