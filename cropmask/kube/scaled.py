"""Workers that come with the messages and go with them, and a Job of one tile."""

from __future__ import annotations

from dataclasses import replace

from cropmask import contract
from cropmask.kube.workermanifests import (
    DAY,
    Manifest,
    WorkerPod,
    make_document,
    make_failure_policy,
    make_job,
    make_pod,
)

_OVERHEAD_SECONDS = 900
"""Time for a node to come, an image to be pulled, and a message to be waited for."""


def max_job_seconds(max_minutes: int) -> int:
    """Time after which a worker that takes tasks for so many minutes has surely ended."""
    return max_minutes * 60 + contract.TIME_LIMIT_SECONDS + _OVERHEAD_SECONDS


def make_scaled_job(
    worker: WorkerPod, *, queue: str, aws_region: str, most: int, max_minutes: int
) -> Manifest:
    """KEDA's ScaledJob: a worker for every message, at most so many, and none without messages.

    ``queue`` is the URL of the SQS queue, which the environment of the pods names too. After
    ``max_minutes`` a worker takes no more tasks; that also sets when a Job is stopped.
    """
    template = make_pod(worker)
    target = {
        "parallelism": 1,
        "completions": 1,
        # SQS retries: a message whose worker died is seen by another one.
        "backoffLimit": 0,
        "activeDeadlineSeconds": max_job_seconds(max_minutes),
        "template": template,
    }
    spec = {
        "jobTargetRef": target,
        "pollingInterval": 30,
        "minReplicaCount": 0,
        "maxReplicaCount": most,
        "successfulJobsHistoryLimit": 5,
        "failedJobsHistoryLimit": 20,
        # Workers that run finish their tile when the image changes.
        "rollout": {"strategy": "gradual", "propagationPolicy": "foreground"},
        "scalingStrategy": {"strategy": "default"},
        "triggers": [_queue_trigger(queue, aws_region)],
    }
    labels = template["metadata"]["labels"]
    return make_document(
        "keda.sh/v1alpha1", "ScaledJob", contract.WORKER, worker.namespace, labels, spec=spec
    )


def _queue_trigger(queue: str, aws_region: str) -> Manifest:
    return {
        "type": "aws-sqs-queue",
        "metadata": {
            "queueURL": queue,
            "awsRegion": aws_region,
            "queueLength": "1",
            # A message in flight has its worker: without it that worker would count as idle.
            "scaleOnInFlight": "true",
            # KEDA's own role asks for the length, and may do nothing else.
            "identityOwner": "operator",
        },
    }


def make_tile_job(
    name: str, worker: WorkerPod, *, tile: str, region: str, period: str, attempts: int = 3
) -> Manifest:
    """Job of one tile, without a queue; the environment names the place of the results.

    ``attempts`` pods may fail before the Job does; only failures that another try may mend count.
    """
    task = ("--tile", tile, "--region", region, "--period", period)
    pod = replace(worker, command=(f"{contract.APP}-job", *task), heartbeat=False)
    spec = {
        "backoffLimit": attempts - 1,
        "podFailurePolicy": make_failure_policy("tile"),
        "activeDeadlineSeconds": attempts * contract.TIME_LIMIT_SECONDS,
        "ttlSecondsAfterFinished": 2 * DAY,
        "template": make_pod(pod),
    }
    return make_job(name, pod, spec)
