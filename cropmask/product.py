"""The product, said once: bands, classes, nodata, styles, names and paths.

Standard library only: the infrastructure imports names from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, get_args

SYNTHETIC: Final = "synthetic"
"""Producer (``odc:producer``) of inputs that are made up; what is made of them is, too."""
NODATA: Final = 255
"""Nodata of every band of bytes, in files, items and product definitions."""
NODATA_16: Final = 65535
"""The same of bands of two bytes, which only series have."""
NODATA_TITLE: Final = "No data"

FAMILY: Final = "crop_mask"
SERIES_FAMILY: Final = "crop_series"
"""Products of several years, made of the masks of each."""
FAMILIES: Final = (FAMILY, SERIES_FAMILY)
SERIES_RECIPE: Final = "series"
"""What items of a series say in place of the recipe of a model."""
LEAST_SERIES: Final = 5
"""Years that a series needs: with three, nothing that changed is told from what flickers."""
MOST_SERIES: Final = 15
"""Years that the bits of a pixel have room for, beside nodata."""
METHOD_URL: Final = (
    "https://docs.digitalearthafrica.org/en/latest/data_specs/Cropland_extent_specs.html"
)

Recipe = Literal["forest", "boosted", "robust"]
"""How a model was made: the published random forest, gradient-boosted trees beside it, or trees
on features that were chosen on places held out."""
RECIPES: Final[tuple[Recipe, ...]] = get_args(Recipe)

HalfOrder = Literal["calendar", "season"]
"""Which half-year a model's features of ``S1`` are of: January to June always, or that with which
the period begins."""

Rgba = tuple[int, int, int, int]
TRANSPARENT: Final[Rgba] = (0, 0, 0, 0)
GROUND: Final[Rgba] = (112, 112, 112, 255)
"""Of a class without a color where it must be told from nodata, such as mapped land that is no
crop: a gray on which the published yellow stands out."""


@dataclass(frozen=True, slots=True)
class ClassValue:
    """One value of a class band."""

    value: int
    name: str
    title: str
    color: Rgba


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One band of a product."""

    name: str
    """Measurement name, asset key and file name suffix."""
    title: str
    description: str
    unit: str
    classes: tuple[ClassValue, ...] = ()
    """Classes without nodata; empty for a continuous band."""
    ramp: tuple[tuple[int, Rgba], ...] = ()
    """Color stops (value, color) of a continuous band; empty for a class band."""
    ramp_name: str | None = None
    """Name by which other programs know nearly the same ramp; None for a class band."""
    aliases: tuple[str, ...]
    """Other names in the Open Data Cube, as published."""
    overview: Literal["mode", "average", "nearest"]
    """How overviews are made: classes are never averaged."""
    dtype: Literal["uint8", "uint16"] = "uint8"
    """Type of its pixels."""

    @property
    def nodata(self) -> int:
        """Its value where nothing is known."""
        return NODATA if self.dtype == "uint8" else NODATA_16

    @property
    def palette(self) -> dict[int, Rgba]:
        """Color of every value, nodata not among them; readers of color maps do not interpolate."""
        colors = {found.value: found.color for found in self.classes} | dict(self.ramp)
        for (low, first), (high, last) in pairwise(self.ramp):
            for value in range(low + 1, high):
                share = (value - low) / (high - low)
                red, green, blue, alpha = (
                    round(a + (b - a) * share) for a, b in zip(first, last, strict=True)
                )
                colors[value] = (red, green, blue, alpha)
        if self.ramp:  # below a ramp as at its begin
            colors |= dict.fromkeys(range(self.ramp[0][0]), self.ramp[0][1])
        return dict(sorted(colors.items()))

    @property
    def opaque_palette(self) -> dict[int, Rgba]:
        """The same for pictures in which only nodata is transparent; no year is ground."""
        colors = {value: color if color[3] else GROUND for value, color in self.palette.items()}
        return {**colors, 0: GROUND} if self.unit == "year" else colors


