"""The dashboard: queue, tiles, pods, nodes, cost."""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw

from cropmask import contract
from infra.places import Places
from infra.settings import Settings
from infra.stacks.metrics import (
    AGE,
    FIVE_MINUTES,
    IN_FLIGHT,
    WAITING,
    environment_metric,
    queue_metric,
)

_HALF: Final = 12


def make_widgets(places: Places, spot_rule: str) -> list[list[cw.IWidget]]:
    """Rows of the dashboard.

    Parameters
    ----------
    spot_rule
        Name of the rule whose metric counts spot interruptions.
    """
    settings = places.settings
    return [
        [_tasks(places), _oldest(places)],
        [_tiles(settings), _seconds(settings)],
        [_workers(settings), _lost(settings)],
        [_pods(places), _nodes(places)],
        [_spot(settings, spot_rule), _cost(settings)],
        [_cost_by_run(places)],
    ]


def _graph(title: str, *left: cw.IMetric, unit: str = "") -> cw.GraphWidget:
    return cw.GraphWidget(
        title=title,
        left=list(left),
        width=_HALF,
        left_y_axis=cw.YAxisProps(label=unit, min=0, show_units=not unit),
    )


def _tasks(places: Places) -> cw.IWidget:
    return _graph(
        "Tasks",
        queue_metric(places.tasks, WAITING, "Maximum", label="waiting"),
        queue_metric(places.tasks, IN_FLIGHT, "Maximum", label="in flight"),
        queue_metric(places.dead_letters, WAITING, "Maximum", label="dead letters"),
    )


def _oldest(places: Places) -> cw.IWidget:
    return _graph("Age of the oldest task", queue_metric(places.tasks, AGE, "Maximum", label="age"))


def _search(
    settings: Settings, metric: str, statistic: str, period: Duration = FIVE_MINUTES
) -> str:
    """Search for a metric of the workers in all regions of the environment."""
    schema = ",".join((contract.METRICS_NAMESPACE, *contract.METRIC_DIMENSIONS))
    environment = f'{contract.METRIC_DIMENSIONS[0]}="{settings.workers.site}"'
    words = f'{{{schema}}} MetricName="{metric}" {environment}'
    return f"SEARCH('{words}', '{statistic}', {int(period.to_seconds())})"


def _expression(expression: str, label: str, period: Duration = FIVE_MINUTES) -> cw.MathExpression:
    return cw.MathExpression(expression=expression, using_metrics={}, period=period, label=label)


def _tiles(settings: Settings) -> cw.IWidget:
    shown = {
        contract.METRIC_SUCCEEDED: "done",
        contract.METRIC_SKIPPED: "skipped",
        contract.METRIC_FAILED: "failed, tried again",
        contract.METRIC_INVALID: "invalid",
    }
    lines = [
        _expression(f"SUM({_search(settings, metric, 'Sum')})", label)
        for metric, label in shown.items()
    ]
    return _graph("Tiles in five minutes", *lines)


def _seconds(settings: Settings) -> cw.IWidget:
    lines = [
        _expression(f"AVG({_search(settings, contract.METRIC_SECONDS, 'Average')})", "average"),
        _expression(f"MAX({_search(settings, contract.METRIC_SECONDS, 'Maximum')})", "longest"),
    ]
    return _graph("Seconds of a tile", *lines)


def _workers(settings: Settings) -> cw.IWidget:
    """Each worker gives a sign every minute, so a minute's signs are workers."""
    minute = Duration.minutes(1)
    alive = environment_metric(
        contract.METRIC_ALIVE, settings.workers.site, "Sum", period=minute, label="workers"
    )
    return _graph("Workers alive", alive)


def _lost(settings: Settings) -> cw.IWidget:
    shown = {
        contract.METRIC_LOST: "workers that died on a tile",
        contract.METRIC_STOPPED: "runs stopped",
    }
    lines = [
        _expression(f"SUM({_search(settings, metric, 'Sum')})", label)
        for metric, label in shown.items()
    ]
    poison = environment_metric(
        contract.METRIC_INVALID, settings.workers.site, "Sum", label="messages without a region"
    )
    return _graph("Troubles in five minutes", *lines, poison)


def _insight(metric: str, places: Places, label: str, namespace: str | None) -> cw.Metric:
    """A metric of CloudWatch's observability add-on."""
    dimensions = {"ClusterName": places.cluster}
    if namespace is not None:
        dimensions["Namespace"] = namespace
    return cw.Metric(
        namespace="ContainerInsights",
        metric_name=metric,
        dimensions_map=dimensions,
        period=FIVE_MINUTES,
        statistic="Average",
        label=label,
    )


def _pods(places: Places) -> cw.IWidget:
    space = contract.NAMESPACE
    return _graph(
        "Pods of the workers, percent",
        _insight("pod_cpu_utilization", places, "CPU of the node", space),
        _insight("pod_memory_utilization_over_pod_limit", places, "memory of the limit", space),
        unit="percent",
    )


def _nodes(places: Places) -> cw.IWidget:
    graph = _graph(
        "Nodes, percent",
        _insight("node_cpu_utilization", places, "CPU", None),
        _insight("node_memory_utilization", places, "memory", None),
        unit="percent",
    )
    graph.add_right_metric(_insight("cluster_node_count", places, "nodes", None))
    return graph


def _spot(settings: Settings, rule: str) -> cw.IWidget:
    taken = cw.Metric(
        namespace="AWS/Events",
        metric_name="TriggeredRules",
        dimensions_map={"RuleName": rule},
        period=FIVE_MINUTES,
        statistic="Sum",
        label="spot instances taken",
    )
    return _graph(f"Spot interruptions in {settings.region}", taken)


def _cost(settings: Settings) -> cw.IWidget:
    """Seconds of tiles, on the CPUs of a worker, at the price of the settings."""
    hour = Duration.hours(1)
    seconds = f"SUM({_search(settings, contract.METRIC_SECONDS, 'Sum', hour)})"
    dollars = f"{contract.WORKER_CPUS} * {settings.workers.cpu_hour_price.dollars} / 3600"
    return _graph(
        "Estimated cost of computing, USD an hour",
        _expression(f"{seconds} * {dollars}", "USD", hour),
        unit="USD",
    )


def _cost_by_run(places: Places) -> cw.IWidget:
    """Runs in the workers' own logs: a metric for each run would cost more than many runs do.

    An attempt's last line says what became of it and how long it took.
    """
    workers = places.settings.workers
    line = "log_processed"  # what the add-on makes of a line that is JSON
    dollars = f"{contract.WORKER_CPUS} * {workers.cpu_hour_price.dollars} / 3600"
    return cw.LogQueryWidget(
        title="Runs in the time shown: estimated cost of computing, USD",
        log_group_names=[places.pod_logs],
        view=cw.LogQueryVisualizationType.TABLE,
        query_lines=[
            f"filter ispresent({line}.run) and ispresent({line}.state)",
            f"stats sum({line}.seconds) * {dollars} as usd, count(*) as attempts, "
            f"sum(strcontains({line}.state, 'SUCCEEDED')) as done, "
            f"sum(strcontains({line}.state, 'FAILED')) as failed by {line}.run as run",
            "sort usd desc",
            "limit 50",
        ],
        width=2 * _HALF,
    )
