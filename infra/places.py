"""Where things are: names that follow from an environment, so that no stack has to ask another.

A literal name can be read in a policy, typed by an operator, and imported again after a bucket
outlived its stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cropmask.contract import APP
from cropmask.product import FAMILY
from infra.settings import Settings

BUDGETS_REGION: Final = "us-east-1"
"""Budgets are of the whole account; CloudFormation makes them in few regions."""


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """A bucket; names of buckets are unique in the world, hence the account."""

    name: str

    @property
    def arn(self) -> str:
        """ARN of the bucket itself."""
        return f"arn:aws:s3:::{self.name}"

    def objects(self, prefix: str = "") -> str:
        """ARN of all objects below a prefix."""
        return f"{self.arn}/{prefix}*"


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """A queue."""

    name: str
    region: str
    account: str

    @property
    def arn(self) -> str:
        """ARN of the queue."""
        return f"arn:aws:sqs:{self.region}:{self.account}:{self.name}"

    @property
    def url(self) -> str:
        """Address of the queue."""
        return f"https://sqs.{self.region}.amazonaws.com/{self.account}/{self.name}"


@dataclass(frozen=True, slots=True)
class Places:
    """Everything of an environment that has a name."""

    settings: Settings

    @property
    def cluster(self) -> str:
        """Name of the cluster, and prefix of every other name."""
        return f"{APP}-{self.settings.name}"

    @property
    def results(self) -> BucketPlace:
        """Bucket of results."""
        return self._bucket("results")

    @property
    def models(self) -> BucketPlace:
        """Bucket of models."""
        return self._bucket("models")

    @property
    def logs(self) -> BucketPlace:
        """Bucket of access logs."""
        return self._bucket("logs")

    @property
    def tasks(self) -> QueuePlace:
        """Queue of tasks."""
        return self._queue("tasks")

    @property
    def dead_letters(self) -> QueuePlace:
        """Queue of dead letters."""
        return self._queue("dead-letters")

    @property
    def interruptions(self) -> QueuePlace:
        """Queue of what AWS says about instances; only Karpenter asks."""
        return self._queue("interruptions")

    def repository(self, image: str) -> str:
        """Name of the repository that keeps an image, ``worker`` or ``indexer``."""
        return f"{self.cluster}/{image}"

    @property
    def alarms(self) -> str:
        """Name of the topic that people listen to, and of the alias of its key."""
        return f"{self.cluster}-alarms"

    @property
    def alarm_topic(self) -> str:
        """ARN of that topic."""
        return self.arn("sns", self.alarms)

    @property
    def results_prefix(self) -> str:
        """Prefix of the keys of results."""
        return f"{FAMILY}/"

    @property
    def output(self) -> str:
        """Where workers write."""
        return f"s3://{self.results.name}/{FAMILY}"

    @property
    def pod_logs(self) -> str:
        """Log group of what pods write."""
        return f"/aws/containerinsights/{self.cluster}/application"

    @property
    def cluster_logs(self) -> str:
        """ARN of all log groups that the CloudWatch add-on writes for this cluster."""
        return self.arn("logs", f"log-group:/aws/containerinsights/{self.cluster}/*")

    def arn(self, service: str, resource: str) -> str:
        """ARN of a resource in the environment's account and region."""
        return f"arn:aws:{service}:{self.settings.region}:{self.settings.account}:{resource}"

    def _bucket(self, what: str) -> BucketPlace:
        return BucketPlace(f"{self.cluster}-{what}-{self.settings.account}")

    def _queue(self, what: str) -> QueuePlace:
        settings = self.settings
        return QueuePlace(f"{self.cluster}-{what}", settings.region, settings.account)
