"""What may differ between environments; one small file in ``environments/`` fills it in.

Nothing else of the application knows the name of an environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, Literal

ENVIRONMENTS: Final = Path(__file__).parent / "environments"
_NAME: Final = re.compile(r"[a-z][a-z0-9]{1,11}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Where nodes live, and how they reach AWS."""

    cidr: str
    zones: int
    """Availability zones; EKS needs two, spot capacity likes three."""
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
    """ARNs of the IAM roles that administer the cluster."""
    system_nodes: int
    """Nodes of the controllers, on demand."""
    spot_nodes: int
    """Most spot nodes; there are none while the queue is empty."""
    on_demand_nodes: int
    """Most nodes on demand for tiles, used where no spot node can be had."""
    log_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Indexing of results into a datacube whose database is somewhere else."""

    schedule: str
    """In cron's five fields, UTC."""
    image: str
    """Image of the stage ``indexer``, which has Open Data Cube's tools."""
    database: str
    """Network of the database (CIDR)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """What runs the tiles."""

    site: Literal["dev", "prod"]
    """Value of ``CROPMASK_ENV``: dev maps at 60 m, prod at 10 m."""
    image: str
    """Image of the workers, by digest or by a tag that never moves."""
    most: int
    """Most workers at the same time."""
    cpu_hour_price: float
    """Dollars for an hour of one CPU, for estimates of cost; from the price list of the nodes."""
    max_minutes: int
    """Minutes after which a worker takes no more tasks and leaves."""
    operators: tuple[str, ...]
    """ARNs of the IAM roles that may send tasks, look at them and redrive them."""
    workflows: bool
    """Whether steps of Argo Workflows get a role; Argo itself is installed by somebody else."""
    index: Index | None
    """How results are indexed into a datacube; None: not from here."""


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
    cluster: Cluster
    workers: Workers
    alarms: Alarms

    def __post_init__(self) -> None:
        """Refuse what CloudFormation would refuse half-way through a deployment."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"'{self.name}' cannot name an environment: 2 to 12 of a-z, 0-9")
        if not re.fullmatch(r"\d{12}", self.account):
            raise ValueError(f"{self.name}: '{self.account}' is not an AWS account of 12 digits")
        if self.network.zones < 2:
            raise ValueError(f"{self.name}: EKS needs at least two availability zones")
        if any(network.endswith("/0") for network in self.cluster.endpoint_from):
            raise ValueError(f"{self.name}: the Kubernetes API must not be open to everybody")


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
        raise ValueError(f"no environment '{name}': choose with -c env=NAME one of {known}")
    settings: Settings = import_module(f"infra.environments.{name}").SETTINGS
    if settings.name != name:
        raise ValueError(f"environments/{name}.py says that it is '{settings.name}'")
    return settings
