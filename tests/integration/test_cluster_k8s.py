"""Jobs on a real Kubernetes API server, with a made-up node; skipped where none is built.

The server may be older than what the manifests ask for: fields that it does not know are dropped,
which the strict validation of ``tests/unit/kube/test_workermanifests.py`` makes up for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from kubernetes.client import ApiException
from kubernetes.dynamic import DynamicClient

from cropmask import contract
from cropmask.errors import Misconfigured
from cropmask.fleet.recordfiles import load_run, put_run
from cropmask.fleet.records import RunRecord
from cropmask.kube.doors import open_cluster
from cropmask.kube.protocol import Cluster, JobCondition, JobState
from cropmask.kube.workermanifests import Manifest, WorkerPod, job_name, make_indexed_job
from cropmask.site.site import open_site
from infra.tests import synthesized
from jobs.make_manifests import make_files
from tests.clouds import make_queue, serve_aws, use_made_up_credentials
from tests.cluster_laws import ClusterLaws, manifest_of
from tests.controlplane import ControlPlane, FakeNode, control_plane, put_kubeconfig
from tests.references import make_pods

DEADLINE = 120
"""Seconds after which a test gives up; what it waits for takes a few."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("k8s") / "plane") as plane:
        for name in (contract.NAMESPACE, "laws"):
            plane.core.create_namespace({"metadata": {"name": name}})
        yield plane


@pytest.fixture
def cluster(plane: ControlPlane) -> Cluster:
    return open_cluster(contract.NAMESPACE, str(plane.kubeconfig))


class TestLaws(ClusterLaws):
    @pytest.fixture
    def cluster(self, plane: ControlPlane) -> Cluster:
        return open_cluster("laws", str(plane.kubeconfig))


