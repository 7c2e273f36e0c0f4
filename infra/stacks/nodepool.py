"""The pool of nodes for tiles, as Karpenter and EKS Auto Mode both read it."""

from __future__ import annotations

from typing import Any, Final

from cropmask.contract import BATCH_TAINT
from infra.settings import Cluster

POOL: Final = "tiles"
_ARCHITECTURES: Final = {"x86_64": "amd64", "arm64": "arm64"}
_CPUS: Final = 8
"""Of a node for tiles."""


def make_node_pool(cluster: Cluster, node_class: dict[str, str]) -> dict[str, Any]:
    """Pool of nodes for tiles: spot, and on demand where there is none; nothing while idle.

    Nodes go when they have been empty for five minutes; none is emptied, since a tile would be
    computed twice to save a few cents. After a month a node is replaced by one of a newer image,
    once the workers on it have left.
    """
    spec = {
        "nodeClassRef": node_class,
        "requirements": [
            _one_of("karpenter.sh/capacity-type", "spot", "on-demand"),
            _one_of("kubernetes.io/arch", _ARCHITECTURES[cluster.architecture]),
            _one_of("node.kubernetes.io/instance-type", *cluster.types),
        ],
        "taints": [{"key": BATCH_TAINT, "value": "true", "effect": "NoSchedule"}],
        "expireAfter": "720h",
        # Workers leave sooner, by CROPMASK_MAX_MINUTES: nothing that hangs holds a node.
        "terminationGracePeriod": "24h",
    }
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": POOL},
        "spec": {
            "template": {"metadata": {"labels": {BATCH_TAINT: "true"}}, "spec": spec},
            "limits": {"cpu": str(_CPUS * (cluster.spot_nodes + cluster.on_demand_nodes))},
            "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "5m"},
        },
    }


def _one_of(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}
