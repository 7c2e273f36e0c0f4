"""``cropmask area`` and ``cropmask report``: cropland in hectares, and a page about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cropmask.assess.language import languages
from cropmask.cli import options
from cropmask.cli.console import show_progress, warn
from cropmask.cli.evidence import (
    Encoded,
    check_districts,
    describe_evidence,
    district_options,
    encode_estimated,
    encode_numbers,
    figure_options,
    label_options,
    min_points_option,
    open_request,
    say_labels,
)
from cropmask.cli.output import check_target, print_result, put_text
from cropmask.operate.formats import format_count

if TYPE_CHECKING:
    from cropmask.assess.area import AreaEstimate
    from cropmask.assess.change import ChangeEstimate
    from cropmask.assess.intervals import Reals
    from cropmask.assess.report import LandPart
    from cropmask.operate.assessment import Assessment, AssessRequest

_DIFFERENCE: Final = "map_difference"
_COUNTED: Final = {
    "series_flags": "the flags of the series",
    _DIFFERENCE: "the difference of the two maps",
}
"""What pixels were counted of, in words."""
_DATA_MARK = '"mark": "cropmask report"'
"""Is in the JSON of every report."""


@click.command()
@label_options
@click.option(
    "--region",
    type=options.REGION,
    help="Area of this region only.  [default: all regions of the sample together]",
)
@district_options
@min_points_option
@click.option(
    "--districts-only",
    is_flag=True,
    help="No area of the whole: also where tiles of the region have no result.",
)
@click.option(
    "--change",
    is_flag=True,
    help="Area of gain and loss of cropland between two years, from a sample of change: of two "
    "maps or of a series.",
)
@click.option(
    "--label-since",
    type=options.NAME,
    help="With --change: column of the classes of the first year; --label is that of the last.  "
    "[default: such as class_2019 and class_2024]",
)
@click.option(
    "--label-change",
    type=options.NAME,
    help="With --change: one column of the words gain, loss, stable crop and stable other, in "
    "place of one for each year.",
)
@figure_options
@options.json_option
@options.place_options
def area(**given: Any) -> None:  # noqa: ANN401 (options)
    """Estimate the area of cropland with its interval, from the labels of a sample.

    The stratified estimator, in hectares on the equal-area grid; by district, as far as there are
    points. The count of pixels stands beside it, marked as biased. It refuses what would be a wrong
    figure: points of which nobody knows how they were drawn, that trained the model (--training),
    strata of another map, strata with fewer than two labels, land that the sample does not cover.

    With --change, gain and loss of cropland and their difference, from the labels of two years, and
    beside them, marked as biased, what the maps of these years differ by, and what a series flags.

    \b
    Examples:
      cropmask area --sample sample.geojson --labels labels.csv
      cropmask area --sample sample.geojson --labels labels.csv --region eastern \\
        --districts counties.gpkg --name-column COUNTY --training samples.txt
      cropmask area --change --sample change.geojson --labels labels.csv
    """
    check_districts(given)
    _check_change(given)
    if not given["labels"]:
        raise click.UsageError("give the --labels of the sample's points")
    if given["districts_only"] and given["districts"] is None:
        raise click.UsageError("--districts-only needs --districts")
    from cropmask.operate.assessment import find_items, open_assessment, sum_land

    as_json: bool = given["as_json"]
    site, request = open_request(given)
    found = open_assessment(site, request)
    if given["change"]:
        _print_change(found, as_json=as_json)
        return
    whole = None if given["districts_only"] else found.estimate_area()
    counted = parts = None
    if request.districts is not None:
        with show_progress(quiet=as_json) as progress:
            counted = found.count_districts(
                request.districts, lambda share: progress("districts", share)
            )
        parts = found.estimate_districts(counted)
    land = sum_land(found, find_items(site, found))
    document = {
        **describe_evidence(found),
        "land_hectares": {part.kind: part.hectares for part in land},
        "area": None if whole is None else _encode_area(whole),
        "districts": None if parts is None else _encode_area(parts),
    }
    lines = (
        *say_labels(found),
        *(() if whole is None else _say_area(whole, land)),
        *(() if parts is None else _say_districts(parts, request.min_points)),
        *_say_training(request),
    )
    print_result(document, lines, as_json=as_json)


def _check_change(given: dict[str, Any]) -> None:
    if given["change"] and given["districts"] is not None:
        raise click.UsageError("--change is of whole regions: leave --districts out")
    for name in ("label_since", "label_change"):
        if given[name] and not given["change"]:
            raise click.UsageError(f"--{name.replace('_', '-')} is of --change")
    for name in ("label_since", "label", "crop_values", "other_values"):
        if given[name] and given["label_change"]:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} is of a column a year, --label-change of one alone")


def _print_change(found: Assessment, *, as_json: bool) -> None:
    change = found.estimate_change()
    with show_progress(quiet=as_json) as progress:
        mapped = found.count_change(lambda share: progress("difference", share))
    both = zip(_COUNTED, (mapped.flags, mapped.difference), strict=True)
    counts = {name: hectares for name, hectares in both if hectares is not None}
    area = _encode_area(change.area)
    if mapped.flags is not None:  # what flickers or is uncertain is counted in no class
        del area["pixel_count_hectares_biased"]
    document = {
        **describe_evidence(found),
        "area": area,
        "net_gain_hectares": encode_estimated(change.net),
        **{f"{name}_hectares_biased": _encode_count(each) for name, each in counts.items()},
        **{
            f"{name}_times_biased": _encode_biases(change, name, each)
            for name, each in counts.items()
        },
    }
    lines = (*say_labels(found), *_say_change(change, found, counts), *_say_training(found.request))
    print_result(document, lines, as_json=as_json)


def _encode_count(hectares: Reals) -> Encoded:
    """Gain and loss by counting pixels."""
    return {name: float(hectares[at]) for name, at in _find_turned().items()}


def _encode_biases(change: ChangeEstimate, name: str, hectares: Reals) -> Encoded:
    ends = ("estimate", "low", "high")
    biases = _find_biases(change, name, hectares)
    return {title: dict(zip(ends, times, strict=True)) for title, times in biases.items()}


def _find_biases(
    change: ChangeEstimate, name: str, hectares: Reals
) -> dict[str, list[float | None]]:
    """How many times the estimate a count is, and the ends of that; None is no number."""
    compared = float(hectares.sum()) if name == _DIFFERENCE else None
    return {
        title: encode_numbers(change.find_bias(at, float(hectares[at]), compared))
        for title, at in _find_turned().items()
    }


def _find_turned() -> dict[str, int]:
    """Numbers of the classes of change that are no stable ones, by name."""
    from cropmask.assess.change import CHANGE_NAMES
    from cropmask.core.series import GAIN, LOSS

    return {CHANGE_NAMES[at]: at for at in (GAIN, LOSS)}


def _say_change(
    change: ChangeEstimate, found: Assessment, counts: Mapping[str, Reals]
) -> Iterator[str]:
    from cropmask.core.series import GAIN, LOSS, STABLE_CROP, STABLE_OTHER

    area, total = change.area, float(change.area.total_hectares)
    first, last = (year.span for year in found.design.years)
    yield f"Cropland from {first} to {last}, {100 * area.hectares.level:g} % intervals"
    figures = {
        "gain": area.hectares.at(GAIN),
        "loss": area.hectares.at(LOSS),
        "gain less loss": change.net,
        "cropland in both": area.hectares.at(STABLE_CROP),
        "other in both": area.hectares.at(STABLE_OTHER),
    }
    for title, figure in figures.items():
        ends = f"{float(figure.low):,.0f} to {float(figure.high):,.0f} ha"
        yield f"  {title:<18}{float(figure.estimate):>14,.0f} ha, {ends}"
    where = "with a map in some year" if found.design.is_series else "mapped in both years"
    points = format_count(int(area.points), "point")
    yield f"  of {total:,.0f} ha {where}; stratified estimator, {points}"
    for name, hectares in counts.items():
        yield from _say_count(change, name, hectares)
    if _DIFFERENCE not in counts:
        yield f"  not compared with the difference of maps: no tile has those of {first} and {last}"


def _say_count(change: ChangeEstimate, name: str, hectares: Reals) -> Iterator[str]:
    what = _COUNTED[name]
    compared = float(hectares.sum())
    if name == _DIFFERENCE and compared < float(change.area.total_hectares):
        what += f", of {compared:,.0f} ha that both have, compared by share"
    yield f"  BIASED, not for publication: {what}"
    turned = _find_turned()
    for title, times in _find_biases(change, name, hectares).items():
        yield f"    {title:<16}{float(hectares[turned[title]]):>14,.0f} ha, {_say_times(*times)}"


def _say_times(times: float | None, least: float | None, most: float | None) -> str:
    if times is None or least is None:
        return "where the sample has none"
    upper = "" if most is None else f" to {most:.2g}"
    return f"{times:.2g} times the estimate ({least:.2g}{upper or ' or more'} within its interval)"


def _encode_area(found: AreaEstimate) -> Encoded:
    from cropmask.assess.evidence import name_domain

    names = found.confusion.domains
    return {
        "names": None if names is None else [name_domain(name) for name in names],
        "classes": found.classes,
        "hectares": encode_estimated(found.hectares),
        "shares": encode_estimated(found.shares),
        "pixel_count_hectares_biased": encode_numbers(found.mapped_hectares),
        "mapped_hectares": encode_numbers(found.total_hectares),
        "points": found.points.tolist(),
        "effective_points": encode_numbers(found.effective_points),
        "estimator": found.estimators.tolist(),
    }


def _say_area(found: AreaEstimate, land: Sequence[LandPart]) -> Iterator[str]:
    from cropmask.assess.evidence import CROP
    from cropmask.assess.language import ENGLISH, load_language

    crop, total = found.hectares.at(CROP), float(found.total_hectares)
    level = f"{100 * crop.level:g} %"
    pixels = float(found.mapped_hectares[CROP])
    yield (
        f"Cropland: {float(crop.estimate):,.0f} ha, {level} interval {float(crop.low):,.0f} to "
        f"{float(crop.high):,.0f} ha"
    )
    yield (
        f"  {100 * float(crop.estimate) / total:.2f} % of {total:,.0f} ha mapped; standard error "
        f"{float(crop.standard_error):,.0f} ha; stratified estimator, "
        f"{format_count(int(found.points), 'point')}"
    )
    yield f"  BIASED, not for publication: {pixels:,.0f} ha by counting pixels of the map"
    words = load_language(ENGLISH)
    for part in land[1:]:
        title = words.say(f"land.{part.kind}")
        yield f"  not in it: {part.hectares:>12,.0f} ha  {title[:1].lower()}{title[1:]}"


def _say_districts(found: AreaEstimate, min_points: int) -> Iterator[str]:
    import numpy as np

    from cropmask.assess.evidence import CROP, name_domain

    yield ""
    heads = f"{'cropland, ha':>14}  {'interval':<28}{'points':>7}{'effective':>11}"
    yield f"  {'':<28}{heads}  {'estimator':<16}{'pixels, ha (BIASED)':>20}"
    for at, name in enumerate(found.confusion.domains or ()):
        if not found.total_hectares[at]:
            if name_domain(name) == name:  # else no land lies in no district
                yield f"  {name[:27]:<28}{'no pixel of its own':>19}"
            continue
        crop = found.hectares.at(at, CROP)
        points, pixels = int(found.points[at]), float(found.mapped_hectares[at, CROP])
        if np.isnan(crop.estimate):
            words = f"{'too few points':>14}  {'':<28}{points:>7,}{'':>11}  {'':<16}"
        else:
            ends = f"{float(crop.low):,.0f} to {float(crop.high):,.0f}"
            words = (
                f"{float(crop.estimate):>14,.0f}  {ends:<28}{points:>7,}"
                f"{float(found.effective_points[at, CROP]):>11,.0f}  {found.estimators[at]:<16}"
            )
        yield f"  {name_domain(name)[:27]:<28}{words}{pixels:>20,.0f}"
    if np.isnan(found.hectares.estimate[found.total_hectares > 0]).any():
        yield f"  too few points: fewer than {min_points}; draw a sample with --districts"


def _say_training(request: AssessRequest) -> Iterator[str]:
    if request.training is None:
        yield "Not compared with the places that trained the model: give them with --training"
    else:
        yield f"No point is one of {len(request.training):,} places that trained the model"


@click.command()
@options.region_option
@label_options
@district_options
@min_points_option
@click.option(
    "--language",
    type=click.Choice(languages()),
    default="en",
    show_default=True,
    help="Of the page.",
)
@click.option(
    "--out",
    type=options.FILE,
    help="Page to write, .html; the figures go beside it as .json.  [default: named like the "
    "product and the year, here]",
)
@figure_options
@options.place_options
def report(**given: Any) -> None:  # noqa: ANN401 (options)
    """Write a page of a region's cropland for people who decide: area, accuracy, map, districts.

    One HTML file that needs no other and no network, of two sheets when it is printed, and a JSON
    with all figures. It refuses what 'cropmask area' refuses.

    \b
    Examples:
      cropmask report --region eastern --sample sample.geojson --labels labels.csv
      cropmask report --region eastern --sample sample.geojson --labels labels.csv \\
        --districts counties.gpkg --name-column COUNTY --language fr --out rapport.html
    """
    check_districts(given)
    if not given["labels"]:
        raise click.UsageError("give the --labels of the sample's points")
    out: Path | None = given["out"]
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"'{out}' is no .html: the figures are written beside it, as .json")
    from cropmask.assess.language import load_language
    from cropmask.assess.report import encode_report
    from cropmask.assess.reportpage import MARK, make_report_page
    from cropmask.operate.assessment import make_report, open_assessment
    from cropmask.stac.facts import encode_json

    if out is not None:
        _refuse_reports(out, MARK)
    site, request = open_request(given)
    found = open_assessment(site, request)
    if out is None:
        zone = found.zones[next(iter(found.zones))]
        out = Path(f"{zone.product.name}_{found.design.period}_report.html")
        _refuse_reports(out, MARK)
    with show_progress() as progress:
        made, drawn = make_report(site, found, lambda share: progress("districts", share))
    data = out.with_suffix(".json")
    page = make_report_page(made, drawn, load_language(given["language"]), data.name)
    put_text(data, encode_json({"mark": "cropmask report", **encode_report(made)}), _DATA_MARK)
    put_text(out, page, MARK)
    crop = made.hectares
    if made.is_synthetic:
        click.echo("SYNTHETIC: the map is of the made-up world.")
    click.echo(
        f"Cropland: {crop.estimate:,.0f} ha, {100 * made.level:g} % interval {crop.low:,.0f} to "
        f"{crop.high:,.0f} ha"
    )
    click.echo(f"  page     {out}\n  figures  {data}")
    if made.training_places is None:
        warn("the sample is not compared with the places that the model was trained on: --training")


def _refuse_reports(out: Path, mark: str) -> None:
    check_target(out, mark.encode())
    check_target(out.with_suffix(".json"), _DATA_MARK.encode())
