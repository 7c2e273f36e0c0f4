"""Draws a sample of a run for people to label: which tiles, how large, what it will cost."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.assess.change import FLICKERING
from cropmask.assess.design import MAX_POINTS, Sample
from cropmask.assess.districts import Districts
from cropmask.assess.draw import CROP, STRIP_ROWS, Stratifier
from cropmask.assess.frame import (
    PLOT_SHIFTS,
    Choice,
    Frame,
    FrameCounts,
    FrameReader,
    count_frame,
    draw_sample,
    find_frame,
)
from cropmask.assess.size import Allocation, allocate, expected_standard_error, sample_size
from cropmask.errors import Reason, Rejected, list_some
from cropmask.grid import AFRICA_10, Tile
from cropmask.machine.stages import ShareDone
from cropmask.operate.reconcile import expected_tiles
from cropmask.pixels.gdal import open_reading_threads
from cropmask.region.region import Region
from cropmask.results.finder import find_datasets
from cropmask.site.site import Site
from cropmask.task import Period
from cropmask.tile.series import find_outdated, write_series

EXPECTED: Final = (0.05, 0.8)
"""Shares of crop that are expected where the map says other, and where it says crop."""
EXPECTED_CHANGE: Final = (0.02, 0.3)
"""Shares of change that are expected where two maps agree, and where they differ."""
_SHOWN: Final = 3
"""Names that a message lists."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """What is wanted."""

    stratifier: Stratifier
    districts: Districts | None = None
    points: int | None = None
    """Points, or plots; None for as many as the target needs."""
    standard_error: float | None = None
    """Target for the share of crop."""
    allocation: Allocation = "proportional"
    minimum: int = 30
    """Points, or plots, that each stratum gets at least."""
    expected: tuple[float, float] = EXPECTED
    """Share of crop expected in strata of other and of crop; of change, in strata where maps agree
    and where they differ, or where a series is stable and where it is not."""
    since: Period | None = None
    """First year of a sample of change by two maps."""
    seed: int = 0
    plot_pixels: int = 1
    partial: bool = False
    """Whether tiles of a region may be missing."""


@dataclass(frozen=True, slots=True)
class SampleCost:
    """What drawing will take."""

    tiles: int
    bytes: int
    """Of the files that are read to count strata."""
    seconds: float
    """Estimated from the first tile, with the threads that read."""
    memory: int
    """Bytes: strips of the tiles that are read at the same time, and the counts."""


def open_frame(site: Site, regions: Sequence[str], period: Period, request: SampleRequest) -> Frame:
    """Finished tiles of regions on a site.

    Raises Rejected if nothing is finished, or tiles are missing and ``partial`` is not asked for.
    """
    zones = [site.region(name) for name in dict.fromkeys(regions)]
    wanted = [(zone, expected_tiles(site, zone)) for zone in zones]
    frame = find_sampled(site, wanted, period, request.stratifier, request.since)
    if frame.missing and not request.partial:
        names = list_some(frame.missing, _SHOWN)
        raise Rejected(
            f"{len(frame.missing)} of {len(frame.missing) + len(frame.tiles)} tiles have no result "
            f"({names}): map them, or draw from what is there with --partial, and publish no area "
            "of the whole region",
            reason=Reason.NO_RESULTS,
        )
    if period.is_series:
        _tell_outdated(site, zones, frame)
    return frame


def find_sampled(
    site: Site,
    wanted: Sequence[tuple[Region, Sequence[Tile]]],
    period: Period,
    stratifier: Stratifier,
    since: Period | None,
) -> Frame:
    """Finished tiles, of those of each region, with the bands that strata are made of."""
    between = since.find_between(period) if since and stratifier.flicker else ()
    return find_frame(
        site.store(),
        {zone.name: (zone.product, tiles) for zone, tiles in wanted},
        period,
        stratifier.bands_of_points,
        site.read_results,
        since,
        between,
        first=lambda: advise_first(site, [zone for zone, _ in wanted], period),
    )


def advise_first(site: Site, zones: Sequence[Region], period: Period) -> str:
    """What is to be done where there is no map to draw from, or to look at."""
    if period.is_series:
        lines = [write_series(site, zone, period) for zone in zones]
        return f"make the series first, with '{' && '.join(lines)}'"
    lines = [site.commands.line_for("submit", zone.argument, period) for zone in zones]
    there = [each for zone in zones for each in find_datasets(site.store(), zone.product)]
    begun = [each for each in there if each.period == str(period) and not each.is_finished]
    years = sorted({each.period for each in there if each.is_finished} - {str(period)})
    said = "map the region first"
    if begun:
        tiles = list_some([str(each.tile) for each in begun], _SHOWN)
        said = f"files of {tiles} are there, but the items that say they are finished are missing"
    elif years:
        said = f"there are maps of {', '.join(years)}; map this year first"
    return f"{said}: '{' && '.join(lines)}'"


def _tell_outdated(site: Site, zones: Sequence[Region], frame: Frame) -> None:
    """Tell which tiles have a series of other yearly maps than are there now."""
    for zone in zones:
        mine = [each.tile for each in frame.tiles if each.region == zone.name]
        outdated = find_outdated(site.store(), zone.product, frame.period, mine)
        if outdated:
            log.warning(
                "the series of %s is out of date, as it was made of other maps of years than are "
                "there now: '%s'",
                list_some([*map(str, outdated)], _SHOWN),
                write_series(site, zone, frame.period, "--overwrite"),
            )


def find_cost(frame: Frame, request: SampleRequest) -> SampleCost:
    """What counting the strata of a frame will take; its first tile is counted for it."""
    began = time.perf_counter()
    reader = FrameReader(frame, request.stratifier, request.districts)
    with open_reading_threads(frame.options) as pool:
        counts = pool.submit(reader.count, frame.tiles[0]).result()
    each = time.perf_counter() - began
    names, threads = request.stratifier.bands, frame.options.threads
    names = (*names, *frame.earlier)
    edge = int(AFRICA_10.size) // frame.resolution
    strip = edge * (STRIP_ROWS + 2 * request.stratifier.buffer) * (len(names) + 16)
    return SampleCost(
        tiles=len(frame.tiles),
        bytes=frame.bytes_of(names),
        seconds=each * len(frame.tiles) / min(threads, len(frame.tiles)),
        memory=threads * strip + 2 * counts.nbytes * len(frame.tiles),
    )


def make_sample(
    frame: Frame, request: SampleRequest, progress: ShareDone = lambda _share: None
) -> Sample:
    """Count strata, allocate points and draw them.

    Raises Rejected if points cannot be allocated, or are more than a sample may have; Interrupted
    if a tile cannot be read now.
    """
    _check_number(request.points or 0, request)  # before anything is read, if it is known
    counts = count_frame(
        frame, request.stratifier, request.districts, lambda share: progress(share / 2)
    )
    _check_districts(counts, request)
    points = allocate_points(counts, request)
    _check_number(int(points.sum()), request)
    choice = Choice(points, request.allocation, request.seed, request.plot_pixels)
    return draw_sample(
        frame,
        request.stratifier,
        counts,
        choice,
        request.districts,
        lambda share: progress((1 + share) / 2),
    )


def _check_number(points: int, request: SampleRequest) -> None:
    every = points * len(PLOT_SHIFTS[request.plot_pixels])
    if every > MAX_POINTS:
        raise Rejected(
            f"{every:,} points are more than a sample may have, {MAX_POINTS:,}: ask for fewer",
            reason=Reason.OVER_LIMIT,
        )


def _check_districts(counts: FrameCounts, request: SampleRequest) -> None:
    """Tell which districts have no pixel of the map; Rejected if none has any."""
    names = request.stratifier.districts
    if not names:
        return
    parts = len(request.stratifier.names) // (len(names) + 1)
    empty = [names[at] for at in np.setdiff1d(np.arange(len(names)), counts.codes // parts)]
    if len(empty) == len(names):
        raise Rejected(
            f"none of {len(names)} districts has a pixel of the map ({list_some(empty, _SHOWN)}): "
            "give districts of the region, in the right coordinate system",
            reason=Reason.BAD_BOUNDARY,
        )
    if empty:
        log.warning(
            "%d of %d districts have no pixel of the map and no points: %s",
            *(len(empty), len(names), list_some(empty, _SHOWN)),
        )


def expect_rates(counts: FrameCounts, request: SampleRequest) -> NDArray[np.float64]:
    """Share of crop, or of change, that is expected in each stratum, by what the map says there."""
    return np.array([expect_rate(map_class, request) for _, _, map_class in counts.names])


def expect_rate(map_class: int, request: SampleRequest) -> float:
    """The same of one class of the map, or of change."""
    if not request.stratifier.is_change:
        return request.expected[map_class == CROP]
    return request.expected[CROP < map_class < FLICKERING]


def allocate_points(counts: FrameCounts, request: SampleRequest) -> NDArray[np.int64]:
    """Points of each stratum: as many as were asked for, or as the target needs."""
    rates = expect_rates(counts, request)

    def share_out(points: int) -> NDArray[np.int64]:
        return allocate(
            points,
            counts.pixels,
            allocation=request.allocation,
            rates=rates,
            minimum=request.minimum,
        )

    if request.points is not None:
        return share_out(request.points)
    assert request.standard_error is not None
    target, most = request.standard_error, int(counts.pixels.sum())
    points = sample_size(target, counts.pixels, rates, allocation=request.allocation)
    points = max(points, int(np.minimum(counts.pixels, request.minimum).sum()))
    shares = share_out(points)
    # The minimum of each stratum takes points from where the formula wants them.
    while points < most and expected_standard_error(counts.pixels, rates, shares) > target:
        points = min(most, points + max(1, points // 50))
        shares = share_out(points)
    return shares


def expect_error(sample: Sample, request: SampleRequest) -> float:
    """Standard error of the share of crop that the sample will have if rates are as expected."""
    strata = sample.design.strata
    return expected_standard_error(
        [stratum.pixels for stratum in strata],
        [expect_rate(stratum.map_class, request) for stratum in strata],
        [stratum.sampled for stratum in strata],
    )
