"""Kubernetes manifests of workers, as values: plain dicts made from the names in the contract.

Two Jobs run the tiles of a run. :func:`make_queue_job` drains a queue with a number of like pods;
:func:`make_indexed_job` needs no queue: pod ``i`` runs line ``i`` of a task file. Both, and every
other manifest of workers, use :func:`make_pod` and :func:`make_failure_policy`. Nothing is touched.

Standard library only, so that whoever prints manifests needs none of the computing packages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from cropmask import contract
from cropmask.contract import ExitCode

Manifest = dict[str, Any]
"""A Kubernetes document, or a part of one."""

TEMPORARY: Final = "/tmp"  # noqa: S108 (a folder of the pod's own)
"""Writable folder for temporary files, and for the heartbeat."""
CACHES: Final = "/var/cache/cropmask"
"""Writable folder for what is made once in the life of a pod: compiled code, the demo world."""
HEARTBEAT: Final = f"{TEMPORARY}/cropmask-heartbeat"

USER: Final = 10001
"""User and group of the image; any other non-root user works as well."""
SCRATCH: Final = "4Gi"
"""Room in each of the writable folders; a 10 m tile has up to 3 GB in the first at the same time:
what is fetched ahead (``cropmask/remote/ranges.py``), the largest array where memory is small, and
the bands."""
DISK_LIMIT: Final = "9Gi"
"""Both folders full, and logs: who writes more is ended, before the disk of its node is full."""
DAY: Final = 86_400

RETRIED: Final = (ExitCode.FAILED, ExitCode.TIMED_OUT, ExitCode.MEMORY)
"""Exit codes after which another pod may do better; so are signals, such as SIGKILL."""

APP_LABELS: Final = MappingProxyType({"app.kubernetes.io/name": contract.APP})

_ALIVE: Final = (
    "import os, sys, time; "
    "sys.exit(time.time() - os.stat(sys.argv[1]).st_mtime > float(sys.argv[2]))"
)
_DEFAULTS: Final = {
    contract.ENV_HEARTBEAT: HEARTBEAT,
    contract.ENV_LOG_FORMAT: "json",
    "HOME": CACHES,
    "NUMBA_CACHE_DIR": f"{CACHES}/numba",
    "TMPDIR": TEMPORARY,
    "XDG_CACHE_HOME": CACHES,
}
"""The root of the file system is read-only: everything that is written has its place."""


@dataclass(frozen=True, slots=True)
class WorkerPod:
    """What the pods of a Job are like."""

    image: str
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the container; they go before the defaults."""
    namespace: str = contract.NAMESPACE
    service_account: str = contract.SERVICE_ACCOUNT
    cpu: str = contract.WORKER_CPU
    """CPUs asked for, without a limit; as many threads compute, rounded up."""
    memory: str = contract.WORKER_MEMORY
    """Memory asked for, and the limit."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of Job and pods beside those of every worker."""
    config_map: str | None = None
    """ConfigMap whose entries are variables too, if the environment does not say otherwise."""
    any_node: bool = False
    """Whether to run on nodes that are not meant for tiles, as in a cluster of one's own."""
    command: tuple[str, ...] = (contract.APP, "worker")
    """Started as it is, without a shell, so that SIGTERM arrives."""
    heartbeat: bool = True
    """Whether the command has a heartbeat, which Kubernetes then watches; only a worker has."""


def make_document(
    api: str,
    kind: str,
    name: str,
    namespace: str,
    labels: Mapping[str, str] | None = None,
    **fields: Any,  # noqa: ANN401 (as Kubernetes has them)
) -> Manifest:
    """A document with its metadata, labeled as the application's at least."""
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels or APP_LABELS)}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def job_name(run: str) -> str:
    """Name of the Job of a run; at most 56 characters, which leaves room for an index."""
    return f"{contract.WORKER}-{run}"


