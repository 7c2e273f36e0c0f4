"""Where things are: options, environment variables and the file of settings, opened.

The only reader of ``os.environ``; a variable that stands in for one option of a command is read by
click, where that option is declared.

With no configuration the site is ``local``: the made-up demo world as the catalog and
``./output`` for results. ``dev`` and ``prod`` read Digital Earth Africa's public data.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from cropmask import contract
from cropmask.contract import ENVIRONMENTS as ENVIRONMENTS
from cropmask.contract import Environment as Environment
from cropmask.errors import Misconfigured, Reason, Rejected, did_you_mean
from cropmask.grid import RESOLUTIONS
from cropmask.machine.limits import find_cpus, find_memory_limit, parse_memory
from cropmask.machine.stages import ShareDone
from cropmask.product import format_bands, parse_bands
from cropmask.queue.doors import open_queue
from cropmask.queue.protocol import Queue, QueueOptions
from cropmask.region.region import Ancillary, Region, StacLayer, load_region, models_folder
from cropmask.remote.fetch import ReadOptions, Verify
from cropmask.remote.limits import USUAL_LIMITS, ReadLimits
from cropmask.site.commands import PLAIN_COMMANDS, CommandWriter, absolute
from cropmask.site.configuration import ConfigFile, find_config, setting_name
from cropmask.site.price import Price
from cropmask.site.variables import check_variables
from cropmask.store.doors import check_store_address, open_store
from cropmask.store.protocol import Store, StoreOptions

EXPLORER: Final = "https://explorer.digitalearth.africa/stac"
"""Digital Earth Africa's STAC API."""

PUBLIC_REGION: Final = "af-south-1"
"""AWS region of Digital Earth Africa's public buckets."""

_DATASETS: Final = "s3://deafrica-input-datasets"
PUBLIC_ANCILLARY: Final = Ancillary(
    rain_first_half=f"{_DATASETS}/rainfall/CHPclim_jan_jun_cumulative_rainfall.tif",
    rain_second_half=f"{_DATASETS}/rainfall/CHPclim_jul_dec_cumulative_rainfall.tif",
    slope=f"{_DATASETS}/srtm_dem/srtm_africa_slope.tif",
    water=StacLayer(collection="wofs_ls_summary_annual", asset="frequency", dated=True),
    steepness=StacLayer(collection="dem_srtm_deriv", asset="slope"),
    elevation=StacLayer(collection="dem_srtm", asset="elevation"),
)
"""Layers beside GeoMAD in Digital Earth Africa's public buckets."""

LOCAL_OUTPUT: Final = "./output"
QUEUE_FOLDER: Final = "_queue"
"""Folder of the queue in a folder of results, if no queue is named."""
_RESOLUTION: Final[dict[Environment, int]] = {"local": 60, "dev": 60, "prod": 10}


