"""Where things are: the environment, opened.

The only reader of ``os.environ``; a variable that stands in for one option of a command is read by
click, where that option is declared.

With no configuration the site is ``local``: the made-up demo world as the catalog and
``./output`` for results. ``dev`` and ``prod`` read Digital Earth Africa's public data.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cropmask import contract
from cropmask.contract import ENVIRONMENTS as ENVIRONMENTS
from cropmask.contract import Environment as Environment
from cropmask.errors import Misconfigured, Reason
from cropmask.grid import RESOLUTIONS
from cropmask.machine.limits import find_cpus, find_memory_limit, parse_memory
from cropmask.machine.stages import ShareDone
from cropmask.queue.doors import open_queue
from cropmask.queue.protocol import Queue, QueueOptions
from cropmask.region import Ancillary, Region, StacLayer, load_region
from cropmask.remote.fetch import ReadOptions, Verify
from cropmask.remote.limits import USUAL_LIMITS, ReadLimits
from cropmask.site.commands import PLAIN_COMMANDS, CommandWriter
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
    """Site of the environment variables (of this process), and of options that go before them.

    Options have the variables' names in lower case without the prefix, such as ``catalog`` or
    ``memory``; None where not given. Raises Misconfigured if a value cannot be used.
    """
    given = _Settings(options or {}, os.environ if environ is None else environ)
    check_variables(given.environ)
    environment: Environment = given.read(contract.ENV_ENVIRONMENT, "local")
    catalog = _find_catalog(given, environment)
    output = given.read(contract.ENV_OUTPUT) or _default_output(environment)
    resolution = 10 if environment == "local" and catalog else _RESOLUTION[environment]
    site = Site(
        environment=environment,
        catalog=catalog,
        output=output,
        resolution=given.read(contract.ENV_RESOLUTION, resolution),
        models=given.read(contract.ENV_MODELS),
        region_files=given.read(contract.ENV_REGION_FILES, ()),
        cache=given.read(contract.ENV_CACHE) or _default_cache(given.environ),
        threads=given.read(contract.ENV_THREADS) or find_cpus(),
        memory=given.read(contract.ENV_MEMORY) or find_memory_limit(),
        read=_read_options(given, environment),
        write=StoreOptions(
            endpoint_url=given.read(contract.ENV_S3_ENDPOINT),
            acl=given.read(contract.ENV_S3_ACL),
        ),
        queue_address=given.read(contract.ENV_QUEUE) or _queue_beside(output),
        queue_options=QueueOptions(
            endpoint_url=given.read(contract.ENV_SQS_ENDPOINT),
            dead_letters=given.read(contract.ENV_DEAD_LETTERS),
        ),
        metrics_namespace=given.read(contract.ENV_METRICS),
        price=Price.parse(given.text(contract.ENV_CPU_HOUR_PRICE)),
    )
    return replace(site, commands=_find_commands(site, _Settings({}, given.environ)))


def find_limits(environ: Mapping[str, str] | None = None) -> ReadLimits:
    """Limits of the environment variables, for what is read without a site."""
    limits: ReadLimits = _Settings({}, os.environ if environ is None else environ).read(
        contract.ENV_LIMITS, USUAL_LIMITS
    )
    return limits


def _find_commands(site: Site, bare: _Settings) -> CommandWriter:
    """Options that say what the environment variables alone would not, in any folder."""
    usual: dict[str, tuple[object, str | None]] = {
        "env": (site.environment, bare.text(contract.ENV_ENVIRONMENT) or "local"),
        "catalog": (site.catalog, _find_catalog(bare, site.environment)),
        "output": (site.output, bare.text(contract.ENV_OUTPUT) or LOCAL_OUTPUT),
        "models": (site.models, bare.text(contract.ENV_MODELS)),
        "queue": (site.queue_address, bare.text(contract.ENV_QUEUE) or _queue_beside(site.output)),
    }
    return CommandWriter(
        tuple(
            (name, str(value) if name == "env" else absolute(str(value)))
            for name, (value, known) in usual.items()
            if value is not None and (known is None or absolute(str(value)) != absolute(known))
        )
    )


def absolute(place: str) -> str:
    """A place whose meaning does not depend on the folder that one is in."""
    return place if "://" in place else str(Path(place).absolute())


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


def _parse_flag(variable: str, text: str) -> bool:
    if text.lower() not in ("0", "1", "true", "false", "yes", "no"):
        raise Misconfigured(f"{variable} is '{text.lower()}': it must be 1 or 0")
    return text.lower() in ("1", "true", "yes")


def _parse_output(_variable: str, text: str) -> str:
    return check_store_address(text)


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
    contract.ENV_OUTPUT: _parse_output,
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
}
"""What is not read as plain text."""


@dataclass(frozen=True, slots=True)
class _Settings:
    """Where settings come from, the first place first; what is empty is not given."""

    options: Mapping[str, object]
    environ: Mapping[str, str]

    def text(self, variable: str) -> str | None:
        # A file of settings would be asked last, after the options and the environment.
        option = self.options.get(variable.removeprefix(contract.ENV_PREFIX).lower())
        return str(option) if option is not None else self.environ.get(variable) or None

    def read(self, variable: str, default: object = None) -> Any:  # noqa: ANN401 (see _PARSERS)
        text = self.text(variable)
        if not text:
            return default
        parse = _PARSERS.get(variable)
        return parse(variable, text) if parse else text


def _find_catalog(given: _Settings, environment: Environment) -> str | None:
    """Where GeoMAD items are: the named place, else the environment's own."""
    catalog = given.text(contract.ENV_CATALOG)
    return EXPLORER if catalog is None and environment != "local" else catalog


def _default_output(environment: Environment) -> str:
    if environment != "local":
        raise Misconfigured(
            f"environment {environment} has no place for results: give --output or set "
            f"{contract.ENV_OUTPUT} to a folder or s3://bucket/prefix"
        )
    return LOCAL_OUTPUT


def _default_cache(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cropmask"


def _queue_beside(output: str) -> str | None:
    """On one machine the queue is a folder beside the results."""
    if output.startswith("s3://"):
        return None
    return f"{output.removeprefix('file://')}/{QUEUE_FOLDER}"


def _read_options(given: _Settings, environment: Environment) -> ReadOptions:
    public = environment != "local" and contract.ENV_S3_UNSIGNED not in given.environ
    return ReadOptions(
        s3_endpoint=given.read(contract.ENV_S3_ENDPOINT),
        s3_region=PUBLIC_REGION if public else None,
        s3_unsigned=public or given.read(contract.ENV_S3_UNSIGNED, False),
        s3_requester_pays=given.read(contract.ENV_S3_REQUESTER_PAYS, False),
        verify=given.read(contract.ENV_VERIFY_INPUTS, Verify.READ),
        strict=given.read(contract.ENV_STRICT_INPUTS, False),
        limits=given.read(contract.ENV_LIMITS, USUAL_LIMITS),
        trust_catalog=given.read(contract.ENV_TRUST_CATALOG, False),
    )