def make_labels(*, run: str = "", region: str = "", environment: str = "") -> dict[str, str]:
    """Labels that tell what a worker works on; those that are not known are left out."""
    known = {
        contract.LABEL_RUN: run,
        contract.LABEL_REGION: region.strip("_"),  # a label ends with a letter or digit
        contract.LABEL_ENVIRONMENT: environment,
    }
    return {name: value for name, value in known.items() if value}


def make_queue_job(
    name: str,
    worker: WorkerPod,
    *,
    workers: int,
    deadline_seconds: int = DAY,
    keep_seconds: int = 2 * DAY,
) -> Manifest:
    """Job whose pods take tasks from a queue until it is empty; the environment names the queue.

    Without ``completions``, Kubernetes starts no new pod once one has ended well, and the Job is
    complete when the others have ended: that is what an empty queue looks like. ``keep_seconds``
    after its end the Job and its pods are deleted.
    """
    spec = {
        "parallelism": workers,
        # Failures of the world, not of tasks: those are counted by the queue.
        "backoffLimit": max(6, 3 * workers),
        "podFailurePolicy": make_failure_policy("queue"),
        **_ends(deadline_seconds, keep_seconds),
        "template": make_pod(worker),
    }
    return make_job(name, worker, spec)


def make_indexed_job(
    name: str,
    worker: WorkerPod,
    *,
    tasks: int,
    workers: int,
    deadline_seconds: int = DAY,
    keep_seconds: int = 2 * DAY,
) -> Manifest:
    """Job with one pod for each line of a task file, which the environment names; without a queue.

    ``tasks`` is the number of lines; the rest is as of :func:`make_queue_job`.
    """
    spec = {
        "completionMode": "Indexed",
        "completions": tasks,
        "parallelism": min(workers, tasks),
        "backoffLimitPerIndex": contract.MAX_RECEIVES - 1,
        "podFailurePolicy": make_failure_policy("index"),
        **_ends(deadline_seconds, keep_seconds),
        "template": make_pod(worker),
    }
    return make_job(name, worker, spec)


ONE_AT_A_TIME: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 3600,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
    }
)
"""Of whatever is started by a schedule, Jobs and workflows alike."""


def make_cron_job(
    name: str, namespace: str, schedule: str, labels: Mapping[str, str], job: Manifest
) -> Manifest:
    """CronJob that starts a Job of this specification by a schedule in UTC, never two at a time."""
    spec = {
        "schedule": schedule,
        "timeZone": "Etc/UTC",
        **ONE_AT_A_TIME,
        "jobTemplate": {"metadata": {"labels": labels}, "spec": job},
    }
    return make_document("batch/v1", "CronJob", name, namespace, labels, spec=spec)


def make_pod(worker: WorkerPod) -> Manifest:
    """Pod template of a worker: restricted, read-only but for two folders, stopped gently."""
    node = {} if worker.any_node else _batch_node()
    return {
        "metadata": {"labels": make_pod_labels(worker), "annotations": _undisturbed()},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": worker.service_account,
            # Workers do not talk to Kubernetes; their AWS role comes by another volume.
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": contract.GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **node,
            "containers": [make_container(worker)],
            "volumes": [
                {"name": name, "emptyDir": {"sizeLimit": SCRATCH}} for name in ("tmp", "caches")
            ],
        },
    }


