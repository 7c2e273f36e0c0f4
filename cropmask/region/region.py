"""Regions as data: a TOML of about ten lines, a boundary and model files.

``models/{name}/region.toml`` holds only what differs between regions; any other
file of the same shape, named by its path, works the same.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationError,
    field_validator,
)

from cropmask.errors import (
    Misconfigured,
    Reason,
    Rejected,
    did_you_mean,
    doubt_address,
    find_closest,
    write_command,
)
from cropmask.product import HalfOrder, Product, Recipe
from cropmask.region.attribution import (
    KNOWN_LICENSES,
    OTHER_LICENSE,
    Attribution,
    Provider,
    find_license,
    is_web_address,
)

REGION_FILE: Final = "region.toml"
SAMPLES: Final = "SAMPLES.txt"
"""Stands for a file of training samples in commands that are printed."""
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


def _check_address(value: str) -> str:
    if doubt := doubt_address(value, ("s3", "http", "https", "file")):
        raise ValueError(f"is no address{doubt}")
    return value


RasterAddress = Annotated[str, AfterValidator(_check_address)]
"""Path or address of a raster."""
Layer = Annotated[
    Annotated[RasterAddress, Tag("text")] | Annotated[StacLayer, Tag("table")],
    Discriminator(lambda value: "table" if isinstance(value, dict | StacLayer) else "text"),
]
"""A raster's path or address, or where to search for it."""


class Ancillary(_Value):
    """Layers beside GeoMAD; a mask whose layer is absent is not applied, and the item says so."""

    rain_first_half: RasterAddress
    """Cumulative rain January to June, mm; a feature of whichever half-year that is."""
    rain_second_half: RasterAddress
    """Cumulative rain July to December, mm; a feature of whichever half-year that is."""
    slope: RasterAddress
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
    license: str | None = None
    """License of the region's maps: an SPDX identifier, or the address of their terms; None to
    take that of the inputs."""
    providers: tuple[Provider, ...] = ()
    """Whom the maps are owed to, beside the providers of the inputs."""
    protected_areas: RasterAddress | None = None
    """Raster of protected areas, where the region has one."""
    training: Training = Training()
    models: dict[Recipe, ModelRef] = Field(default_factory=dict)
    ancillary: Ancillary | None = None
    """The region's own layers, all of them, instead of the site's."""
    limits: Limits = Limits()
    half_years: HalfOrder = "calendar"
    """Which half of a season from July to June is the first one of the region's models: with
    ``calendar`` January to June, as in calendar years; with ``season`` July to December."""
    _file: Path | None = PrivateAttr(default=None)
    """Where it was read from, unless it came with the package."""

    @property
    def argument(self) -> str:
        """What ``--region`` of a command says for it: its name, or the path of its file."""
        return self.name if self._file is None else str(self._file)

    @field_validator("title")
    @classmethod
    def _one_line(cls, value: str) -> str:
        line = " ".join(value.split())
        if not line or not line.isprintable():
            raise ValueError("must be a line of text")
        return line

    @field_validator("license")
    @classmethod
    def _known_license(cls, value: str | None) -> str | None:
        if value is None or value == OTHER_LICENSE or is_web_address(value):
            return value
        known = find_license(value)
        if known is None:
            raise ValueError(
                "must be an SPDX identifier such as CC-BY-4.0, or the address of the terms"
            )
        return known

    @property
    def attribution(self) -> Attribution:
        """What the region file says of license and providers."""
        if is_web_address(self.license):
            return Attribution(OTHER_LICENSE, self.license, self.providers)
        return Attribution(self.license, None, self.providers)

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
                f"train one with '{write_training('train', self.argument, recipe)}'",
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
    package = Path(__file__).parents[1]
    inside = package / "_data" / "models"
    return inside if inside.is_dir() else package.parent / "models"


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
            raise _unknown_region(name, models)
    region = _read_region(path)
    if models is None and not is_region_file(name):
        region._file = None  # it comes with the package, so its name is enough
    return region


def _unknown_region(name: str, models: Path | None) -> Rejected:
    names = region_names(models)
    here = os.path.join(name, REGION_FILE)  # noqa: PTH118 (a name may be anything)
    if os.path.isfile(here):  # noqa: PTH113 (never raises)
        said = f"'{name}' is a folder: name the region file in it, {here}"
    elif not names and models and (models / REGION_FILE).is_file():
        said = f"unknown region '{name}': {models} is one region's folder: give --models its parent"
    else:
        said = (
            f"unknown region '{name}'{did_you_mean(name, names) or ':'} known regions are "
            f"{', '.join(names) or 'none'}; or give the path of a region.toml"
        )
    return Rejected(said, reason=Reason.UNKNOWN_REGION)


def write_training(command: str, region: str, recipe: str) -> str:
    """``train`` or ``validate`` of a recipe; the reader puts the samples in."""
    words = ("--region", region, "--samples", SAMPLES, "--recipe", recipe)
    return write_command(command, *words)


def model_table(recipe: Recipe, file: str, sha256: str) -> str:
    """The lines of a region file that name a model."""
    return f'[models.{recipe}]\nfile = "{file}"\nsha256 = "{sha256}"\n'


def load_toml(path: Path, what: str, most: int = MAX_CHARACTERS) -> tuple[str, dict[str, Any]]:
    """Text and document of a TOML file of so many characters at most.

    ``what`` it is called where it cannot be used, which is Misconfigured.
    """
    with _name_file(what, path):
        text = _read_text(path, most)
        return text, tomllib.loads(text)


