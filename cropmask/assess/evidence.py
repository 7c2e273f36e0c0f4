"""What figures are made of: a sample, its labels, and the map that it was drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from cropmask.assess.area import AreaEstimate, estimate_area, estimate_areas_by_domain
from cropmask.assess.change import CHANGE_NAMES, flag_changes
from cropmask.assess.choices import LEVEL, IntervalMethod
from cropmask.assess.design import Sample, SampleDesign
from cropmask.assess.districts import Districts
from cropmask.assess.draw import CLASS_NAMES, Stratifier
from cropmask.assess.frame import Frame, FrameReader, FrameTile
from cropmask.assess.labels import Labels
from cropmask.assess.matrix import Confusion, Integers, count_labels
from cropmask.assess.refusals import check_strata, check_unlabeled, find_unlabeled
from cropmask.errors import Reason, Rejected
from cropmask.grid import tile_polygon
from cropmask.machine.stages import ShareDone
from cropmask.pixels.gdal import open_reading_threads

CLASSES: Final[Mapping[int, str]] = dict(enumerate(CLASS_NAMES))
"""Names of the map's classes by value."""
CROP: Final = 1
LEAST_COVERED: Final = 0.9
"""Share of a district that must lie in the tiles and the region that were sampled."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Labeled points of one region, or of all regions of a sample."""

    sample: Sample
    """With the whole design; points of these regions only."""
    reference: Integers
    """Reference class of each point, ``(point,)``; -1 where it has none."""
    strata: tuple[int, ...]
    """Numbers of the strata of these regions in the design."""

    @classmethod
    def of(
        cls,
        sample: Sample,
        labels: Labels,
        regions: Sequence[str] | None = None,
        *,
        accept_unlabeled: bool = False,
    ) -> Evidence:
        """Points of some regions, by default of all.

        Raises Rejected if a stratum has fewer than two labeled points or plots, or too many
        without a class, which may be accepted.
        """
        strata = sample.design.strata
        wanted = set(regions or sample.design.regions)
        numbers = tuple(n for n, each in enumerate(strata) if each.region in wanted)
        mine = np.isin(sample.stratum, numbers)
        found = cls(sample.take(mine), labels.reference[mine], numbers)
        names = [strata[number].name for number in numbers]
        labeled = dict(zip(names, found.labeled.tolist(), strict=True))
        check_strata(sample.design, labeled, names)
        if not accept_unlabeled:
            check_unlabeled(sample.design, labeled)
        return found

    @property
    def is_labeled(self) -> NDArray[np.bool_]:
        """Which points have a class, ``(point,)``."""
        return np.asarray(self.reference >= 0)

    @property
    def labeled(self) -> Integers:
        """Labeled points, or plots with a labeled point, of each stratum ``(stratum,)``."""
        first = np.unique(self.sample.plot[self.is_labeled], return_index=True)[1]
        stratum = self.sample.stratum[self.is_labeled][first]
        every = np.bincount(stratum, minlength=len(self.design.strata))
        return np.asarray(every[list(self.strata)])

    @property
    def unlabeled_shares(self) -> dict[str, float]:
        """Share of the points, or plots, of each stratum that have no class."""
        names = [self.design.strata[number].name for number in self.strata]
        return find_unlabeled(self.design, dict(zip(names, self.labeled.tolist(), strict=True)))

    @property
    def classes(self) -> Mapping[int, str]:
        """Names of the classes by value: those of the map, or of change."""
        return dict(enumerate(CHANGE_NAMES)) if self.design.is_change else CLASSES

    @property
    def design(self) -> SampleDesign:
        """How the sample was drawn."""
        return self.sample.design

    @property
    def pixels(self) -> dict[str, int]:
        """Pixels of each stratum by name."""
        return {self.design.strata[n].name: self.design.strata[n].pixels for n in self.strata}

    @property
    def hectares(self) -> float:
        """Mapped land that the strata stand for."""
        return sum(self.design.strata[n].hectares for n in self.strata)

    @property
    def hectares_per_pixel(self) -> float:
        """Area of a pixel."""
        return self.design.resolution**2 / 10_000

    @property
    def mapped_pixels(self) -> Integers:
        """Pixels of the map by class ``(class,)``: a count, not an estimate."""
        return self._sum_classes(np.array([*self.pixels.values()]))

    def _sum_classes(self, pixels: Integers) -> Integers:
        """Pixels ``(..., stratum)`` by the class of the map, ``(..., class)``."""
        is_class = np.array(
            [
                [self.design.strata[n].map_class == value for value in self.classes]
                for n in self.strata
            ]
        )
        return np.asarray(pixels @ is_class.astype(np.int64))

    @property
    def strata_of_labeled(self) -> NDArray[np.str_]:
        """Name of the stratum of each labeled point."""
        names = np.array([each.name for each in self.design.strata])
        return names[self.sample.stratum[self.is_labeled]]

    @property
    def plots_of_labeled(self) -> NDArray[np.str_] | None:
        """Plot of each labeled point; None if points were drawn by themselves."""
        return self.sample.plot[self.is_labeled] if self.design.plot_pixels > 1 else None

    def column(self, band: str) -> Integers:
        """Class of the map at each point by a band that was read when it was drawn."""
        return self.sample.mask if band == "mask" else self.sample.filtered

    def count(
        self,
        mapped: Integers | None = None,
        domains: NDArray[np.str_] | None = None,
        pixels: Mapping[str, Mapping[str, int]] | None = None,
    ) -> Confusion:
        """Labeled points by map and reference; ``mapped`` is the class of another map at each.

        ``domains`` is the region or district of each, for figures by domain, and ``pixels`` the
        size of each stratum in each domain, where it is known.
        """
        chosen = self.is_labeled
        classes = self.sample.mapped if mapped is None else mapped
        if self.design.is_series:  # areas are by stratum and reference: no class decides
            classes = flag_changes(classes)
        return count_labels(
            classes[chosen],
            self.reference[chosen],
            strata=self.strata_of_labeled,
            pixels=self.pixels if pixels is None else pixels,
            domains=None if domains is None else domains[chosen],
            plots=self.plots_of_labeled,
            classes=self.classes,
        )

    def count_districts(self, counted: DistrictCounts) -> Confusion:
        """Labeled points by district, and last those in none."""
        strata = [*self.pixels]
        every = np.vstack([counted.pixels, counted.elsewhere])
        names = (*counted.names, _ELSEWHERE)
        sizes = {
            name: dict(zip(strata, row.tolist(), strict=True))
            for name, row in zip(names, every, strict=True)
        }
        return self.count(domains=np.array(names)[counted.number], pixels=sizes)

    def estimate_area(self, method: IntervalMethod = "mover", level: float = LEVEL) -> AreaEstimate:
        """Area of both classes, and pixels beside it."""
        return estimate_area(
            self.count(),
            self.hectares_per_pixel,
            mapped_pixels=self.mapped_pixels,
            method=method,
            level=level,
        )

    def estimate_districts(
        self,
        counted: DistrictCounts,
        method: IntervalMethod = "mover",
        level: float = LEVEL,
        *,
        min_points: int,
    ) -> AreaEstimate:
        """Area of both classes in each district, ``(district, class)``, and last in none."""
        every = np.vstack([counted.pixels, counted.elsewhere])
        return estimate_areas_by_domain(
            self.count_districts(counted),
            self.hectares_per_pixel,
            mapped_pixels=self._sum_classes(every),
            method=method,
            level=level,
            min_points=min_points,
        )


