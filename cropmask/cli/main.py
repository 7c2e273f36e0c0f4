"""``cropmask``: everything beside running one tile."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

import click

from cropmask.cli.console import (
    HELP_SETTINGS,
    find_log_format,
    make_config_option,
    open_logging,
    run_click,
)
from cropmask.contract import VERSION

COMMANDS: Final = {
    "tiles": ("cropmask.cli.tiles", "List the tiles of a region."),
    "models": ("cropmask.cli.models", "List, show, verify and import models."),
    "train": ("cropmask.cli.train", "Fit a region's model to samples."),
    "validate": ("cropmask.cli.train", "Cross-validate a region's model."),
    "samples": ("cropmask.cli.samples", "Make samples of labeled places, and check them."),
    "colors": ("cropmask.cli.colors", "Fit the colors that seamless tiles share."),
    "series": ("cropmask.cli.series", "What changed between years, and what only flickered."),
    "assess": ("cropmask.cli.assess", "Say how right a map is, from labeled points."),
    "area": ("cropmask.cli.area", "Estimate the area of cropland, with its interval."),
    "report": ("cropmask.cli.area", "Write a page of area and accuracy for people who decide."),
    "plan": ("cropmask.cli.plan", "Compare a region with the results that are there."),
    "submit": ("cropmask.cli.submit", "Send a region's tiles to a queue, or to a cluster."),
    "campaign": ("cropmask.cli.campaign", "Do a region and year from preflight to report."),
    "worker": ("cropmask.cli.worker", "Take tasks from a queue and do them."),
    "status": ("cropmask.cli.status", "How far a run is: tiles by state, speed, end, failures."),
    "run": ("cropmask.cli.run", "Pause, resume or cancel one run, or list runs."),
    "redrive": ("cropmask.cli.redrive", "Send dead letters back to the queue, or list them."),
    "explain": ("cropmask.cli.explain", "Say why a tile was skipped, failed or changed."),
    "logs": ("cropmask.cli.explain", "Show what was written down of a tile's attempts."),
    "reconcile": ("cropmask.cli.reconcile", "Compare a region's tiles with what is in the store."),
    "sample": ("cropmask.cli.sample", "Draw points of a map at random, for people to label."),
    "mosaic": ("cropmask.cli.mosaic", "Make a quick look of a region, also while it is computed."),
    "show": ("cropmask.cli.show", "Draw a result with legend and title."),
    "web": ("cropmask.cli.web", "Make a web page of a region's maps, with a slider of years."),
    "ls": ("cropmask.cli.results", "List results."),
    "sync": ("cropmask.cli.results", "Copy results between folders and S3."),
    "rm": ("cropmask.cli.results", "Delete results."),
    "catalog": ("cropmask.cli.catalog", "Build, check, publish and serve the STAC catalog."),
    "demo": ("cropmask.cli.demo", "Make a made-up region of many tiles to practice on."),
    "demo-labels": ("cropmask.cli.demo", "Label a sample of a made-up region of several years."),
    "browse": ("cropmask.cli.catalog", "Look at results in STAC Browser."),
    "index": ("cropmask.cli.catalog", "Add results to an Open Data Cube, and count what is there."),
    "doctor": ("cropmask.cli.doctor", "Check that everything a run needs is there and works."),
    "config": ("cropmask.cli.config", "Show every setting, its value, and what says it."),
    "man": ("cropmask.cli.man", "Write the manual pages of all commands."),
}
"""Each command's module, which is loaded when the command is asked for, and its summary."""


class LazyGroup(click.Group):
    """A group whose commands are loaded when they are asked for, so that help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order of a user's day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command by its name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        found: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the summaries without loading the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings=HELP_SETTINGS,
    epilog="'cropmask-job' maps one tile or area. 'cropmask COMMAND --help' explains a command.",
)
@make_config_option(expose_value=False)
@click.version_option(VERSION, message="cropmask %(version)s")
def cropmask() -> None:
    """Cropland mask of Africa: regions, models and results."""


def main() -> None:
    """Run ``cropmask``; a worker's errors are lines of its log, everybody else's are for people."""
    words = sys.argv[1:]
    if words[:1] == ["--config"]:
        words = words[2:]
    is_worker = [word for word in words if not word.startswith("--config=")][:1] == ["worker"]
    log_format = find_log_format(sys.argv[1:], os.environ) if is_worker else "text"
    open_logging(log_format)
    run_click(cropmask, log_format)
