from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from cropmask import contract
from cropmask.errors import Interrupted, Misconfigured
from cropmask.kube import client as kube
from cropmask.kube.doors import open_cluster
from cropmask.kube.protocol import JobCondition, parse_job
from cropmask.kube.workermanifests import WorkerPod, job_name, make_indexed_job
from cropmask.testing.cluster import MemoryCluster
from tests.cluster_laws import ClusterLaws, manifest_of
from tests.controlplane import free_ports, put_kubeconfig


class TestMemory(ClusterLaws):
    @pytest.fixture
    def cluster(self) -> MemoryCluster:
        return MemoryCluster()

    def test_a_watch_tells_every_change_until_the_end(self, cluster: MemoryCluster) -> None:
        cluster.create(manifest_of("w", cluster.namespace))
        seen, changed = [], threading.Event()

        def follow() -> None:
            for state in cluster.watch(job_name("w")):
                seen.append((state.condition, state.active, state.succeeded))
                changed.set()

        def wait() -> None:
            assert changed.wait(30)
            changed.clear()

        thread = threading.Thread(target=follow)
        thread.start()
        wait()
        cluster.patch(job_name("w"), active=2)
        wait()
        complete = {"type": "Complete", "status": "True"}
        cluster.patch(job_name("w"), active=0, succeeded=2, conditions=[complete])
        thread.join(30)
        assert seen == [
            (JobCondition.RUNNING, 0, 0),
            (JobCondition.RUNNING, 2, 0),
            (JobCondition.COMPLETE, 0, 2),
        ]

    def test_another_namespace_is_refused(self, cluster: MemoryCluster) -> None:
        with pytest.raises(Misconfigured, match="namespace elsewhere"):
            cluster.create(manifest_of("w", "elsewhere"))


def test_states_are_read_from_documents() -> None:
    failed = {
        "metadata": {"name": "j", "labels": {contract.LABEL_RUN: "r"}},
        "spec": {"completions": 390, "completionMode": "Indexed"},
        "status": {
            "active": 1,
            "succeeded": 380,
            "failed": 12,
            "failedIndexes": "3,7-9",
            "conditions": [
                {"type": "FailureTarget", "status": "True"},
                {"type": "Complete", "status": "False"},
                {"type": "Failed", "status": "True", "reason": "FailedIndexes", "message": "m"},
            ],
        },
    }
    state = parse_job(failed)
    assert (state.condition, state.is_ended, state.run) == (JobCondition.FAILED, True, "r")
    assert str(state) == (
        "j: Failed (FailedIndexes: m): 1 active, 380 of 390 succeeded, 12 failed, "
        "failed indexes 3,7-9"
    )
    waiting = parse_job({"metadata": {"name": "j"}, "spec": {"suspend": True}, "status": None})
    assert (waiting.condition, waiting.labels) == (JobCondition.SUSPENDED, {})


def test_without_the_client_one_line_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    monkeypatch.delitem(sys.modules, "cropmask.kube.client")
    with pytest.raises(Misconfigured, match="'pip install kubernetes'"):
        open_cluster("x")


def test_without_a_kubeconfig_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no Kubernetes cluster is configured"):
        open_cluster("x", str(tmp_path / "none"))
    (tmp_path / "bad").write_text("contexts: [")
    with pytest.raises(Misconfigured, match="no Kubernetes cluster is configured"):
        open_cluster("x", str(tmp_path / "bad"))


def test_a_server_that_is_not_there_may_be_there_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    file = put_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{port}", "t", tmp_path / "ca")
    cluster = open_cluster("x", str(file))
    with pytest.raises(Interrupted, match=f"127.0.0.1:{port} cannot be reached"):
        cluster.get("j")
    waits: list[float] = []
    monkeypatch.setattr(kube.time, "sleep", waits.append)
    with pytest.raises(Interrupted, match="cannot be reached"):
        list(cluster.watch("j"))
    assert waits == [0.5 * 2**i for i in range(kube.MAX_WATCH_FAILURES)]


@pytest.mark.parametrize("lost", ["completionMode", "backoffLimitPerIndex"])
def test_an_index_that_the_server_drops_is_noticed(lost: str) -> None:
    manifest = make_indexed_job("j", WorkerPod("image:1"), tasks=3, workers=2)
    kube._check_kept(manifest, manifest)
    spec = {name: value for name, value in manifest["spec"].items() if name != lost}
    with pytest.raises(Misconfigured, match="too old for Indexed Jobs"):
        kube._check_kept(manifest, {**manifest, "spec": spec})
