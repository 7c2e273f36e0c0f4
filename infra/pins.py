"""Versions of what others make, each one found to exist; how is said in ``docs/deploy.md``.

Standard library only: the preflight asks AWS and the charts' makers for these very names.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

KUBERNETES: Final = "1.36"
"""Minor version of the control plane; the kubectl layer and the autoscaler are of the same one."""

ADDONS: Final = MappingProxyType(
    {
        "vpc-cni": "v1.22.4-eksbuild.3",
        "kube-proxy": "v1.36.0-eksbuild.21",
        "coredns": "v1.14.3-eksbuild.16",
        "eks-pod-identity-agent": "v1.3.10-eksbuild.3",
        "metrics-server": "v0.9.0-eksbuild.7",
        "amazon-cloudwatch-observability": "v6.6.0-eksbuild.1",
    }
)
"""Add-ons of EKS and their builds."""
AUTO_ADDONS: Final = ("metrics-server", "amazon-cloudwatch-observability")
"""Those that EKS Auto Mode does not bring itself."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A Helm chart."""

    name: str
    version: str
    repository: str
    """Folder with an ``index.yaml``, or the chart itself at ``oci://``."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that a chart is told to use."""

    repository: str
    tag: str
    digest: str
    """Of the index of all platforms."""

    @property
    def tag_and_digest(self) -> str:
        """What stands after the colon; the digest decides."""
        return f"{self.tag}@{self.digest}"


AUTOSCALER: Final = Chart("cluster-autoscaler", "9.59.0", "https://kubernetes.github.io/autoscaler")
"""The newest; it names an older image, hence one of ours."""
AUTOSCALER_IMAGE: Final = Image(
    "registry.k8s.io/autoscaling/cluster-autoscaler",
    "v1.36.1",
    "sha256:461388d03eb5b55db58941ee7a81d9a619dd15302b01cbab9f5a9946715994b4",
)
KEDA: Final = Chart("keda", "2.21.1", "https://kedacore.github.io/charts")
"""Its makers test 2.21 with Kubernetes 1.34 to 1.36; images by the chart's own tag."""
KARPENTER: Final = Chart("karpenter", "1.14.1", "oci://public.ecr.aws/karpenter/karpenter")
"""The chart names its image by digest; the same one is said here, so that a test can see it."""
KARPENTER_IMAGE: Final = Image(
    "public.ecr.aws/karpenter/controller",
    "1.14.1",
    "sha256:723130949e4cab989461ff07d1be4cd781d63515432494641b33c235f300ae23",
)
