"""The files in ``jobs/`` are what is printed, and say what the contract says."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any

import botocore.session
import kubernetes_validate
import pytest
import yaml
from botocore.validate import validate_parameters

from cropmask import contract
from cropmask.contract import ExitCode
from cropmask.kube import workflow
from cropmask.kube.manifests import CACHES, TEMPORARY
from cropmask.kube.namespace import make_quota
from cropmask.kube.scaled import max_job_seconds
from jobs.make_manifests import encode_files
from tests.references import make_pods, missing_references, pods_of

JOBS = Path(__file__).parents[2] / "jobs"
CUSTOM = ("ScaledJob", "WorkflowTemplate")
DOCUMENTS = [
    pytest.param(document, id=f"{file.stem}-{document['kind']}")
    for file in sorted(JOBS.glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
]


def document_of(name: str, kind: str) -> dict[str, Any]:
    documents = yaml.safe_load_all((JOBS / name).read_text())
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def test_files_are_what_is_printed() -> None:
    printed = encode_files()
    on_disk = {f.name: f.read_text() for f in (*JOBS.glob("*.yaml"), *JOBS.glob("*.json"))}
    assert on_disk == printed, "run 'make manifests'"


def test_every_reference_names_something_that_exists() -> None:
    documents = [parameter.values[0] for parameter in DOCUMENTS]
    # The address of the datacube's database is the operator's to put there: docs/deploy.md.
    assert missing_references(documents, elsewhere=[("Secret", "cropmask-datacube")]) == []


def test_a_reference_that_leads_nowhere_is_found() -> None:
    job = document_of("worker-job.yaml", "Job")
    pod = job["spec"]["template"]["spec"]
    pod["serviceAccountName"] = "nobody"
    pod["volumes"] = []
    container = pod["containers"][0]
    field = {"resourceFieldRef": {"containerName": "other", "resource": "requests.cpu"}}
    container["env"].append({"name": "X", "valueFrom": field})
    container["envFrom"] = [{"secretRef": {"name": "gone"}}]
    job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"] = "main"
    found = missing_references([job])
    for words in ("from container other", "no volume", "ServiceAccount nobody", "Secret gone"):
        assert any(words in problem for problem in found), (words, found)
    assert any("podFailurePolicy names container main" in problem for problem in found)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_are_strictly_valid(document: dict[str, Any]) -> None:
    if document["kind"] in CUSTOM:  # their schemas need node: infra/tests/test_schemas.py
        assert document["apiVersion"] in ("keda.sh/v1alpha1", "argoproj.io/v1alpha1")
        return
    kubernetes_validate.validate(document, "1.35", strict=True)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_pods_are_strictly_valid(document: dict[str, Any]) -> None:
    """Also those that KEDA and Argo will make."""
    pods = list(make_pods(document))
    assert bool(pods) == (document["kind"] in ("Job", "CronJob", *CUSTOM))
    for pod in pods:
        kubernetes_validate.validate(pod, "1.35", strict=True)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_pods_are_restricted(document: dict[str, Any]) -> None:
    for pod in pods_of(document):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            resources = container["resources"]
            assert resources["limits"]["memory"] == resources["requests"]["memory"]
            assert "cpu" not in resources["limits"]


def test_a_tile_that_is_wrong_ends_its_job_at_once() -> None:
    job = document_of("tile-job.yaml", "Job")
    actions = {
        code: rule["action"]
        for rule in job["spec"]["podFailurePolicy"]["rules"]
        for code in rule.get("onExitCodes", {}).get("values", ())
    }
    assert actions[ExitCode.REJECTED] == actions[ExitCode.MISCONFIGURED] == "FailJob"
    assert actions[ExitCode.DRAINED] == "Ignore"
    assert {actions[code] for code in (10, 11, 12)} == {"Count"}
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][0] == "cropmask-job"
    assert "livenessProbe" not in container


def test_a_scaled_job_outlives_its_longest_tile() -> None:
    target = document_of("worker-scaledjob.yaml", "ScaledJob")["spec"]["jobTargetRef"]
    assert target["backoffLimit"] == 0
    assert target["activeDeadlineSeconds"] == max_job_seconds(60)
    assert target["activeDeadlineSeconds"] > 3600 + contract.TIME_LIMIT_SECONDS
    pod = target["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == contract.GRACE_SECONDS < 120


def test_settings_are_known_variables() -> None:
    values = document_of("namespace.yaml", "ConfigMap")["data"]
    ours = {name for name in values if name.startswith(contract.ENV_PREFIX)}
    assert ours <= set(contract.ENVIRONMENT_VARIABLES)


def test_a_quota_counts_workers_and_a_few_more() -> None:
    hard = make_quota(10)["spec"]["hard"]
    assert hard["pods"] == "14"
    assert hard["limits.memory"] == "56Gi"


def test_the_workflow_runs_five_steps_in_order() -> None:
    spec = document_of("argo-workflowtemplate.yaml", "WorkflowTemplate")["spec"]
    templates = {template["name"]: template for template in spec["templates"]}
    tasks = templates["region"]["dag"]["tasks"]
    assert [task["name"] for task in tasks] == ["plan", "submit", "wait", "catalog", "index"]
    for before, task in pairwise(tasks):
        assert task["dependencies"] == [before["name"]]
    parameters = {parameter["name"] for parameter in spec["arguments"]["parameters"]}
    assert parameters == {"region", "period", "version"}
    used = set(re.findall(r"workflow\.parameters\.(\w+)", json.dumps(spec)))
    assert used == parameters


@pytest.mark.parametrize("step", list(workflow.STEPS))
def test_steps_are_commands_that_exist(step: str) -> None:
    """Each step's words are taken by its command, except for what a workflow puts in."""
    from cropmask.cli.main import cropmask

    program, *words = workflow.STEPS[step]
    assert program == contract.APP
    command: Any = cropmask
    context: Any = None
    while hasattr(command, "get_command"):
        name = words.pop(0)
        context = command.make_context("x", [], resilient_parsing=True)
        command = command.get_command(context, name)
        assert command is not None, name
    known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known


