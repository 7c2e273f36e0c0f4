"""Regions as data: a TOML of about ten lines, a boundary and model files.

``models/{name}/region.toml`` holds only what differs between regions; any other
file of the same shape, named by its path, works the same.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.product import Product, Recipe

REGION_FILE: Final = "region.toml"
MAX_CHARACTERS: Final = 1_000_000
"""Most characters of a region file; ours have a few hundred."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StacLayer(_Value):
    """A raster found by STAC search: the item of a collection over the tile in the map's year."""

    collection: str
    asset: str
    dated: bool = False
    """Whether the item must be of the map's year; an elevation model has no year."""


Layer = str | StacLayer
"""A raster's path or address, or where to search for it."""


class Ancillary(_Value):
    """Layers beside GeoMAD; a mask whose layer is absent is not applied, and the item says so."""

    rain_first_half: str
    """Cumulative rain January to June, mm; a feature."""
    rain_second_half: str
    """Cumulative rain July to December, mm; a feature."""
    slope: str
    """Slope in percent; a feature."""
    protected_areas: Layer | None = None
    """Non-zero is protected."""
    water: Layer | None = None
    """Share of clear observations that are water, 0 to 1, in the map's year."""
    steepness: Layer | None = None
    """Slope in percent for the mask."""
    elevation: Layer | None = None
    """Elevation in meters for the mask."""


class Limits(_Value):
    """Thresholds of the masks and of the inputs; every comparison is strict."""

    model_config = ConfigDict(strict=True)

    water_frequency: Annotated[float, Field(ge=0, le=1)] = 0.20
    slope_percent: Annotated[float, Field(ge=0)] = 50.0
    elevation_m: float = 3600.0
    min_coverage_percent: Annotated[float, Field(ge=0, le=100)] = 99.0
    """Least share of the tile's part of the region that GeoMAD must cover."""
    require_both_halves: bool = True
    """Whether a pixel without one of the two half-years is nodata. Else it is classified with
    16 features of 0, which no training sample ever had; it mostly comes out as not crop."""


class ModelRef(_Value):
    """One model file of a region, tied to its content."""

    file: Path
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Training(_Value):
    """How the region's published forest is fitted and cross-validated."""

    criterion: Literal["gini", "entropy"] = "gini"
    max_features: Literal["sqrt", "log2", "all"] = "sqrt"
    trees: Annotated[int, Field(ge=1, le=5000)] = 300
    folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Folds of the random cross-validation."""
    cluster_km: Annotated[float, Field(gt=0)] | None = None
    """Distance at which coordinates are clustered for the spatial cross-validation."""


class Region(_Value):
    """One agro-ecological zone: what differs from the other regions."""

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_]{1,40}$")]
    title: str
    version: Annotated[str, Field(pattern=r"^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}$")]
    """Version of the region's product."""
    boundary: Path
    """GeoJSON of the region's polygons; coordinates in its ``crs`` member, else longitude and
    latitude."""
    countries: tuple[str, ...] = ()
    protected_areas: str | None = None
    """Raster of protected areas, where the region has one."""
    training: Training = Training()
    models: dict[Recipe, ModelRef] = Field(default_factory=dict)
    ancillary: Ancillary | None = None
    """The region's own layers, all of them, instead of the site's."""
    limits: Limits = Limits()

    @field_validator("title")
    @classmethod
    def _one_line(cls, value: str) -> str:
        line = " ".join(value.split())
        if not line or not line.isprintable():
            raise ValueError("it must be a line of text")
        return line

    @property
    def product(self) -> Product:
        """Product of the region in its version."""
        return Product(self.name, self.version)

    def model(self, recipe: Recipe = "forest") -> ModelRef:
        """Model file of a recipe.

        Raises
        ------
        Rejected
            If the region has no model of this recipe.
        """
        if recipe not in self.models:
            known = ", ".join(self.models) or "none"
            raise Rejected(
                f"region {self.name} has no '{recipe}' model (it has: {known}): "
                f"train one with 'cropmask train --region {self.name} --recipe {recipe}'",
                reason=Reason.NO_MODEL,
            )
        return self.models[recipe]

    def resolved(self, folder: Path) -> Self:
        """The same region with relative paths taken from ``folder``."""
        models = {
            recipe: ref.model_copy(update={"file": folder / ref.file})
            for recipe, ref in self.models.items()
        }
        ancillary = self.ancillary and Ancillary.model_validate(
            {
                key: _resolve(folder, value) if isinstance(value, str) else value
                for key, value in self.ancillary.model_dump().items()
            }
        )
        protected = self.protected_areas and _resolve(folder, self.protected_areas)
        return self.model_copy(
            update={
                "boundary": folder / self.boundary,
                "models": models,
                "ancillary": ancillary,
                "protected_areas": protected,
            }
        )


