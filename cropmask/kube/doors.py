"""The door to a cluster: that of a kubeconfig, or of the pod itself."""

from __future__ import annotations

from cropmask.kube.protocol import Cluster


def open_cluster(namespace: str, kubeconfig: str | None = None) -> Cluster:
    """The cluster of a kubeconfig, else of the pod that this runs in.

    Parameters
    ----------
    namespace
        Namespace of the Jobs.
    kubeconfig
        File; default as kubectl finds it.

    Raises
    ------
    Misconfigured
        If there is no configuration, or the Kubernetes client is not installed.
    """
    from cropmask.kube.client import KubeCluster  # an extra, which takes a while to load

    return KubeCluster(namespace, kubeconfig)