SITE_OPTIONS: Final = (
    *(name.removeprefix(contract.ENV_PREFIX).lower() for name in contract.ENVIRONMENT_VARIABLES),
    "config",
)
"""Names of the options of :func:`open_site`."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where the inputs of a task are."""

    catalog: str
    ancillary: Ancillary
    boundary: Path
    synthetic: bool
    """Whether everything is made up."""


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that a run needs to know about its surroundings."""

    environment: Environment
    catalog: str | None
    """None for the demo world, which is made on first use."""
    output: str
    """Folder or ``s3://`` prefix of the results."""
    resolution: int
    """Pixel size in meters."""
    bands: tuple[str, ...]
    """Names of extra bands; see :func:`cropmask.product.parse_bands`."""
    seamless: bool
    """Whether tiles are segmented with shared colors and a margin of their neighbors."""
    models: Path | None
    """Folder of regions, if not the package's."""
    region_files: tuple[Path, ...]
    """Files of regions that a worker knows by their names, beside those in the folder."""
    cache: Path
    """Folder of the demo world."""
    threads: int
    memory: int | None
    """Bytes to stay below; None without a limit."""
    read: ReadOptions
    write: StoreOptions
    queue_address: str | None
    """URL of an SQS queue, or a folder; None if the results are in a bucket and none is named."""
    queue_options: QueueOptions
    metrics_namespace: str | None
    """CloudWatch namespace; None to put no metrics."""
    price: Price
    """Of an hour of one CPU, for estimates of cost."""
    commands: CommandWriter = field(default=PLAIN_COMMANDS, compare=False)
    """How to write other commands so that they open the same site."""

    @property
    def synthetic(self) -> bool:
        """Whether inputs come from the demo world."""
        return self.catalog is None

    @property
    def read_results(self) -> ReadOptions:
        """How results are read: they are ours, so with credentials, unlike public inputs."""
        if not self._reads_public:
            return self.read
        return replace(self.read, s3_unsigned=False, s3_region=None)

    @property
    def _reads_public(self) -> bool:
        """Whether inputs are those of public buckets, which are read unsigned by themselves."""
        return self.read.s3_region == PUBLIC_REGION

    def region(self, name: str) -> Region:
        """Region of a name, or of the path of a region file; see :func:`load_region`."""
        return load_region(name, self.models, self.region_files)

    def with_bands(self, text: str | None) -> Site:
        """The same with other extra bands, as ``--bands`` takes them; None leaves those it has.

        Raises Rejected if there is no such band.
        """
        if text is None:
            return self
        try:
            return replace(self, bands=parse_bands(text))
        except ValueError as error:
            raise Rejected(str(error), reason=Reason.BAD_VALUE) from None

    def store(self) -> Store:
        """Where results go."""
        return open_store(self.output, self.write)

    def queue(self) -> Queue:
        """Queue of the tasks; Misconfigured if none is named."""
        if self.queue_address is None:
            raise Misconfigured(
                "no queue is named: give --queue or set CROPMASK_QUEUE to the URL of an SQS queue "
                "or to a folder",
                reason=Reason.NO_QUEUE,
            )
        return open_queue(self.queue_address, self.queue_options)

    def worker_environment(self) -> dict[str, str]:
        """Environment variables that open the same site in a worker elsewhere.

        Threads, memory, models, region files and caches are the worker's own.
        """
        unsigned = "1" if self.read.s3_unsigned else "0" if self.environment != "local" else None
        verify = self.read.verify
        known = {
            contract.ENV_ENVIRONMENT: self.environment,
            contract.ENV_CATALOG: self.catalog,
            contract.ENV_OUTPUT: self.output,
            contract.ENV_RESOLUTION: str(self.resolution),
            contract.ENV_BANDS: format_bands(self.bands) if self.bands else None,
            contract.ENV_SEAMLESS: "1" if self.seamless else None,
            contract.ENV_QUEUE: self.queue_address,
            contract.ENV_DEAD_LETTERS: self.queue_options.dead_letters,
            contract.ENV_SQS_ENDPOINT: self.queue_options.endpoint_url,
            contract.ENV_S3_ENDPOINT: self.read.s3_endpoint,
            contract.ENV_S3_ACL: self.write.acl,
            contract.ENV_S3_UNSIGNED: None if self._reads_public else unsigned,
            contract.ENV_S3_REQUESTER_PAYS: "1" if self.read.s3_requester_pays else None,
            contract.ENV_STRICT_INPUTS: "1" if self.read.strict else None,
            contract.ENV_TRUST_CATALOG: "1" if self.read.trust_catalog else None,
            contract.ENV_LIMITS: str(self.read.limits) or None,
            contract.ENV_VERIFY_INPUTS: None if verify is Verify.READ else verify,
            contract.ENV_METRICS: self.metrics_namespace,
        }
        return {name: value for name, value in known.items() if value is not None}

    def inputs(self, region: Region, progress: ShareDone | None = None) -> Inputs:
        """Inputs for a region; makes the demo world if it is asked for and not there yet."""
        if self.catalog is not None:
            public = PUBLIC_ANCILLARY.model_copy(update={"protected_areas": region.protected_areas})
            return Inputs(self.catalog, region.ancillary or public, region.boundary, False)
        # Its kernels take a while to load.
        from cropmask.testing.world.demoworld import ensure_world

        demo = ensure_world(self.cache, self.resolution, progress=progress)
        return Inputs(str(demo.catalog), demo.ancillary, demo.boundary, True)


