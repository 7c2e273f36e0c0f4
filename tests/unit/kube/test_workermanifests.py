from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import kubernetes_validate
import pytest

from cropmask import contract
from cropmask.contract import ExitCode
from cropmask.errors import CropmaskError
from cropmask.kube.workermanifests import (
    CACHES,
    DISK_LIMIT,
    TEMPORARY,
    Manifest,
    WorkerPod,
    job_name,
    make_failure_policy,
    make_indexed_job,
    make_labels,
    make_queue_job,
)
from cropmask.task import parse_run_id

KUBERNETES = "1.36"
RUN = "20190704t081500-1f3a"
WORKER = WorkerPod(
    "registry.example/cropmask:1",
    {contract.ENV_QUEUE: "https://sqs.example/q"},
    labels=make_labels(run=RUN, region="eastern", environment="dev"),
)
QUEUE_JOB = make_queue_job(job_name(RUN), WORKER, workers=8)
INDEXED_JOB = make_indexed_job(job_name(RUN), WORKER, tasks=390, workers=8)


def pod_of(job: Manifest) -> Manifest:
    return job["spec"]["template"]["spec"]


def container_of(job: Manifest) -> Manifest:
    (container,) = pod_of(job)["containers"]
    return container


def action_of(policy: Manifest, code: int) -> str:
    """What Kubernetes does at an exit code: the first rule that holds it, else it counts."""
    for rule in policy["rules"]:
        if code in rule.get("onExitCodes", {}).get("values", ()):
            return rule["action"]
    return "Count"


@pytest.mark.parametrize(
    "job",
    [
        QUEUE_JOB,
        INDEXED_JOB,
        make_queue_job("x", WorkerPod("i", any_node=True, config_map="site"), workers=1),
        make_indexed_job("x", WorkerPod("i", cpu="500m"), tasks=1, workers=9, deadline_seconds=60),
    ],
)
def test_manifests_are_strictly_valid(job: Manifest) -> None:
    kubernetes_validate.validate(job, KUBERNETES, strict=True)


def test_the_validation_finds_an_unknown_field() -> None:
    wrong = {**QUEUE_JOB, "spec": {**QUEUE_JOB["spec"], "paralelism": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


@pytest.mark.parametrize("job", [QUEUE_JOB, INDEXED_JOB])
def test_pods_meet_the_restricted_standard(job: Manifest) -> None:
    pod, container = pod_of(job), container_of(job)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])


@pytest.mark.parametrize("job", [QUEUE_JOB, INDEXED_JOB])
def test_everything_that_is_written_lies_in_a_mounted_folder(job: Manifest) -> None:
    container = container_of(job)
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted == {TEMPORARY, CACHES}
    known = {entry["name"]: entry.get("value") for entry in container["env"]}
    for name in ("HOME", "NUMBA_CACHE_DIR", "TMPDIR", "XDG_CACHE_HOME", contract.ENV_HEARTBEAT):
        assert any(Path(known[name]).is_relative_to(folder) for folder in mounted), name
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod_of(job)["volumes"]
    }


def test_memory_is_limited_and_cpus_are_asked_for_without_a_limit() -> None:
    container = container_of(QUEUE_JOB)
    assert container["resources"] == {
        "requests": {
            "cpu": contract.WORKER_CPU,
            "memory": contract.WORKER_MEMORY,
            "ephemeral-storage": contract.WORKER_DISK,
        },
        "limits": {"memory": contract.WORKER_MEMORY, "ephemeral-storage": DISK_LIMIT},
    }
    threads = container["env"][-1]
    assert threads["name"] == contract.ENV_THREADS
    assert threads["valueFrom"]["resourceFieldRef"]["resource"] == "requests.cpu"


def test_variables_go_before_the_defaults() -> None:
    worker = WorkerPod("i", {contract.ENV_THREADS: "3", contract.ENV_HEARTBEAT: "/tmp/beat"})
    container = container_of(make_queue_job("x", worker, workers=1))
    names = [entry["name"] for entry in container["env"]]
    known = {entry["name"]: entry["value"] for entry in container["env"]}
    assert names == sorted(set(names))
    assert known[contract.ENV_THREADS] == "3"
    assert "/tmp/beat" in container["livenessProbe"]["exec"]["command"]


