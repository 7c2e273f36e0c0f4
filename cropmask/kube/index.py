"""Indexing of results into a datacube, every so often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cropmask import contract
from cropmask.kube.manifests import DAY, Manifest, WorkerPod, make_pod
from cropmask.kube.namespace import INDEXER

DATABASE_SECRET: Final = f"{contract.APP}-datacube"
"""Secret whose entry ``url`` is the address of the datacube's database."""
ENV_DATABASE: Final = "ODC_DEFAULT_DB_URL"
INDEX_COMMAND: Final = (contract.APP, "index", "--dc", "--update", f"$({contract.ENV_OUTPUT})")
"""What the pods run; Kubernetes puts the variable's value in."""
_POSTGRES: Final = 5432


def make_index_cron_job(worker: WorkerPod, command: Sequence[str], schedule: str) -> Manifest:
    """CronJob that indexes what is new; one at a time.

    The pod is like a worker's, of an image with Open Data Cube's tools; the command is started
    without a shell, the schedule is in cron's five fields, UTC.
    """
    pod = replace(worker, service_account=INDEXER, command=tuple(command), cpu="500m", memory="2Gi")
    template = make_pod(pod)
    template["metadata"]["labels"]["app.kubernetes.io/component"] = "index"
    (container,) = template["spec"]["containers"]
    container["name"] = INDEXER
    for probe in ("startupProbe", "livenessProbe"):  # only a worker has a heartbeat
        container.pop(probe, None)
    container["env"].append(database_variable())
    labels = template["metadata"]["labels"]
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": INDEXER, "namespace": worker.namespace, "labels": labels},
        "spec": {
            "schedule": schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "metadata": {"labels": labels},
                "spec": {
                    "backoffLimit": 2,
                    "activeDeadlineSeconds": DAY // 4,
                    "ttlSecondsAfterFinished": 7 * DAY,
                    "template": template,
                },
            },
        },
    }


def database_variable() -> Manifest:
    """Variable of a container: where the datacube's database is, from a Secret."""
    secret = {"name": DATABASE_SECRET, "key": "url"}
    return {"name": ENV_DATABASE, "valueFrom": {"secretKeyRef": secret}}


def make_database_policy(database: str, namespace: str = contract.NAMESPACE) -> Manifest:
    """Lets the indexing pods, and only them, reach the network (CIDR) of the datacube's database."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": INDEXER,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": contract.APP},
        },
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "index"}},
            "policyTypes": ["Egress"],
            "egress": [
                {
                    "to": [{"ipBlock": {"cidr": database}}],
                    "ports": [{"protocol": "TCP", "port": _POSTGRES}],
                }
            ],
        },
    }
