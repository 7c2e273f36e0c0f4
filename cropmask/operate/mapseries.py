"""All tiles of a series on this machine, one after the other: fitted first, if it was not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cropmask.errors import Reason, Rejected
from cropmask.grid import Tile, tiles_within
from cropmask.machine.stages import Progress, tell_nobody
from cropmask.operate.fitseries import SeriesFit, fit_region_series
from cropmask.product import Product
from cropmask.results.finder import Dataset, find_datasets
from cropmask.site.site import Site
from cropmask.store.protocol import Store
from cropmask.task import Period, Task
from cropmask.tile.job import open_basis
from cropmask.tile.run import TileResult
from cropmask.tile.series import find_outdated, run_series


@dataclass(frozen=True, slots=True)
class MappedSeries:
    """What became of the tiles of a series."""

    fit: SeriesFit
    done: dict[Tile, TileResult]
    left_out: dict[Tile, Rejected]
    """Tiles that cannot be made, and why."""

    @property
    def is_whole(self) -> bool:
        """Whether no tile was left out but for lack of years."""
        return all(why.reason is Reason.TOO_FEW_YEARS for why in self.left_out.values())

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Why tiles were left out, in a line each."""
        return tuple(_name_obstacle(tile, why) for tile, why in self.left_out.items())


def _name_obstacle(tile: Tile, why: Rejected) -> str:
    """A line that names the tile once."""
    return str(why) if str(why).startswith(f"tile {tile} ") else f"tile {tile}: {why}"


def map_series(
    region: str,
    period: Period,
    site: Site,
    *,
    only: Collection[Tile] | None = None,
    gain: float | None = None,
    loss: float | None = None,
    overwrite: bool = False,
    progress: Progress = tell_nobody,
) -> MappedSeries:
    """Make the series of a region; what is done already is skipped, so it can be stopped anywhere.

    ``only`` are some tiles of the region, ``gain`` and ``loss`` rates a year in place of those that
    are fitted; ``overwrite`` replaces tiles with another run key.

    Raises Rejected if no tile can be made; Misconfigured if the site cannot be used; Interrupted if
    reading or writing fails.
    """
    zone = site.region(region)
    fit = fit_region_series(zone, period, site, gain=gain, loss=loss, progress=progress)
    basis = open_basis(region, site)
    tiles = tiles_within(basis.boundary) if only is None else tuple(sorted(set(only)))
    done: dict[Tile, TileResult] = {}
    left_out: dict[Tile, Rejected] = {}
    for number, tile in enumerate(tiles):
        progress("tiles", number / len(tiles))
        try:
            task = Task(tile, zone.name, period)
            done[tile] = run_series(task, site, overwrite=overwrite, basis=basis)
        except Rejected as error:
            left_out[tile] = error
    if not done:
        first, why = next(iter(left_out.items()))
        others = f"; {len(left_out) - 1} more tiles likewise" if len(left_out) > 1 else ""
        raise Rejected(
            f"no tile of the series can be made: {_name_obstacle(first, why)}{others}",
            reason=why.reason,
        )
    return MappedSeries(fit, done, left_out)


def find_series_without(
    store: Store, product: Product, removed: Sequence[Dataset]
) -> dict[Period, tuple[Tile, ...]]:
    """Series, and their tiles, that are out of date since yearly maps of a product were removed."""
    years = {one.period for one in removed if one.product == product}
    tiles = {one.tile for one in removed if one.product == product}
    spans: dict[Period, list[Tile]] = {}
    for one in find_datasets(store, product.series, tiles=tiles) if tiles else ():
        span = Period.parse(one.period)
        if one.is_finished and not years.isdisjoint(map(str, span.years)):
            spans.setdefault(span, []).append(one.tile)
    found = {span: find_outdated(store, product, span, some) for span, some in spans.items()}
    return {span: some for span, some in found.items() if some}
