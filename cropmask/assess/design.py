"""A drawn sample: what it was drawn from, how, and each point with what it stands for.

One GeoJSON document holds all of it: the points as features, the design as the member ``design``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pyproj import Transformer

from cropmask.assess.change import CHANGE_NAMES, SERIES_NAMES
from cropmask.errors import Rejected
from cropmask.grid import AFRICA_10, CRS, Tile
from cropmask.task import Period

FORMAT: Final = 1
MARK: Final = '"design": {'
"""Is in every file of a sample."""
MAX_POINTS: Final = 50_000
"""Most points of a sample."""
MAX_STRATA: Final = 1_000

MAX_PIXELS: Final = 10**12
"""Most pixels of a stratum; Africa has 3 x 10^11 of 10 m."""
MAX_EDGE: Final = 5_000
"""Most pixels around edges of classes that are strata of their own."""
MAX_NAME: Final = 200
"""Most characters of a name of a point, a plot or a district."""


def _check_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it is no text of one line")
    return text


def _check_period(text: str) -> str:
    try:
        return str(Period.of_task(text))
    except Rejected as error:
        raise ValueError(str(error)) from None


Words = Annotated[str, Field(max_length=500), AfterValidator(_check_line)]


SampledBand = Literal["mask", "filtered"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Stratum(_Strict):
    """Part of the map that points are drawn from, each of its pixels alike."""

    name: Words
    region: Words
    map_class: Annotated[int, Field(ge=0, le=len(SERIES_NAMES) - 1)]
    """Of the band that is sampled: 1 crop, 0 not; of a sample of change, that of two maps, or of a
    series."""
    pixels: Annotated[int, Field(ge=1, le=MAX_PIXELS)]
    hectares: Annotated[float, Field(gt=0)]
    sampled: Annotated[int, Field(ge=0)]
    """Points, or plots, that were drawn in it."""

    @property
    def inclusion_probability(self) -> float:
        """Chance of each of its pixels to be drawn."""
        return self.sampled / self.pixels


class SampledTile(_Strict):
    """A result that the sample was drawn from."""

    region: Words
    tile: Words
    run_key: Words


class SampleDesign(_Strict):
    """How a sample was drawn."""

    format: Literal[1] = FORMAT
    products: tuple[Words, ...]
    """Names of the products, one a region."""
    version: Words
    """Of the products; several are joined by a comma."""
    period: Annotated[Words, AfterValidator(_check_period)]
    """Of the map; several years of a series."""
    since: Words | None = None
    """First period of a sample of change by two maps, which ends with ``period``; None where one
    map was sampled, or a series."""
    band: SampledBand
    """The band whose classes are sampled: ``mask`` or ``filtered``; of a series, the one whose
    difference stands beside the estimate."""
    resolution: Annotated[int, Field(ge=1, le=int(AFRICA_10.size))]
    """Pixel size in meters."""
    factors: tuple[Words, ...]
    """What the strata are made of: ``class`` or ``change``, and perhaps ``prob``, ``edge``,
    ``dissimilarity``, ``flicker``, ``district``; ``region`` if there are several."""
    prob_edges: tuple[Annotated[int, Field(ge=1, le=100)], ...] = ()
    """Percentages of ``prob`` at which a stratum ends and the next begins."""
    edge_pixels: Annotated[int, Field(ge=0, le=MAX_EDGE)] = 0
    """Pixels around edges of the classes that are strata of their own."""
    allocation: Words
    seed: Annotated[int, Field(ge=0)]
    plot_pixels: Literal[1, 3]
    """Edge of a plot in pixels: 3 are nine points each."""
    strata: Annotated[tuple[Stratum, ...], Field(min_length=1, max_length=MAX_STRATA)]
    tiles: tuple[SampledTile, ...]
    unseen_hectares: Annotated[float, Field(ge=0)]
    """Nodata inside the tiles: masked, outside the region, or not seen; it is not sampled."""
    missing_tiles: tuple[Words, ...] = ()
    """Tiles of the regions without a result: the sample does not stand for them."""
    districts: Words | None = None
    """SHA-256 of the polygons, if districts are strata."""
    synthetic: bool = False
    software: Words = ""

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Columns that labels are written into: one, or one for each year of a change."""
        if not self.is_change:
            return ("class",)
        return tuple(f"class_{year.short}" for year in self.years)

    @property
    def is_series(self) -> bool:
        """Whether strata are those of a series."""
        return Period.parse(self.period).is_series

    @property
    def is_change(self) -> bool:
        """Whether strata are of change, by two maps or a series."""
        return self.since is not None or self.is_series

    @property
    def years(self) -> tuple[Period, ...]:
        """Years that points are labeled for: that of the map, or the first and last of a change."""
        last = Period.parse(self.period)
        if last.is_series:
            return (last.years[0], last.years[-1])
        return (last,) if self.since is None else (Period.parse(self.since), last)

    @property
    def run_keys(self) -> dict[tuple[str, str], str]:
        """Run key of the map by region and tile."""
        return {(each.region, each.tile): each.run_key for each in self.tiles}

    @property
    def title(self) -> str:
        """What was sampled, for people: ``crop_mask_eastern 2019``."""
        last = Period.parse(self.period)
        since = None if self.since is None else Period.parse(self.since)
        when = last.words if since is None else f"{since.span} to {last.span}"
        return f"{' and '.join(self.products)} {when}"

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that have strata, sorted."""
        return tuple(sorted({stratum.region for stratum in self.strata}))


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Points with their design; every array is ``(point,)``."""

    design: SampleDesign
    id: NDArray[np.str_]
    plot: NDArray[np.str_]
    """Points that were drawn together; the id where each was drawn by itself."""
    stratum: NDArray[np.int64]
    """Number of the stratum in the design; that of the middle of the plot."""
    region: NDArray[np.str_]
    tile: NDArray[np.str_]
    row: NDArray[np.int64]
    """Of the pixel in its tile, from the north."""
    column: NDArray[np.int64]
    lon: NDArray[np.float64]
    """Degrees of the pixel's center."""
    lat: NDArray[np.float64]
    x: NDArray[np.float64]
    """Meters of EPSG:6933 of the pixel's center."""
    y: NDArray[np.float64]
    mask: NDArray[np.int64]
    """Class of the map's band ``mask`` at the point, 255 nodata."""
    filtered: NDArray[np.int64]
    """Class of the band ``filtered``."""
    district: NDArray[np.str_]
    """Name of the district, empty without districts."""
    change: NDArray[np.int64] | None = None
    """Class of change by the two maps, or stratum of the series, of a sample of change; None where
    one map was sampled."""

    def __len__(self) -> int:
        return len(self.id)

    @property
    def mapped(self) -> NDArray[np.int64]:
        """Class of the band that was sampled, or of change."""
        if self.change is not None:
            return self.change
        return self.mask if self.design.band == "mask" else self.filtered

    @property
    def inclusion_probability(self) -> NDArray[np.float64]:
        """Chance of each point to be in the sample."""
        chances = np.array([each.inclusion_probability for each in self.design.strata])
        return chances[self.stratum]

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """All arrays by name."""
        every = {each.name: getattr(self, each.name) for each in fields(self)[1:]}
        return {name: array for name, array in every.items() if array is not None}

    def take(self, points: NDArray[Any]) -> Self:
        """Some of the points, by mask or by number."""
        return type(self)(self.design, **{name: a[points] for name, a in self.columns.items()})


