"""The cluster: control plane, nodes from zero, and who may reach it."""

from __future__ import annotations

from typing import Final, cast

from aws_cdk import RemovalPolicy, Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct

from cropmask.contract import BATCH_TAINT
from infra.naming import CropmaskStack, acknowledge, managed, wildcard
from infra.settings import Settings
from infra.stacks.controllers import add_controllers
from infra.stacks.retention import retention_of

VERSION: Final = eks.KubernetesVersion.V1_35
SYSTEM_TYPES: Final = ("m6i.large", "m5.large")
SPOT_TYPES: Final = (
    *("m5.2xlarge", "m5a.2xlarge", "m5d.2xlarge", "m5n.2xlarge"),
    *("m6i.2xlarge", "m6a.2xlarge", "m6id.2xlarge", "m7i.2xlarge"),
)
"""Types of one size (8 CPUs, 32 GiB): the more there are, the rarer is an interruption."""
ON_DEMAND_TYPES: Final = ("m6i.2xlarge", "m5.2xlarge")
_DISK_GIB: Final = 60
_NODE_POLICIES: Final = (
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonEKS_CNI_Policy",
)


class ClusterStack(CropmaskStack):
    """EKS with three groups of nodes; groups for tiles are empty while there is no work."""

    def __init__(self, scope: Construct, settings: Settings, vpc: ec2.IVpc) -> None:
        super().__init__(scope, settings, "cluster", "Kubernetes")
        self.name = self.places.cluster
        self._vpc = vpc
        self.cluster = self._control_plane()
        for position, arn in enumerate(settings.cluster.admins):
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
        first = [self._addon(name) for name in ("vpc-cni", "kube-proxy", "eks-pod-identity-agent")]
        role = self._node_role()
        template = self._launch_template()
        system = self._nodes("system", role, template, SYSTEM_TYPES, settings.cluster.system_nodes)
        for addon in first:
            system.node.add_dependency(addon)
        spot = self._nodes("spot", role, template, SPOT_TYPES, settings.cluster.spot_nodes)
        on_demand = self._nodes(
            "ondemand", role, template, ON_DEMAND_TYPES, settings.cluster.on_demand_nodes
        )
        for nodes in (spot, on_demand):
            nodes.node.add_dependency(system)
        names, metrics = self._addon("coredns"), self._addon("metrics-server")
        for addon in (names, metrics):
            addon.node.add_dependency(system)
        add_controllers(self, self.cluster, system, names)

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
            default_capacity_type=eks.DefaultCapacityType.NODEGROUP,
            default_capacity=0,
            bootstrap_self_managed_addons=False,
            bootstrap_cluster_creator_admin_permissions=False,
            kubectl_provider_options=eks.KubectlProviderOptions(
                kubectl_layer=KubectlV35Layer(self, "Kubectl"),
                private_subnets=self._vpc.private_subnets,
                memory=Size.gibibytes(1),
            ),
        )
        cluster.node.add_dependency(log)
        _acknowledge_kubectl(cluster)
        return cluster

    def _addon(self, name: str) -> eks.Addon:
        values = {"vpc-cni": {"enableNetworkPolicy": "true"}}
        return eks.Addon(
            self,
            f"Addon-{name}",
            addon_name=name,
            cluster=as_cluster(self.cluster),
            configuration_values=values.get(name),
            preserve_on_delete=False,
        )

    def _node_role(self) -> iam.Role:
        role = iam.Role(
            self,
            "NodeRole",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="Nodes: join the cluster, pull images, give addresses to pods",
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name(name) for name in _NODE_POLICIES
            ],
        )
        acknowledge(
            role,
            "The policies that EKS asks of its nodes; pods do not get them.",
            *map(managed, _NODE_POLICIES),
        )
        return role

    def _launch_template(self) -> ec2.LaunchTemplate:
        return ec2.LaunchTemplate(
            self,
            "Nodes",
            require_imdsv2=True,
            # One hop: a pod cannot fetch the credentials of its node.
            http_put_response_hop_limit=1,
            block_devices=[
                ec2.BlockDevice(
                    device_name="/dev/xvda",
                    volume=ec2.BlockDeviceVolume.ebs(
                        _DISK_GIB, encrypted=True, volume_type=ec2.EbsDeviceVolumeType.GP3
                    ),
                )
            ],
        )

    def _nodes(
        self,
        name: str,
        role: iam.Role,
        template: ec2.LaunchTemplate,
        types: tuple[str, ...],
        most: int,
    ) -> eks.Nodegroup:
        system = name == "system"
        return self.cluster.add_nodegroup_capacity(
            name,
            nodegroup_name=f"{self.name}-{name}",
            node_role=role,
            instance_types=[ec2.InstanceType(type_) for type_ in types],
            ami_type=eks.NodegroupAmiType.AL2023_X86_64_STANDARD,
            capacity_type=eks.CapacityType.SPOT if name == "spot" else eks.CapacityType.ON_DEMAND,
            launch_template_spec=eks.LaunchTemplateSpec(
                id=template.launch_template_id or "", version=template.latest_version_number
            ),
            subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
            min_size=most if system else 0,
            desired_size=most if system else 0,
            max_size=most + 1 if system else most,
            labels={"role": "system"} if system else {BATCH_TAINT: "true", "role": name},
            taints=None
            if system
            else [eks.TaintSpec(effect=eks.TaintEffect.NO_SCHEDULE, key=BATCH_TAINT, value="true")],
            enable_node_auto_repair=True,
        )


def as_cluster(cluster: eks.Cluster) -> eks.ICluster:
    """The cluster as its interface, which CDK's type declarations do not see that it has."""
    return cast("eks.ICluster", cluster)


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