@contextmanager
def _name_file(what: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Misconfigured(f"{what} {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise Misconfigured(f"{what} {path} is not valid TOML: {_describe_syntax(error)}") from None


def _read_region(path: Path) -> Region:
    _, document = load_toml(path, "region file")
    with _name_file("region file", path):
        problems = [*_check_boundary(document, path.parent)]
        try:
            region = Region.model_validate(document).resolved(path.parent)
        except ValidationError as error:
            problems = [*_describe_problems(error), *problems]
    if problems:
        raise Misconfigured(f"region file {path}: {'; '.join(problems)}")
    region._file = path.absolute()
    return region


def _read_text(path: Path, most: int) -> str:
    """Text of a file; a device or a pipe in its place would never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError("it is no file")
    with path.open(encoding="utf-8-sig") as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise ValueError("it is too large")
    return text


def _check_boundary(document: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """What is wrong with the file that a boundary names."""
    name = document.get("boundary")
    path = folder / name if isinstance(name, str) else None
    if path is None or path.is_file():
        return
    if path.is_dir():
        yield f"the boundary {path} is a folder, no GeoJSON file"
        return
    beside = islice(path.parent.iterdir(), 1000) if path.parent.is_dir() else ()
    close = did_you_mean(path.name, (file.name for file in beside if file.name != REGION_FILE))
    yield f"the boundary {path} does not exist{close}"


def _describe_syntax(error: Exception) -> str:
    """What is wrong with the text of a file that is no TOML."""
    said = str(error)
    if isinstance(error, UnicodeDecodeError):
        return "it is no UTF-8 text"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if "integer string conversion" in said:
        return "it has a number of too many digits"
    said = re.sub(r"Cannot overwrite a value", "a key is there twice, or is no table", said)
    return re.sub(r"Cannot declare \((.*?),?\) twice", r"the table \1 is there twice", said)


_TABLES: Final[Mapping[str, type[BaseModel]]] = {
    "": Region,
    "training": Training,
    "limits": Limits,
    "ancillary": Ancillary,
    "models": ModelRef,
    "providers": Provider,
    "ancillary.": StacLayer,
}
"""Form of each table of a region file, by its name; the last one is that of a layer."""
_WANTED: Final[Mapping[str, str]] = {
    "name": "must be small letters, digits and _, a letter first",
    "version": "must be three numbers, such as 1.0.0",
    "sha256": "must be 64 digits and letters from a to f",
}
"""What a text must be like, by its key."""
_WORDS: Final[Mapping[str, str]] = {
    "string_type": "must be a text in quotes",
    "path_type": "must be a path in quotes",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "tuple_type": "must be a list in [ ]",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}
"""What is wrong with a value, by pydantic's name of it."""


def _describe_problems(error: ValidationError) -> Iterator[str]:
    """Every problem of a region file in plain words, with its key."""
    found = error.errors(include_url=False)
    meant: set[str] = set()
    for problem in found:
        if problem["type"] == "extra_forbidden":
            *place, word = problem["loc"]
            table = _table_of(problem["loc"])
            if close := find_closest(str(word), _TABLES[table].model_fields):
                meant.add(_key((*place, close)))
                said = f"did you mean '{close}'?"
            else:
                said = _say_known(table, str(word))
            yield f"'{_key(problem['loc'])}' is unknown: {said}"
    for problem in found:
        key = _key(problem["loc"])
        if problem["type"] == "missing" and key not in meant:
            yield f"'{key}' is missing"
        elif problem["type"] not in ("missing", "extra_forbidden"):
            yield f"'{key}' {_describe_value(problem)}"


def _key(loc: tuple[int | str, ...]) -> str:
    """Key as a user would name it: pydantic's own steps are not in the file."""
    return ".".join(str(step) for step in loc if step not in ("text", "table", "[key]"))


def _table_of(loc: tuple[int | str, ...]) -> str:
    if "table" in loc:
        return "ancillary."
    return str(loc[0]) if len(loc) > 1 else ""


def _say_known(table: str, key: str) -> str:
    """Where a key belongs that a table does not have, else which ones it has."""
    for name, form in _TABLES.items():
        if name != table and key in form.model_fields:
            return f"it belongs into the table [{name}]" if name else "it belongs above all tables"
    return f"known are {', '.join(_TABLES[table].model_fields)}"


def _describe_value(problem: Any) -> str:  # noqa: ANN401 (pydantic's)
    kind, key, value = problem["type"], str(problem["loc"][-1]), problem["input"]
    context, near = problem.get("ctx", {}), ""
    if kind == "string_pattern_mismatch":
        words = _WANTED[key]
    elif kind == "string_type" and key == "text":
        words = "must be a path or address, or a table with collection and asset"
    else:
        words = _WORDS.get(kind, "cannot be used").format(**context)
    if kind == "literal_error":
        near = did_you_mean(str(value), re.findall("'(.*?)'", context["expected"]))
    elif key == "license":
        near = did_you_mean(str(value).replace(" ", "-"), KNOWN_LICENSES)
    return f"{words}, not {_show(value)}{near}" if words.startswith("must") else words


def _show(value: object) -> str:
    """A value as it is in the file, if it is short."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