_ELSEWHERE: Final = "\x1felsewhere"
"""Domain of the land in no district: no name of a district has such a sign."""


def name_domain(name: str) -> str:
    """Name of a region or district, or what land in none of them is called."""
    return "no district" if name == _ELSEWHERE else name


@dataclass(frozen=True, slots=True, eq=False)
class DistrictCounts:
    """Pixels of strata by district, exact."""

    names: tuple[str, ...]
    pixels: Integers
    """``(district, stratum)``"""
    elsewhere: Integers
    """Pixels in no district, ``(stratum,)``."""
    number: Integers
    """District of each point of the evidence ``(point,)``, -1 in none."""


def count_districts(
    evidence: Evidence,
    frame: Frame,
    districts: Districts,
    progress: ShareDone = lambda _share: None,
) -> DistrictCounts:
    """Count the pixels of every stratum in every district; few rows are in memory at a time.

    Raises Rejected if the strata are districts of another file, or other pixels are counted than
    when the sample was drawn.
    """
    design = evidence.design
    if "district" in design.factors and districts.digest != design.districts:
        raise Rejected(
            "the strata of the sample are districts of another file: give the one that it was "
            "drawn with",
            reason=Reason.CHANGED,
        )
    stratifier = Stratifier.of_design(design, districts.names)
    reader = FrameReader(frame, stratifier, districts)
    regions = {design.strata[number].region for number in evidence.strata}
    tiles = [each for each in frame.tiles if each.region in regions]
    codes = _code_strata(evidence, stratifier)
    total = np.zeros((len(districts.names) + 1, len(design.strata)), np.int64)

    def count(tile: FrameTile) -> Integers:
        size = 1 + len(stratifier.names)
        found = np.zeros((len(districts.names) + 1) * size, np.int64)
        for strip in reader.strips(tile):
            assert strip.districts is not None
            pair = (strip.districts.astype(np.int64) + 1) * size + stratifier.code(strip) + 1
            found += np.bincount(pair.reshape(-1), minlength=len(found))
        return found.reshape(-1, size)[:, 1:]

    with open_reading_threads(frame.options) as pool:
        for done, (tile, found) in enumerate(zip(tiles, pool.map(count, tiles), strict=True), 1):
            for at, number in codes[tile.region].items():
                total[:, number] += found[:, at]
            progress(done / len(tiles))
    mine = total[:, list(evidence.strata)]
    if (mine.sum(0) != [*evidence.pixels.values()]).any():
        raise Rejected(
            "the map has other pixels in its strata than when the sample was drawn: draw a sample "
            "of this map",
            reason=Reason.CHANGED,
        )
    of_points = districts.number_at(evidence.sample.x, evidence.sample.y)
    return DistrictCounts(districts.names, mine[1:], mine[0], of_points)


