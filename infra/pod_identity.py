"""AWS roles of pods, through EKS Pod Identity."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct


class PodRole(Construct):
    """A role that one service account of one cluster gets, and nobody else.

    A pod gets its role when it starts: what starts it has to depend on this.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 (CDK's word)
        *,
        cluster_name: str,
        namespace: str,
        service_account: str,
        statements: Sequence[iam.PolicyStatement],
    ) -> None:
        super().__init__(scope, id)
        principal = iam.ServicePrincipal(
            "pods.eks.amazonaws.com",
            conditions={
                "StringEquals": {
                    "aws:RequestTag/kubernetes-namespace": namespace,
                    "aws:RequestTag/kubernetes-service-account": service_account,
                }
            },
        )
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=principal.with_session_tags(),
            description=f"{namespace}/{service_account} in {cluster_name}",
            inline_policies={"pod": iam.PolicyDocument(statements=list(statements))},
        )
        self.association = eks.CfnPodIdentityAssociation(
            self,
            "Association",
            cluster_name=cluster_name,
            namespace=namespace,
            service_account=service_account,
            role_arn=self.role.role_arn,
        )
