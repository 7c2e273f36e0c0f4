"""``cropmask sample``: points of a map for people to label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropmask.cli import options
from cropmask.cli.console import show_progress, warn
from cropmask.cli.evidence import check_districts, load_given_districts
from cropmask.cli.output import check_target, print_result, put_file
from cropmask.errors import Misconfigured
from cropmask.operate.formats import format_bytes, format_count, format_duration

if TYPE_CHECKING:
    from cropmask.assess.design import Sample, SampleDesign
    from cropmask.operate.sample import SampleCost, SampleRequest
    from cropmask.remote.limits import ReadLimits
    from cropmask.site.commands import CommandWriter


@click.command()
@click.option(
    "--region",
    "regions",
    required=True,
    multiple=True,
    type=options.REGION,
    help="Region, such as eastern, or the path of a region.toml of your own; may be given several "
    "times.",
)
@click.option(
    "--period",
    default="2019--P1Y",
    type=options.TASK_PERIOD,
    help=f"{options.PERIOD_HELP} Several years, such as 2019--P6Y, or seasons, 2019-07--P6Y: "
    "sample change, with the classes of their series as strata.",
)
@click.option(
    "--since",
    type=options.PERIOD,
    help="Sample change: strata are what the maps of this year and of --period say together.",
)
@click.option(
    "--band",
    type=click.Choice(["filtered", "mask"]),
    default="filtered",
    show_default=True,
    help="Map that is sampled: by object, or by pixel. Of a series, the one of which 'cropmask "
    "area --change' shows the difference of the first and the last year.",
)
@click.option("--points", type=options.WholeNumber(2, 50_000), help="Points, or plots, to draw.")
@click.option(
    "--standard-error",
    type=options.FiniteNumber(0, 0.5, min_open=True),
    help="In place of --points: standard error that the share of crop, or of change, is to have, "
    "such as 0.01.",
)
@click.option(
    "--expect",
    type=options.SHARES,
    help="Share of crop to expect where the map says crop, and where it does not; of change where "
    "two maps differ, or a series is not stable, and elsewhere.  [default: 0.8,0.05; 0.3,0.02]",
)
@click.option(
    "--allocation",
    type=click.Choice(["proportional", "equal", "neyman"]),
    default="proportional",
    show_default=True,
    help="How strata share points: by size, alike, or by size and by how mixed they are.",
)
@click.option(
    "--minimum",
    type=options.WholeNumber(2, 10_000),
    default=30,
    show_default=True,
    help="Points that each stratum gets at least.",
)
@click.option(
    "--prob-strata",
    type=options.PERCENTS,
    help="Divide strata by prob as well, at these percentages, such as 20,50,80.",
)
@click.option(
    "--edge-meters",
    type=options.WholeNumber(1, 5_000),
    help="A stratum of its own within so many meters of where classes meet.",
)
@click.option(
    "--unlike",
    is_flag=True,
    help="A stratum of its own for land outside the training data; needs the band dissimilarity.",
)
@click.option(
    "--flicker",
    is_flag=True,
    help="With --since: a stratum of its own for what the maps of the years between contradict. A "
    "series has it without.",
)
@click.option(
    "--districts",
    type=options.FILE,
    help="GeoJSON or GeoPackage of polygons with names: each is divided into strata of its own.",
)
@click.option("--name-column", type=options.NAME, help="Column of the districts' names.")
@click.option(
    "--plots",
    type=click.Choice(["1", "3"]),
    default="1",
    show_default=True,
    help="Edge of a plot in pixels: 1 is a point, 3 are nine points.",
)
@click.option(
    "--seed", type=options.WholeNumber(0, 2**31), default=0, show_default=True, help="Of the draw."
)
@click.option("--partial", is_flag=True, help="Draw although tiles of the region are missing.")
@click.option(
    "--out",
    type=options.FILE,
    default="sample.geojson",
    show_default=True,
    help="File of the sample: .geojson or .gpkg. Keep it: assess and area need it.",
)
@click.option(
    "--ceo",
    type=options.FILE,
    help="Write plots for Collect Earth Online to this .csv as well, and their points beside it.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace a sample that is there, and is another one: labels of it are lost to it.",
)
@click.option("--dry-run", is_flag=True, help="Say what it would read and how long, and stop.")
@options.json_option
@options.place_options
def sample(**given: Any) -> None:  # noqa: ANN401 (options)
    """Draw a stratified random sample of a map, for people to label.

    Strata are classes of the map, and what is asked for beside. Every pixel of the finished tiles
    is counted, so the chance of each point to be drawn is known exactly; equal seeds and equal maps
    give equal samples. Then label the points, and run 'cropmask assess' and 'cropmask area'. With
    --since, or a --period of several years, it is a sample of change: label the first and the last
    year, and run 'cropmask area --change'.

    \b
    Examples:
      cropmask sample --region eastern --points 600 --allocation equal --out points.geojson
      cropmask sample --region eastern --standard-error 0.01 --allocation neyman --ceo ceo.csv
      cropmask sample --region eastern --points 900 --districts districts.gpkg --name-column NAME
      cropmask sample --region eastern --since 2019 --period 2024 --points 600 --allocation equal
      cropmask sample --region eastern --period 2019--P6Y --points 600
    """
    from cropmask.operate.sample import find_cost, make_sample, open_frame

    site = options.open_site(options.pick_site_options(given))
    _check_options(given)
    request = _make_request(given, site.read.limits)
    frame = open_frame(site, given["regions"], given["period"], request)
    request = _measure_buffer(request, given["edge_meters"], frame.resolution)
    if given["dry_run"]:
        cost = find_cost(frame, request)
        print_result(cost, _describe_cost(cost), as_json=given["as_json"])
        return
    out: Path = given["out"]
    with show_progress(quiet=given["as_json"]) as progress:
        drawn = make_sample(frame, request, lambda share: progress("sample", share))
    files = _write(drawn, out, given["ceo"], overwrite=given["overwrite"])
    if drawn.design.missing_tiles:
        warn(
            f"{format_count(len(drawn.design.missing_tiles), 'tile')} of the region are missing: "
            "'cropmask area' refuses an area of the whole region"
        )
    document = {
        "files": [str(path) for path in files],
        "points": len(drawn),
        "strata": [stratum.model_dump() for stratum in drawn.design.strata],
        "seed": drawn.design.seed,
        "unseen_hectares": drawn.design.unseen_hectares,
    }
    lines = _describe(drawn, request, files, site.commands)
    print_result(document, lines, as_json=given["as_json"])


def _check_options(given: dict[str, Any]) -> None:
    if (given["points"] is None) == (given["standard_error"] is None):
        raise click.UsageError("give --points or --standard-error, one of them")
    if given["out"].suffix.lower() not in (".geojson", ".json", ".gpkg"):
        raise click.UsageError(f"'{given['out']}' is neither .geojson nor .gpkg")
    check_districts(given)
    check = _check_series if given["period"].is_series else _check_since
    check(given)
    if given["ceo"] and given["ceo"].suffix.lower() != ".csv":
        raise click.UsageError(f"'{given['ceo']}' is no .csv")
    if not given["dry_run"]:
        for path, mark in _marks(given["out"], given["ceo"]).items():
            check_target(path, mark)


def _check_since(given: dict[str, Any]) -> None:
    since, period = given["since"], given["period"]
    if since is None:
        if given["flicker"]:
            raise click.UsageError("--flicker is of --since")
        return
    if since.end >= period.start:
        raise click.UsageError(f"--since {since} must be over before --period {period} begins")
    if given["flicker"] and not since.find_between(period):
        raise click.UsageError(f"no year lies between --since {since} and --period {period}")
    if given["edge_meters"]:
        raise click.UsageError("--edge-meters is of one map: leave it out, or --since")


def _check_series(given: dict[str, Any]) -> None:
    if given["since"] is not None:
        raise click.UsageError(
            f"--since is of two maps: --period {given['period']} begins with its first year"
        )
    if given["flicker"]:
        raise click.UsageError("--flicker is of --since: a series has that stratum without it")
    for name in ("prob_strata", "edge_meters", "unlike"):
        if given[name]:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} is of one year's map: a series has none of it")


def _marks(out: Path, ceo: Path | None) -> dict[Path, bytes]:
    """Files that are written, and a part of the content that each of their kind has."""
    from cropmask.assess.design import MARK
    from cropmask.assess.samplefiles import CEO_MARK, GPKG_MARK

    found = {out: GPKG_MARK if out.suffix.lower() == ".gpkg" else MARK.encode()}
    if ceo is not None:
        found |= {ceo: CEO_MARK, _points_beside(ceo): CEO_MARK}
    return found


def _points_beside(ceo: Path) -> Path:
    return ceo.with_name(f"{ceo.stem}-points{ceo.suffix}")


def _make_request(given: dict[str, Any], limits: ReadLimits) -> SampleRequest:
    from cropmask.assess.draw import Stratifier
    from cropmask.operate.sample import EXPECTED, EXPECTED_CHANGE, SampleRequest

    since = given["since"]
    districts = load_given_districts(given, limits)
    stratifier = Stratifier(
        given["band"],
        since=since is not None,
        series=given["period"].is_series,
        flicker=given["flicker"],
        edges=given["prob_strata"] or (),
        unlike=given["unlike"],
        districts=districts.names if districts else (),
    )
    usual = EXPECTED_CHANGE if stratifier.is_change else EXPECTED
    return SampleRequest(
        stratifier,
        districts,
        points=given["points"],
        standard_error=given["standard_error"],
        allocation=given["allocation"],
        minimum=given["minimum"],
        expected=given["expect"][::-1] if given["expect"] else usual,
        since=since,
        seed=given["seed"],
        plot_pixels=int(given["plots"]),
        partial=given["partial"],
    )


def _measure_buffer(request: SampleRequest, meters: int | None, resolution: int) -> SampleRequest:
    from dataclasses import replace

    if meters is None:
        return request
    pixels = meters // resolution
    if pixels < 1:
        raise click.UsageError(
            f"--edge-meters {meters} is less than a pixel of {resolution} m: give at least one"
        )
    return replace(request, stratifier=replace(request.stratifier, buffer=pixels))


def _write(drawn: Sample, out: Path, ceo: Path | None, *, overwrite: bool) -> list[Path]:
    """Write the files of a sample, unless another sample is in their place."""
    from cropmask.assess import samplefiles
    from cropmask.assess.design import encode_sample

    is_package = out.suffix.lower() == ".gpkg"
    made = samplefiles.encode_geopackage(drawn) if is_package else encode_sample(drawn).encode()
    contents = {out: made}
    if ceo is not None:
        contents[ceo] = samplefiles.encode_ceo_plots(drawn).encode()
        contents[_points_beside(ceo)] = samplefiles.encode_ceo_samples(drawn).encode()
    for path, content in contents.items():
        if not overwrite and path.exists() and path.read_bytes() not in (b"", content):
            raise Misconfigured(
                f"{path} is there, with another sample: name another file with "
                f"{'--out' if path == out else '--ceo'}, or replace it with --overwrite"
            )
    marks = _marks(out, ceo)
    for path, content in contents.items():
        put_file(path, content, marks[path])
    return [*contents]


def _describe_cost(cost: SampleCost) -> Iterator[str]:
    yield f"{format_count(cost.tiles, 'tile')}, {format_bytes(cost.bytes)} to read"
    yield f"  time     about {format_duration(cost.seconds)}, from the first tile"
    yield f"  memory   about {format_bytes(cost.memory)} beside the program"


def _describe(
    drawn: Sample, request: SampleRequest, files: list[Path], commands: CommandWriter
) -> Iterator[str]:
    from cropmask.operate.sample import expect_error

    design = drawn.design
    unit = "point" if design.plot_pixels == 1 else "plot"
    number = sum(stratum.sampled for stratum in design.strata)
    yield f"{format_count(number, unit)} in {len(design.strata)} strata of {_name_sampled(design)}"
    if design.synthetic:
        yield "SYNTHETIC: the map is of the made-up world."
    for stratum in design.strata:
        yield f"  {stratum.sampled:>6,}  of {stratum.hectares:>14,.0f} ha  {stratum.name}"
    yield f"          {design.unseen_hectares:>17,.0f} ha  of the tiles are nodata: not sampled"
    error = expect_error(drawn, request)
    other, crop = request.expected
    share, here = ("change", "mapped change") if design.is_change else ("crop", "mapped crop")
    yield (
        f"Expected standard error of the share of {share}: {100 * error:.2f} percentage points, if "
        f"{crop:g} of {here} and {other:g} of the rest is {share}"
    )
    for path in files:
        yield f"  file     {path}"
    command = ("area", "--change") if design.is_change else ("assess",)
    line = commands.line(*command, "--sample", str(files[0]), "--labels", "LABELS.csv")
    columns = " and ".join(design.label_columns)
    said = f" in the columns {columns}" if design.is_change else ""
    yield f"Next: label the points{said} (docs/labeling.md), then {line}"


def _name_sampled(design: SampleDesign) -> str:
    if design.is_series:
        return f"the series {design.title}"
    band = design.band if design.since is None else f"change ({design.band})"
    return f"{band}, {design.title}"
