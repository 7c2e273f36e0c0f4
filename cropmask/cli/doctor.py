"""``cropmask doctor``: a preflight for one region and site."""

from __future__ import annotations

import sys

import click

from cropmask.cli import options
from cropmask.cli.output import pick, print_result

_MARKS = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "failed": ("FAIL", "red")}


@click.command(
    epilog="Example: cropmask doctor --region eastern --env prod --output s3://my-bucket"
)
@click.option("--region", default="eastern", type=options.REGION, help="Region to check.")
@options.place_options
@options.queue_option
@click.option("--resolution", type=options.RESOLUTION, help="Pixel size in meters.")
@options.json_option
def doctor(region: str, as_json: bool, **site_options: object) -> None:
    """Check that everything a run needs is there and works.

    Models reproduce their stored probabilities, layers open and cover the region, the catalog
    answers, the output can be written, the queue can be received from; and which optional packages
    are missing, for what. Ends with the exit code of the first failure.
    """
    from cropmask.operate.doctor import examine

    exit_code = 0
    found = []
    for finding in examine(options.open_site(site_options), region):
        exit_code = exit_code or finding.exit_code
        found.append(finding)
        if not as_json:  # each as soon as it is known
            word, color = _MARKS[finding.state]
            click.echo(f"{click.style(f'{word:<5}', fg=color)} {finding.name:<24} {finding.detail}")
    if as_json:
        names = ("name", "state", "detail", "exit_code")
        print_result([pick(finding, *names) for finding in found], (), as_json=True)
    sys.exit(exit_code)
