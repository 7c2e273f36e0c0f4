"""``cropmask worker``: what the pods run, and a laptop as well."""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cropmask import contract
from cropmask.cli import options
from cropmask.cli.console import open_logging
from cropmask.cli.output import refuse_other_file
from cropmask.errors import Misconfigured, Reason

if TYPE_CHECKING:
    from cropmask.site.site import Site
    from cropmask.task import Order

log = logging.getLogger(__name__)

_PRELOADED: Final = ("cropmask.fleet.preload", "cropmask.cli.console", "tqdm")
"""Modules that the processes which compute tiles have loaded from the start."""

_EXAMPLES_AND_EXIT_CODES: Final = """\b
Examples
  Drain the queue beside ./output, then leave:
    cropmask worker
  What a pod does:
    cropmask worker --env prod --queue https://sqs.af-south-1.amazonaws.com/123456789012/cropmask \\
                    --output s3://my-bucket/cropmask --heartbeat /tmp/heartbeat
  One task of a task file, by its index, without a queue:
    JOB_COMPLETION_INDEX=7 cropmask worker --tasks s3://my-bucket/cropmask/_runs/.../tasks.jsonl

\b
Exit codes
   0  nothing is left to do, or as many tasks or minutes as asked for
   2  the command line is wrong
   3  with --tasks: the task is wrong, never worth a retry
   4  stopped by SIGTERM or Ctrl-C; the task was returned
  10  the queue has failed for a quarter of an hour; with --tasks: the task failed
  11  with --tasks: the time limit was exceeded
  12  with --tasks: the memory limit was exceeded
  13  configuration or credentials are wrong, or as many tiles in a row as --breaker
      says failed for the same reason
"""


