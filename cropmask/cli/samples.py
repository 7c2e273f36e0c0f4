"""``cropmask samples``: training samples from labeled places, and what is doubtful about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropmask.cli import options
from cropmask.cli.console import show_progress, warn
from cropmask.cli.output import print_result
from cropmask.errors import Reason, Rejected, list_some
from cropmask.task import Period

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cropmask.assess.labelpoints import LabelReport
    from cropmask.operate.extract import Extraction, PolygonMode
    from cropmask.training.samples import Samples

_MARKS = {True: click.style("ok  ", fg="green"), False: click.style("warn", fg="yellow")}


@click.group()
def samples() -> None:
    """Make training samples of labeled places, and check them."""


@samples.command("extract")
@click.option(
    "--points",
    "files",
    required=True,
    multiple=True,
    type=options.FILE,
    help="Labeled points or polygons: GeoJSON, GeoPackage, CSV with lon and lat, or an export of "
    "Collect Earth Online; may be given several times, such as for each labeler.",
)
@options.region_option
@click.option(
    "--period",
    required=True,
    type=options.PERIOD,
    help="Year whose GeoMAD the features come from, such as 2019.",
)
@click.option(
    "--out", required=True, type=options.FILE, help="Table to write, as 'cropmask train' reads it."
)
@click.option(
    "--label",
    type=options.NAME,
    help="Column of the classes.  [default: class, label, landcover or crop; the question of an "
    "export]",
)
@click.option(
    "--crop-values",
    type=options.NAME,
    help="Labels that are crop, with commas between, such as 1,crop,yes.  [default: crop, "
    "cropland, 1, yes, true]",
)
@click.option(
    "--other-values",
    type=options.NAME,
    help="Labels that are not crop; '*' is every other one.  [default: non-crop, noncrop, 0, no, "
    "false]",
)
@click.option("--id", "id_column", type=options.NAME, help="Column of names.  [default: id or fid]")
@click.option(
    "--date", "date_column", type=options.NAME, help="Column of dates.  [default: date, if any]"
)
@click.option(
    "--crs", type=options.NAME, help="Coordinate system of the places, such as EPSG:32737."
)
@click.option("--layer", type=options.NAME, help="Layer of a GeoPackage that has several.")
@click.option(
    "--polygons",
    type=click.Choice(["median", "center"]),
    default="median",
    help="What stands for a polygon: the median of each feature over its pixels, or the pixel at a "
    "point on it.",
)
@click.option(
    "--features",
    "expressions",
    type=options.FILE,
    help="Text file of features to take beside the 33, one a line, such as 'nd(nir_S1,red_S1)'.",
)
@options.resolution_option
@options.source_options
@click.option(
    "--threads",
    "at_once",
    type=options.WholeNumber(1, 64),
    default=4,
    show_default=True,
    help="Tiles read at the same time.",
)
@click.option("--overwrite", is_flag=True, help="Replace a table that is there, and begin anew.")
@options.json_option
def extract(
    files: tuple[Path, ...],
    region: str,
    period: Period,
    out: Path,
    label: str | None,
    crop_values: str | None,
    other_values: str | None,
    id_column: str | None,
    date_column: str | None,
    crs: str | None,
    layer: str | None,
    polygons: PolygonMode,
    expressions: Path | None,
    at_once: int,
    overwrite: bool,
    as_json: bool,
    **site_options: object,
) -> None:
    """Take the features of labeled places from GeoMAD, as samples for 'cropmask train'.

    A point has the features of its pixel, a polygon the medians over its pixels. Only windows of
    the tiles are read. A run that was stopped goes on where it was, with the same command.

    \b
    Examples:
      cropmask samples extract --points fields.geojson --region eastern --period 2019 --out s.txt
      cropmask samples extract --points a.csv --points b.csv --region my/region.toml \\
        --period 2019 --out s.txt --env prod
      cropmask samples extract --points survey.gpkg --label cover --crop-values 40,41 \\
        --other-values '*' --region sahel --period 2021 --out s.txt --env prod
    """
    from cropmask.assess.labelpoints import PointColumns, collect_points
    from cropmask.operate.extract import extract, load_expressions

    site = options.open_site({**site_options, "output": "."})  # no results are written
    zone = site.region(region)
    texts = load_expressions(expressions) if expressions else ()
    columns = PointColumns(
        label,
        id_column,
        date_column,
        options.split_names(crop_values),
        options.split_names(other_values),
    )
    points, report = collect_points(files, columns, crs=crs, layer=layer, limits=site.read.limits)
    _tell_labels(report, as_json=as_json)
    with show_progress(lines=True) as progress:
        inputs = site.inputs(zone, lambda share: progress("demo world", share))
        found = extract(
            points,
            zone,
            inputs,
            site,
            period,
            out,
            at=polygons,
            expressions=texts,
            threads=at_once,
            overwrite=overwrite,
            done=lambda share: progress("tiles", share),
        )
    document = {**asdict(found), "labels": asdict(report), "synthetic": inputs.synthetic}
    line = site.commands.line("samples check", str(found.file.absolute()))
    lines = (*_describe(found, len(points)), f"check it: {line}")
    print_result(document, lines, as_json=as_json)


def _tell_labels(report: LabelReport, *, as_json: bool) -> None:
    """Say what the labels are worth, and what had to be left out."""
    found = report.agreement
    if found is not None and not as_json:
        kappa = "not defined" if found.kappa is None else f"{found.kappa:.3f}"
        click.echo(
            f"{found.labelers} labelers of {found.places} places: {found.percent:.1f} percent of "
            f"their answers agree, {found.kind}'s kappa {kappa}"
        )
    if report.ties:
        warn(f"{report.ties} places are left out, because their labelers are divided")
    if report.unlabeled:
        warn(f"{report.unlabeled} places have no label, or only flags, and are left out")
    if report.unknown:
        values = ", ".join(f"'{value}' {count}" for value, count in report.unknown.items())
        warn(
            f"{sum(report.unknown.values())} places are left out, because their label is neither "
            f"crop nor other: {values}"
        )
    if report.unread_dates:
        warn(f"{report.unread_dates} dates are none like 2019-05-31 and count as unknown")


def _describe(found: Extraction, points: int) -> Iterator[str]:
    other = found.rows - found.crop_rows
    yield (
        f"wrote {found.file}: {found.rows} of {points} places, {found.crop_rows} crop and {other} "
        f"other, from {found.tiles} tiles"
    )
    if found.tiles_resumed:
        yield f"  {found.tiles_resumed} tiles were done before"
    if found.windows:
        yield f"  read {found.windows} windows, {found.pixels / 1e6:.1f} million pixels"
    for reason, ids in found.left_out.items():
        yield f"  left out, {reason}: {list_some(ids, 5)}"


@samples.command("check")
@click.argument("file", type=options.FILE)
@click.option(
    "--validation",
    type=options.FILE,
    help="Points that are to judge the map: GeoJSON, GeoPackage, or CSV with lon and lat.",
)
@click.option(
    "--near",
    type=options.FiniteNumber(0),
    default=1000,
    show_default=True,
    help="Meters within which a sample knows a validation point.",
)
@click.option(
    "--coordinates",
    type=options.FILE,
    help="x and y of each sample, row by row, in meters of EPSG:6933, if the table does not say "
    "where they are from.",
)
@options.json_option
@options.models_option
def check(
    file: Path,
    validation: Path | None,
    near: float,
    coordinates: Path | None,
    as_json: bool,
    models: Path | None,
) -> None:
    """Say what is doubtful about samples before a model is fitted to them.

    Rows with the same features or place, and whether their classes contradict; places that had no
    GeoMAD; classes by region; how near the samples are to points that are to judge the map.

    \b
    Examples:
      cropmask samples check samples.txt
      cropmask samples check samples.txt --validation reference.csv --near 500
    """
    from cropmask.operate.checksamples import check_samples, describe_samples
    from cropmask.training.samples import load_coordinates, load_samples

    table = load_samples(file)
    given = load_coordinates(coordinates, len(table.labels)) if coordinates else None
    has_places = given is not None or table.origins.lon_lat is not None
    if validation is not None and not has_places:
        raise Rejected(
            f"samples file {file} does not say where its samples are from: give --coordinates, or "
            "leave out --validation",
            reason=Reason.BAD_SAMPLES,
        )
    report = check_samples(
        table,
        _load_boundaries(models) if has_places else {},
        None if validation is None else _load_places(validation),
        coordinates=given,
        near_meters=near,
    )
    lines = (
        f"{_MARKS[found.is_fine]}  {found.text}"
        for found in describe_samples(report, _names(table))
    )
    print_result(asdict(report), lines, as_json=as_json)


def _names(table: Samples) -> tuple[str, ...]:
    return table.origins.ids or tuple(f"row {row}" for row in range(1, len(table.labels) + 1))


def _load_places(file: Path) -> NDArray[np.float64]:
    from cropmask.site.site import find_limits
    from cropmask.sources.points import load_points

    return load_points(file, limits=find_limits(config=options.given_config())).lon_lat


def _load_boundaries(models: Path | None) -> dict[str, Any]:
    from cropmask.region.region import load_region, region_names
    from cropmask.site.site import find_limits
    from cropmask.sources.boundary import load_boundary

    limits = find_limits(config=options.given_config())
    return {
        name: load_boundary(load_region(name, models).boundary, limits)
        for name in region_names(models)
    }
