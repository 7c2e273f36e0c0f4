"""Jobs of a Kubernetes cluster: what is asked of them, and their state, without the API's client.

``kube.client`` keeps these laws on a real cluster, ``testing.cluster`` in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from cropmask import contract
from cropmask.errors import Reason, Rejected
from cropmask.kube.workermanifests import Manifest


class JobCondition(StrEnum):
    """How a Job stands."""

    RUNNING = "Running"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class JobState:
    """A Job at one moment."""

    name: str
    labels: Mapping[str, str]
    condition: JobCondition
    active: int = 0
    """Pods that run, or wait for a node."""
    succeeded: int = 0
    """Pods that ended well."""
    failed: int = 0
    """Pods that did not; most were replaced."""
    completions: int | None = None
    """Pods that must end well; None for a Job that drains a queue."""
    failed_indexes: str | None = None
    """Of an Indexed Job, such as ``3,7-9``."""
    reason: str | None = None
    """Why it ended, in Kubernetes' word: ``BackoffLimitExceeded``."""
    message: str | None = None
    version: str = field(default="", compare=False)
    """Where a watch goes on from."""

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.condition in (JobCondition.COMPLETE, JobCondition.FAILED)

    @property
    def run(self) -> str | None:
        """Run that it works on."""
        return self.labels.get(contract.LABEL_RUN)

    def __str__(self) -> str:
        of = f" of {self.completions}" if self.completions else ""
        why = f" ({self.reason}: {self.message})" if self.reason else ""
        indexes = f", failed indexes {self.failed_indexes}" if self.failed_indexes else ""
        return (
            f"{self.name}: {self.condition}{why}: {self.active} active, "
            f"{self.succeeded}{of} succeeded, {self.failed} failed{indexes}"
        )


def parse_job(document: Mapping[str, Any]) -> JobState:
    """State of a Job's document, as the API sends it."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    status = document.get("status") or {}
    ended = {"Complete": JobCondition.COMPLETE, "Failed": JobCondition.FAILED}
    condition, reason, message = JobCondition.RUNNING, None, None
    for found in status.get("conditions") or ():
        if found.get("status") == "True" and found.get("type") in ended:
            condition = ended[found["type"]]
            reason, message = found.get("reason"), found.get("message")
    if condition is JobCondition.RUNNING and spec.get("suspend"):
        condition = JobCondition.SUSPENDED
    return JobState(
        name=metadata["name"],
        labels=dict(metadata.get("labels") or {}),
        condition=condition,
        active=status.get("active") or 0,
        succeeded=status.get("succeeded") or 0,
        failed=status.get("failed") or 0,
        completions=spec.get("completions"),
        failed_indexes=status.get("failedIndexes") or None,
        reason=reason or None,
        message=message or None,
        version=metadata.get("resourceVersion") or "",
    )


class Cluster(Protocol):
    """Jobs of one namespace.

    All methods raise :class:`~cropmask.errors.Misconfigured` where the cluster refuses
    (credentials, permission, no such namespace, a manifest that it does not take) and
    :class:`~cropmask.errors.Interrupted` where it cannot be reached.
    """

    namespace: str

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> bool:
        """Create a Job; False if there is one of this name, which stays as it is.

        With ``dry_run`` the cluster checks the manifest and forgets it.
        """
        ...

    def get(self, name: str) -> JobState | None:
        """A Job; None if there is none of this name."""
        ...

    def watch(self, name: str) -> Iterator[JobState]:
        """A Job at each change until it ends; Rejected if there is none, or it is deleted."""
        ...

    def find(self, labels: Mapping[str, str]) -> tuple[JobState, ...]:
        """Jobs that have all of some labels, by name."""
        ...

    def delete(self, name: str) -> bool:
        """Delete a Job and its pods, which get their grace; False if there is none."""
        ...


def no_such_job(name: str, namespace: str) -> Rejected:
    """The error for a Job that is not there, or not any more."""
    return Rejected(
        f"there is no Job {name} in namespace {namespace}: it was deleted, or never created",
        reason=Reason.NO_JOB,
    )
