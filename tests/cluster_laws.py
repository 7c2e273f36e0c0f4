"""What every cluster does, the fake and the real one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cropmask import contract
from cropmask.errors import Misconfigured, Rejected
from cropmask.kube.protocol import Cluster, JobCondition
from cropmask.kube.workermanifests import Manifest, WorkerPod, job_name, make_labels, make_queue_job


def manifest_of(run: str, namespace: str, **spec: Any) -> Manifest:
    """Job of a run that every cluster takes, with some fields of its spec changed."""
    worker = WorkerPod(
        "image:1", namespace=namespace, labels=make_labels(run=run, region="eastern")
    )
    job = make_queue_job(job_name(run), worker, workers=2)
    return {**job, "spec": {**job["spec"], **spec}}


class ClusterLaws:
    """Tests; subclasses give the cluster."""

    @pytest.fixture
    def cluster(self) -> Iterator[Cluster]:
        raise NotImplementedError

    def test_a_job_is_created_once(self, cluster: Cluster) -> None:
        manifest = manifest_of("once", cluster.namespace)
        assert cluster.create(manifest)
        assert not cluster.create(manifest), "one of this name is there"
        assert not cluster.create(manifest, dry_run=True)
        state = cluster.get(job_name("once"))
        assert state is not None
        assert (state.run, state.condition, state.is_ended) == ("once", JobCondition.RUNNING, False)
        assert state.completions is None
        assert "Running" in str(state)
        assert cluster.delete(job_name("once"))

    def test_a_dry_run_leaves_nothing(self, cluster: Cluster) -> None:
        assert cluster.create(manifest_of("dry", cluster.namespace), dry_run=True)
        assert cluster.get(job_name("dry")) is None

    def test_what_is_not_there_is_said_to_be_not_there(self, cluster: Cluster) -> None:
        assert cluster.get("nothing") is None
        assert not cluster.delete("nothing")
        assert cluster.find({contract.LABEL_RUN: "nothing"}) == ()
        with pytest.raises(Rejected, match="there is no Job nothing"):
            next(iter(cluster.watch("nothing")))

    def test_jobs_are_found_by_their_labels(self, cluster: Cluster) -> None:
        for run in ("find-b", "find-a"):
            cluster.create(manifest_of(run, cluster.namespace))
        labels = make_labels(region="eastern")
        found = [state.name for state in cluster.find(labels) if "find-" in state.name]
        assert found == [job_name("find-a"), job_name("find-b")]
        (one,) = cluster.find({**labels, contract.LABEL_RUN: "find-a"})
        assert one.run == "find-a"
        for name in found:
            cluster.delete(name)

    @pytest.mark.parametrize("wrong", ["Not A Name", "-", "a" * 64])
    def test_a_bad_name_is_refused(self, cluster: Cluster, wrong: str) -> None:
        manifest = manifest_of("bad", cluster.namespace)
        manifest["metadata"] = {**manifest["metadata"], "name": wrong}
        with pytest.raises(Misconfigured, match="refuses"):
            cluster.create(manifest)

    def test_a_bad_pod_is_refused(self, cluster: Cluster) -> None:
        manifest = manifest_of("pod", cluster.namespace)
        manifest["spec"]["template"]["spec"]["restartPolicy"] = "Always"
        with pytest.raises(Misconfigured, match="refuses"):
            cluster.create(manifest, dry_run=True)
        with pytest.raises(Misconfigured, match="refuses"):
            cluster.create(manifest)
        assert cluster.get(job_name("pod")) is None

    def test_a_watch_ends_when_somebody_deletes_the_job(self, cluster: Cluster) -> None:
        cluster.create(manifest_of("deleted", cluster.namespace))
        states = iter(cluster.watch(job_name("deleted")))
        assert not next(states).is_ended
        assert cluster.delete(job_name("deleted"))
        with pytest.raises(Rejected, match="was deleted"):
            list(states)
