"""The application: the stacks of one environment.

``cdk synth -c env=dev`` in the root of the repository; ``-c run=NAME`` tags everything with a run
of its own.
"""

from __future__ import annotations

import sys

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.naming import SHARED_RUN, tag_everything
from infra.settings import Settings, load_settings
from infra.stacks.budget import BudgetStack
from infra.stacks.cluster import ClusterStack
from infra.stacks.data import DataStack
from infra.stacks.network import NetworkStack
from infra.stacks.observability import ObservabilityStack
from infra.stacks.workers import WorkersStack


def build(app: App, settings: Settings) -> None:
    """Add the stacks of an environment to an application."""
    BudgetStack(app, settings)
    network = NetworkStack(app, settings)
    data = DataStack(app, settings)
    cluster = ClusterStack(app, settings, network.vpc)
    workers = WorkersStack(app, settings, cluster)
    # Names are known before: the order of deployment has to be said.
    workers.add_stack_dependency(data, "workers write to the buckets")
    ObservabilityStack(app, settings)


def main() -> int:
    """Synthesize what ``-c env=NAME`` asks for."""
    app = App()
    try:
        settings = load_settings(app.node.try_get_context("env") or "dev")
    except ValueError as error:
        print(f"cropmask: {error}", file=sys.stderr)  # noqa: T201 (a command)
        return 2
    build(app, settings)
    tag_everything(app, settings, app.node.try_get_context("run") or SHARED_RUN)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