_WHOLE: Final = {"row": AFRICA_10.size, "column": AFRICA_10.size, "mask": 256, "filtered": 256}
"""Whole numbers of a point, with what they are below."""
_REAL: Final = ("lon", "lat", "x", "y")
_TEXT: Final = ("id", "plot", "region", "tile", "district")


def encode_sample(sample: Sample) -> str:
    """The GeoJSON document, a line for each point."""
    design = sample.design.model_dump_json()
    lines = (json.dumps(feature, ensure_ascii=False) for feature in _describe_points(sample))
    joined = ",\n".join(lines)
    return f'{{"type": "FeatureCollection", {MARK[:-1]}{design},\n"features": [\n{joined}\n]}}\n'


def _describe_points(sample: Sample) -> list[dict[str, Any]]:
    names = [stratum.name for stratum in sample.design.strata]
    keys = sample.design.run_keys
    columns = {name: array.tolist() for name, array in sample.columns.items()}
    chances = sample.inclusion_probability.tolist()
    found = []
    for at, chance in enumerate(chances):
        point = {name: values[at] for name, values in columns.items()}
        lon, lat = point.pop("lon"), point.pop("lat")
        number = point.pop("stratum")
        found.append(
            {
                "type": "Feature",
                "id": point["id"],
                "geometry": {"type": "Point", "coordinates": [lon, lat]},
                "properties": {
                    **point,
                    "stratum": names[number],
                    "inclusion_probability": chance,
                    "run_key": keys[point["region"], point["tile"]],
                },
            }
        )
    return found