def test_steps_are_tried_again_where_that_helps() -> None:
    spec = document_of("argo-workflowtemplate.yaml", "WorkflowTemplate")["spec"]
    for template in spec["templates"][1:]:
        codes = re.findall(r"\d+", template["retryStrategy"]["expression"])
        assert [int(code) for code in codes] == [4, 10, 11, 12]
        assert template["container"]["securityContext"]["readOnlyRootFilesystem"] is True


def test_batch_takes_the_definition() -> None:
    definition = json.loads((JOBS / "batch-job-definition.json").read_text())
    batch = botocore.session.get_session().get_service_model("batch")
    validate_parameters(definition, batch.operation_model("RegisterJobDefinition").input_shape)


def test_batch_tries_again_what_the_contract_says() -> None:
    definition = json.loads((JOBS / "batch-job-definition.json").read_text())
    rules = definition["retryStrategy"]["evaluateOnExit"]
    assert len(rules) <= 5  # Batch takes no more
    lost, *codes = rules
    assert lost == {"onStatusReason": "Host EC2*", "action": "RETRY"}

    def action(code: int) -> str:
        return next(r["action"] for r in codes if fnmatch(str(code), r["onExitCode"]))

    again = {code for code in (*map(int, ExitCode), 137, 143) if action(code) == "RETRY"}
    assert again == {4, 10, 11, 12, 137, 143}


def test_batch_containers_write_to_two_folders_only() -> None:
    definition = json.loads((JOBS / "batch-job-definition.json").read_text())
    container = definition["containerProperties"]
    assert container["readonlyRootFilesystem"] is True
    assert {m["containerPath"] for m in container["mountPoints"]} == {TEMPORARY, CACHES}


def test_the_image_starts_python_itself_and_runs_as_the_user_of_the_manifests() -> None:
    from cropmask.kube.manifests import USER

    text = (JOBS / "Dockerfile").read_text()
    assert f"USER {USER}:{USER}" in text
    assert 'ENTRYPOINT ["cropmask"]' in text
    assert f"NUMBA_CACHE_DIR={CACHES}/numba" in text
    uv = re.search(r"^UV_VERSION := (.+)$", (JOBS.parent / "Makefile").read_text(), re.MULTILINE)
    assert uv is not None
    assert f"ARG UV_VERSION={uv[1]}" in text
