"""From a sample and its labels to accuracy, area and a report, with the results of a site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from cropmask.assess.accuracy import Accuracy, MapComparison, assess_accuracy, compare_maps
from cropmask.assess.area import MIN_CELL_POINTS, AreaEstimate
from cropmask.assess.change import ChangeEstimate, MappedChange, estimate_change
from cropmask.assess.choices import LEVEL, MIN_POINTS, IntervalMethod
from cropmask.assess.design import Sample, SampleDesign
from cropmask.assess.districts import Districts
from cropmask.assess.draw import Stratifier
from cropmask.assess.evidence import (
    CLASSES,
    CROP,
    LEAST_COVERED,
    DistrictCounts,
    Evidence,
    count_districts,
    find_covered,
)
from cropmask.assess.frame import Frame, count_difference, find_frame, read_at
from cropmask.assess.labelpoints import LabelReport, PointColumns, collect_points
from cropmask.assess.labels import Labels, join_change_labels, join_labels
from cropmask.assess.matrix import count_labels
from cropmask.assess.refusals import (
    check_change,
    check_districts,
    check_map,
    check_region,
    check_training,
    refuse_missing_tiles,
    refuse_unknown_design,
)
from cropmask.assess.report import (
    AccuracyFacts,
    DistrictLine,
    LabelFacts,
    LandPart,
    Ranged,
    Report,
    ReportOrigin,
    StratumLine,
)
from cropmask.assess.reportmap import ReportMap
from cropmask.assess.samplefiles import load_sample
from cropmask.contract import VERSION
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.grid import tiles_within
from cropmask.machine.stages import ShareDone
from cropmask.operate.mosaic import make_grid, read_mosaic
from cropmask.operate.reconcile import expected_tiles
from cropmask.operate.sample import advise_first, find_sampled
from cropmask.product import FILTERED, MASK, NODATA, find_band, find_region
from cropmask.region.region import Region
from cropmask.remote.threads import map_threads
from cropmask.results.finder import find_finished, find_item, make_place
from cropmask.site.site import Site
from cropmask.sources.boundary import load_boundary
from cropmask.stac.item import ResultItem
from cropmask.task import Period, Task

PICTURE_PIXELS: Final = 1000
"""Most pixels of an edge of a report's map."""
_SAMPLES: Final = (".geojson", ".json", ".gpkg")
_MASKED: Final = ("protected", "water", "steep", "high", "missing")
"""Statistics of items that say why land is not mapped."""


@dataclass(frozen=True, slots=True)
class AssessRequest:
    """What is to be assessed, and how."""

    sample: Path | None
    labels: tuple[Path, ...]
    columns: PointColumns = field(default_factory=PointColumns)
    region: str | None = None
    """Region that figures are of; None for all regions of the sample."""
    districts: Districts | None = None
    training: NDArray[np.float64] | None = None
    """x and y of places that the model was trained on ``(row, 2)``, EPSG:6933."""
    method: IntervalMethod = "mover"
    level: float = LEVEL
    min_points: int = MIN_POINTS
    accept_unlabeled: bool = False
    """Whether strata may have many points without a class."""
    change: bool = False
    """Whether figures are of change between two years."""


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """A labeled sample whose map is there: what every figure is made of."""

    request: AssessRequest
    sample: Sample
    labels: Labels
    frame: Frame
    zones: Mapping[str, Region]
    """Regions of the figures by name."""
    boundaries: Mapping[str, shapely.Geometry]
    """Of these regions, EPSG:6933."""
    evidence: Evidence
    digests: tuple[str, str]
    """SHA-256 of the sample's file, and of the labels' together."""

    @property
    def design(self) -> SampleDesign:
        """How the sample was drawn."""
        return self.sample.design

    def assess(self) -> Accuracy:
        """How right the map is where the figures are of."""
        request = self.request
        return assess_accuracy(self.evidence.count(), method=request.method, level=request.level)

    def estimate_area(self) -> AreaEstimate:
        """Area of both classes.

        Raises Rejected if the sample does not stand for all of the regions.
        """
        self.check_whole()
        return self.evidence.estimate_area(self.request.method, self.request.level)

    def estimate_change(self) -> ChangeEstimate:
        """Area of gain and loss; raises as :meth:`estimate_area`."""
        return estimate_change(self.estimate_area())

    def count_change(self, progress: ShareDone = lambda _share: None) -> MappedChange:
        """What maps say of change; of a series, its first map and its last one are read."""
        size = np.float64(self.evidence.hectares_per_pixel)
        strata = self.evidence.mapped_pixels * size
        if not self.design.is_series:
            return MappedChange(strata)
        pixels = count_difference(self.frame, self.zones, self.design.band, progress)
        return MappedChange(None if pixels is None else pixels * size, strata)

    def check_whole(self) -> None:
        """Raise Rejected if tiles of the regions have no result."""
        sampled = {(each.region, each.tile) for each in self.frame.tiles}
        missing = [
            f"{tile} of {region}"
            for region, boundary in self.boundaries.items()
            for tile in tiles_within(boundary)
            if (region, tile) not in sampled
        ]
        if missing:
            refuse_missing_tiles(missing)

    def count_districts(
        self, districts: Districts, progress: ShareDone = lambda _share: None
    ) -> DistrictCounts:
        """Pixels of the strata in each district.

        Raises Rejected if the sample does not cover a district.
        """
        check_districts(find_covered(districts, self.frame, self.boundaries), LEAST_COVERED)
        return count_districts(self.evidence, self.frame, districts, progress)

    def estimate_districts(self, counted: DistrictCounts) -> AreaEstimate:
        """Area of both classes in each district, and last of the land in none."""
        request = self.request
        return self.evidence.estimate_districts(
            counted, request.method, request.level, min_points=request.min_points
        )


