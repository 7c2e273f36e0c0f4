"""Argo's WorkflowTemplate of a region: plan, submit, wait, catalog, index.

An option: the same commands can be typed. The workers are those of the ScaledJob; the steps here
are small and run beside the controllers.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

from cropmask import contract
from cropmask.contract import ExitCode
from cropmask.kube.index import INDEX_COMMAND, database_variable
from cropmask.kube.manifests import (
    APP_LABELS,
    DAY,
    RETRIED,
    Manifest,
    WorkerPod,
    make_document,
    make_pod,
)

WORKFLOW: Final = f"{contract.APP}-workflow"
"""Service account of the steps, and name of their AWS role."""
_RUN: Final = "{{workflow.name}}"
_REGION: Final = "{{workflow.parameters.region}}"
_PERIOD: Final = "{{workflow.parameters.period}}"
_VERSION: Final = "{{workflow.parameters.version}}"
_OUTPUT: Final = f"$({contract.ENV_OUTPUT})"
_TASK: Final = ("--region", _REGION, "--period", _PERIOD)

STEPS: Final[dict[str, tuple[str, ...]]] = {
    "plan": (contract.APP, "plan", *_TASK),
    # A step that is tried again goes on with the run of its name.
    "submit": (contract.APP, "submit", *_TASK, "--run", _RUN),
    "wait": (contract.APP, "status", *_TASK, "--run", _RUN, "--watch", "--every", "60"),
    "catalog": (contract.APP, "catalog", "build", "--results", _OUTPUT),
    "index": INDEX_COMMAND,
}
"""What each step runs, in order."""


def make_workflow_template(worker: WorkerPod, indexer_image: str) -> Manifest:
    """WorkflowTemplate with the parameters region, period and version.

    Images are named without their tags, which are the version; the indexer's has Open Data Cube's
    tools.
    """
    pod = make_pod(worker)["spec"]
    parameters = {"region": "eastern", "period": "2019--P1Y", "version": contract.VERSION}
    spec = {
        "entrypoint": "region",
        "arguments": {
            "parameters": [{"name": name, "value": usual} for name, usual in parameters.items()]
        },
        "serviceAccountName": WORKFLOW,
        # Steps do not talk to Kubernetes; what reports their end does.
        "automountServiceAccountToken": False,
        "executor": {"serviceAccountName": WORKFLOW},
        "activeDeadlineSeconds": 3 * DAY,
        "ttlStrategy": {"secondsAfterCompletion": 7 * DAY},
        "podGC": {"strategy": "OnWorkflowSuccess"},
        "podMetadata": {"labels": dict(APP_LABELS)},
        "securityContext": pod["securityContext"],
        "volumes": pod["volumes"],
        "templates": [_sequence(), *(_step(name, worker, indexer_image) for name in STEPS)],
    }
    return make_document(
        "argoproj.io/v1alpha1", "WorkflowTemplate", contract.APP, worker.namespace, spec=spec
    )


def _sequence() -> Manifest:
    names = list(STEPS)
    tasks: list[dict[str, Any]] = [{"name": names[0], "template": names[0]}]
    tasks += [
        {"name": name, "template": name, "dependencies": [before]}
        for before, name in pairwise(names)
    ]
    return {"name": "region", "dag": {"tasks": tasks}}


def _step(name: str, worker: WorkerPod, indexer_image: str) -> Manifest:
    (container,) = make_pod(replace(worker, heartbeat=False))["spec"]["containers"]
    image = indexer_image if name == "index" else worker.image
    labels = {"app.kubernetes.io/component": "index" if name == "index" else name}
    if name == "index":
        container["env"].append(database_variable())
    container.update(
        name="main",
        image=f"{image}:{_VERSION}",
        command=list(STEPS[name]),
        resources={
            "requests": {"cpu": "250m", "memory": "1Gi"},
            "limits": {"memory": "1Gi"},
        },
    )
    codes = ", ".join(str(int(code)) for code in (ExitCode.DRAINED, *RETRIED))
    return {
        "name": name,
        "metadata": {"labels": labels},
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
