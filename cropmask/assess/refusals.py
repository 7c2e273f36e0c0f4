"""What no figure is made of, and what to do about each: wrong numbers are refused, not marked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NoReturn

import numpy as np
import shapely
from numpy.typing import NDArray

from cropmask.assess.design import SampleDesign
from cropmask.assess.frame import Frame
from cropmask.errors import Reason, Rejected, list_some

_SHOWN = 3
"""Names that an error lists."""
MOST_UNLABELED: Final = 0.2
"""Share of a stratum's points that may have no class."""
MANY_UNLABELED: Final = 0.05
"""Share above which a stratum is named: the guide says to label again."""


def refuse_unknown_design(what: str) -> NoReturn:
    """Points that nobody knows how they were drawn, such as the published validation points."""
    raise Rejected(
        f"{what}: how these points were drawn is not known, and without the inclusion "
        "probabilities no area follows from them: draw points with 'cropmask sample', have them "
        "labeled, and give the sample with --sample",
        reason=Reason.BAD_SAMPLES,
    )


def check_change(design: SampleDesign, *, asked: bool) -> None:
    """Rejected if figures of change are asked of a sample of one map, or the reverse."""
    if asked and not design.is_change:
        raise Rejected(
            f"the sample was drawn from the map of {design.period} alone, so it has no strata of "
            "change: draw one with 'cropmask sample --since', or of a series",
            reason=Reason.BAD_SAMPLES,
        )
    if not asked and design.is_change:
        first, last = design.years
        raise Rejected(
            f"the sample is one of change, from {first} to {last}: "
            "'cropmask area --change' takes it",
            reason=Reason.BAD_SAMPLES,
        )


def check_map(design: SampleDesign, frame: Frame) -> None:
    """Rejected if strata are of another map than the results now, or do not cover what there is."""
    drawn = design.run_keys
    found = {(each.region, str(each.tile)): each.run_key for each in frame.tiles}
    others = [f"{at[1]} of {at[0]}" for at, key in drawn.items() if found.get(at, key) != key]
    if others:
        raise Rejected(
            f"the strata are of another map: {len(others)} of {len(drawn)} tiles have another run "
            f"key than when the sample was drawn: {list_some(others, _SHOWN)}: draw a sample of "
            "this map, or name the results that it was drawn from with --output",
            reason=Reason.CHANGED,
        )
    gone = [f"{tile} of {region}" for region, tile in drawn if (region, tile) not in found]
    if gone:
        raise Rejected(
            f"the map of {len(gone)} tiles that the sample was drawn from is not in the results: "
            f"{list_some(gone, _SHOWN)}: name the folder that has it with --output, or draw a "
            "sample of what is there",
            reason=Reason.CHANGED,
        )
    more = [f"{tile} of {region}" for region, tile in found if (region, tile) not in drawn]
    if more:
        raise Rejected(
            f"the sample does not cover the map: {len(more)} tiles have results that no point "
            f"could be drawn in: {list_some(more, _SHOWN)}: draw a sample of all of them",
            reason=Reason.CHANGED,
        )


def check_region(design: SampleDesign, region: str) -> None:
    """Rejected if no point of the sample could be drawn in a region."""
    if region not in design.regions:
        raise Rejected(
            f"the sample does not cover region {region}: it was drawn in "
            f"{' and '.join(design.regions)}: draw one with 'cropmask sample --region {region}'",
            reason=Reason.BAD_SAMPLES,
        )


def check_districts(covered: Mapping[str, float], least: float) -> None:
    """Rejected if the sampled land has no part in a district.

    ``covered`` is the share of each that the sample could be drawn in, 0 to 1; below ``least``
    nothing can be said of a district.
    """
    outside = [f"{name} ({100 * share:.0f} %)" for name, share in covered.items() if share < least]
    if outside:
        raise Rejected(
            f"the sample does not cover {len(outside)} of {len(covered)} districts: less than "
            f"{100 * least:.0f} % of each lies in the tiles and the region that it was drawn from: "
            f"{list_some(outside, _SHOWN)}: leave them out of the file, or draw a sample that "
            "covers them",
            reason=Reason.BAD_SAMPLES,
        )


