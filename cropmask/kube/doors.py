"""The door to a cluster: the Kubernetes client is an extra, and loaded only when one is opened."""

from __future__ import annotations

from cropmask.kube.protocol import Cluster


def open_cluster(namespace: str, kubeconfig: str | None = None) -> Cluster:
    """The cluster of a kubeconfig (default as kubectl finds it), else of the pod this runs in.

    Raises Misconfigured if there is no configuration, or the client is not installed.
    """
    from cropmask.kube.client import KubeCluster  # takes a while to load

    return KubeCluster(namespace, kubeconfig)