def test_pods_stop_gently_and_stay_undisturbed_on_their_nodes() -> None:
    pod = pod_of(QUEUE_JOB)
    assert pod["terminationGracePeriodSeconds"] == contract.GRACE_SECONDS
    assert pod["nodeSelector"] == {contract.BATCH_TAINT: "true"}
    assert pod["tolerations"][0]["key"] == contract.BATCH_TAINT
    annotations = QUEUE_JOB["spec"]["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert annotations["karpenter.sh/do-not-disrupt"] == "true"
    elsewhere = pod_of(make_queue_job("x", WorkerPod("i", any_node=True), workers=1))
    assert "nodeSelector" not in elsewhere
    assert "tolerations" not in elsewhere


EXPECTED = {
    "queue": {
        ExitCode.USAGE: "FailJob",
        ExitCode.REJECTED: "Count",
        ExitCode.DRAINED: "Ignore",
        ExitCode.FAILED: "Count",
        ExitCode.TIMED_OUT: "Count",
        ExitCode.MEMORY: "Count",
        ExitCode.MISCONFIGURED: "FailJob",
    },
}
EXPECTED["index"] = {**EXPECTED["queue"], ExitCode.REJECTED: "FailIndex"}
EXPECTED["tile"] = {**EXPECTED["queue"], ExitCode.REJECTED: "FailJob"}


@pytest.mark.parametrize("kind", ["queue", "index", "tile"])
def test_every_exit_code_of_an_error_has_its_action(kind: str) -> None:
    policy = make_failure_policy(kind)  # type: ignore[arg-type]
    assert {code: action_of(policy, code) for code in EXPECTED[kind]} == EXPECTED[kind]

    def codes(error: type[CropmaskError]) -> set[ExitCode]:
        return {error.exit_code}.union(*map(codes, error.__subclasses__()))

    assert codes(CropmaskError) <= set(EXPECTED[kind])


def test_a_lost_node_is_nobodys_failure() -> None:
    rules = QUEUE_JOB["spec"]["podFailurePolicy"]["rules"]
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    assert {"action": "Ignore", "onPodConditions": [disrupted]} in rules


def test_failures_are_counted_by_index_or_by_job() -> None:
    assert INDEXED_JOB["spec"]["completionMode"] == "Indexed"
    assert INDEXED_JOB["spec"]["completions"] == 390
    assert INDEXED_JOB["spec"]["backoffLimitPerIndex"] == contract.MAX_RECEIVES - 1
    assert "backoffLimit" not in INDEXED_JOB["spec"]
    assert "completions" not in QUEUE_JOB["spec"], "a queue does not say how many tasks it holds"
    assert QUEUE_JOB["spec"]["parallelism"] == 8


def test_names_and_labels_fit_kubernetes() -> None:
    longest = job_name(parse_run_id("a" * 40))
    assert len(f"{longest}-99999") <= 63
    labels = make_labels(run=RUN, region="indian_ocean_", environment="prod")
    assert labels[contract.LABEL_REGION] == "indian_ocean"
    assert make_labels(run=RUN) == {contract.LABEL_RUN: RUN}
    assert QUEUE_JOB["metadata"]["labels"].items() >= WORKER.labels.items()
    assert QUEUE_JOB["spec"]["template"]["metadata"]["labels"].items() >= WORKER.labels.items()


def test_the_probe_tells_a_late_heartbeat_from_a_fresh_one(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    worker = WorkerPod("i", {contract.ENV_HEARTBEAT: str(beat)})
    probe = container_of(make_queue_job("x", worker, workers=1))["livenessProbe"]
    command = [sys.executable, *probe["exec"]["command"][1:]]

    def alive() -> bool:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert not alive(), "no heartbeat yet"
    beat.touch()
    assert alive()
    old = time.time() - contract.HEARTBEAT_LATE_SECONDS - 5
    os.utime(beat, (old, old))
    assert not alive()
