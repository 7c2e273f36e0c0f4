"""The namespace of the workers: who they are, what they reach, how much they may take."""

from __future__ import annotations

from typing import Final

from cropmask import contract
from cropmask.kube.workermanifests import APP_LABELS, Manifest, make_document

CONFIG_MAP: Final = f"{contract.APP}-settings"
"""ConfigMap with the variables of an environment."""
INDEXER: Final = f"{contract.APP}-indexer"
"""Service account, CronJob and container that index results into a datacube."""
ALLOWED_PODS: Final = 4
"""Pods beside the workers: indexing, workflows, somebody's one-tile Job."""
_AGENT: Final = "169.254.170.23/32"
"""EKS Pod Identity's agent, which gives a pod its AWS credentials."""
_METADATA: Final = "169.254.169.254/32"
"""The node's own credentials: not for pods."""


def make_namespace(name: str = contract.NAMESPACE) -> Manifest:
    """Namespace that admits restricted pods only (Pod Security Standards)."""
    modes = ("enforce", "audit", "warn")
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in modes}
    metadata = {"name": name, "labels": {**APP_LABELS, **levels}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def make_service_account(name: str, namespace: str = contract.NAMESPACE) -> Manifest:
    """Service account without a token for the Kubernetes API."""
    return make_document(
        "v1", "ServiceAccount", name, namespace, automountServiceAccountToken=False
    )


def make_config_map(values: dict[str, str], namespace: str = contract.NAMESPACE) -> Manifest:
    """ConfigMap whose entries become the variables of every container of ours."""
    return make_document(
        "v1", "ConfigMap", CONFIG_MAP, namespace, data=dict(sorted(values.items()))
    )


def make_network_policy(namespace: str = contract.NAMESPACE) -> Manifest:
    """Nothing comes in; out go names, HTTPS, and the request for AWS credentials."""
    system = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    anywhere = {"cidr": "0.0.0.0/0", "except": [_METADATA]}
    spec = {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [
            make_egress({"namespaceSelector": system}, ("UDP", 53), ("TCP", 53)),
            make_egress({"ipBlock": anywhere}, ("TCP", 443)),
            make_egress({"ipBlock": {"cidr": _AGENT}}, ("TCP", 80)),
        ],
    }
    return make_document(
        "networking.k8s.io/v1", "NetworkPolicy", contract.APP, namespace, spec=spec
    )


def make_egress(peer: Manifest, *ports: tuple[str, int]) -> Manifest:
    """Rule of a network policy: what pods may reach, on which ports."""
    allowed = [{"protocol": protocol, "port": port} for protocol, port in ports]
    return {"to": [peer], "ports": allowed}


def make_quota(workers: int, namespace: str = contract.NAMESPACE) -> Manifest:
    """What the namespace may take: so many workers, and a few pods more."""
    pods = workers + ALLOWED_PODS
    memory = f"{pods * int(contract.WORKER_MEMORY.removesuffix('Mi'))}Mi"
    hard = {
        "pods": str(pods),
        "requests.cpu": str(pods * contract.WORKER_CPUS),
        "requests.memory": memory,
        "limits.memory": memory,
    }
    return make_document("v1", "ResourceQuota", contract.APP, namespace, spec={"hard": hard})


def make_limit_range(namespace: str = contract.NAMESPACE) -> Manifest:
    """What a container gets that asks for nothing, so that the quota can count it."""
    limit = {
        "type": "Container",
        "default": {"memory": "512Mi"},
        "defaultRequest": {"cpu": "100m", "memory": "512Mi"},
    }
    return make_document("v1", "LimitRange", contract.APP, namespace, spec={"limits": [limit]})
