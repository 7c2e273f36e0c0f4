"""``cropmask campaign``: a region and year from preflight to report."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cropmask import contract
from cropmask.cli import options
from cropmask.cli.canary import canary_options, make_canary
from cropmask.cli.output import pick, print_result
from cropmask.contract import ExitCode
from cropmask.task import Period

if TYPE_CHECKING:
    from cropmask.operate.campaign import Campaign, CampaignRequest
    from cropmask.operate.campaignfile import StepRecord, StepState
    from cropmask.site.site import Site

LAST: Final = "last"
"""Instead of a year: the calendar year before this one."""
LAST_SEASON: Final = "last-season"
"""Instead of a year: the newest twelve months from July to June that are over."""
ALL: Final = "all"
"""Instead of names of tiles: every tile of the region."""
_COLORS: Final = {"done": "green", "waiting": "yellow", "failed": "red"}
_PROGRAM: Final = (
    *(sys.executable, "-c"),
    "from cropmask.cli.entry import cropmask; cropmask()",
)
"""How workers are started, wherever the programs are installed."""
_EXAMPLES: Final = """\b
Examples
  On one machine, with two workers:
    cropmask campaign --region eastern --period 2019 --catalog ./my-catalog --workers-here 2
  In the cloud, every day, for the year before this one, once its GeoMAD is complete:
    cropmask campaign --region eastern --when-complete --index \\
      --topic arn:aws:sns:af-south-1:123456789012:cropmask-prod-alarms
  A step at a time:
    cropmask campaign --region eastern --period 2019 --until plan
"""


def _read_period(text: str) -> Period:
    from cropmask.operate.campaign import last_season, last_year

    today = datetime.now(UTC).date()
    if text == LAST:
        return last_year(today)
    if text == LAST_SEASON:
        return last_season(today)
    return Period.year_of(text)


@click.command(epilog=_EXAMPLES)
@options.region_option
@click.option(
    "--period",
    type=options.parsed("period", _read_period),
    default=LAST,
    help=f"Year of the map, such as 2019--P1Y or 2019; '{LAST}' is the one before this year, "
    f"'{LAST_SEASON}' the newest from July to June that is over. Other commands have 2019 by "
    "default.",
)
@options.model_option
@options.resolution_option
@options.bands_option
@options.seamless_option
@click.option(
    "--tiles",
    type=options.parsed("tiles", lambda text: None if text == ALL else options.read_tiles(text)),
    default=ALL,
    help="Only these: names such as x215y075,x216y075, or a file with one on each line.",
)
@options.strict_option
@options.switch("--overwrite", help="Compute changed tiles anew as well.")
@canary_options
@options.limit_options
@click.option(
    "--missing",
    type=options.WholeNumber(0),
    default=0,
    help="Tiles that may stay without a result: without GeoMAD, or failed for good.",
)
@click.option("--when-complete", is_flag=True, help="While GeoMAD is not complete, end with 0.")
@options.switch("--index", help="Add the results to an Open Data Cube, as 'cropmask index' does.")
@click.option("--tools", type=options.FOLDER, help="With the Open Data Cube's programs.")
@click.option(
    "--topic",
    cls=options.SettingOption,
    envvar=contract.ENV_TOPIC,
    show_envvar=True,
    metavar="ARN",
    help="SNS topic that is told of its start, its end and troubles.",
)
@click.option(
    "--workers-here",
    type=options.WholeNumber(0, 1_000),
    default=0,
    help="Workers to start on this machine while tiles wait.",
)
@click.option("--run", type=options.NAME, help="Its name.  [default: region, year and version]")
@click.option(
    "--until",
    type=click.Choice(contract.CAMPAIGN_STEPS),
    default=contract.CAMPAIGN_STEPS[-1],
    help="Last step that is done.",
)
@options.queue_option
@options.json_option
@options.place_options
def campaign(**given: Any) -> None:  # noqa: ANN401 (as click has them)
    """Do a region and year from preflight to report, once.

    The steps are doctor, plan, canary, submit, wait, reconcile, catalog, index and report. Each is
    written down beside the results when it ends: the same command again goes on where it was
    stopped or killed, and does nothing once all is done. It begins when GeoMAD of every tile is
    there, but for --missing.

    Ends with 0 when it is done, and with 20 where a step needs somebody: its line says why, and
    people are told if there is a --topic.
    """
    from cropmask.machine.notices import open_notices
    from cropmask.operate.campaign import open_campaign
    from cropmask.operate.campaignfile import CampaignStep, StepState

    site = options.open_site(options.pick_site_options(given))
    is_json = given["as_json"]
    tell = (lambda _record: None) if is_json else partial(_print_step, given["period"])
    notices = open_notices(given["topic"])
    opened = open_campaign(site, _read_request(given), notices, tell=tell)
    if not is_json:
        click.echo(_format_head(opened, site))
    state = opened.run(CampaignStep(given["until"]))
    print_result(_describe(opened, state), _format_end(opened, state), as_json=is_json)
    is_fine = state is StepState.DONE or (state is StepState.WAITING and given["when_complete"])
    sys.exit(ExitCode.DONE if is_fine else ExitCode.PLAN_HAS_CHANGES)


def _read_request(given: dict[str, Any]) -> CampaignRequest:
    from cropmask.catalog.index import IndexOptions
    from cropmask.operate.campaign import CampaignRequest

    tools: Path | None = given["tools"]
    return CampaignRequest(
        region=given["region"],
        period=given["period"],
        recipe=given["model"],
        tiles=tuple(given["tiles"]) if given["tiles"] is not None else None,
        overwrite=given["overwrite"],
        canary=make_canary(given),
        missing=given["missing"],
        limits=options.pick_limits(given),
        index=IndexOptions(tools, update=True) if given["index"] else None,
        run=given["run"],
        workers=given["workers_here"],
        program=_PROGRAM,
    )


def _format_head(opened: Campaign, site: Site) -> str:
    record = opened.record
    done = sum(one.state == "done" for one in record.steps)
    how = f"{done} of {len(contract.CAMPAIGN_STEPS)} steps are done" if record.steps else "begins"
    return (
        f"Campaign {record.run}: {record.product} {record.version}, {record.period}, "
        f"{record.asked}, to {site.output}: {how}"
    )


def _print_step(period: Period, record: StepRecord) -> None:
    """A line when a step ends; each is understood by itself, as in a log."""
    state = click.style(f"{record.state:<8}", fg=_COLORS[record.state])
    click.echo(f"  {period}  {record.step:<10}{state}{record.detail}")


def _describe(opened: Campaign, state: StepState) -> dict[str, Any]:
    record = opened.record
    return {
        "state": state,
        **pick(record, "run", "region", "product", "version", "period", "asked", "steps", "told"),
        "done": record.is_done,
    }


def _format_end(opened: Campaign, state: StepState) -> Iterator[str]:
    if opened.record.is_done:
        yield f"Campaign {opened.record.run} of {opened.record.period} is done."
    elif state == "waiting":
        yield f"Nothing of {opened.record.period} has begun; the same command looks again."
    elif state == "failed":
        yield f"Once that is mended, the same command goes on with {opened.record.period}."
