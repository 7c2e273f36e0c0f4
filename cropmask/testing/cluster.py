"""Jobs in memory; see :mod:`cropmask.kube.protocol` for the laws that it keeps."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cropmask import contract
from cropmask.errors import Misconfigured
from cropmask.kube.protocol import JobState, no_such_job, parse_job
from cropmask.kube.workermanifests import Manifest

_JOB_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""Names that Kubernetes takes for a Job."""


class MemoryCluster:
    """Jobs in memory, for tests and trials; :meth:`patch` stands for what nodes would do.

    Parameters
    ----------
    namespace
        Namespace of its Jobs; manifests of another one are refused.

    Examples
    --------
    >>> cluster = MemoryCluster()
    >>> pod = {"spec": {"restartPolicy": "Never"}}
    >>> cluster.create({"metadata": {"name": "tiles"}, "spec": {"template": pod}})
    True
    >>> cluster.patch("tiles", active=3)
    >>> cluster.get("tiles").active
    3
    """

    def __init__(self, namespace: str = contract.NAMESPACE) -> None:
        self.namespace = namespace
        self._jobs: dict[str, Manifest] = {}
        self._changed = threading.Condition()
        self._version = 0

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> bool:
        """Keep a copy of a manifest, if its name is free."""
        name = self._check(manifest)
        with self._changed:
            if name in self._jobs:
                return False
            if not dry_run:
                self._jobs[name] = {**copy.deepcopy(manifest), "status": {}}
                self._touch(name)
        return True

    def _check(self, manifest: Manifest) -> str:
        metadata = manifest["metadata"]
        name, namespace = str(metadata["name"]), metadata.get("namespace", self.namespace)
        if namespace != self.namespace:
            raise Misconfigured(f"the manifest is for namespace {namespace}, not {self.namespace}")
        pod = manifest["spec"]["template"]["spec"]
        if not _JOB_NAME.fullmatch(name) or pod.get("restartPolicy") not in ("Never", "OnFailure"):
            raise Misconfigured(f"the cluster refuses the manifest of Job {name}: it is invalid")
        return name

    def patch(self, name: str, **status: Any) -> None:  # noqa: ANN401 (any JSON value)
        """Change fields of a Job's status, such as ``active=3``."""
        with self._changed:
            self._jobs[name]["status"].update(status)
            self._touch(name)

    def _touch(self, name: str) -> None:
        self._version += 1
        self._jobs[name]["metadata"]["resourceVersion"] = str(self._version)
        self._changed.notify_all()

    def manifest(self, name: str) -> Manifest:
        """The document of a Job."""
        with self._changed:
            return copy.deepcopy(self._jobs[name])

    def get(self, name: str) -> JobState | None:
        """A Job; None if there is none."""
        with self._changed:
            return parse_job(self._jobs[name]) if name in self._jobs else None

    def watch(self, name: str) -> Iterator[JobState]:
        """A Job at each change until it has ended."""
        state = self.get(name)
        while state is not None:
            yield state
            if state.is_ended:
                return
            with self._changed:
                while self.get(name) == state:
                    self._changed.wait()
                state = self.get(name)
        raise no_such_job(name, self.namespace)

    def find(self, labels: Mapping[str, str]) -> tuple[JobState, ...]:
        """Jobs with some labels."""
        with self._changed:
            states = [parse_job(self._jobs[name]) for name in sorted(self._jobs)]
        return tuple(state for state in states if labels.items() <= state.labels.items())

    def delete(self, name: str) -> bool:
        """Forget a Job."""
        with self._changed:
            found = self._jobs.pop(name, None) is not None
            self._changed.notify_all()
        return found
