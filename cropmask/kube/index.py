"""Indexing of results into a datacube, every so often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cropmask import contract
from cropmask.kube.namespace import INDEXER, make_egress
from cropmask.kube.workermanifests import (
    DAY,
    Manifest,
    WorkerPod,
    make_cron_job,
    make_document,
    make_pod,
)

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
    pod = replace(
        worker,
        service_account=INDEXER,
        command=tuple(command),
        cpu="500m",
        memory="2Gi",
        heartbeat=False,
    )
    template = make_pod(pod)
    labels = template["metadata"]["labels"]
    labels["app.kubernetes.io/component"] = "index"
    (container,) = template["spec"]["containers"]
    container["name"] = INDEXER
    container["env"].append(database_variable())
    job = {
        "backoffLimit": 2,
        "activeDeadlineSeconds": DAY // 4,
        "ttlSecondsAfterFinished": 7 * DAY,
        "template": template,
    }
    return make_cron_job(INDEXER, worker.namespace, schedule, labels, job)


def database_variable(*, optional: bool = False) -> Manifest:
    """Variable of a container: where the datacube's database is, from a Secret.

    One that is ``optional`` is not set where there is no such Secret.
    """
    secret = {"name": DATABASE_SECRET, "key": "url", **({"optional": True} if optional else {})}
    return {"name": ENV_DATABASE, "valueFrom": {"secretKeyRef": secret}}


def make_database_policy(database: str, namespace: str = contract.NAMESPACE) -> Manifest:
    """Lets the pods that index, and only them, reach the network (CIDR) of the database."""
    who = {
        "key": "app.kubernetes.io/component",
        "operator": "In",
        "values": ["campaign", "index"],
    }
    spec = {
        "podSelector": {"matchExpressions": [who]},
        "policyTypes": ["Egress"],
        "egress": [make_egress({"ipBlock": {"cidr": database}}, ("TCP", _POSTGRES))],
    }
    return make_document("networking.k8s.io/v1", "NetworkPolicy", INDEXER, namespace, spec=spec)