def parse_sample(document: Mapping[str, Any]) -> Sample:
    """Sample of a GeoJSON document; ValueError if it is none."""
    design = parse_design(document.get("design"))
    features = document.get("features")
    if not isinstance(features, list) or not 0 < len(features) <= MAX_POINTS:
        raise ValueError(f"it has no points, or more than {MAX_POINTS:,}")
    numbers = {stratum.name: number for number, stratum in enumerate(design.strata)}
    whole = {**_WHOLE, "change": 256} if design.is_change else _WHOLE
    points = [_parse_point(at, feature, numbers, whole) for at, feature in enumerate(features, 1)]
    for point, feature in zip(points, features, strict=True):
        chance = design.strata[point["stratum"]].inclusion_probability
        if feature["properties"].get("inclusion_probability") != chance:
            raise ValueError(
                f"point '{point['id']}' has another inclusion probability than its stratum"
            )
    columns: dict[str, NDArray[Any]] = {
        name: np.array([point[name] for point in points], kind)
        for kind, names in ((np.int64, (*whole, "stratum")), (np.float64, _REAL), (str, _TEXT))
        for name in names
    }
    sample = Sample(design, **columns)
    _check_points(sample)
    return sample


def parse_design(document: object) -> SampleDesign:
    """SampleDesign of the member ``design``; ValueError if it is none."""
    if not isinstance(document, Mapping):
        raise ValueError("it has no member 'design'")
    try:
        # Through JSON, since strict types take a list for no tuple.
        design = SampleDesign.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, ("design", *first["loc"])))
        raise ValueError(f"{place}: {first['msg']}") from None
    _check_strata(design)
    return design


def _check_strata(design: SampleDesign) -> None:
    """ValueError if numbers of strata contradict each other: areas and chances are made of them."""
    if design.is_series and design.since is not None:
        raise ValueError("design.since: a series has its first year by itself")
    classes = len(SERIES_NAMES if design.is_series else CHANGE_NAMES) if design.is_change else 2
    if any(stratum.map_class >= classes for stratum in design.strata):
        raise ValueError("design.strata: a map_class is none of those that were sampled")
    if sorted({*design.prob_edges}) != [*design.prob_edges]:
        raise ValueError("design.prob_edges: each is larger than the one before")
    for stratum in design.strata:
        if stratum.sampled > stratum.pixels:
            raise ValueError(
                f"stratum '{stratum.name}' has {stratum.sampled:,} points in {stratum.pixels:,} "
                "pixels"
            )
        if not np.isclose(stratum.hectares, _hectares(stratum.pixels, design.resolution)):
            raise ValueError(
                f"stratum '{stratum.name}' has {stratum.hectares:,} ha, which are not "
                f"{stratum.pixels:,} pixels of {design.resolution} m"
            )
    parts = sum(stratum.hectares for stratum in design.strata) + design.unseen_hectares
    whole = len(design.tiles) * AFRICA_10.size**2 / 10_000
    if not np.isclose(parts, whole, rtol=1e-9):
        raise ValueError(f"strata and unseen land are {parts:,} ha, and the tiles {whole:,} ha")


def _hectares(pixels: int, resolution: int) -> float:
    return pixels * resolution**2 / 10_000


