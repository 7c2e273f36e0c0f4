"""Names, tags, and acknowledgments: what every stack does alike."""

from __future__ import annotations

from typing import Final

from aws_cdk import Acknowledgment, CfnOutput, Environment, Stack, Tags, Validations
from constructs import Construct, IConstruct

from cropmask.contract import APP, LABEL_ENVIRONMENT, LABEL_RUN
from infra.settings import Settings

SHARED_RUN: Final = "shared"
"""Value of the run's tag on what serves every run."""


def stack_name(settings: Settings, part: str) -> str:
    """Name of a stack, such as ``cropmask-dev-data``."""
    return f"{APP}-{settings.name}-{part}"


def cluster_name(settings: Settings) -> str:
    """Name of the cluster; known before it is made, so that policies can name it."""
    return f"{APP}-{settings.name}"


class CropmaskStack(Stack):
    """A stack of one environment."""

    def __init__(self, scope: Construct, settings: Settings, part: str, description: str) -> None:
        super().__init__(
            scope,
            stack_name(settings, part),
            env=Environment(account=settings.account, region=settings.region),
            description=f"{APP} {settings.name}: {description}",
            termination_protection=settings.data.keep,
        )
        self.settings = settings

    def say(self, id: str, variable: str, value: str) -> None:  # noqa: A002 (CDK's word)
        """Print a value at deployment under the name of the variable that operators set to it."""
        CfnOutput(self, id, value=value, description=variable)


def tag_everything(scope: IConstruct, settings: Settings, run: str) -> None:
    """Tags by which costs are allocated; activate them once in the billing console."""
    Tags.of(scope).add(APP, APP)
    Tags.of(scope).add(LABEL_ENVIRONMENT.replace("/", ":"), settings.name)
    Tags.of(scope).add(LABEL_RUN.replace("/", ":"), run)


def acknowledge(scope: IConstruct, reason: str, *rules: str) -> None:
    """Say why a rule of AWS Solutions does not hold for a part of the application."""
    Validations.of(scope).acknowledge(
        *(Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason) for rule in rules)
    )