@click.command(epilog=_EXAMPLES_AND_EXIT_CODES)
@options.queue_option
@click.option(
    "--tasks",
    cls=options.SettingOption,
    envvar=contract.ENV_TASKS,
    metavar="FILE",
    help="Task file that 'cropmask submit --direct' wrote: run one task of it, and no queue.",
)
@click.option(
    "--index",
    envvar=list(contract.INDEX_VARIABLES),
    type=options.WholeNumber(0),
    show_envvar=True,
    help="Which task of the task file, counted from 0.",
)
@click.option(
    "--max-tasks",
    cls=options.SettingOption,
    envvar=contract.ENV_MAX_TASKS,
    type=options.WholeNumber(1),
    help="Leave after so many tasks.",
)
@click.option(
    "--max-minutes",
    cls=options.SettingOption,
    envvar=contract.ENV_MAX_MINUTES,
    type=options.FiniteNumber(0, min_open=True),
    help="Take no task after so many minutes; the one at hand is finished.",
)
@click.option(
    "--idle-exit",
    cls=options.SettingOption,
    envvar=contract.ENV_IDLE_EXIT,
    type=options.Seconds(0),
    help="Leave after so long without a task, even if other workers still have some.  "
    "[default: stay while anything is waiting or in flight]",
)
@click.option(
    "--stay",
    type=options.Seconds(0),
    default=0.0,
    help="Stay for so long although nothing is waiting: more may be sent.",
)
@click.option(
    "--time-limit",
    cls=options.SettingOption,
    envvar=contract.ENV_TIME_LIMIT,
    type=options.Seconds(0, contract.LONGEST_LEASE_SECONDS, min_open=True),
    default=contract.TIME_LIMIT_SECONDS,
    help="Stop a task after so long.",
)
@click.option(
    "--lease",
    "lease_seconds",
    type=options.Seconds(2, contract.LONGEST_LEASE_SECONDS),
    default=contract.LEASE_SECONDS,
    help="How long others wait for a task whose worker has died; renewed at half of it.",
)
@click.option(
    "--breaker",
    cls=options.SettingOption,
    envvar=contract.ENV_BREAKER,
    type=options.WholeNumber(0),
    default=contract.BREAKER_TILES,
    help="Stop a run of which so many different tiles in a row fail for the same reason, if it is "
    "none that a tile may have by itself; leave with 13 if they are of several runs; 0 to go on.",
)
@click.option(
    "--heartbeat",
    cls=options.SettingOption,
    envvar=contract.ENV_HEARTBEAT,
    type=options.FILE,
    help="Rewrite this file every ten seconds, for 'python -m cropmask.machine.liveness FILE'.",
)
@click.option(
    "--metrics", type=options.NAME, help="CloudWatch namespace of metrics.  [default: none]"
)
@options.place_options
@options.strict_option
@click.option(
    "--region-file",
    "region_files",
    multiple=True,
    type=options.FILE,
    callback=lambda _context, _option, files: os.pathsep.join(map(str, files)) or None,
    help="File of a region that messages may name, beside those in the folder of regions; may be "
    f"given several times.  [env var: {contract.ENV_REGION_FILES}]",
)
@click.option(
    "--resolution", type=options.RESOLUTION, help="Pixel size in meters of tasks that name none."
)
@options.machine_options
@options.log_format_option
def worker(
    tasks: str | None,
    index: int | None,
    max_tasks: int | None,
    max_minutes: float | None,
    idle_exit: float | None,
    stay: float,
    time_limit: float,
    lease_seconds: float,
    breaker: int,
    heartbeat: Path | None,
    log_format: str,
    **site_options: object,
) -> None:
    """Take tasks from a queue and do them, one at a time.

    Leaves when nothing is waiting or in flight. A task that fails is tried again later, by whoever
    takes it; one that is wrong goes to the dead letters at once, with its reason.
    """
    from cropmask.machine.child import start_forkserver, wait_for_forkserver
    from cropmask.machine.scratch import open_scratch
    from cropmask.machine.signals import Stop, listen

    open_logging(log_format)
    if heartbeat is not None:
        refuse_other_file(heartbeat, b'"idle_seconds": ')
    stop = Stop()
    listen(stop)
    with open_scratch() as scratch:
        start_forkserver(_PRELOADED, scratch)
        # The rest is loaded here while the forkserver loads its own.
        from cropmask.fleet.attempt import AttemptLimits, ChildAttempts
        from cropmask.fleet.breaker import Breaker
        from cropmask.fleet.recordfiles import Journal
        from cropmask.fleet.worker import OrderRunner, Rules, Worker, run_alone
        from cropmask.machine.heartbeat import Heartbeat
        from cropmask.machine.metrics import open_metrics
        from cropmask.operate.findrun import check_worker_catalog
        from cropmask.region.region import load_region_files

        site = options.open_site(site_options)
        load_region_files(site.region_files)  # what cannot be read is said before a task is taken
        order = None if tasks is None else _load_order(site, tasks, index)
        limits = AttemptLimits(time_limit, stop)
        rules = Rules(
            lease_seconds=lease_seconds,
            max_tasks=max_tasks,
            max_seconds=None if max_minutes is None else 60 * max_minutes,
            idle_exit=idle_exit,
            stay_seconds=stay,
        )
        with Heartbeat(heartbeat) as pulse:
            attempts = ChildAttempts(
                site, scratch, pulse, limits, partial(open_logging, log_format)
            )
            metrics = open_metrics(site.metrics_namespace, site.environment)
            journal = Journal(site.store(), site, lease_seconds=lease_seconds)
            stops = Breaker(breaker, commands=site.commands)
            runner = OrderRunner(attempts, journal, metrics, breaker=stops)
            if order is None:
                queue = site.queue()
                loop = Worker(queue, runner, rules, pulse, stop)
                check_worker_catalog(site)
                wait_for_forkserver()
                log.info("tasks from %s, results to %s", queue.address, site.output)
                code = loop.run()
            else:
                check_worker_catalog(site)
                wait_for_forkserver()
                code = run_alone(order, runner, f"{tasks} {index}")
    sys.exit(code)


def _load_order(site: Site, tasks: str, index: int | None) -> Order:
    from cropmask.fleet.taskfile import load_order

    if index is None:
        raise Misconfigured(
            f"which task of {tasks}? Give --index, or start the worker where "
            f"{' or '.join(contract.INDEX_VARIABLES)} is set",
            reason=Reason.NO_TASK_INDEX,
        )
    return load_order(tasks, index, site.write)
