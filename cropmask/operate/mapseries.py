"""All tiles of a series on this machine, one after the other: fitted first, if it was not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from cropmask.errors import Reason, Rejected
from cropmask.grid import Tile, tiles_within
from cropmask.machine.stages import Progress, tell_nobody
from cropmask.operate.fitseries import SeriesFit, fit_region_series
from cropmask.site.site import Site
from cropmask.task import Period, Task
from cropmask.tile.job import open_basis
from cropmask.tile.run import TileResult
from cropmask.tile.series import run_series


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

    Parameters
    ----------
    only
        Tiles of the region, if not all.
    gain, loss
        Rates a year in place of those that are fitted.
    overwrite
        Whether to replace tiles with another run key.

    Raises
    ------
    Rejected
        If no tile can be made.
    Misconfigured
        If the site cannot be used.
    Interrupted
        If reading or writing fails.
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
            f"no tile of the series can be made: {first}: {why}{others}", reason=why.reason
        )
    return MappedSeries(fit, done, left_out)