def hex_color(color: Rgba) -> str:
    """``#RRGGBB`` of a color, without its opacity."""
    return "#{:02X}{:02X}{:02X}".format(*color[:3])


def _opaque(code: str) -> Rgba:
    return (int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16), 255)


def _crop_classes(color: str) -> tuple[ClassValue, ...]:
    return (
        ClassValue(0, "non-crop", "Not cropland", TRANSPARENT),
        ClassValue(1, "crop", "Cropland", _opaque(color)),
    )


_RAMP = (
    "#000000 #170b3b #410967 #6b176e #952666 #bb3754 #dd5238 #f37719 #fba60b #f5d948 #fcfea4"
).split()

MASK: Final = Band(
    name="mask",
    title="Cropland mask",
    description="Cropland by pixel: 1 where more than half of the model's vote is crop, else 0.",
    unit="1",
    classes=_crop_classes("#00FF00"),
    aliases=("crop_mask", "MASK"),
    overview="mode",
)
PROB: Final = Band(
    name="prob",
    title="Crop probability",
    description=(
        "Probability of cropland in percent, rounded and kept on the mask's side of one half: "
        "over 50 exactly where mask is 1."
    ),
    unit="percent",
    ramp=tuple((10 * i, _opaque(code)) for i, code in enumerate(_RAMP)),
    ramp_name="inferno",
    aliases=("crop_prob", "PROB"),
    overview="average",
)
FILTERED: Final = Band(
    name="filtered",
    title="Cropland mask, filtered by objects",
    description=(
        "Cropland by object: 1 where more than half of the pixels of the image segment "
        "(at least 1 ha) are crop, else 0."
    ),
    unit="1",
    classes=_crop_classes("#FFFF00"),
    aliases=("mode",),
    overview="mode",
)
BANDS: Final = (MASK, PROB, FILTERED)
"""The published bands, which every dataset has."""

_DOUBT: Final = (
    "#440154 #482475 #414487 #355f8d #2a788e #21918c #22a884 #44bf70 #7ad151 #bddf26 #fde725"
).split()

LIKE: Final = 100
"""Largest dissimilarity of land that is like the samples of its model."""
MOST_UNLIKE: Final = 254
"""Largest dissimilarity that is told apart from larger ones."""
CELL_METERS: Final = 60
"""Edge of the cells that have one dissimilarity, where pixels are smaller."""

CALIBRATED: Final = Band(
    name="calibrated",
    title="Calibrated crop probability",
    description=(
        "Share of cropland, in percent, among places with the same vote that the model was not "
        "trained on; the vote itself where the model has no such table."
    ),
    unit="percent",
    ramp=PROB.ramp,
    ramp_name=PROB.ramp_name,
    aliases=("crop_calibrated",),
    overview="average",
)
SPREAD: Final = Band(
    name="spread",
    title="Spread of the vote",
    description=(
        "How much the vote is divided: 0 where all of it is on one side, 100 where crop and the "
        "rest have one half each. Errors are where it is high."
    ),
    unit="percent",
    ramp=tuple((10 * i, _opaque(code)) for i, code in enumerate(_DOUBT)),
    ramp_name="viridis",
    aliases=("crop_spread",),
    overview="average",
)
DISSIMILARITY: Final = Band(
    name="dissimilarity",
    title="Outside the training data",
    description=(
        "Distance to the nearest training sample of the model in percent of the largest one that "
        "is usual among these: over 100 the land is outside the training data. At most 254; by "
        f"cells of {CELL_METERS} m."
    ),
    unit="percent",
    ramp=(
        (LIKE, _opaque("#fff7ec")),
        (LIKE + 1, _opaque("#fdbb84")),
        (150, _opaque("#ef6548")),
        (MOST_UNLIKE, _opaque("#7f0000")),
    ),
    ramp_name="orrd",
    aliases=("crop_dissimilarity",),
    overview="mode",
)
EXTRA_BANDS: Final = (CALIBRATED, SPREAD, DISSIMILARITY)
"""Bands that a dataset has where they are asked for."""
ALL_BANDS: Final = (*BANDS, *EXTRA_BANDS)

