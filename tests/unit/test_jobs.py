"""The files in ``jobs/`` are what is printed, and say what the contract says."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any

import botocore.session
import click
import kubernetes_validate
import pytest
import yaml
from botocore.validate import validate_parameters

from cropmask import contract
from cropmask.contract import ExitCode
from cropmask.kube import workflow
from cropmask.kube.namespace import make_quota
from cropmask.kube.scaled import max_job_seconds
from cropmask.kube.workermanifests import CACHES, TEMPORARY
from cropmask.operate.campaignfile import CampaignStep
from jobs.make_manifests import encode_files
from tests.references import make_pods, missing_references, pods_of

JOBS = Path(__file__).parents[2] / "jobs"
CUSTOM = ("ScaledJob", "WorkflowTemplate", "CronWorkflow")
REGIONS = sorted(folder.parent.name for folder in JOBS.parent.glob("models/*/region.toml"))
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
    files = (*JOBS.rglob("*.yaml"), *JOBS.glob("*.json"))
    on_disk = {str(file.relative_to(JOBS)): file.read_text() for file in files}
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
    kubernetes_validate.validate(document, "1.36", strict=True)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_pods_are_strictly_valid(document: dict[str, Any]) -> None:
    """Also those that KEDA and Argo will make."""
    pods = list(make_pods(document))
    kinds = ("Job", "CronJob", "ScaledJob", "WorkflowTemplate")
    assert bool(pods) == (document["kind"] in kinds)
    for pod in pods:
        kubernetes_validate.validate(pod, "1.36", strict=True)


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
    assert hard["limits.memory"] == f"{14 * 3300}Mi"
    assert hard["requests.cpu"] == "28"


def templates() -> dict[str, dict[str, Any]]:
    spec = document_of("argo-workflowtemplate.yaml", "WorkflowTemplate")["spec"]
    return {template["name"]: template for template in spec["templates"]}


def test_the_workflow_does_the_steps_of_a_campaign_in_order() -> None:
    *tasks, workers = templates()["region"]["dag"]["tasks"]
    assert [task["name"] for task in tasks] == [*CampaignStep] == [*contract.CAMPAIGN_STEPS]
    for before, task in pairwise(tasks):
        assert task["dependencies"] == [before["name"]]
        assert templates()[task["name"]]["container"]["command"][-2:] == ["--until", task["name"]]
    assert workers["dependencies"] == ["plan"]
    assert workers["withSequence"] == {"count": "{{workflow.parameters.parallelism}}"}


def test_every_parameter_of_the_workflow_is_used() -> None:
    spec = document_of("argo-workflowtemplate.yaml", "WorkflowTemplate")["spec"]
    parameters = {parameter["name"] for parameter in spec["arguments"]["parameters"]}
    asked = {"region", "period", "version", "tiles", "model", "resolution", "overwrite"}
    assert parameters == {*asked, "parallelism", "canary", "missing", "max-cost", "index"}
    assert set(re.findall(r"workflow\.parameters\.([\w-]+)", json.dumps(spec))) == parameters


def parse(command: list[str], values: dict[str, str]) -> dict[str, Any]:
    """What a step's command understands once a workflow has put its parameters in."""
    from cropmask.cli.main import cropmask

    def fill_in(word: str) -> str:
        return re.sub(r"{{workflow\.parameters\.([\w-]+)}}", lambda found: values[found[1]], word)

    program, name, *words = map(fill_in, command)
    assert program == contract.APP
    found = cropmask.get_command(click.Context(cropmask), name)
    assert found is not None
    return dict(found.make_context(name, words).params)


@pytest.mark.parametrize("region", REGIONS)
def test_each_region_has_its_parameters_and_its_schedules(region: str) -> None:
    """The file, the CronWorkflow and the CronJob of a region ask for the same."""
    values = yaml.safe_load((JOBS / f"campaigns/{region}.yaml").read_text())
    assert all(isinstance(value, str) for value in values.values()), "Argo's are texts"
    assert set(values) == set(workflow.PARAMETERS)
    assert values["region"] == region

    def of_region(file: str) -> dict[str, Any]:
        documents = list(yaml.safe_load_all((JOBS / file).read_text()))
        assert len(documents) == len(REGIONS) == 8
        name = f"cropmask-{region.replace('_', '-')}"
        (found,) = [one for one in documents if one["metadata"]["name"] == name]
        assert found["spec"]["concurrencyPolicy"] == "Forbid"
        spec: dict[str, Any] = found["spec"]
        return spec

    flow = of_region("argo-cronworkflows.yaml")
    said = {p["name"]: p["value"] for p in flow["workflowSpec"]["arguments"]["parameters"]}
    assert said == values
    cron = of_region("campaign-cronjobs.yaml")
    assert [cron["schedule"]] == flow["schedules"]
    entry = templates()[flow["workflowSpec"]["entrypoint"]]
    pod = cron["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert parse(container["command"], {}) == parse(entry["container"]["command"], values)
    assert parse(container["command"], {})["when_complete"] is True


@pytest.mark.parametrize("step", [*CampaignStep, workflow.CAMPAIGN, workflow.WORKERS])
def test_steps_are_commands_that_take_the_parameters(step: str) -> None:
    values = {**workflow.PARAMETERS, "tiles": "x215y075,x216y075", "overwrite": "true"}
    found = parse(templates()[step]["container"]["command"], values)
    if step == workflow.WORKERS:
        assert found["stay"] == found["idle_exit"] == workflow.STAY_SECONDS
        assert found["max_minutes"] == 3 * 24 * 60
        return
    assert (found["region"], str(found["period"])) == ("eastern", "2019--P1Y")
    assert [str(tile) for tile in found["tiles"]] == ["x215y075", "x216y075"]
    assert (found["overwrite"], found["index"], found["canary"]) == (True, True, 10)
    assert found["max_cost"] == 100
    assert (found["model"], found["resolution"], found["missing"]) == ("forest", 10, 0)
    usual = parse(templates()[step]["container"]["command"], dict(workflow.PARAMETERS))
    assert (usual["tiles"], usual["overwrite"]) == (None, False)


def test_workers_of_a_workflow_are_like_those_of_the_queue() -> None:
    (pod,) = pods_of(document_of("worker-scaledjob.yaml", "ScaledJob"))
    ours = templates()[workflow.WORKERS]
    (container,) = pod["containers"]
    assert ours["container"]["resources"] == container["resources"]
    assert ours["serviceAccountName"] == pod["serviceAccountName"]
    assert ours["nodeSelector"] == pod["nodeSelector"]
    assert ours["tolerations"] == pod["tolerations"]


def test_a_campaign_that_needs_somebody_is_not_tried_again_before_the_next_day() -> None:
    (document, *_) = yaml.safe_load_all((JOBS / "campaign-cronjobs.yaml").read_text())
    rules = document["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    actions = {c: r["action"] for r in rules for c in r.get("onExitCodes", {}).get("values", ())}
    assert {actions[code] for code in (2, 3, 13, 20)} == {"FailJob"}
    assert actions[ExitCode.DRAINED] == "Ignore"


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
    from cropmask.kube.workermanifests import USER

    text = (JOBS / "Dockerfile").read_text()
    assert f"USER {USER}:{USER}" in text
    assert 'ENTRYPOINT ["cropmask"]' in text
    assert f"NUMBA_CACHE_DIR={CACHES}/numba" in text
    uv = re.search(r"^UV_VERSION := (.+)$", (JOBS.parent / "Makefile").read_text(), re.MULTILINE)
    assert uv is not None
    assert f"ARG UV_VERSION={uv[1]}" in text
