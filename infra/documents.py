"""Kubernetes documents that a deployment applies."""

from __future__ import annotations

from typing import Any, cast

from aws_cdk import aws_eks_v2 as eks
from constructs import Construct


def as_cluster(cluster: eks.Cluster) -> eks.ICluster:
    """The cluster as its interface, which CDK's type declarations do not see that it has."""
    return cast("eks.ICluster", cluster)


def apply_documents(
    scope: Construct,
    id: str,  # noqa: A002 (CDK's word)
    cluster: eks.ICluster,
    *documents: dict[str, Any],
) -> eks.KubernetesManifest:
    """Apply documents; what somebody made by hand under the same name becomes ours."""
    return eks.KubernetesManifest(
        scope, id, cluster=cluster, manifest=list(documents), overwrite=True, prune=False
    )
