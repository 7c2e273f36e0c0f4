"""The network: private subnets for nodes, few ways in and out."""

from __future__ import annotations

from typing import Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.naming import CropmaskStack
from infra.settings import Settings
from infra.stacks.retention import retention_of

_INTERFACES: Final = {
    "Sqs": ec2.InterfaceVpcEndpointAwsService.SQS,
    "EcrApi": ec2.InterfaceVpcEndpointAwsService.ECR,
    "EcrDocker": ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    "Monitoring": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_MONITORING,
    "Eks": ec2.InterfaceVpcEndpointAwsService.EKS,
    "EksAuth": ec2.InterfaceVpcEndpointAwsService.EKS_AUTH,
    "Sts": ec2.InterfaceVpcEndpointAwsService.STS,
    "Ec2": ec2.InterfaceVpcEndpointAwsService.EC2,
    "Autoscaling": ec2.InterfaceVpcEndpointAwsService.AUTOSCALING,
}
"""What nodes, workers and controllers talk to, beside S3."""


class NetworkStack(CropmaskStack):
    """VPC, endpoints, flow logs."""

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, settings, "network", "VPC, endpoints and flow logs")
        zones = [f"{settings.region}{letter}" for letter in settings.network.zones]
        # As an answer of AWS would be kept: nobody has to ask for it.
        self.node.set_context(
            f"availability-zones:account={settings.account}:region={settings.region}", zones
        )
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(settings.network.cidr),
            availability_zones=zones,
            nat_gateways=settings.network.nat_gateways,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="public",
                    subnet_type=ec2.SubnetType.PUBLIC,
                    cidr_mask=24,
                    map_public_ip_on_launch=False,
                ),
                ec2.SubnetConfiguration(
                    name="private", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=20
                ),
            ],
            # Rasters go to and from S3 without passing, and paying for, a NAT gateway.
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)
            },
        )
        if settings.network.interface_endpoints:
            self._add_interfaces()
        self._log_flows()

    def _add_interfaces(self) -> None:
        group = ec2.SecurityGroup(
            self,
            "Interfaces",
            vpc=self.vpc,
            description="HTTPS from inside the network to the interfaces of AWS",
            allow_all_outbound=False,
        )
        # The literal block, and not the VPC's attribute: rules can then be checked at synthesis.
        group.add_ingress_rule(ec2.Peer.ipv4(self.settings.network.cidr), ec2.Port.tcp(443))
        for name, service in _INTERFACES.items():
            self.vpc.add_interface_endpoint(
                name, service=service, open=False, security_groups=[group]
            )

    def _log_flows(self) -> None:
        log = logs.LogGroup(
            self,
            "FlowLog",
            retention=retention_of(self.settings.network.flow_log_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = iam.Role(
            self, "FlowLogRole", assumed_by=iam.ServicePrincipal("vpc-flow-logs.amazonaws.com")
        )
        self.vpc.add_flow_log(
            "Flows", destination=ec2.FlowLogDestination.to_cloud_watch_logs(log, role)
        )