def open_assessment(site: Site, request: AssessRequest) -> Assessment:
    """Read a sample and its labels, and find the map that it was drawn from.

    Raises Rejected if it is not known how the points were drawn, they are of another map or trained
    the model, the region is not covered, or a stratum has fewer than two labels; Misconfigured if a
    file cannot be read.
    """
    if request.sample is None or request.sample.suffix.lower() not in _SAMPLES:
        refuse_unknown_design(str(request.sample or request.labels[0]))
    sample = load_sample(request.sample, site.read.limits)
    design = sample.design
    check_change(design, asked=request.change)
    zones = _find_zones(site, design, request.region)
    chosen = design.regions
    if request.region is not None:
        name = site.region(request.region).name
        check_region(design, name)
        chosen = (name,)
    boundaries = {
        name: load_boundary(site.inputs(zone).boundary, site.read.limits)
        for name, zone in zones.items()
    }
    frame = _find_frame(site, design, zones, boundaries)
    check_map(design, frame)
    join = join_change_labels if request.change else join_labels
    labels = join(sample, request.labels, request.columns, limits=site.read.limits)
    if request.training is not None:
        known = sample.take(labels.is_labeled)
        check_training(known.id.tolist(), known.x, known.y, design.resolution, request.training)
    return Assessment(
        request,
        sample,
        labels,
        frame,
        {name: zones[name] for name in chosen},
        {name: boundaries[name] for name in chosen},
        Evidence.of(sample, labels, chosen, accept_unlabeled=request.accept_unlabeled),
        (_digest([request.sample]), _digest(request.labels)),
    )


def _find_zones(site: Site, design: SampleDesign, argument: str | None) -> dict[str, Region]:
    """Regions of the products of a sample; one of them may be named by its file."""
    named = {} if argument is None else {zone.name: zone for zone in (site.region(argument),)}
    names = [find_region(product) for product in design.products]
    return {name: named[name] if name in named else site.region(name) for name in names}


def _find_frame(
    site: Site,
    design: SampleDesign,
    zones: Mapping[str, Region],
    boundaries: Mapping[str, shapely.Geometry],
) -> Frame:
    wanted = [(zone, tiles_within(boundaries[name])) for name, zone in zones.items()]
    since = None if design.since is None else Period.year_of(design.since)
    return find_sampled(
        site, wanted, Period.parse(design.period), Stratifier.of_design(design), since
    )


def _digest(files: Sequence[Path]) -> str:
    found = sha256()
    for path in files:
        try:
            found.update(sha256(path.read_bytes()).digest())
        except OSError as error:
            raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
    return found.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class PointAssessment:
    """Accuracy at points of which nobody knows how they were drawn."""

    accuracy: Accuracy
    report: LabelReport
    """What became of the rows of the files."""
    points: int
    """Points that count."""
    unmapped: tuple[str, ...]
    """Ids of labeled points where the map has no data, or that lie in no result."""
    synthetic: bool