def _parse_point(
    at: int, feature: object, numbers: Mapping[str, int], whole: Mapping[str, float]
) -> dict[str, Any]:
    try:
        lon, lat = feature["geometry"]["coordinates"]  # type: ignore[index]
        said = {**feature["properties"], "lon": lon, "lat": lat}  # type: ignore[index]
        point: dict[str, Any] = {"stratum": numbers[said["stratum"]]}
        for name in _TEXT:
            point[name] = _check_line(_of(str, said[name]))
        for name in whole:
            point[name] = _of(int, said[name])
        for name in _REAL:
            point[name] = float(_of((int, float), said[name]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"point {at} lacks what the design wrote, or has another type ({error})"
        ) from None
    if not np.isfinite([point[name] for name in _REAL]).all():
        raise ValueError(f"point {at} has a coordinate that is no number")
    if not (point["id"] and point["plot"] and max(len(point[name]) for name in _TEXT) <= MAX_NAME):
        raise ValueError(f"point {at} has an empty name, or one of over {MAX_NAME} characters")
    if not all(0 <= point[name] < limit for name, limit in whole.items()):
        raise ValueError(f"point {at} has a class, row or column that no pixel has")
    return point


def _of(kind: type | tuple[type, ...], value: object) -> Any:  # noqa: ANN401 (of the kind)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{value!r:.40}")
    return value


def _check_points(sample: Sample) -> None:
    """ValueError if points contradict the design."""
    ids, counts = np.unique(sample.id, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"the id '{ids[counts > 1][0]}' is there several times")
    _, first = np.unique(sample.plot, return_index=True)
    found = np.bincount(sample.stratum[first], minlength=len(sample.design.strata))
    drawn = np.array([stratum.sampled for stratum in sample.design.strata])
    if (found != drawn).any():
        number = int(np.argmax(found != drawn))
        name = sample.design.strata[number].name
        raise ValueError(
            f"stratum '{name}' has {found[number]} of its {drawn[number]} {_units(sample)}: a "
            "point without a label stays in the file"
        )
    keys = sample.design.run_keys
    pairs = sorted({*zip(sample.region.tolist(), sample.tile.tolist(), strict=True)})
    unknown = [tile for region, tile in pairs if (region, tile) not in keys]
    if unknown:
        raise ValueError(f"tile {unknown[0]} of a point is not among those of the design")
    _check_places(sample)


def find_centers(
    tiles: Sequence[Tile], row: NDArray[np.int64], column: NDArray[np.int64], meters: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """X and y in EPSG:6933 of the centers of pixels of tiles, ``(point,)``."""
    bounds = np.array([tile.bounds for tile in tiles])
    return bounds[:, 0] + (column + 0.5) * meters, bounds[:, 3] - (row + 0.5) * meters


def _check_places(sample: Sample) -> None:
    """ValueError if points lie elsewhere than the design says, or are of another class."""
    size = sample.design.resolution
    tiles = [Tile.parse(name) for name in sample.tile.tolist()]
    x, y = find_centers(tiles, sample.row, sample.column, size)
    to_meters = Transformer.from_crs("OGC:CRS84", CRS, always_xy=True).transform
    for places in ((sample.x, sample.y), to_meters(sample.lon, sample.lat)):
        moved = ~(np.hypot(x - places[0], y - places[1]) <= size / 4)
        if moved.any():
            raise ValueError(f"point '{sample.id[np.argmax(moved)]}' was moved off its pixel")
    if sample.design.plot_pixels > 1:
        return
    classes = np.array([stratum.map_class for stratum in sample.design.strata])
    if (differs := classes[sample.stratum] != sample.mapped).any():
        raise ValueError(f"point '{sample.id[np.argmax(differs)]}' is not of its stratum's class")
    if len(np.unique(np.stack([x, y]), axis=1).T) < len(sample):
        raise ValueError("two points are in the same pixel")


def _units(sample: Sample) -> str:
    return "points" if sample.design.plot_pixels == 1 else "plots"


def make_strata(
    names: Sequence[tuple[str, str, int]],
    pixels: NDArray[np.int64],
    sampled: NDArray[np.int64],
    resolution: int,
) -> tuple[Stratum, ...]:
    """Strata of their names, regions and classes, and their counts ``(stratum,)``."""
    return tuple(
        Stratum(
            name=name,
            region=region,
            map_class=map_class,
            pixels=int(count),
            hectares=_hectares(int(count), resolution),
            sampled=int(number),
        )
        for (name, region, map_class), count, number in zip(names, pixels, sampled, strict=True)
    )
