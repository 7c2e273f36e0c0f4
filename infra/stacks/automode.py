"""EKS Auto Mode: AWS brings nodes, network, names and Pod Identity; tiles have their own pool."""

from __future__ import annotations

from typing import Final

from aws_cdk import aws_eks_v2 as eks
from constructs import IDependable

from infra.documents import apply_documents, as_cluster
from infra.naming import CropmaskStack
from infra.stacks.nodepool import make_node_pool

BUILT_IN: Final = ("general-purpose", "system")
"""Pools of EKS that controllers run on."""
_NODE_CLASS: Final = {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"}


def add_auto_pool(stack: CropmaskStack, cluster: eks.Cluster) -> IDependable:
    """Add the pool of tiles; network policies are enforced, as the CNI's add-on does elsewhere."""
    policies = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "amazon-vpc-cni", "namespace": "kube-system"},
        "data": {"enable-network-policy-controller": "true"},
    }
    pool = make_node_pool(stack.settings.cluster, _NODE_CLASS)
    return apply_documents(stack, "TilePool", as_cluster(cluster), policies, pool)