def make_container(worker: WorkerPod) -> Manifest:
    """The only container of a worker's pod."""
    source = {"envFrom": [{"configMapRef": {"name": worker.config_map}}]}
    return {
        "name": contract.WORKER,
        "image": worker.image,
        "command": list(worker.command),
        **(source if worker.config_map else {}),
        "env": _environment(worker),
        "resources": {
            "requests": {
                "cpu": worker.cpu,
                "memory": worker.memory,
                "ephemeral-storage": contract.WORKER_DISK,
            },
            "limits": {"memory": worker.memory, "ephemeral-storage": DISK_LIMIT},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": TEMPORARY},
            {"name": "caches", "mountPath": CACHES},
        ],
        **(_probes(worker) if worker.heartbeat else {}),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def make_failure_policy(kind: Literal["queue", "index", "tile", "campaign"]) -> Manifest:
    """What the end of a pod means for its Job, by the exit codes of the contract.

    Pods take tasks from a ``queue``, or there is one for each task (``index``), or one task alone
    (``tile``), or one pod does a ``campaign``.
    """
    # A worker of a queue parks what is rejected and goes on: only the others end by it.
    rejected = (ExitCode.REJECTED,) if kind == "index" else ()
    hopeless = {
        "tile": (ExitCode.REJECTED,),
        "campaign": (ExitCode.REJECTED, ExitCode.PLAN_HAS_CHANGES),
    }.get(kind, ())
    rules = [
        _on_codes("FailJob", (ExitCode.USAGE, *hopeless, ExitCode.MISCONFIGURED)),
        *([_on_codes("FailIndex", rejected)] if rejected else []),
        _on_codes("Ignore", (ExitCode.DRAINED,)),
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        _on_codes("Count", RETRIED),
    ]
    return {"rules": rules}


def _on_codes(action: str, codes: tuple[ExitCode, ...]) -> Manifest:
    values = sorted(int(code) for code in codes)
    found = {"containerName": contract.WORKER, "operator": "In", "values": values}
    return {"action": action, "onExitCodes": found}


def make_job(name: str, worker: WorkerPod, spec: Manifest) -> Manifest:
    """Job of a worker's pods."""
    return make_document(
        "batch/v1", "Job", name, worker.namespace, labels=make_pod_labels(worker), spec=spec
    )


def _ends(deadline_seconds: int, keep_seconds: int) -> Manifest:
    return {"activeDeadlineSeconds": deadline_seconds, "ttlSecondsAfterFinished": keep_seconds}


def make_pod_labels(worker: WorkerPod) -> dict[str, str]:
    """Labels of a worker's pods, and of what makes them."""
    return {
        **APP_LABELS,
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/version": contract.VERSION,
        **worker.labels,
    }


def _undisturbed() -> dict[str, str]:
    """A tile takes minutes: nodes are not emptied under it to save a few cents."""
    return {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }


def _batch_node() -> Manifest:
    taint = {"key": contract.BATCH_TAINT, "operator": "Equal", "value": "true"}
    return {
        "nodeSelector": {contract.BATCH_TAINT: "true"},
        "tolerations": [{**taint, "effect": "NoSchedule"}],
        "topologySpreadConstraints": [_over_zones()],
    }


def _over_zones() -> Manifest:
    """Spot is taken zone by zone: where there is a choice, workers are not all in one."""
    return {
        "maxSkew": 4,  # a node of one zone may be full before the next zone gets one
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(APP_LABELS)},
    }


def _environment(worker: WorkerPod) -> list[Manifest]:
    known = {**_DEFAULTS, **worker.environment}
    entries = [{"name": name, "value": known[name]} for name in sorted(known)]
    if contract.ENV_THREADS in known:
        return entries
    # Without a CPU limit a container sees all CPUs of its node. The container is not named: it is
    # its own by default, and other names would be refused where Argo or the indexer give theirs.
    asked = {"resource": "requests.cpu", "divisor": "1"}
    return [*entries, {"name": contract.ENV_THREADS, "valueFrom": {"resourceFieldRef": asked}}]


def _probes(worker: WorkerPod) -> Manifest:
    # The first heartbeat comes when the libraries are loaded.
    return {
        "startupProbe": _probe(worker, period=5, failures=24),
        "livenessProbe": _probe(worker, period=30, failures=2),
    }


def _probe(worker: WorkerPod, *, period: int, failures: int) -> Manifest:
    file = worker.environment.get(contract.ENV_HEARTBEAT, HEARTBEAT)
    late = str(contract.HEARTBEAT_LATE_SECONDS)
    return {
        "exec": {"command": ["python3", "-ISc", _ALIVE, file, late]},
        "periodSeconds": period,
        "timeoutSeconds": 10,
        "failureThreshold": failures,
    }