def assess_points(site: Site, request: AssessRequest, period: Period, band: str) -> PointAssessment:
    """Compare the map of a region with labeled points; all of them count alike.

    Raises Rejected if no point lies on the map, or one trained the model; Misconfigured if a file
    cannot be read.
    """
    assert request.region is not None
    zone = site.region(request.region)
    wanted = {zone.name: (zone.product, expected_tiles(site, zone))}
    frame = find_frame(
        site.store(),
        wanted,
        period,
        (band,),
        site.read_results,
        first=lambda: advise_first(site, [zone], period),
    )
    points, report = collect_points(request.labels, request.columns, limits=site.read.limits)
    centers = shapely.centroid([point.geometry for point in points])
    x, y = shapely.get_x(centers), shapely.get_y(centers)
    (mapped,) = read_at(frame, x, y, (band,))
    known = mapped != NODATA
    ids = np.array([point.id for point in points])
    if not known.any():
        raise Rejected(
            f"none of {len(points)} labeled points lies on the map of {zone.product.name} in "
            f"{period}: map their tiles, or give points of this region",
            reason=Reason.NO_RESULTS,
        )
    if request.training is not None:
        here = ids[known].tolist()
        check_training(here, x[known], y[known], frame.resolution, request.training)
    labels = np.array([point.label for point in points])
    table = count_labels(mapped[known], labels[known], classes=CLASSES)
    return PointAssessment(
        assess_accuracy(table, method=request.method, level=request.level),
        report,
        int(known.sum()),
        tuple(ids[~known].tolist()),
        any(each.synthetic for each in frame.tiles),
    )


def compare_with(site: Site, found: Assessment, other: str) -> MapComparison:
    """Compare the sampled map with another one at the same points.

    ``other`` is the other band, ``mask`` or ``filtered``, or a folder or ``s3://`` prefix with
    other results of the same regions and period.

    Raises Rejected if there is no such map, or it has no data at a labeled point.
    """
    evidence, design = found.evidence, found.design
    if other in (MASK.name, FILTERED.name):
        second = evidence.column(other)
    else:
        frame = _find_frame(replace(site, output=other), design, found.zones, found.boundaries)
        (second,) = read_at(frame, evidence.sample.x, evidence.sample.y, (design.band,))
    chosen = evidence.is_labeled
    absent = int((second[chosen] == NODATA).sum())
    if absent:
        raise Rejected(
            f"the other map has no data at {absent} of {int(chosen.sum())} labeled points: maps "
            "can be compared only where both have some",
            reason=Reason.NO_RESULTS,
        )
    return compare_maps(
        evidence.sample.mapped[chosen],
        second[chosen],
        evidence.reference[chosen],
        strata=evidence.strata_of_labeled,
        pixels=evidence.pixels,
        plots=evidence.plots_of_labeled,
        method=found.request.method,
        level=found.request.level,
    )


def make_report(
    site: Site, found: Assessment, progress: ShareDone = lambda _share: None
) -> tuple[Report, ReportMap]:
    """Everything that a report of one region says and shows.

    Raises Rejected if the sample does not stand for all of the region, or for a district.
    """
    ((name, zone),) = found.zones.items()
    request, districts = found.request, found.request.districts
    area, accuracy = found.estimate_area(), found.assess()
    counted = None if districts is None else found.count_districts(districts, progress)
    lines = (
        ()
        if counted is None
        else _list_districts(found, counted, found.estimate_districts(counted))
    )
    shapes = (
        {} if districts is None else dict(zip(districts.names, districts.polygons, strict=True))
    )
    items = find_items(site, found)
    report = Report(
        region=name,
        region_title=zone.title,
        is_synthetic=found.design.synthetic,
        level=request.level,
        method=request.method,
        hectares=Ranged.of(area.hectares, CROP),
        share=Ranged.of(area.shares, CROP),
        pixel_hectares=float(area.mapped_hectares[CROP]),
        accuracy=_describe_accuracy(accuracy),
        land=sum_land(found, items),
        strata=_list_strata(found),
        districts=lines,
        min_points=request.min_points,
        min_cell_points=MIN_CELL_POINTS,
        labels=_describe_labels(found),
        origin=_describe_origin(zone, found, items),
        credit=items[0].attribution.line,
        license=items[0].attribution.license or "",
        training_places=None if request.training is None else len(request.training),
        has_plots=found.design.plot_pixels > 1,
    )
    return report, _draw(site, zone, found, [shapes[line.name] for line in lines])


def find_items(site: Site, found: Assessment) -> list[ResultItem]:
    """Items of the sampled tiles of the regions that figures are of."""
    store, period = site.store(), Period.year_of(found.design.period)
    places = [
        make_place(found.zones[each.region].product, Task(each.tile, each.region, period))
        for each in found.frame.tiles
        if each.region in found.zones
    ]
    items = map_threads(partial(find_item, store), places)
    return [item for item in items if item is not None]