_YEARS = ((2017, "#440154"), (2022, "#3b528b"), (2027, "#21918c"), (2032, "#5ec962"))
_YEAR_RAMP: Final = tuple((year, _opaque(code)) for year, code in _YEARS)


def _count_band(name: str, title: str, description: str, unit: str) -> Band:
    """A band of a series that counts years."""
    return Band(
        name=name,
        title=title,
        description=description,
        unit=unit,
        ramp=((0, _opaque("#440154")), (MOST_SERIES, _opaque("#fde725"))),
        ramp_name="viridis",
        aliases=(f"crop_{name}",),
        overview="nearest",
    )


def _year_band(name: str, title: str, description: str) -> Band:
    """A band of a series that names a year: of a season, that in which it begins."""
    return Band(
        name=name,
        title=title,
        description=f"{description}; 0 where there is none.",
        unit="year",
        ramp=_YEAR_RAMP,
        ramp_name="viridis",
        aliases=(f"crop_{name}",),
        overview="nearest",
        dtype="uint16",
    )


HISTORY: Final = Band(
    name="history",
    title="Crop by year",
    description=(
        "State of each year given all years: bit 0 is set where the first year is crop, bit 1 "
        "where the second is, and so on."
    ),
    unit="1",
    ramp=((0, _opaque("#000000")), (2**MOST_SERIES - 1, _opaque("#ffffff"))),
    ramp_name="gray",
    aliases=("crop_history",),
    overview="nearest",
    dtype="uint16",
)
CHANGE_CLASS: Final = Band(
    name="class",
    title="Change of cropland",
    description=(
        "What became of the pixel over the years. A flag, no area: an area of change comes from "
        "a sample with change strata."
    ),
    unit="1",
    classes=(
        ClassValue(0, "stable-other", "Never cropland", TRANSPARENT),
        ClassValue(1, "stable-crop", "Always cropland", _opaque("#1B9E4B")),
        ClassValue(2, "gain", "Became cropland", _opaque("#2166AC")),
        ClassValue(3, "loss", "No longer cropland", _opaque("#D6604D")),
        ClassValue(4, "uncertain", "Uncertain", _opaque("#F4D35E")),
    ),
    aliases=("crop_change",),
    overview="mode",
)
FLICKERS: Final = _count_band(
    "flickers",
    "Flickers",
    "Changes of the yearly masks that the states given all years do not have.",
    "1",
)
CHANGED: Final = _year_band(
    "changed", "Year of change", "First year after the last change of state"
)
SERIES_BANDS: Final = (
    CHANGE_CLASS,
    HISTORY,
    _count_band("years", "Years in crop", "Years that are crop given all years.", "years"),
    _year_band("first", "First year in crop", "First year that is crop given all years"),
    _year_band("last", "Last year in crop", "Last year that is crop given all years"),
    CHANGED,
    FLICKERS,
    _count_band("observed", "Years with data", "Years whose mask has data here.", "years"),
)
"""Bands of a series."""
Mark = Literal["pale", "hatched"]
"""How land outside the training data of its model is drawn."""
MARKS: Final[tuple[Mark, ...]] = get_args(Mark)
NO_EXTRA: Final = "none"
"""Stands for no extra band where several places may ask for some."""


def list_bands(family: str) -> tuple[Band, ...]:
    """Bands that datasets of a family may have, extra ones among them."""
    return SERIES_BANDS if family == SERIES_FAMILY else ALL_BANDS


def find_band(name: str) -> Band:
    """Band of a name; KeyError if there is none."""
    return {band.name: band for band in (*ALL_BANDS, *SERIES_BANDS)}[name]


