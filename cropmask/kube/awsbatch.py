"""AWS Batch instead of Kubernetes: the definition of an array job over a task file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cropmask import contract
from cropmask.contract import ExitCode
from cropmask.kube.workermanifests import CACHES, TEMPORARY, USER

_MEBIBYTES: Final = {"Gi": 1024, "Mi": 1}


def make_job_definition(
    image: str, environment: Mapping[str, str], *, job_role: str, execution_role: str
) -> dict[str, Any]:
    """Input of ``aws batch register-job-definition``.

    ``cropmask submit --direct`` writes the task file; an array job then has one child for each of
    its lines, which finds its own by ``AWS_BATCH_JOB_ARRAY_INDEX``. The file is named when a job is
    submitted. The container works as the role of the ARN ``job_role``; that of ``execution_role``
    pulls the image and writes logs.
    """
    known = {
        contract.ENV_LOG_FORMAT: "json",
        contract.ENV_THREADS: str(contract.WORKER_CPUS),
        **environment,
    }
    return {
        "jobDefinitionName": contract.WORKER,
        "type": "container",
        "platformCapabilities": ["EC2"],
        "propagateTags": True,
        "tags": {contract.APP: contract.APP},
        "timeout": {"attemptDurationSeconds": contract.TIME_LIMIT_SECONDS + contract.GRACE_SECONDS},
        "retryStrategy": {"attempts": contract.MAX_RECEIVES, "evaluateOnExit": _rules()},
        "containerProperties": {
            "image": image,
            # Batch's command follows the image's entry point, which is "cropmask".
            "command": ["worker"],
            "jobRoleArn": job_role,
            "executionRoleArn": execution_role,
            "user": f"{USER}:{USER}",
            "readonlyRootFilesystem": True,
            "privileged": False,
            "environment": [{"name": name, "value": known[name]} for name in sorted(known)],
            "resourceRequirements": [
                {"type": "VCPU", "value": str(contract.WORKER_CPUS)},
                {"type": "MEMORY", "value": str(_mebibytes(contract.WORKER_MEMORY))},
            ],
            "volumes": [{"name": "tmp"}, {"name": "caches"}],
            "mountPoints": [
                {"sourceVolume": "tmp", "containerPath": TEMPORARY, "readOnly": False},
                {"sourceVolume": "caches", "containerPath": CACHES, "readOnly": False},
            ],
            "linuxParameters": {"initProcessEnabled": False},
            "logConfiguration": {"logDriver": "awslogs"},
        },
    }


def _rules() -> list[dict[str, str]]:
    """Try again what another try may mend, and what AWS took away; end with everything else.

    Batch takes five rules: ``1*`` are the failures of the contract, and signals such as 137.
    """
    return [
        {"onStatusReason": "Host EC2*", "action": "RETRY"},
        {"onExitCode": str(int(ExitCode.MISCONFIGURED)), "action": "EXIT"},
        {"onExitCode": str(int(ExitCode.DRAINED)), "action": "RETRY"},
        {"onExitCode": "1*", "action": "RETRY"},
        {"onExitCode": "*", "action": "EXIT"},
    ]


def _mebibytes(quantity: str) -> int:
    number, unit = quantity[:-2], quantity[-2:]
    return int(number) * _MEBIBYTES[unit]