def _code_strata(evidence: Evidence, stratifier: Stratifier) -> dict[str, dict[int, int]]:
    """By region, the number of a stratum in the design by its number in the code of pixels."""
    design = evidence.design
    numbers = {each.name: number for number, each in enumerate(design.strata)}
    found: dict[str, dict[int, int]] = {}
    for region in design.regions:
        before = f"{region}, " if "region" in design.factors else ""
        known = (
            (at, numbers.get(f"{before}{name}")) for at, (name, _) in enumerate(stratifier.names)
        )
        found[region] = {at: number for at, number in known if number is not None}
    return found


def find_covered(
    districts: Districts, frame: Frame, boundaries: Mapping[str, shapely.Geometry]
) -> dict[str, float]:
    """Share of each district that lies in sampled tiles of a region and in its boundary."""
    parts = [
        shapely.intersection(
            boundary,
            shapely.union_all([tile_polygon(e.tile) for e in frame.tiles if e.region == region]),
        )
        for region, boundary in boundaries.items()
    ]
    sampled = shapely.union_all(parts)
    shapely.prepare(sampled)
    areas = shapely.area(shapely.intersection(districts.polygons, sampled))
    shares = areas / shapely.area(districts.polygons)
    return dict(zip(districts.names, shares.tolist(), strict=True))
