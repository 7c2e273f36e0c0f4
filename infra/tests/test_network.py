from __future__ import annotations

from infra.settings import Settings
from infra.tests.synthesized import Synthesized


def test_subnets_are_private_and_public_in_every_zone(
    cloud: Synthesized, settings: Settings
) -> None:
    subnets = cloud.properties("AWS::EC2::Subnet")
    zones = {subnet["AvailabilityZone"] for subnet in subnets}
    assert zones == {f"{settings.region}{letter}" for letter in settings.network.zones}
    assert len(subnets) == 2 * len(settings.network.zones)
    assert not any(subnet["MapPublicIpOnLaunch"] for subnet in subnets)


def test_dev_has_one_nat_gateway_and_prod_one_a_zone(dev: Synthesized, prod: Synthesized) -> None:
    assert len(dev.resources("AWS::EC2::NatGateway")) == 1
    assert len(prod.resources("AWS::EC2::NatGateway")) == 3


def test_s3_is_reached_by_a_gateway(cloud: Synthesized, settings: Settings) -> None:
    (gateway,) = [
        endpoint
        for endpoint in cloud.properties("AWS::EC2::VPCEndpoint")
        if endpoint["VpcEndpointType"] == "Gateway"
    ]
    assert gateway["ServiceName"]["Fn::Join"][1][-1] == ".s3"
    # Every private route table, or some nodes would pay a NAT gateway for their rasters.
    assert len(gateway["RouteTableIds"]) == 2 * len(settings.network.zones)


def test_prod_reaches_aws_by_interfaces_and_dev_does_not(
    dev: Synthesized, prod: Synthesized
) -> None:
    def interfaces(cloud: Synthesized) -> set[str]:
        return {
            endpoint["ServiceName"].split(".", 3)[-1]
            for endpoint in cloud.properties("AWS::EC2::VPCEndpoint")
            if endpoint["VpcEndpointType"] == "Interface"
        }

    assert interfaces(dev) == set()
    assert interfaces(prod) >= {
        *("sqs", "ecr.api", "ecr.dkr", "logs", "monitoring", "eks", "eks-auth", "sts", "ec2"),
    }


def test_interfaces_take_https_from_inside_only(prod: Synthesized) -> None:
    groups = prod.properties("AWS::EC2::SecurityGroup", "network")
    (rule,) = [rule for group in groups for rule in group.get("SecurityGroupIngress", [])]
    assert (rule["CidrIp"], rule["FromPort"], rule["ToPort"]) == ("10.41.0.0/16", 443, 443)


def test_flows_are_logged_and_kept(cloud: Synthesized, settings: Settings) -> None:
    assert cloud.one("AWS::EC2::FlowLog")["TrafficType"] == "ALL"
    log = cloud.one("AWS::Logs::LogGroup", "network")
    assert log["RetentionInDays"] == settings.network.flow_log_days


def test_the_default_security_group_lets_nothing_through(cloud: Synthesized) -> None:
    assert len(cloud.resources("Custom::VpcRestrictDefaultSG")) == 1
