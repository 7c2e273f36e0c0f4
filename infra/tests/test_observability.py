from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from cropmask import contract
from infra.places import Places
from infra.settings import Settings
from infra.tests.synthesized import Properties, Synthesized, statements

DASHBOARD_ASKS_FOR = {
    *("ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"),
    *("ApproximateAgeOfOldestMessage", "TriggeredRules"),
    *("pod_cpu_utilization", "pod_memory_utilization_over_pod_limit"),
    *("node_cpu_utilization", "node_memory_utilization", "cluster_node_count"),
    *(contract.METRIC_SUCCEEDED, contract.METRIC_SKIPPED, contract.METRIC_FAILED),
    *(contract.METRIC_INVALID, contract.METRIC_SECONDS),
}


RUNBOOK = Path(__file__).parents[2] / "docs/runbook.md"


def alarms(cloud: Synthesized) -> dict[str, Properties]:
    found = cloud.properties("AWS::CloudWatch::Alarm")
    return {re.sub(r"^cropmask-[a-z]+-", "", alarm["AlarmName"]): alarm for alarm in found}


def dashboard(cloud: Synthesized) -> dict[str, Any]:
    body = cloud.one("AWS::CloudWatch::Dashboard")["DashboardBody"]
    if isinstance(body, dict):
        body = "".join(p if isinstance(p, str) else "TOKEN" for p in body["Fn::Join"][1])
    whole: dict[str, Any] = json.loads(body)
    return whole


def test_the_dashboard_shows_everything_that_operators_ask_for(cloud: Synthesized) -> None:
    text = json.dumps(dashboard(cloud))
    assert {name for name in DASHBOARD_ASKS_FOR if name not in text} == set()
    titles = {widget["properties"].get("title") for widget in dashboard(cloud)["widgets"]}
    assert any("cost" in str(title).lower() for title in titles)


def test_searches_name_the_metrics_as_workers_put_them(cloud: Synthesized) -> None:
    text = json.dumps(dashboard(cloud)).replace('\\"', '"').replace('\\"', '"')
    searched = set(re.findall(r'SEARCH\(\'\{([A-Za-z,]+)\} MetricName=\\?"(\w+)\\?"', text))
    schema = ",".join((contract.METRICS_NAMESPACE, *contract.METRIC_DIMENSIONS))
    assert {found[0] for found in searched} == {schema}
    assert {found[1] for found in searched} <= set(contract.METRICS)


def test_cost_is_seconds_on_the_cpus_of_a_worker_at_the_price(
    cloud: Synthesized, settings: Settings
) -> None:
    (cost,) = [
        metric[0]["expression"]
        for widget in dashboard(cloud)["widgets"]
        if "cost" in str(widget["properties"].get("title"))
        for metric in widget["properties"].get("metrics", ())
    ]
    assert cost.startswith("SUM(SEARCH(")
    assert cost.endswith(
        f" * {contract.WORKER_CPUS} * {settings.workers.cpu_hour_price.dollars} / 3600"
    )


def test_the_cost_of_runs_is_read_where_pods_write_and_operators_may_ask(
    cloud: Synthesized, settings: Settings
) -> None:
    (query,) = [w["properties"]["query"] for w in dashboard(cloud)["widgets"] if w["type"] == "log"]
    source, _, commands = query.partition(" | ")
    (group,) = re.findall(r"'(.+)'", source)
    groups = [found["LogGroupName"] for found in cloud.properties("AWS::Logs::LogGroup", "cluster")]
    assert group in groups
    price = f" * {contract.WORKER_CPUS} * {settings.workers.cpu_hour_price.dollars} / 3600 as usd"
    assert price in commands
    operator = cloud.named("AWS::IAM::Role", "RoleName", "operator")
    (policy,) = operator["Policies"]
    (asked,) = [
        statement["Resource"]
        for statement in statements(policy["PolicyDocument"])
        if "logs:StartQuery" in statement["Action"]
    ]
    ours = f"log-group:{group.rpartition('/')[0]}/*"
    assert [arn for arn in asked if arn.endswith(ours)]


def test_every_alarm_goes_to_the_topic_and_names_its_runbook(
    cloud: Synthesized, settings: Settings
) -> None:
    (topic,) = [resource.id for resource in cloud.resources("AWS::SNS::Topic")]
    for name, alarm in alarms(cloud).items():
        assert alarm["AlarmActions"] == [{"Ref": topic}] == alarm["OKActions"]
        assert f"{settings.alarms.runbook}#{name}" in alarm["AlarmDescription"]


def test_every_alarm_is_explained_in_the_runbook(cloud: Synthesized) -> None:
    headings = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9-]", "", h.lower().replace(" ", "-")) for h in headings}
    assert set(alarms(cloud)) <= anchors