def open_site(
    environ: Mapping[str, str] | None = None, options: Mapping[str, object] | None = None
) -> Site:
    """Site of options, environment variables and the file of settings, in this order.

    Parameters
    ----------
    environ
        Environment variables. By default those of this process; then the file of settings is the
        nearest ``cropmask.toml``, from the working directory upwards, unless one is named.
    options
        What goes before the variables, by their names in lower case without the prefix, such as
        ``catalog`` or ``memory``; None where not given. ``config`` names the file of settings.

    Raises
    ------
    Misconfigured
        If a value or the file cannot be used.
    """
    given = _find_settings(environ, options)
    check_variables(given.environ)
    environment = given.environment
    output = given.read(contract.ENV_OUTPUT)
    if output is None:
        raise Misconfigured(
            f"environment {environment} has no place for results: give --output or set "
            f"{contract.ENV_OUTPUT} to a folder or s3://bucket/prefix"
        )
    read = _read_options(given)
    site = Site(
        environment=environment,
        catalog=given.read(contract.ENV_CATALOG),
        output=output,
        resolution=given.read(contract.ENV_RESOLUTION),
        bands=given.read(contract.ENV_BANDS),
        seamless=given.read(contract.ENV_SEAMLESS),
        models=given.read(contract.ENV_MODELS),
        region_files=given.read(contract.ENV_REGION_FILES),
        cache=given.read(contract.ENV_CACHE),
        threads=given.read(contract.ENV_THREADS),
        memory=given.read(contract.ENV_MEMORY),
        read=read,
        write=StoreOptions(
            endpoint_url=given.read(contract.ENV_S3_ENDPOINT),
            acl=given.read(contract.ENV_S3_ACL),
            unsigned=bool(given.text(contract.ENV_S3_UNSIGNED)) and read.s3_unsigned,
        ),
        queue_address=given.read(contract.ENV_QUEUE),
        queue_options=QueueOptions(
            endpoint_url=given.read(contract.ENV_SQS_ENDPOINT),
            dead_letters=given.read(contract.ENV_DEAD_LETTERS),
        ),
        metrics_namespace=given.read(contract.ENV_METRICS),
        price=given.read(contract.ENV_CPU_HOUR_PRICE),
    )
    return replace(site, commands=_find_commands(site, given))


def find_limits(environ: Mapping[str, str] | None = None, config: object = None) -> ReadLimits:
    """Limits of variables and the file of settings, for what is read without a site."""
    given = _find_settings(environ, {"config": config})
    limits: ReadLimits = given.read(contract.ENV_LIMITS)
    return limits