def test_jobs_complete_retry_fail_and_are_cleaned_away(
    plane: ControlPlane, cluster: Cluster
) -> None:
    def fate(job: str, ended: int) -> int:
        if job == job_name("fails"):
            return contract.ExitCode.FAILED
        return contract.ExitCode.FAILED if job == job_name("retries") and not ended else 0

    seen: dict[str, list[JobState]] = {run: [] for run in ("completes", "retries", "fails")}
    with FakeNode(plane, cluster.namespace, fate):
        threads = []
        for run, limit in (("completes", 1), ("retries", 3), ("fails", 0)):
            spec = {"parallelism": 1, "backoffLimit": limit}
            spec["ttlSecondsAfterFinished"] = 2 if run == "completes" else 600
            assert cluster.create(manifest_of(run, cluster.namespace, **spec))
            states = seen[run]
            watched = cluster.watch(job_name(run))
            states.append(next(watched))
            threads.append(threading.Thread(target=states.extend, args=(watched,), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
    last = {run: states[-1] for run, states in seen.items()}
    assert last["completes"].condition is JobCondition.COMPLETE
    assert (last["completes"].succeeded, last["completes"].failed) == (1, 0)
    assert last["retries"].condition is JobCondition.COMPLETE
    assert (last["retries"].succeeded, last["retries"].failed) == (1, 1)
    assert last["fails"].condition is JobCondition.FAILED
    assert last["fails"].reason == "BackoffLimitExceeded"
    end = time.monotonic() + DEADLINE
    while cluster.get(job_name("completes")) is not None:
        assert time.monotonic() < end, "ttlSecondsAfterFinished deletes it"
        time.sleep(0.2)
    assert cluster.get(job_name("fails")) is not None


def test_deleting_a_job_deletes_its_pods(plane: ControlPlane, cluster: Cluster) -> None:
    assert cluster.create(manifest_of("pods", cluster.namespace))
    selector = f"{contract.LABEL_RUN}=pods"

    def pods() -> int:
        found = plane.core.list_namespaced_pod(cluster.namespace, label_selector=selector)
        return sum(pod.metadata.deletion_timestamp is None for pod in found.items)

    def wait_until(number: int) -> None:
        end = time.monotonic() + DEADLINE
        while pods() != number:
            assert time.monotonic() < end
            time.sleep(0.1)

    wait_until(2)
    assert cluster.delete(job_name("pods"))
    wait_until(0)


def test_a_server_that_drops_the_index_is_refused_before_anything_runs(
    plane: ControlPlane, cluster: Cluster
) -> None:
    worker = WorkerPod("image:1", namespace=cluster.namespace)
    manifest = make_indexed_job("indexed", worker, tasks=3, workers=3)
    if plane.minor >= 29:
        assert cluster.create(manifest)
        return
    with pytest.raises(Misconfigured, match="too old for Indexed Jobs"):
        cluster.create(manifest)
    assert cluster.get("indexed") is None


def test_an_unknown_field_is_refused(cluster: Cluster) -> None:
    with pytest.raises(Misconfigured, match="refuses"):
        cluster.create(manifest_of("field", cluster.namespace, paralelism=3))


NATIVE = ("apps/v1", "batch/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1", "v1")
ENVIRONMENTS = ("dev", "prod")


def printed(source: str) -> list[Manifest]:
    """Documents of ``jobs/``, or those that an environment deploys where it was synthesized."""
    if source == "jobs":
        return [document for documents in make_files().values() for document in documents]
    if not (synthesized.CDK_OUT / source).is_dir():
        pytest.skip(f"the environment {source} is not synthesized: make infra-synth")
    return list(synthesized.load(source).manifests())


class Server:
    """Sends documents of any kind to the API server."""

    def __init__(self, plane: ControlPlane) -> None:
        self._minor = plane.minor
        self._client = DynamicClient(plane.core.api_client)

    def send(self, document: Manifest, *, dry_run: bool = True) -> None:
        version = document["apiVersion"]
        if document["kind"] == "CronJob" and self._minor < 21:
            version = "batch/v1beta1"
        kind = self._client.resources.get(api_version=version, kind=document["kind"])
        body = {**document, "apiVersion": version}
        more = {"dry_run": "All"} if dry_run else {}
        kind.create(body=body, namespace=document["metadata"].get("namespace"), **more)


@pytest.fixture
def server(plane: ControlPlane) -> Server:
    return Server(plane)


@pytest.fixture
def rules(plane: ControlPlane, server: Server) -> Iterator[None]:
    """The namespace's own limits and quota, which the server holds every pod against."""
    kinds = ("LimitRange", "ResourceQuota")
    documents = [document for document in printed("jobs") if document["kind"] in kinds]
    assert {document["kind"] for document in documents} == set(kinds)
    for document in documents:
        server.send(document, dry_run=False)
    end = time.monotonic() + DEADLINE
    while not all(
        quota.status.hard
        for quota in plane.core.list_namespaced_resource_quota(contract.NAMESPACE).items
    ):
        assert time.monotonic() < end, "the server counts what a quota limits"
        time.sleep(0.1)
    yield
    plane.core.delete_collection_namespaced_limit_range(contract.NAMESPACE)
    plane.core.delete_collection_namespaced_resource_quota(contract.NAMESPACE)


@pytest.mark.parametrize("source", ["jobs", *ENVIRONMENTS])
def test_the_server_takes_every_document(server: Server, source: str) -> None:
    documents = [found for found in printed(source) if found["apiVersion"] in NATIVE]
    kinds = {document["kind"] for document in documents}
    assert {"ConfigMap", "LimitRange", "NetworkPolicy", "ResourceQuota", "ServiceAccount"} <= kinds
    for document in documents:
        if document["kind"] != "Namespace":  # it is there already
            server.send(document)


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize("source", ["jobs", *ENVIRONMENTS])
def test_the_server_takes_every_pod(server: Server, source: str) -> None:
    """Also those that a scaler and a workflow engine will send, under the namespace's rules."""
    documents = printed(source)
    pods = [pod for document in documents for pod in make_pods(document)]
    assert len(pods) >= (10 if source == "jobs" else 1)
    for pod in pods:
        server.send(pod)


@pytest.mark.usefixtures("rules")
def test_the_server_refuses_a_pod_that_could_not_run(server: Server) -> None:
    (job,) = make_files()["worker-job.yaml"]
    (pod,) = make_pods(job)
    without = {**pod, "spec": {**pod["spec"], "volumes": []}}
    with pytest.raises(ApiException, match="volumeMounts"):
        server.send(without)
    (container,) = pod["spec"]["containers"]
    huge = {"requests": {"cpu": "1", "memory": "900Gi"}, "limits": {"memory": "900Gi"}}
    greedy = {**pod["spec"], "containers": [{**container, "resources": huge}]}
    with pytest.raises(ApiException, match="exceeded quota"):
        server.send({**pod, "spec": greedy})


def test_no_namespace_and_no_access_are_two_things(plane: ControlPlane, tmp_path: Path) -> None:
    nowhere = open_cluster("nowhere", str(plane.kubeconfig))
    with pytest.raises(Misconfigured, match="no namespace nowhere"):
        nowhere.create(manifest_of("x", "nowhere"))
    for token in ("wrong", "nobody"):
        file = put_kubeconfig(tmp_path / token, plane.url, token, plane.authority)
        with pytest.raises(Misconfigured, match="denies access"):
            open_cluster(contract.NAMESPACE, str(file)).find({})


RUN = RunRecord(
    run="from-the-shell",
    region="eastern",
    product="crop_mask_eastern",
    period="2019--P1Y",
    submitted="2026-07-04T08:15:00+00:00",
    recipe="forest",
    resolution=100,
    overwrite=False,
    tiles=("x215y075", "x216y075", "x217y075"),
)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    use_made_up_credentials(monkeypatch, tmp_path)
    with serve_aws() as address:
        yield address


@pytest.mark.slow
def test_the_command_sends_starts_and_watches(plane: ControlPlane, aws: str) -> None:
    """As an operator types it: messages in SQS, a run in S3, a Job in Kubernetes."""
    boto3.client("s3", endpoint_url=aws).create_bucket(Bucket="mapped")
    queue, _ = make_queue(aws)
    environ = {
        **{name: value for name, value in os.environ.items() if name.startswith(("AWS_", "PATH"))},
        "KUBECONFIG": str(plane.kubeconfig),
        "CROPMASK_ENV": "prod",
        "CROPMASK_OUTPUT": "s3://mapped/cropland",
        "CROPMASK_QUEUE": queue,
        "CROPMASK_S3_ENDPOINT": aws,
        "CROPMASK_SQS_ENDPOINT": aws,
        "CROPMASK_IMAGE": "image:1",
    }
    store = open_site(environ).store()
    put_run(store, replace(RUN, sent=1))

    def submit(*words: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-c", "from cropmask.cli.main import main; main()", "submit")
        return subprocess.run(
            [*command, *words],
            env=environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    words = ("--region", "eastern", "--resume", RUN.run, "--workers", "1")
    dry = submit(*words, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "kind: Job" in dry.stdout
    assert load_run(store, RUN.product, RUN.period, RUN.run).sent == 1
    with FakeNode(plane, contract.NAMESPACE, lambda _job, _ended: 0):
        done = submit(*words, "--watch")
    assert done.returncode == 0, done.stderr
    assert "Complete" in done.stdout.splitlines()[-1]
    assert load_run(store, RUN.product, RUN.period, RUN.run).sent == 3
    sqs = boto3.client("sqs", endpoint_url=aws)
    received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert len(received) == 2, "the first had been sent before"
    again = submit(*words)
    assert again.returncode == 0
    assert "was there already" in again.stdout
    cancelled = submit("--cancel", RUN.run)
    assert cancelled.returncode == 0
    assert f"Job {job_name(RUN.run)} is deleted" in cancelled.stdout
    twice = submit("--cancel", RUN.run)
    assert twice.returncode == contract.ExitCode.REJECTED
    assert "no Job of run" in twice.stderr