def check_training(
    ids: Sequence[str],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    meters: int,
    places: NDArray[np.float64],
) -> None:
    """Rejected if a labeled point is one that the model was trained on, in meters of EPSG:6933.

    A training place, ``(row, 2)``, nearer than a pixel of ``meters`` across and down is the same
    place.
    """
    if not _are_near(x, y, places):
        raise Rejected(
            f"none of {len(places):,} places that the model was trained on is within 1 000 km of a "
            "point: are longitude and latitude exchanged?",
            reason=Reason.BAD_SAMPLES,
        )
    around = shapely.box(x - meters, y - meters, x + meters, y + meters)
    hits = np.unique(shapely.STRtree(shapely.points(places)).query(around)[0])
    if len(hits):
        known = [ids[at] for at in hits.tolist()]
        raise Rejected(
            f"{len(known)} of {len(ids)} points are places that the model was trained on: "
            f"{list_some(known, _SHOWN)}: they flatter the map: draw a sample with another --seed, "
            "or fit a model without these places",
            reason=Reason.BAD_SAMPLES,
        )


def _are_near(x: NDArray[np.float64], y: NDArray[np.float64], places: NDArray[np.float64]) -> bool:
    """Whether any place lies within 1 000 km of the points' box: models are of whole zones."""
    far = 1_000_000
    within = (places[:, 0] > x.min() - far) & (places[:, 0] < x.max() + far)
    within &= (places[:, 1] > y.min() - far) & (places[:, 1] < y.max() + far)
    return bool(within.any())


def check_strata(design: SampleDesign, labeled: Mapping[str, int], names: Collection[str]) -> None:
    """Rejected if a stratum that figures are made of has fewer than two labeled points, or plots.

    ``labeled`` are these by the name of the stratum.
    """
    thin = [f"{name} ({labeled.get(name, 0)})" for name in names if labeled.get(name, 0) < 2]
    if thin:
        unit = "points" if design.plot_pixels == 1 else "plots"
        raise Rejected(
            f"strata with fewer than two labeled {unit} say nothing of their error: "
            f"{list_some(thin, _SHOWN)}: label more {unit} there, or draw a sample with a larger "
            "minimum for each stratum",
            reason=Reason.BAD_SAMPLES,
        )


def find_unlabeled(design: SampleDesign, labeled: Mapping[str, int]) -> dict[str, float]:
    """Share of the points, or plots, of each stratum that have no class, by its name."""
    return {
        each.name: 1 - labeled[each.name] / each.sampled
        for each in design.strata
        if each.name in labeled and each.sampled
    }


def check_unlabeled(design: SampleDesign, labeled: Mapping[str, int]) -> None:
    """Rejected if more than a fifth of the points of a stratum have no class.

    Those that have one stand for them, which is fair only where they are few and like the others:
    labels of one class alone, or of half of the points, would turn the figure.
    """
    shares = find_unlabeled(design, labeled)
    worst = [(share, name) for name, share in shares.items() if share > MOST_UNLABELED]
    if worst:
        said = [f"{name} {100 * share:.0f} %" for share, name in sorted(worst, reverse=True)]
        raise Rejected(
            f"too many points have no class: {list_some(said, _SHOWN)}, where at most "
            f"{100 * MOST_UNLABELED:.0f} % of a stratum may lack one: label them, or say with "
            "--accept-unlabeled that those that are labeled are like the others",
            reason=Reason.BAD_SAMPLES,
        )


def refuse_missing_tiles(missing: Collection[str]) -> NoReturn:
    """Tiles of the region that have no result: no area of the region follows."""
    names = list_some([*missing], _SHOWN)
    raise Rejected(
        f"the sample does not cover the region: {len(missing)} tiles of it have no result: "
        f"{names}: map them and draw a sample of all, or ask for districts that lie in what is "
        "mapped with --districts-only",
        reason=Reason.NO_RESULTS,
    )
