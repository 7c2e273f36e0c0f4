"""The cluster: control plane, nodes from zero, and who may reach it."""

from __future__ import annotations

from typing import Final

from aws_cdk import RemovalPolicy, Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk.lambda_layer_kubectl_v36 import KubectlV36Layer
from constructs import Construct, IDependable

from infra import pins, policies
from infra.documents import as_cluster
from infra.naming import CropmaskStack, acknowledge, managed, wildcard
from infra.settings import Settings
from infra.stacks.automode import BUILT_IN, add_auto_pool
from infra.stacks.controllers import add_controllers
from infra.stacks.groups import add_groups, make_node_role
from infra.stacks.karpenter import add_karpenter
from infra.stacks.retention import retention_of

VERSION: Final = eks.KubernetesVersion.of(pins.KUBERNETES)
_FIRST: Final = ("vpc-cni", "kube-proxy", "eks-pod-identity-agent")
"""Add-ons without which no node is ready."""
_AUTO_POLICIES: Final = (
    *("AmazonEKSBlockStoragePolicy", "AmazonEKSComputePolicy", "AmazonEKSLoadBalancingPolicy"),
    *("AmazonEKSNetworkingPolicy", "AmazonEKSWorkerNodePolicy"),
)


class ClusterStack(CropmaskStack):
    """EKS with nodes for controllers; for tiles there are none while there is no work."""

    def __init__(self, scope: Construct, settings: Settings, vpc: ec2.IVpc) -> None:
        super().__init__(scope, settings, "cluster", "Kubernetes")
        self.name = self.places.cluster
        self._vpc = vpc
        self._auto = settings.cluster.nodes == "auto"
        self.cluster = self._control_plane()
        for position, arn in enumerate(settings.cluster.admins or (self._admin_role(),)):
            self.cluster.grant_access(
                f"Admin{position}",
                arn,
                [
                    eks.AccessPolicy.from_access_policy_name(
                        "AmazonEKSClusterAdminPolicy",
                        access_scope_type=eks.AccessScopeType.CLUSTER,
                    )
                ],
            )
        needs = self._auto_nodes() if self._auto else self._own_nodes()
        add_controllers(self, self.cluster, *needs)

    def _own_nodes(self) -> list[IDependable]:
        """Nodes that we answer for, and what runs on each: what controllers wait for."""
        first = [self._addon(name) for name in _FIRST]
        role = make_node_role(self)
        system = add_groups(self, self.cluster, role)
        for addon in first:
            system.node.add_dependency(addon)
        names, metrics = self._addon("coredns"), self._addon("metrics-server")
        for addon in (names, metrics):
            addon.node.add_dependency(system)
        if self.settings.cluster.nodes == "karpenter":
            add_karpenter(self, self.cluster, role, system, names)
        return [system, names]

    def _auto_nodes(self) -> list[IDependable]:
        """What AWS answers for; the rest of the add-ons comes with it."""
        self._addon("metrics-server")
        return [add_auto_pool(self, self.cluster)]

    def _admin_role(self) -> str:
        """ARN of a role for administrators, for those whom the account's own policies let."""
        role = iam.Role(
            self,
            "Admin",
            role_name=f"{self.name}-admin",
            assumed_by=iam.AccountPrincipal(self.settings.account),
            description="Administers the cluster; nothing else in AWS",
            inline_policies={
                "admin": iam.PolicyDocument(statements=[policies.describe_cluster(self.places)])
            },
        )
        self.say("AdminRole", "role of administrators", role.role_arn)
        return role.role_arn

    def _control_plane(self) -> eks.Cluster:
        key = kms.Key(
            self,
            "Secrets",
            description=f"Secrets of {self.name}",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.DESTROY,
        )
        log = logs.LogGroup(
            self,
            "ControlPlaneLog",
            log_group_name=f"/aws/eks/{self.name}/cluster",  # EKS's own name, with our retention
            retention=retention_of(self.settings.cluster.log_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        outside = self.settings.cluster.endpoint_from
        cluster = eks.Cluster(
            self,
            "Cluster",
            cluster_name=self.name,
            version=VERSION,
            vpc=self._vpc,
            vpc_subnets=[ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)],
            endpoint_access=eks.EndpointAccess.PUBLIC_AND_PRIVATE.only_from(*outside)
            if outside
            else eks.EndpointAccess.PRIVATE,
            secrets_encryption_key=key,
            cluster_logging=list(eks.ClusterLoggingTypes),
            default_capacity_type=eks.DefaultCapacityType.AUTOMODE
            if self._auto
            else eks.DefaultCapacityType.NODEGROUP,
            default_capacity=None if self._auto else 0,
            compute=eks.ComputeConfig(node_pools=list(BUILT_IN)) if self._auto else None,
            bootstrap_self_managed_addons=False,
            bootstrap_cluster_creator_admin_permissions=False,
            kubectl_provider_options=eks.KubectlProviderOptions(
                kubectl_layer=KubectlV36Layer(self, "Kubectl"),
                private_subnets=self._vpc.private_subnets,
                memory=Size.gibibytes(1),
            ),
        )
        cluster.node.add_dependency(log)
        _acknowledge_kubectl(cluster)
        if self._auto:
            _acknowledge_auto(cluster)
        return cluster

    def _addon(self, name: str) -> eks.Addon:
        values = {"vpc-cni": {"enableNetworkPolicy": "true"}}
        return eks.Addon(
            self,
            f"Addon-{name}",
            addon_name=name,
            addon_version=pins.ADDONS[name],
            cluster=as_cluster(self.cluster),
            configuration_values=values.get(name),
            preserve_on_delete=False,
        )


def _acknowledge_auto(cluster: eks.Cluster) -> None:
    acknowledge(
        cluster,
        "The policies that EKS asks for its Auto Mode; pods do not get them.",
        *map(managed, _AUTO_POLICIES),
    )


def _acknowledge_kubectl(cluster: eks.Cluster) -> None:
    """What CDK makes beside a cluster: functions that run kubectl and helm at deployment."""
    acknowledge(
        cluster, "AWS's own policy for the control plane.", managed("AmazonEKSClusterPolicy")
    )
    registry = (
        'IAM4[Policy::{"Fn::If":["ClusterKubectlProviderHandlerHasEcrPublic69E09706",'
        '{"Fn::Join":["",["arn:",{"Ref":"AWS::Partition"},":iam::aws:policy/'
        'AmazonElasticContainerRegistryPublicReadOnly"]]},{"Ref":"AWS::NoValue"}]}]'
    )
    acknowledge(
        cluster,
        "The functions are CDK's own; they run at deployment only, in the private subnets.",
        managed("service-role/AWSLambdaBasicExecutionRole"),
        managed("service-role/AWSLambdaVPCAccessExecutionRole"),
        managed("AmazonEC2ContainerRegistryReadOnly"),
        registry,
        "L1",
    )
    acknowledge(
        cluster,
        "CDK's framework invokes any version of its own function, and nothing else.",
        wildcard("<ClusterKubectlProviderHandler2E05C68A.Arn>:*"),
    )
