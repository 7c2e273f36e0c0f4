"""What may differ between environments; one small file in ``environments/`` fills it in.

Nothing else of the application knows the name of an environment.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, Literal

ENVIRONMENTS: Final = Path(__file__).parent / "environments"
FEWEST_SPOT_TYPES: Final = 9
"""Fewer types of one size are taken away too often; Graviton has no more in ``af-south-1``."""
_NAME: Final = re.compile(r"[a-z][a-z0-9]{1,11}")
_DIGEST: Final = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
_TYPE: Final = re.compile(r"([a-z]+)(\d)([a-z-]*)\.([a-z0-9]+)")

Architecture = Literal["x86_64", "arm64"]
Nodes = Literal["groups", "karpenter", "auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Where nodes live, and how they reach AWS."""

    cidr: str
    zones: tuple[str, ...]
    """Letters of the availability zones; EKS needs two, spot capacity likes three. Said rather than
    looked up, so that templates need no account."""
    nat_gateways: int
    interface_endpoints: bool
    """AWS's interfaces inside the network: traffic to them passes no NAT gateway."""
    flow_log_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Buckets and queues."""

    keep: bool
    """Buckets outlive ``cdk destroy``."""
    public_results: bool
    """Results may be read by everybody through a distribution; the bucket itself stays closed."""
    replaced_days: int
    """How long replaced and deleted objects can be brought back."""
    log_days: int
    """How long access logs are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The control plane and its nodes."""

    endpoint_from: tuple[str, ...]
    """Networks (CIDR) that reach the Kubernetes API from outside; empty: only from inside."""
    admins: tuple[str, ...]
    """ARNs of the IAM roles that administer the cluster; empty: a role is made for it, which those
    may assume whom the account's own policies let."""
    nodes: Nodes
    """What brings nodes: managed groups and the cluster autoscaler, Karpenter, or EKS Auto Mode."""
    architecture: Architecture
    """Processors of all nodes, and platform of the image."""
    types: tuple[str, ...]
    """Instance types for tiles, of one size; those with the least memory first, since the
    autoscaler takes the first for all."""
    system_types: tuple[str, ...]
    """Instance types of the controllers' nodes."""
    system_nodes: int
    """Nodes of the controllers, on demand."""
    spot_nodes: int
    """Most spot nodes; there are none while the queue is empty."""
    on_demand_nodes: int
    """Most nodes on demand for tiles, used where no spot node can be had."""
    disk_gib: int
    """Disk of a node: images, and what workers write while they compute."""
    log_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Indexing of results into a datacube whose database is somewhere else."""

    schedule: str
    """In cron's five fields, UTC."""
    image: str | None
    """Image of the stage ``indexer``, which has Open Data Cube's tools; as that of the workers."""
    database: str
    """Network of the database (CIDR)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaigns:
    """Regions that are mapped every year by themselves, once their GeoMAD is complete."""

    regions: tuple[str, ...]
    hour: int
    """Of the day, UTC, at which each asks the catalog, a few minutes after each other."""
    resolution: int
    """Pixel size in meters; 10 is the product."""
    canary: int
    """Tiles of a region that are judged before the rest is sent."""
    missing: int
    """Tiles of a region that may stay without a result."""
    max_cost: int
    """Dollars that a region may cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price, and when and of what it was looked up."""

    dollars: float
    date: str
    """Such as 2026-11-20."""
    source: str

    def __str__(self) -> str:
        """As the package reads it."""
        return f"{self.dollars:g}, {self.date}, {self.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """What runs the tiles."""

    site: Literal["dev", "prod"]
    """Value of ``CROPMASK_ENV``: dev maps at 60 m, prod at 10 m."""
    image: str | None
    """Image of the workers by digest (``REPOSITORY@sha256:...``), as another environment runs it;
    None: it is built and pushed when this environment is deployed."""
    most: int
    """Most workers at the same time."""
    cpu_hour_price: Price
    """Of an hour of one CPU, for estimates and limits of cost."""
    max_minutes: int
    """Minutes after which a worker takes no more tasks and leaves."""
    operators: tuple[str, ...]
    """ARNs of the IAM roles that may become operators, who send tasks, look at them and redrive
    them; empty: those whom the account's own policies let."""
    workflows: bool
    """Whether steps of Argo Workflows get a role; Argo itself is installed by somebody else."""
    index: Index | None
    """How results are indexed into a datacube; None: not from here."""
    campaigns: Campaigns | None
    """What is mapped every year by itself; None: people submit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The repository of images that are to stay."""

    keep: int
    """So many of the newest images are kept."""
    readers: tuple[str, ...]
    """Accounts that may pull from it, such as the one of prod."""
    scan: bool
    """Whether all repositories of account and region are scanned when an image comes; once for
    each: environments that share both leave it to one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the account may cost in a month, and who hears of it; AWS looks a few times a day."""

    dollars: int
    emails: tuple[str, ...]
    """One to ten addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """When somebody is to look, and who."""

    email: str | None
    oldest_hours: int
    """Age of the oldest task that means the workers do not keep up."""
    failures_an_hour: int
    """Failed attempts in an hour that are more than spot interruptions and hiccups."""
    lost_an_hour: int
    """Workers that die without a word in an hour and are more than lost nodes."""
    budget_percent: int
    """Share of what a run may cost at which somebody is to look, before it is stopped."""
    runbook: str
    """Address of ``docs/runbook.md`` as the operators read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One environment."""

    name: str
    """Lower-case letters and digits, 2 to 12; prefix of every name, value of the tag."""
    account: str
    region: str
    network: Network
    data: Data
    images: Images
    cluster: Cluster
    workers: Workers
    budget: Budget
    alarms: Alarms

    def __post_init__(self) -> None:
        """Refuse what CloudFormation would refuse half-way through a deployment."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"'{self.name}' cannot name an environment: 2 to 12 of a-z, 0-9")
        if not re.fullmatch(r"\d{12}", self.account):
            raise ValueError(f"{self.name}: '{self.account}' is not an AWS account of 12 digits")
        if len(set(self.network.zones)) < 2:
            raise ValueError(f"{self.name}: EKS needs at least two availability zones")
        if any(not re.fullmatch("[a-z]", letter) for letter in self.network.zones):
            raise ValueError(f"{self.name}: zones are said by their letters, such as ('a', 'b')")
        if any(network.endswith("/0") for network in self.cluster.endpoint_from):
            raise ValueError(f"{self.name}: the Kubernetes API must not be open to everybody")
        if not 1 <= len(self.budget.emails) <= 10:
            raise ValueError(f"{self.name}: a budget needs one to ten addresses that hear of it")
        try:
            datetime.date.fromisoformat(self.workers.cpu_hour_price.date)
        except ValueError:
            raise ValueError(
                f"{self.name}: '{self.workers.cpu_hour_price.date}' is no day of a price: write it "
                "as 2026-11-20"
            ) from None
        self._check_images()
        self._check_types()

    def _check_images(self) -> None:
        """Refuse an image whose content may change."""
        index = self.workers.index
        for image in (self.workers.image, index.image if index else None):
            if image is not None and not _DIGEST.fullmatch(image):
                raise ValueError(
                    f"{self.name}: '{image}' is no image by digest: write REPOSITORY@sha256:..., "
                    "or None to have it built"
                )

    def _check_types(self) -> None:
        """Refuse types that do not run the image, or that the autoscaler would take for others."""
        cluster = self.cluster
        for type_ in (*cluster.types, *cluster.system_types):
            if architecture_of(type_) != cluster.architecture:
                raise ValueError(f"{self.name}: a {type_} has no {cluster.architecture} processor")
        if len({type_.partition(".")[2] for type_ in cluster.types}) != 1:
            raise ValueError(f"{self.name}: types for tiles must be of one size")
        if len(set(cluster.types)) < FEWEST_SPOT_TYPES:
            raise ValueError(
                f"{self.name}: {len(set(cluster.types))} types for tiles are too few for spot: "
                f"name {FEWEST_SPOT_TYPES} or more"
            )


def architecture_of(type_: str) -> Architecture:
    """Processor of an instance type: Graviton has a ``g`` after its generation.

    Raises
    ------
    ValueError
        If it is no name of a type.
    """
    found = _TYPE.fullmatch(type_)
    if found is None:
        raise ValueError(f"'{type_}' is no instance type: write one such as m6i.2xlarge")
    return "arm64" if found[3].startswith("g") else "x86_64"


def known_environments() -> tuple[str, ...]:
    """Names of the environments that have a file."""
    files = ENVIRONMENTS.glob("*.py")
    return tuple(sorted(file.stem for file in files if file.stem != "__init__"))


def load_settings(name: str) -> Settings:
    """Settings of an environment.

    Raises
    ------
    ValueError
        If there is no file of the name, or it says another name.
    """
    if name not in known_environments():
        known = ", ".join(known_environments())
        raise ValueError(f"no environment '{name}': choose one of {known}")
    settings: Settings = import_module(f"infra.environments.{name}").SETTINGS
    if settings.name != name:
        raise ValueError(f"environments/{name}.py says that it is '{settings.name}'")
    return settings