def _list_districts(
    found: Assessment, counted: DistrictCounts, area: AreaEstimate
) -> tuple[DistrictLine, ...]:
    """Districts, those with most cropland first; those without a number last, by their names."""
    districts = found.request.districts
    assert districts is not None
    mapped = counted.pixels.sum(1) * found.evidence.hectares_per_pixel
    whole = shapely.area(districts.polygons) / 10_000
    lines = [
        DistrictLine(
            name,
            Ranged.of(area.hectares, at, CROP),
            Ranged.of(area.shares, at, CROP),
            float(mapped[at]),
            float(max(whole[at] - mapped[at], 0)),
            float(area.mapped_hectares[at, CROP]),
            int(area.points[at]),
            float(area.effective_points[at, CROP]),
            str(area.estimators[at]),
        )
        for at, name in enumerate(counted.names)
    ]
    known = (line for line in lines if line.hectares.is_known)
    return (
        *sorted(known, key=lambda line: (-line.hectares.estimate, line.name)),
        *(line for line in lines if not line.hectares.is_known),
    )


def _describe_accuracy(accuracy: Accuracy) -> AccuracyFacts:
    table = accuracy.confusion
    return AccuracyFacts(
        overall=Ranged.of(accuracy.overall),
        producers=Ranged.of(accuracy.producers, CROP),
        users=Ranged.of(accuracy.users, CROP),
        f1=Ranged.of(accuracy.f1, CROP),
        classes=accuracy.classes,
        counts=tuple(map(tuple, table.matrix.tolist())),
        area_shares=tuple(map(tuple, table.area_shares.tolist())),
    )


def sum_land(found: Assessment, items: Sequence[ResultItem]) -> tuple[LandPart, ...]:
    """Mapped land, and what is not in the figures: masked, not seen, another region's."""
    sums = {
        name: sum(float(item.statistics.get(f"{name}_hectares") or 0) for item in items)
        for name in ("mapped", *_MASKED)
    }
    mapped = found.evidence.hectares
    shared = sums.pop("mapped") - mapped
    if shared > found.evidence.hectares_per_pixel / 2:
        sums["shared"] = shared
    return (
        LandPart("mapped", mapped),
        *(LandPart(kind, round(area, 4)) for kind, area in sums.items() if area > 0),
    )


def _list_strata(found: Assessment) -> tuple[StratumLine, ...]:
    evidence = found.evidence
    labeled = evidence.labeled.tolist()
    strata = [found.design.strata[number] for number in evidence.strata]
    return tuple(
        StratumLine(each.name, each.hectares, each.sampled, count)
        for each, count in zip(strata, labeled, strict=True)
    )


def _describe_labels(found: Assessment) -> LabelFacts:
    report, evidence = found.labels.report, found.evidence
    left_out = {
        **report.unknown,
        "labelers are divided": report.ties,
        "no label": report.unlabeled,
        "labels contradict each other": len(found.labels.contradicted),
        "of no point of the sample": len(found.labels.strangers),
    }
    agreement = report.agreement
    return LabelFacts(
        drawn=len(evidence.sample),
        labeled=int(evidence.is_labeled.sum()),
        left_out={name: count for name, count in left_out.items() if count},
        labelers=None if agreement is None else agreement.labelers,
        percent_agreed=None if agreement is None else agreement.percent,
        kappa=None if agreement is None else agreement.kappa,
        digest=found.digests[1],
    )


def _describe_origin(zone: Region, found: Assessment, items: Sequence[ResultItem]) -> ReportOrigin:
    design = found.design
    models = {f"{item.model.get('recipe')} {str(item.model.get('sha256'))[:12]}" for item in items}
    return ReportOrigin(
        product=zone.product.name,
        version=zone.product.version,
        period=design.period,
        band=design.band,
        meters=design.resolution,
        run_keys={str(item.tile): item.run_key for item in items},
        models=tuple(sorted(models)),
        seed=design.seed,
        allocation=design.allocation,
        stratified_by=design.factors,
        sample_digest=found.digests[0],
        software=VERSION,
    )


def _draw(
    site: Site, zone: Region, found: Assessment, districts: Sequence[shapely.Geometry]
) -> ReportMap:
    store, band = site.store(), find_band(found.design.band)
    tiles = [each.tile for each in found.frame.tiles if each.region == zone.name]
    grid = make_grid(tiles, most=PICTURE_PIXELS)
    datasets = find_finished(store, zone.product, found.design.period, tiles)
    pixels = read_mosaic(store, datasets, band, grid, site.read_results)
    return ReportMap(grid.geobox, pixels, band, found.boundaries[zone.name], districts)