def parse_bands(text: str) -> tuple[str, ...]:
    """Names of extra bands, of ``+spread,+calibrated`` or ``none``, in the product's order.

    Raises ValueError if it is something else, saying what it may be.
    """
    words = [word.strip() for word in text.split(",")]
    if words in ([""], [NO_EXTRA]):
        return ()
    known = {f"+{band.name}": band.name for band in EXTRA_BANDS}
    for word in words:
        if word not in known:
            raise ValueError(f"there is no extra band '{word}': choose of {','.join(known)}")
    return tuple(name for word, name in known.items() if word in words)


def format_bands(names: Iterable[str]) -> str:
    """Extra bands as :func:`parse_bands` takes them."""
    return ",".join(f"+{name}" for name in names) or NO_EXTRA


def with_extras(names: Iterable[str]) -> tuple[Band, ...]:
    """The published bands, then those extra ones that are named."""
    chosen = set(names)
    return (*BANDS, *(band for band in EXTRA_BANDS if band.name in chosen))


AREAS: Final = "areas"
"""Folder of the maps of areas of one's own, beside the products."""
MODELS: Final = f"{FAMILY}_models"
"""Collection of the models that the maps were made with."""

COG_TYPE: Final = "image/tiff; application=geotiff; profile=cloud-optimized"


@dataclass(frozen=True, slots=True)
class Product:
    """One product: the crop mask, or the series of masks, of one region in one version."""

    region: str
    version: str
    """Semantic version, such as ``1.0.0``."""
    family: str = FAMILY
    """:data:`FAMILY`, or :data:`SERIES_FAMILY`."""

    @property
    def name(self) -> str:
        """Collection id and Open Data Cube product name, such as ``crop_mask_eastern``."""
        return f"{self.family}_{self.region}"

    @property
    def is_series(self) -> bool:
        """Whether it is of several years."""
        return self.family == SERIES_FAMILY

    @property
    def series(self) -> Product:
        """The series of its region in the same version."""
        return Product(self.region, self.version, SERIES_FAMILY)

    def bands(self, extras: Iterable[str] = ()) -> tuple[Band, ...]:
        """Its bands, with extra ones, which no series has."""
        return SERIES_BANDS if self.is_series else with_extras(extras)

    @property
    def folder(self) -> str:
        """Folder of the product below the output root, such as ``crop_mask_eastern/1-1-0``."""
        return f"{self.name}/{self.version.replace('.', '-')}"

    def dataset_folder(self, tile: str, period: str) -> str:
        """Folder of one tile and period: ``{product}/1-1-0/x215/y075/2019--P1Y``."""
        return f"{self.folder}/{tile[:4]}/{tile[4:]}/{period}"

    def label(self, tile: str, period: str) -> str:
        """Title of one dataset: ``crop_mask_eastern_x215y075_2019--P1Y``."""
        return f"{self.name}_{tile}_{period}"

    def file_name(self, tile: str, period: str, suffix: str) -> str:
        """Name of one file of a dataset; ``suffix`` is ``_mask.tif``, ``.sha1`` and so on."""
        return f"{self.label(tile, period)}{suffix}"

    def item_name(self, tile: str, period: str) -> str:
        """Name of the STAC item, whose presence is the only sign of a finished dataset."""
        return self.file_name(tile, period, ".stac-item.json")


def find_family(name: str) -> str:
    """Family of the name of a product."""
    return SERIES_FAMILY if name.startswith(f"{SERIES_FAMILY}_") else FAMILY


def find_region(name: str) -> str:
    """Region of the name of a product."""
    return name.removeprefix(f"{find_family(name)}_")


def name_products(name: str) -> tuple[str, ...]:
    """Names of all products of the region of a product, itself among them."""
    return tuple(f"{family}_{find_region(name)}" for family in FAMILIES)


def name_maker(product: str, recipe: str) -> str:
    """What people are told that a product is made with: the recipe of a model, or a series."""
    return SERIES_RECIPE if find_family(product) == SERIES_FAMILY else recipe
