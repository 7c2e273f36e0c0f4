"""Argo's WorkflowTemplate of a campaign, a step a pod; and schedules of campaigns, for each region.

An option: the same commands can be typed. The workers are those of the ScaledJob, or as many as a
workflow is told to start; the steps are small and run beside the controllers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

from cropmask import contract
from cropmask.contract import ExitCode
from cropmask.kube.index import database_variable
from cropmask.kube.workermanifests import (
    APP_LABELS,
    DAY,
    ONE_AT_A_TIME,
    RETRIED,
    Manifest,
    WorkerPod,
    make_cron_job,
    make_document,
    make_failure_policy,
    make_pod,
)

WORKFLOW: Final = f"{contract.APP}-workflow"
"""Service account of the steps, and name of their AWS role."""
CAMPAIGN: Final = "campaign"
"""Template, and component, of a whole campaign in one pod."""
WORKERS: Final = "worker"
STAY_SECONDS: Final = 900
"""How long workers of a workflow wait for more, as between the canary and the rest."""

PARAMETERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "region": "eastern",
        "period": "2019--P1Y",
        "version": contract.VERSION,
        "tiles": "all",
        "model": "forest",
        "resolution": "10",
        "overwrite": "false",
        "parallelism": "0",
        "canary": "10",
        "missing": "0",
        "max-cost": "100",
        "index": "true",
    }
)
"""Parameters of a workflow and their usual values, as texts."""
_NOT_OPTIONS: Final = ("version", "parallelism")
"""Parameters that the commands are not told: the tag of the images, and the number of workers."""
_DEADLINE: Final = 3 * DAY
"""Seconds that a workflow may take, or a campaign of a schedule: the next one goes on."""
# Limits of the settings are those of workers that others replace.
WORKER_COMMAND: Final = (
    *(contract.APP, "worker", "--stay", str(STAY_SECONDS), "--idle-exit", str(STAY_SECONDS)),
    *("--max-minutes", str(_DEADLINE // 60)),
)
_RESOURCES: Final = MappingProxyType(
    {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
)


def make_parameters(region: str, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Parameters of a region's campaign of the year before this one, with some changed."""
    return {**PARAMETERS, "region": region, "period": "last", **(changes or {})}


def make_command(values: Mapping[str, str], *words: str) -> tuple[str, ...]:
    """What a pod runs with these values of parameters; started without a shell."""
    options = (f"--{name}={values[name]}" for name in PARAMETERS if name not in _NOT_OPTIONS)
    return (contract.APP, "campaign", *options, *words)


def _said_by_workflow() -> dict[str, str]:
    return {name: f"{{{{workflow.parameters.{name}}}}}" for name in PARAMETERS}


def make_workflow_template(worker: WorkerPod, indexer_image: str) -> Manifest:
    """WorkflowTemplate with the parameters :data:`PARAMETERS`.

    Images are named without their tags, which are the version; the indexer's has Open Data Cube's
    tools.
    """
    pod = make_pod(worker)["spec"]
    spec = {
        "entrypoint": "region",
        "arguments": _arguments(PARAMETERS),
        "serviceAccountName": WORKFLOW,
        # Steps do not talk to Kubernetes; what reports their end does.
        "automountServiceAccountToken": False,
        "executor": {"serviceAccountName": WORKFLOW},
        "activeDeadlineSeconds": _DEADLINE,
        "ttlStrategy": {"secondsAfterCompletion": 7 * DAY},
        "podGC": {"strategy": "OnWorkflowSuccess"},
        "podMetadata": {"labels": dict(APP_LABELS)},
        "securityContext": pod["securityContext"],
        "volumes": pod["volumes"],
        "templates": [
            _sequence(),
            *(_step(name, worker, indexer_image) for name in contract.CAMPAIGN_STEPS),
            _whole(worker, indexer_image),
            _worker_template(worker),
        ],
    }
    return make_document(
        "argoproj.io/v1alpha1", "WorkflowTemplate", contract.APP, worker.namespace, spec=spec
    )


def make_cron_workflow(region: str, schedule: str, namespace: str = contract.NAMESPACE) -> Manifest:
    """CronWorkflow of a region's campaigns, of one pod each; the workers are those of the queue.

    The schedule is in cron's five fields, UTC.
    """
    spec = {
        "schedules": [schedule],
        "timezone": "Etc/UTC",
        **ONE_AT_A_TIME,
        "workflowSpec": {
            "workflowTemplateRef": {"name": contract.APP},
            "entrypoint": CAMPAIGN,
            "arguments": _arguments(make_parameters(region)),
        },
    }
    api = "argoproj.io/v1alpha1"
    return make_document(api, "CronWorkflow", _name(region), namespace, spec=spec)