def test_alarms_of_the_queue(cloud: Synthesized, settings: Settings) -> None:
    places, found = Places(settings), alarms(cloud)
    assert set(found) == {
        *("dead-letters", "oldest-task", "nothing-completes", "tiles-fail", "nodes-fail"),
        *("hung-work", "workers-silent", "workers-lost", "poison-messages", "run-stopped"),
        "run-budget",
    }
    dead = found["dead-letters"]
    assert dead["Dimensions"] == [{"Name": "QueueName", "Value": places.dead_letters.name}]
    assert (dead["Threshold"], dead["ComparisonOperator"]) == (0, "GreaterThanThreshold")
    oldest = found["oldest-task"]
    assert oldest["Threshold"] == settings.alarms.oldest_hours * 3600
    assert oldest["Dimensions"] == [{"Name": "QueueName", "Value": places.tasks.name}]


def test_an_hour_without_an_end_is_an_alarm(cloud: Synthesized) -> None:
    metrics = alarms(cloud)["nothing-completes"]["Metrics"]
    by_id = {metric["Id"]: metric for metric in metrics}
    (expression,) = [m["Expression"] for m in metrics if "Expression" in m]
    assert expression == "IF(waiting > 0 AND FILL(left, 0) == 0, 1, 0)"
    waiting, left = (by_id[name]["MetricStat"] for name in ("waiting", "left"))
    assert (waiting["Stat"], waiting["Period"]) == ("Minimum", 3600)
    assert waiting["Metric"]["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert (left["Stat"], left["Metric"]["MetricName"]) == ("Sum", "NumberOfMessagesDeleted")


def test_alarms_ask_for_metrics_as_workers_put_them(cloud: Synthesized, settings: Settings) -> None:
    """By the environment of the site, and without a region where none is known."""
    whose = [{"Name": contract.METRIC_DIMENSIONS[0], "Value": settings.workers.site}]
    asked = {
        metric["MetricStat"]["Metric"]["MetricName"]: metric["MetricStat"]["Metric"]["Dimensions"]
        for alarm in alarms(cloud).values()
        for metric in alarm.get("Metrics", [])
        if metric.get("MetricStat", {}).get("Metric", {}).get("Namespace") == "CropMask"
    }
    without_region = (contract.METRIC_ALIVE, contract.METRIC_FAILED, contract.METRIC_INVALID)
    assert asked == dict.fromkeys(without_region, whose)
    lost = alarms(cloud)["workers-lost"]
    (query,) = [metric["Expression"] for metric in lost["Metrics"]]
    assert f"SUM({contract.METRIC_LOST})" in query
    assert lost["Threshold"] == settings.alarms.lost_an_hour


def test_failures_are_those_of_the_environment(cloud: Synthesized, settings: Settings) -> None:
    alarm = alarms(cloud)["tiles-fail"]
    (query,) = [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric]
    assert query == (
        f'SELECT SUM({contract.METRIC_FAILED}) FROM SCHEMA("CropMask", Environment, Region) '
        f"WHERE Environment = '{settings.workers.site}'"
    )
    assert alarm["Threshold"] == settings.alarms.failures_an_hour


def test_spot_interruptions_are_counted_and_logged(cloud: Synthesized) -> None:
    rule = cloud.one("AWS::Events::Rule")
    assert rule["EventPattern"] == {
        "source": ["aws.ec2"],
        "detail-type": ["EC2 Spot Instance Interruption Warning"],
    }
    assert rule["Name"] in json.dumps(dashboard(cloud))
    policy = cloud.one("AWS::Logs::ResourcePolicy")
    for service in ("events.amazonaws.com", "delivery.logs.amazonaws.com"):
        assert service in json.dumps(policy)


def test_alarms_may_publish(cloud: Synthesized, settings: Settings) -> None:
    """A topic with a policy has lost the default one, which lets the account's alarms in."""
    policy = cloud.one("AWS::SNS::TopicPolicy")["PolicyDocument"]
    allowed = [s for s in statements(policy) if s["Effect"] == "Allow"]
    (publish,) = allowed
    assert publish["Action"] == ["sns:Publish"]
    assert publish["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert publish["Condition"] == {"StringEquals": {"aws:SourceAccount": settings.account}}


def test_alarms_are_encrypted_on_their_way(cloud: Synthesized) -> None:
    topic = cloud.one("AWS::SNS::Topic")
    (key,) = cloud.resources("AWS::KMS::Key", "observability")
    assert key.properties["EnableKeyRotation"] is True
    assert topic["KmsMasterKeyId"]["Fn::GetAtt"][0] == key.id
    (use,) = [
        s
        for s in statements(key.properties["KeyPolicy"])
        if s["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    ]
    assert set(use["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}
