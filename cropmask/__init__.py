"""Cropland mask of Africa at 10 m, one tile of Sentinel-2 GeoMAD at a time.

>>> import cropmask
>>> result = cropmask.map_tile("x010y020", "eastern", "2019")  # the made-up world, at 60 m
>>> result.state
'SUCCEEDED'
>>> dataset = result.open()
>>> dict(dataset.sizes)
{'y': 1600, 'x': 1600}
>>> int(dataset.odc.crs.epsg)
6933

Importing the package loads nothing heavy: each name is loaded when it is first used, so that
programs that need names only, such as the infrastructure's, start at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cropmask.contract import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cropmask.errors import CropmaskError, Interrupted, Misconfigured, Rejected
    from cropmask.grid import Tile
    from cropmask.operate.planfile import Plan
    from cropmask.product import Recipe
    from cropmask.region.region import Region
    from cropmask.site.site import Site, open_site
    from cropmask.task import Period, Task
    from cropmask.tile.arrays import features, predict
    from cropmask.tile.open import load
    from cropmask.tile.run import TileResult

__version__ = VERSION
__all__ = [
    "CropmaskError",
    "Interrupted",
    "Misconfigured",
    "Period",
    "Region",
    "Rejected",
    "Task",
    "Tile",
    "features",
    "load",
    "map_area",
    "map_tile",
    "open_site",
    "plan",
    "predict",
]

_HOMES = {
    "CropmaskError": "errors",
    "Interrupted": "errors",
    "Misconfigured": "errors",
    "Period": "task",
    "Region": "region.region",
    "Rejected": "errors",
    "Task": "task",
    "Tile": "grid",
    "features": "tile.arrays",
    "load": "tile.open",
    "open_site": "site.site",
    "predict": "tile.arrays",
}
"""Where the names live that are loaded on first use."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 (whatever the name stands for)
    if name not in _HOMES:
        raise AttributeError(f"module 'cropmask' has no attribute '{name}'")
    found = getattr(import_module(f"cropmask.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__


def map_tile(
    tile: Tile | str,
    region: str,
    period: Period | str,
    *,
    site: Site | None = None,
    model: Recipe | Path = "forest",
    bands: str | None = None,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> TileResult:
    """Map one tile and publish the result; one that is there already is not computed again.

    Parameters
    ----------
    tile
        A tile of the grid ``africa_10``, or its name, such as ``x215y075``.
    region
        Name of a region, or path of a region file.
    period
        A calendar year, ``2019`` or ``2019--P1Y``, or a season, ``2020-07--P1Y``.
    site
        Where inputs are and results go; default what ``open_site()`` finds in the environment:
        without any configuration the made-up world at 60 m, and ``./output``.
    model
        Recipe of the region's model, or a model file of one's own.
    bands
        Extra bands, such as ``"+calibrated,+spread,+dissimilarity"``, or ``"none"``; default those
        of the site.
    overwrite
        Whether to replace a result of another model, configuration, input or code, which is
        refused otherwise.
    progress
        Called with the name of a stage and the share of it that is done, 0 to 1.

    Returns
    -------
    TileResult
        State, addresses and figures; its ``open()`` gives the bands as an
        :class:`xarray.Dataset`, uint8 ``(y, x)``, nodata 255.

    Raises
    ------
    Rejected
        If the task is wrong: no such tile or region, no GeoMAD, another result in its place.
    Misconfigured
        If the site cannot be used.
    Interrupted
        If reading or writing fails; another try may help.
    """
    from cropmask.grid import Tile
    from cropmask.site.site import open_site
    from cropmask.task import Period, Task
    from cropmask.tile.memory import open_stages
    from cropmask.tile.run import run_tile

    tile = Tile.parse(tile) if isinstance(tile, str) else tile
    year = Period.year_of(str(period))
    site = (site or open_site()).with_bands(bands)
    stages = open_stages(site.memory, progress) if progress else None
    task = Task(tile, region, year)
    return run_tile(task, site, recipe=model, overwrite=overwrite, stages=stages)


def map_area(
    area: object,
    period: Period | str,
    *,
    region: str = "auto",
    site: Site | None = None,
    model: Recipe | Path = "forest",
    name: str | None = None,
    bands: str | None = None,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> TileResult:
    """Map the inside of an area and publish the result, across tiles and regions.

    >>> import cropmask
    >>> result = cropmask.map_area((-169.7, -47.8, -169.6, -47.75), "2019")  # the made-up world
    >>> result.open("mask").mask.shape
    (72, 160)

    ``mask`` and ``prob`` are those of the tiles, pixel by pixel. ``filtered`` is segmented in the
    area and 500 m around it, within the tiles, so it may differ from the tile's.

    Parameters
    ----------
    area
        Path of a GeoJSON file, a GeoJSON object, a geometry in degrees such as one of shapely, or
        a box ``(west, south, east, north)`` in degrees.
    period
        A calendar year, ``2019`` or ``2019--P1Y``, or a season, ``2020-07--P1Y``.
    region
        Name of a region, or path of a region file; ``auto`` maps each pixel with the model of the
        region that it lies in, the first one by name where regions overlap.
    site
        Where inputs are and results go; default what ``open_site()`` finds in the environment.
    model
        Recipe of the regions' models, or a model file of one's own.
    name
        Folder of the result below ``areas/``; default made of the file's name and the shape.
    bands
        Extra bands, as of :func:`map_tile`.
    overwrite
        Whether to replace another result of the same name, which is refused otherwise.
    progress
        Called with the name of a stage and the share of it that is done, 0 to 1.

    Returns
    -------
    TileResult
        State, addresses and figures; its ``open()`` gives the bands as an
        :class:`xarray.Dataset`, uint8 ``(y, x)``, nodata 255, also outside the area.

    Raises
    ------
    Rejected
        If the area is in no region, too large or too small, has no GeoMAD, or another result is
        in its place.
    Misconfigured
        If the site cannot be used.
    Interrupted
        If reading or writing fails; another try may help.
    """
    from cropmask.site.site import open_site
    from cropmask.task import Period
    from cropmask.tile.area import load_area_task, run_area
    from cropmask.tile.memory import open_stages

    year = Period.year_of(str(period))
    site = (site or open_site()).with_bands(bands)
    stages = open_stages(site.memory, progress) if progress else None
    task = load_area_task(area, year, site.read.limits, region=region, recipe=model, name=name)
    return run_area(task, site, overwrite=overwrite, stages=stages)


def plan(
    region: str,
    period: Period | str,
    *,
    site: Site | None = None,
    model: Recipe = "forest",
    tiles: Iterable[Tile | str] | None = None,
) -> Plan:
    """Compare what a region's maps would be with the results that are there; writes nothing.

    Parameters
    ----------
    region
        Name of a region, or path of a region file.
    period
        A calendar year, ``2019`` or ``2019--P1Y``, or a season, ``2020-07--P1Y``.
    site
        Where inputs are and results go; default what ``open_site()`` finds in the environment.
    model
        Recipe of the region's model.
    tiles
        Some tiles of the region; default all.

    Returns
    -------
    Plan
        What each tile needs and why, and what the run may cost.

    Raises
    ------
    Rejected
        If the region is unknown, or a tile is not in it.
    Misconfigured
        If the site cannot be used.
    Interrupted
        If a server cannot be reached.
    """
    from datetime import UTC, datetime

    from cropmask.grid import Tile
    from cropmask.operate.plan import make_plan
    from cropmask.site.site import open_site
    from cropmask.task import Period

    chosen = None if tiles is None else {Tile.parse(str(tile)) for tile in tiles}
    year = Period.year_of(str(period))
    now = datetime.now(UTC)
    return make_plan(region, year, site or open_site(), now=now, recipe=model, only=chosen)