def make_campaign_cron_job(
    worker: WorkerPod, parameters: Mapping[str, str], schedule: str
) -> Manifest:
    """CronJob of the campaigns that some parameters describe, without Argo; one at a time.

    The pod is like a worker's, of an image with Open Data Cube's tools if results are indexed.
    """
    region = parameters["region"]
    command = make_command(parameters, "--when-complete")
    pod = replace(
        worker,
        service_account=WORKFLOW,
        command=command,
        cpu="250m",
        memory="1Gi",
        heartbeat=False,
    )
    template = make_pod(pod)
    labels = template["metadata"]["labels"]
    labels["app.kubernetes.io/component"] = CAMPAIGN
    (container,) = template["spec"]["containers"]
    container["env"].append(database_variable(optional=True))
    job = {
        "backoffLimit": 5,
        "podFailurePolicy": make_failure_policy("campaign"),
        "activeDeadlineSeconds": _DEADLINE,
        "ttlSecondsAfterFinished": 7 * DAY,
        "template": template,
    }
    return make_cron_job(_name(region), worker.namespace, schedule, labels, job)


def _name(region: str) -> str:
    return f"{contract.APP}-{region.replace('_', '-')}"


def _arguments(values: Mapping[str, str]) -> Manifest:
    return {"parameters": [{"name": name, "value": value} for name, value in values.items()]}


def _sequence() -> Manifest:
    """Steps one after the other; the workers of the workflow begin once there is a plan."""
    names = contract.CAMPAIGN_STEPS
    tasks: list[dict[str, Any]] = [{"name": names[0], "template": names[0]}]
    tasks += [
        {"name": name, "template": name, "dependencies": [before]}
        for before, name in pairwise(names)
    ]
    tasks.append(
        {
            "name": WORKERS,
            "template": WORKERS,
            "dependencies": ["plan"],
            "withSequence": {"count": "{{workflow.parameters.parallelism}}"},
        }
    )
    return {"name": "region", "dag": {"tasks": tasks}}


def _step(name: str, worker: WorkerPod, indexer_image: str) -> Manifest:
    """One step of a campaign; what was done before it is not done again."""
    is_index = name == "index"
    command = make_command(_said_by_workflow(), "--until", name)
    image = indexer_image if is_index else worker.image
    return _template(name, worker, image, command, has_database=is_index)


def _whole(worker: WorkerPod, indexer_image: str) -> Manifest:
    """A whole campaign in one pod, for schedules: what is not complete is no failure there."""
    command = make_command(_said_by_workflow(), "--when-complete")
    return _template(CAMPAIGN, worker, indexer_image, command, has_database=True)


def _worker_template(worker: WorkerPod) -> Manifest:
    """One worker, on the nodes of tiles."""
    usual = replace(
        worker, service_account=contract.SERVICE_ACCOUNT, any_node=False, heartbeat=False
    )
    template = _template(WORKERS, usual, worker.image, WORKER_COMMAND)
    pod = make_pod(usual)["spec"]
    template["container"]["resources"] = pod["containers"][0]["resources"]
    named = ("nodeSelector", "tolerations")
    placed = {name: pod[name] for name in named if name in pod}
    return {**template, "serviceAccountName": contract.SERVICE_ACCOUNT, **placed}


def _template(
    name: str,
    worker: WorkerPod,
    image: str,
    command: tuple[str, ...],
    *,
    has_database: bool = False,
) -> Manifest:
    (container,) = make_pod(replace(worker, heartbeat=False))["spec"]["containers"]
    if has_database:
        container["env"].append(database_variable(optional=True))
    container.update(
        name="main",
        image=f"{image}:{{{{workflow.parameters.version}}}}",
        command=list(command),
        resources=dict(_RESOURCES),
    )
    codes = ", ".join(str(int(code)) for code in (ExitCode.DRAINED, *RETRIED))
    return {
        "name": name,
        "metadata": {"labels": {"app.kubernetes.io/component": name}},
        "retryStrategy": {
            "limit": "3",
            "retryPolicy": "Always",
            "expression": f"asInt(lastRetry.exitCode) in [{codes}]",
            "backoff": {"duration": "1m", "factor": "2"},
        },
        "container": container,
    }


def make_workflow_role(namespace: str = contract.NAMESPACE) -> list[Manifest]:
    """What Argo's executor needs to report the end of a step."""
    api = "rbac.authorization.k8s.io"
    results = {
        "apiGroups": ["argoproj.io"],
        "resources": ["workflowtaskresults"],
        "verbs": ["create", "patch"],
    }
    role = {"apiGroup": api, "kind": "Role", "name": WORKFLOW}
    subject = {"kind": "ServiceAccount", "name": WORKFLOW, "namespace": namespace}
    return [
        make_document(f"{api}/v1", "Role", WORKFLOW, namespace, rules=[results]),
        make_document(
            f"{api}/v1", "RoleBinding", WORKFLOW, namespace, roleRef=role, subjects=[subject]
        ),
    ]
