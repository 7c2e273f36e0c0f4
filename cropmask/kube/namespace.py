"""The namespace of the workers: who they are, what they reach, how much they may take."""

from __future__ import annotations

from typing import Final

from cropmask import contract
from cropmask.kube.manifests import Manifest

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
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in _MODES}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {**_labels(), **levels}},
    }


_MODES: Final = ("enforce", "audit", "warn")


def make_service_account(name: str, namespace: str = contract.NAMESPACE) -> Manifest:
    """Service account without a token for the Kubernetes API."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "labels": _labels()},
        "automountServiceAccountToken": False,
    }


def make_config_map(values: dict[str, str], namespace: str = contract.NAMESPACE) -> Manifest:
    """ConfigMap whose entries become the variables of every container of ours."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": namespace, "labels": _labels()},
        "data": dict(sorted(values.items())),
    }


def make_network_policy(namespace: str = contract.NAMESPACE) -> Manifest:
    """Nothing comes in; out go names, HTTPS, and the request for AWS credentials."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": contract.APP, "namespace": namespace, "labels": _labels()},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [
                {
                    "to": [
                        {
                            "namespaceSelector": {
                                "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
                            }
                        }
                    ],
                    "ports": _ports(("UDP", 53), ("TCP", 53)),
                },
                {
                    "to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [_METADATA]}}],
                    "ports": _ports(("TCP", 443)),
                },
                {"to": [{"ipBlock": {"cidr": _AGENT}}], "ports": _ports(("TCP", 80))},
            ],
        },
    }


def make_quota(workers: int, namespace: str = contract.NAMESPACE) -> Manifest:
    """What the namespace may take: so many workers, and a few pods more."""
    pods = workers + ALLOWED_PODS
    memory = pods * int(contract.WORKER_MEMORY.removesuffix("Gi"))
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": contract.APP, "namespace": namespace, "labels": _labels()},
        "spec": {
            "hard": {
                "pods": str(pods),
                "requests.cpu": str(pods * int(contract.WORKER_CPU)),
                "requests.memory": f"{memory}Gi",
                "limits.memory": f"{memory}Gi",
            }
        },
    }


def make_limit_range(namespace: str = contract.NAMESPACE) -> Manifest:
    """What a container gets that asks for nothing, so that the quota can count it."""
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": contract.APP, "namespace": namespace, "labels": _labels()},
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "default": {"memory": "512Mi"},
                    "defaultRequest": {"cpu": "100m", "memory": "512Mi"},
                }
            ]
        },
    }


def _ports(*ports: tuple[str, int]) -> list[Manifest]:
    return [{"protocol": protocol, "port": port} for protocol, port in ports]


def _labels() -> dict[str, str]:
    return {"app.kubernetes.io/name": contract.APP}
