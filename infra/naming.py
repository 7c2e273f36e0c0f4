"""Stacks, tags and acknowledgments: what every stack does alike."""

from __future__ import annotations

from typing import Final

from aws_cdk import Acknowledgment, CfnOutput, Environment, Stack, Tags, Validations
from constructs import Construct, IConstruct

from cropmask.contract import APP, LABEL_ENVIRONMENT, LABEL_RUN
from infra.places import Places
from infra.settings import Settings

SHARED_RUN: Final = "shared"
"""Value of the run's tag on what serves every run."""


class CropmaskStack(Stack):
    """A stack of one environment."""

    def __init__(
        self,
        scope: Construct,
        settings: Settings,
        part: str,
        description: str,
        region: str | None = None,
    ) -> None:
        places = Places(settings)
        super().__init__(
            scope,
            f"{places.cluster}-{part}",
            env=Environment(account=settings.account, region=region or settings.region),
            description=f"{APP} {settings.name}: {description}",
            termination_protection=settings.data.keep,
        )
        self.settings = settings
        self.places = places

    def say(self, id: str, variable: str, value: str) -> None:  # noqa: A002 (CDK's word)
        """Print a value at deployment under the name of the variable that operators set to it."""
        CfnOutput(self, id, value=value, description=variable)


def tag_everything(scope: IConstruct, settings: Settings, run: str) -> None:
    """Tags by which costs are allocated; activate them once in the billing console."""
    for name, value in tags_of(settings, run).items():
        Tags.of(scope).add(name, value)


def tags_of(settings: Settings, run: str = SHARED_RUN) -> dict[str, str]:
    """The tags, as values: for what others make in our name."""
    return {
        APP: APP,
        LABEL_ENVIRONMENT.replace("/", ":"): settings.name,
        LABEL_RUN.replace("/", ":"): run,
    }


def acknowledge(scope: IConstruct, reason: str, *rules: str) -> None:
    """Say why a rule of AWS Solutions does not hold for a part of the application."""
    Validations.of(scope).acknowledge(
        *(Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason) for rule in rules)
    )


def wildcard(resource: str) -> str:
    """Rule against a wildcard among the resources of a policy."""
    return f"IAM5[Resource::{resource}]"


def managed(policy: str) -> str:
    """Rule against a policy that AWS manages."""
    return f"IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{policy}]"