class Origin(StrEnum):
    """What says the value of a setting, the first one that does."""

    OPTION = "option"
    VARIABLE = "variable"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it is now."""

    name: str
    """Key in the file of settings, such as ``output``."""
    variable: str
    text: str | None
    """Its value as a variable would have it; None if there is none."""
    origin: Origin
    place: str | None = None
    """The option, the variable, or the file with its line; None for a default."""


def describe_settings(
    environ: Mapping[str, str] | None = None, options: Mapping[str, object] | None = None
) -> tuple[Setting, ...]:
    """Every setting with its value and what says it, in the order of the variables.

    Parameters and errors are those of :func:`open_site`; here an output may be missing.
    """
    given = _find_settings(environ, options)
    check_variables(given.environ)
    return tuple(given.describe(variable) for variable in contract.ENVIRONMENT_VARIABLES)


def _find_settings(
    environ: Mapping[str, str] | None, options: Mapping[str, object] | None
) -> _Settings:
    known = os.environ if environ is None else environ
    options = options or {}
    _check_options(options)
    config = find_config(options.get("config"), known, search=environ is None)
    return _Settings(options, known, config)


def _check_options(options: Mapping[str, object]) -> None:
    """Refuse options that nobody reads: with a default in their place, results may go astray."""
    for name in options:
        if name not in SITE_OPTIONS:
            meant = did_you_mean(name.lower(), SITE_OPTIONS)
            raise Misconfigured(
                f"there is no option '{name}' of a site{meant}", reason=Reason.BAD_VALUE
            )


def _find_commands(site: Site, given: _Settings) -> CommandWriter:
    """Options that say what variables and a named file alone would not, in any folder."""
    bare = replace(given, options={})
    whole = replace(given, options={**given.options, "output": absolute(site.output)})
    config = given.file.path or given.options.get("config")
    usual: dict[str, tuple[object, str | None]] = {
        "catalog": (site.catalog, bare.text(contract.ENV_CATALOG) or _usual_catalog(given)),
        # Without a name it is a folder of wherever one is.
        "output": (site.output, bare.text(contract.ENV_OUTPUT)),
        "models": (site.models, bare.text(contract.ENV_MODELS)),
        "queue": (site.queue_address, bare.text(contract.ENV_QUEUE) or _usual_queue(whole)),
        # A file that was found upwards of here is not found elsewhere.
        "config": (config, given.environ.get(contract.ENV_CONFIG)),
    }
    is_usual = site.environment == (bare.text(contract.ENV_ENVIRONMENT) or "local")
    return CommandWriter(
        (
            *(() if is_usual else (("env", site.environment),)),
            *(
                (name, absolute(str(value)))
                for name, (value, known) in usual.items()
                if value is not None and not _is_same_anywhere(str(value), known)
            ),
        )
    )


def _is_same_anywhere(place: str, known: str | None) -> bool:
    """Whether a place is the one of a variable, whatever folder that is read in."""
    if known is None or not ("://" in known or Path(known).is_absolute()):
        return False
    return absolute(place) == absolute(known)


def _parse_environment(_variable: str, text: str) -> Environment:
    for known in ENVIRONMENTS:
        if text == known:
            return known
    raise Misconfigured(f"unknown environment '{text}': choose one of {', '.join(ENVIRONMENTS)}")


def _parse_number(variable: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise Misconfigured(f"{variable} is '{text}': it must be a whole number of at least 1")
    return int(text)


def _parse_resolution(variable: str, text: str) -> int:
    resolution = _parse_number(variable, text)
    if resolution not in RESOLUTIONS:
        known = ", ".join(map(str, RESOLUTIONS))
        raise Misconfigured(f"resolution {resolution} m is not offered: choose one of {known}")
    return resolution


def _parse_bands(variable: str, text: str) -> tuple[str, ...]:
    try:
        return parse_bands(text)
    except ValueError as error:
        raise Misconfigured(f"{variable}: {error}", reason=Reason.BAD_VALUE) from None


def _parse_flag(variable: str, text: str) -> bool:
    if text.lower() not in ("0", "1", "true", "false", "yes", "no"):
        raise Misconfigured(f"{variable} is '{text.lower()}': it must be 1 or 0")
    return text.lower() in ("1", "true", "yes")


def _parse_verify(variable: str, text: str) -> Verify:
    if text.lower() == Verify.ALL:
        return Verify.ALL
    return Verify.READ if _parse_flag(variable, text) else Verify.NONE


def _parse_path(_variable: str, text: str) -> Path:
    return Path(text)


def _parse_paths(_variable: str, text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(os.pathsep) if part)


_PARSERS: Final[Mapping[str, Callable[[str, str], object]]] = {
    contract.ENV_ENVIRONMENT: _parse_environment,
    contract.ENV_RESOLUTION: _parse_resolution,
    contract.ENV_BANDS: _parse_bands,
    contract.ENV_SEAMLESS: _parse_flag,
    contract.ENV_OUTPUT: lambda _variable, text: check_store_address(text),
    contract.ENV_MODELS: _parse_path,
    contract.ENV_REGION_FILES: _parse_paths,
    contract.ENV_CACHE: _parse_path,
    contract.ENV_THREADS: _parse_number,
    contract.ENV_MEMORY: lambda _variable, text: parse_memory(text),
    contract.ENV_S3_UNSIGNED: _parse_flag,
    contract.ENV_S3_REQUESTER_PAYS: _parse_flag,
    contract.ENV_VERIFY_INPUTS: _parse_verify,
    contract.ENV_STRICT_INPUTS: _parse_flag,
    contract.ENV_TRUST_CATALOG: _parse_flag,
    contract.ENV_LIMITS: ReadLimits.parse,
    contract.ENV_CPU_HOUR_PRICE: lambda variable, text: Price.parse(text, variable),
}
"""What is not read as plain text."""


@dataclass(frozen=True, slots=True)
class _Settings:
    """Where settings come from, the first place first; what is empty is not given."""

    options: Mapping[str, object]
    environ: Mapping[str, str]
    file: ConfigFile

    @property
    def environment(self) -> Environment:
        """The named environment, which decides on defaults."""
        named: Environment = self.read(contract.ENV_ENVIRONMENT)
        return named

    def find(self, variable: str) -> Setting | None:
        """What is said of a setting; None if nothing is."""
        name = setting_name(variable)
        option = self.options.get(name)
        if option is not None:
            option = int(option) if isinstance(option, bool) else option
            place = f"--{name.replace('_', '-')}"
            return Setting(name, variable, str(option), Origin.OPTION, place)
        if self.environ.get(variable):
            return Setting(name, variable, self.environ[variable], Origin.VARIABLE, variable)
        if self.file.texts.get(variable):
            place = self.file.place(variable)
            return Setting(name, variable, self.file.texts[variable], Origin.FILE, place)
        return None

    def text(self, variable: str) -> str | None:
        """What is said of a setting, as a variable would have it."""
        said = self.find(variable)
        return said.text if said else None

    def read(self, variable: str) -> Any:  # noqa: ANN401 (see _PARSERS)
        """Value of a setting, or its default."""
        said = self.find(variable)
        if said is None or not said.text:
            default = _DEFAULTS.get(variable)
            return default(self) if default else None
        parse = _PARSERS.get(variable)
        if parse is None:
            return said.text
        with _blame_file(said):
            return parse(said.name if said.origin is Origin.FILE else variable, said.text)

    def describe(self, variable: str) -> Setting:
        """A setting as it is now; Misconfigured if what is said of it cannot be used."""
        said, value = self.find(variable), self.read(variable)
        if said is not None and said.text:
            return said
        if variable == contract.ENV_CONFIG:
            value = self.file.path
        elif variable == contract.ENV_MODELS:
            value = models_folder()
        return Setting(setting_name(variable), variable, _format_default(value), Origin.DEFAULT)


def _format_default(value: object) -> str | None:
    """A default as a variable would have it; None for nothing."""
    if isinstance(value, Price):
        return f"{value.dollars:g}"
    if isinstance(value, bool):
        return str(int(value))
    return None if value in (None, ()) else str(value) or None


@contextmanager
def _blame_file(said: Setting) -> Iterator[None]:
    """Say where a value is from that cannot be used, if that is the file of settings."""
    try:
        yield
    except Misconfigured as error:
        if said.origin is not Origin.FILE:
            raise
        raise Misconfigured(f"{said.place}: {error}", reason=error.reason) from None


def _usual_catalog(given: _Settings) -> str | None:
    """Where GeoMAD items are, if no place is named; None for the demo world."""
    return None if given.environment == "local" else EXPLORER


def _usual_resolution(given: _Settings) -> int:
    environment = given.environment
    is_own = environment == "local" and given.read(contract.ENV_CATALOG) is not None
    return 10 if is_own else _RESOLUTION[environment]


def _usual_cache(given: _Settings) -> Path:
    base = given.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cropmask"


def _usual_queue(given: _Settings) -> str | None:
    output = given.read(contract.ENV_OUTPUT)
    return None if output is None else usual_queue(output)


def usual_queue(output: str) -> str | None:
    """On one machine the queue is a folder beside the results; elsewhere it must be named."""
    folder = output.removeprefix("file://")
    return None if "://" in folder else f"{folder}/{QUEUE_FOLDER}"


_DEFAULTS: Final[Mapping[str, Callable[[_Settings], object]]] = {
    contract.ENV_ENVIRONMENT: lambda _given: "local",
    contract.ENV_CATALOG: _usual_catalog,
    contract.ENV_OUTPUT: lambda given: LOCAL_OUTPUT if given.environment == "local" else None,
    contract.ENV_REGION_FILES: lambda _given: (),
    contract.ENV_CACHE: _usual_cache,
    contract.ENV_RESOLUTION: _usual_resolution,
    contract.ENV_BANDS: lambda _given: (),
    contract.ENV_SEAMLESS: lambda _given: False,
    contract.ENV_THREADS: lambda _given: find_cpus(),
    contract.ENV_MEMORY: lambda _given: find_memory_limit(),
    contract.ENV_LOG_FORMAT: lambda _given: "auto",
    contract.ENV_QUEUE: _usual_queue,
    contract.ENV_TIME_LIMIT: lambda _given: contract.TIME_LIMIT_SECONDS,
    contract.ENV_BREAKER: lambda _given: contract.BREAKER_TILES,
    contract.ENV_NAMESPACE: lambda _given: contract.NAMESPACE,
    contract.ENV_CPU_HOUR_PRICE: lambda _given: Price(),
    contract.ENV_VERIFY_INPUTS: lambda _given: Verify.READ,
    contract.ENV_STRICT_INPUTS: lambda _given: False,
    contract.ENV_TRUST_CATALOG: lambda _given: False,
    contract.ENV_LIMITS: lambda _given: USUAL_LIMITS,
    contract.ENV_S3_UNSIGNED: lambda given: given.environment != "local",
    contract.ENV_S3_REQUESTER_PAYS: lambda _given: False,
}
"""What counts where nothing is said; None for everything else."""


def _read_options(given: _Settings) -> ReadOptions:
    public = given.environment != "local" and given.text(contract.ENV_S3_UNSIGNED) is None
    return ReadOptions(
        s3_endpoint=given.read(contract.ENV_S3_ENDPOINT),
        s3_region=PUBLIC_REGION if public else None,
        s3_unsigned=given.read(contract.ENV_S3_UNSIGNED),
        s3_requester_pays=given.read(contract.ENV_S3_REQUESTER_PAYS),
        verify=given.read(contract.ENV_VERIFY_INPUTS),
        strict=given.read(contract.ENV_STRICT_INPUTS),
        limits=given.read(contract.ENV_LIMITS),
        trust_catalog=given.read(contract.ENV_TRUST_CATALOG),
    )