def _resolve(folder: Path, href: str) -> str:
    return href if re.match(r"^[a-z0-9+]+://|^/", href) else str(folder / href)


def models_folder() -> Path:
    """Folder of the regions that come with the package."""
    inside = Path(__file__).parent / "_data" / "models"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "models"


def region_names(models: Path | None = None) -> tuple[str, ...]:
    """Names of the regions below a models folder, sorted."""
    folder = models or models_folder()
    return tuple(sorted(path.parent.name for path in folder.glob(f"*/{REGION_FILE}")))


def is_region_file(name: str) -> bool:
    """Whether what a command was given for a region is the path of its file, not a name."""
    return Path(name).suffix == ".toml" and name.isprintable()


def load_region_files(files: Sequence[Path]) -> dict[str, Region]:
    """Regions of files, by the names that these say.

    Raises
    ------
    Misconfigured
        If a file cannot be used, or two have the same name.
    """
    found: dict[str, Region] = {}
    for file in files:
        region = _read_region(file)
        if region.name in found:
            raise Misconfigured(f"two region files have the name '{region.name}': {file} is one")
        found[region.name] = region
    return found


def load_region(name: str, models: Path | None = None, files: Sequence[Path] = ()) -> Region:
    """Region of a name, or of the path of a region file.

    Parameters
    ----------
    name
        ``eastern``, or a path such as ``my/region.toml``.
    models
        Folder of regions; default the one in the package.
    files
        Region files that are looked through first, for the name that they say.

    Raises
    ------
    Rejected
        If there is no such region.
    Misconfigured
        If the region file cannot be used.
    """
    known_files = load_region_files(files)
    if name in known_files:
        return known_files[name]
    path = Path(name)
    if not is_region_file(name):
        folder = models or models_folder()
        path = folder / name / REGION_FILE
        if not folder.is_dir():
            raise Misconfigured(f"there is no folder of regions at {folder}: correct --models")
        if not re.fullmatch("[a-z][a-z0-9_]{0,40}", name) or not path.is_file():
            known = ", ".join(region_names(models)) or "none"
            raise Rejected(
                f"unknown region '{name}': known regions are {known}; "
                "or give the path of a region.toml",
                reason=Reason.UNKNOWN_REGION,
            )
    return _read_region(path)


def _read_region(path: Path) -> Region:
    try:
        region = Region.model_validate(tomllib.loads(_read_text(path)))
        region = region.resolved(path.parent)
        has_boundary = region.boundary.is_file()
    except OSError as error:
        raise Misconfigured(f"region file {path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise Misconfigured(f"region file {path}: {_first_problem(error)}") from None
    except (ValueError, RecursionError) as error:
        raise Misconfigured(f"region file {path} is not valid TOML: {error}") from None
    if not has_boundary:
        raise Misconfigured(f"region file {path}: the boundary {region.boundary} does not exist")
    return region


def _read_text(path: Path) -> str:
    """Text of a region file; a device or a pipe in its place would never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError("it is no file")
    with path.open(encoding="utf-8-sig") as file:
        text = file.read(MAX_CHARACTERS + 1)
    if len(text) > MAX_CHARACTERS:
        raise ValueError("it is too large")
    return text


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"'{where}': {problem['msg']}{more}"
