"""What operators see, and what wakes them."""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_cloudwatch as cw
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from cropmask.contract import APP
from infra.naming import CropmaskStack
from infra.settings import Settings
from infra.stacks.alarms import Alarm, make_alarms
from infra.stacks.dashboard import make_widgets
from infra.stacks.retention import retention_of

SPOT_EVENT: Final = "EC2 Spot Instance Interruption Warning"


class ObservabilityStack(CropmaskStack):
    """A dashboard, alarms to one topic, and the spot interruptions."""

    def __init__(self, scope: Construct, settings: Settings) -> None:
        super().__init__(scope, settings, "observability", "dashboard and alarms")
        self._topic = self._alarm_topic()
        spot_rule = self._count_interruptions()
        alarms = make_alarms(self.places)
        made = [self._alarm(alarm) for alarm in alarms]
        dashboard = cw.Dashboard(
            self,
            "Dashboard",
            dashboard_name=self.places.cluster,
            default_interval=Duration.hours(12),
        )
        dashboard.add_widgets(cw.AlarmStatusWidget(alarms=made, title="Alarms", width=24, height=3))
        for row in make_widgets(self.places, spot_rule):
            dashboard.add_widgets(*row)
        self.say("AlarmTopic", "topic of the alarms", self._topic.topic_arn)

    def _alarm_topic(self) -> sns.Topic:
        key = kms.Key(
            self,
            "TopicKey",
            alias=self.places.alarms,
            description=f"Alarms of {APP} {self.settings.name}",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.DESTROY,
        )
        alarms = iam.ServicePrincipal(
            "cloudwatch.amazonaws.com",
            conditions={"StringEquals": {"aws:SourceAccount": self.account}},
        )
        key.grant(
            alarms,
            "kms:Decrypt",
            "kms:GenerateDataKey*",
        )
        topic = sns.Topic(
            self,
            "Topic",
            topic_name=self.places.alarms,  # whoever publishes to it has no other way to know it
            master_key=key,
            enforce_ssl=True,
            display_name=f"{APP} alarms",
        )
        # A policy of one's own, as TLS needs, replaces the one by which alarms may publish.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsPublish",
                principals=[alarms],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
            )
        )
        if self.settings.alarms.email is not None:
            topic.add_subscription(subscriptions.EmailSubscription(self.settings.alarms.email))
        return topic

    def _alarm(self, alarm: Alarm) -> cw.Alarm:
        made = cw.Alarm(
            self,
            alarm.name,
            alarm_name=f"{self.places.cluster}-{alarm.anchor}",
            alarm_description=f"{alarm.meaning} {self.settings.alarms.runbook}#{alarm.anchor}",
            metric=alarm.metric,
            threshold=alarm.threshold,
            comparison_operator=cw.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=alarm.periods,
            treat_missing_data=cw.TreatMissingData.NOT_BREACHING,
        )
        action = actions.SnsAction(self._topic)
        made.add_alarm_action(action)
        made.add_ok_action(action)
        return made

    def _count_interruptions(self) -> str:
        """Name of a rule whose own metric counts them; its log says which instances."""
        log = logs.LogGroup(
            self,
            "SpotLog",
            log_group_name=f"/aws/events/{self.places.cluster}-spot",
            retention=retention_of(self.settings.cluster.log_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        # The rule's higher construct would write this policy by a function of its own.
        log.add_to_resource_policy(
            iam.PolicyStatement(
                sid="EventsWrite",
                principals=[
                    iam.ServicePrincipal("events.amazonaws.com"),
                    iam.ServicePrincipal("delivery.logs.amazonaws.com"),
                ],
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                resources=[log.log_group_arn],
            )
        )
        name = f"{self.places.cluster}-spot-interruptions"
        events.CfnRule(
            self,
            "Spot",
            name=name,
            description="Two minutes before a spot instance is taken",
            event_pattern={"source": ["aws.ec2"], "detail-type": [SPOT_EVENT]},
            targets=[
                events.CfnRule.TargetProperty(
                    id="log", arn=self.places.arn("logs", f"log-group:{log.log_group_name}")
                )
            ],
        )
        return name
