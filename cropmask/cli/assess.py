"""``cropmask assess``: how right a map is, as labeled points say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from cropmask.cli import options
from cropmask.cli.console import show_progress
from cropmask.cli.evidence import (
    Encoded,
    check_districts,
    describe_evidence,
    district_options,
    encode_estimated,
    figure_options,
    label_options,
    open_request,
    say_labels,
)
from cropmask.cli.output import print_result
from cropmask.operate.formats import format_count

if TYPE_CHECKING:
    from cropmask.assess.accuracy import Accuracy, MapComparison
    from cropmask.assess.intervals import Estimated
    from cropmask.assess.matrixfile import NamedMatrix
    from cropmask.operate.assessment import Assessment, PointAssessment


@click.command()
@label_options
@click.option(
    "--matrix",
    type=options.FILE,
    help="In place of points: CSV of confusion matrices, with columns such as "
    "reference_crop_mapped_other.",
)
@click.option(
    "--region",
    type=options.REGION,
    help="Only points of this region; needed where the labels are of no sample.",
)
@options.period_option
@click.option(
    "--band",
    type=click.Choice(["filtered", "mask"]),
    default="filtered",
    show_default=True,
    help="Map to assess, where the labels are of no sample; else it is the one that was sampled.",
)
@click.option(
    "--by",
    type=click.Choice(["region", "district"]),
    help="Accuracy of each region, or of each district of --districts.",
)
@click.option(
    "--against",
    type=options.PLACE,
    help="Compare with another map at the same points: mask, filtered, or the folder or s3:// "
    "prefix of other results.",
)
@district_options
@figure_options
@options.json_option
@options.place_options
def assess(**given: Any) -> None:  # noqa: ANN401 (options)
    """Say how right a map is, with intervals that know how the points were drawn.

    Overall, producer's and user's accuracy and F1, from the labels of a sample and the map's values
    at its points; or from confusion matrices. Labels of no sample are compared with the map of
    --region: all of them count alike then, and no area follows from them.

    \b
    Examples:
      cropmask assess --sample sample.geojson --labels labels.csv
      cropmask assess --sample sample.geojson --labels a.csv --labels b.csv --by region
      cropmask assess --sample sample.geojson --labels labels.csv --against mask
      cropmask assess --labels eastern.csv --region eastern
      cropmask assess --matrix confusion_matrices.csv
    """
    as_json: bool = given["as_json"]
    if given["matrix"] is not None:
        _refuse_others(given, "--matrix")
        _print_matrices(given, as_json=as_json)
        return
    check_districts(given)
    if not given["labels"]:
        raise click.UsageError("give --labels, or --matrix")
    if given["by"] == "district" and given["districts"] is None:
        raise click.UsageError("--by district needs --districts")
    if given["sample"] is None:
        _print_points(given, as_json=as_json)
        return
    from cropmask.operate.assessment import compare_with, open_assessment

    site, request = open_request(given)
    found = open_assessment(site, request)
    accuracy = found.assess()
    with show_progress(quiet=as_json) as progress:
        parts = _assess_parts(found, given["by"], lambda share: progress("districts", share))
    against = None if given["against"] is None else compare_with(site, found, given["against"])
    document: dict[str, Any] = {
        **describe_evidence(found),
        **_encode_accuracy(accuracy),
        "parts": parts and {"names": _names_of(parts), **_encode_accuracy(parts)},
        "comparison": None if against is None else _encode_comparison(against),
    }
    lines = (
        *say_labels(found),
        *_say_accuracy(accuracy),
        *(() if parts is None else _say_parts(parts)),
        *(() if against is None else _say_comparison(against, given["against"], found)),
    )
    print_result(document, lines, as_json=as_json)


def _refuse_others(given: Mapping[str, Any], name: str) -> None:
    """Options of points, beside one that stands for them."""
    if given["sample"] or given["labels"] or given["by"] or given["against"]:
        raise click.UsageError(f"{name} is in place of points: leave out the options of points")


def _print_matrices(given: Mapping[str, Any], *, as_json: bool) -> None:
    from cropmask.assess.accuracy import assess_accuracy
    from cropmask.assess.matrixfile import load_matrices

    found = [
        (
            each,
            assess_accuracy(each.confusion, method=given["method"], level=given["level"]),
        )
        for each in load_matrices(given["matrix"])
    ]
    document = {each.name: _encode_accuracy(accuracy) for each, accuracy in found}
    print_result(document, _say_matrices(found), as_json=as_json)


def _say_matrices(found: Sequence[tuple[NamedMatrix, Accuracy]]) -> Iterator[str]:
    for each, accuracy in found:
        yield f"{each.name}: {format_count(int(each.counts.sum()), 'point')}"
        yield from _say_accuracy(accuracy)
        yield ""
    if any(each.pixels is None for each, _ in found):
        yield (
            "All points count alike: intervals hold where each was drawn at random from the whole "
            "area, and no area follows."
        )


def _print_points(given: Mapping[str, Any], *, as_json: bool) -> None:
    """Labels of no sample, compared with a region's map."""
    from cropmask.operate.assessment import assess_points

    if given["by"] or given["against"] or given["districts"]:
        raise click.UsageError("--by, --against and --districts need a --sample")
    if given["region"] is None:
        raise click.UsageError("give the --sample of these labels; without one, give --region")
    site, request = open_request(given)
    found = assess_points(site, request, given["period"], given["band"])
    document = {
        "points": found.points,
        "not_on_map": found.unmapped,
        "synthetic": found.synthetic,
        "labels": found.report,
        **_encode_accuracy(found.accuracy),
    }
    print_result(document, _say_points(found), as_json=as_json)


def _say_points(found: PointAssessment) -> Iterator[str]:
    from cropmask.errors import list_some

    if found.synthetic:
        yield "SYNTHETIC: the map is of the made-up world."
    yield f"{format_count(found.points, 'point')} of {found.report.rows:,} rows of labels"
    if found.report.left_out:
        yield f"  no class       {found.report.left_out:,} rows"
    if found.unmapped:
        yield f"  not on the map {len(found.unmapped):,}: {list_some(found.unmapped, 5)}"
    yield from _say_accuracy(found.accuracy)
    yield (
        "How these points were drawn is not known: all count alike, intervals hold only if each "
        "was drawn at random from the whole area, and no area follows."
    )


def _assess_parts(
    found: Assessment, by: str | None, progress: Callable[[float], None]
) -> Accuracy | None:
    """Accuracy of each region or district."""
    from cropmask.assess.accuracy import assess_accuracy

    if by is None:
        return None
    evidence, request = found.evidence, found.request
    if by == "region":
        sizes: dict[str, dict[str, int]] = {}
        for number in evidence.strata:
            each = evidence.design.strata[number]
            sizes.setdefault(each.region, {})[each.name] = each.pixels
        table = evidence.count(domains=evidence.sample.region, pixels=sizes)
    else:
        assert request.districts is not None
        counted = found.count_districts(request.districts, progress)
        table = evidence.count_districts(counted)
    return assess_accuracy(table, method=request.method, level=request.level)


def _encode_accuracy(accuracy: Accuracy) -> Encoded:
    table = accuracy.confusion
    return {
        "classes": accuracy.classes,
        "overall": encode_estimated(accuracy.overall),
        "producers": encode_estimated(accuracy.producers),
        "users": encode_estimated(accuracy.users),
        "f1": encode_estimated(accuracy.f1),
        "counts": table.matrix.tolist(),
        "area_shares": table.area_shares.tolist() if table.is_weighted else None,
    }


def _names_of(parts: Accuracy) -> list[str]:
    from cropmask.assess.evidence import name_domain

    return [name_domain(name) for name in parts.confusion.domains or ()]


def _say_accuracy(accuracy: Accuracy) -> Iterator[str]:
    """A table of the figures, and the matrix."""
    level = f"{accuracy.overall.level:.0%}".replace("%", " %")
    yield f"  {'':<28}{'estimate':>9}  {level} interval"
    yield f"  {'overall accuracy':<28}{_format(accuracy.overall)}"
    named = {"producer's accuracy": accuracy.producers, "user's accuracy": accuracy.users}
    for at, name in enumerate(accuracy.classes):
        for title, figures in named.items():
            yield f"  {f'{title}, {name}':<28}{_format(figures.at(at))}"
        yield f"  {f'F1, {name}':<28}{_format(accuracy.f1.at(at), percent=False)}"
    yield from _say_matrix(accuracy)


def _format(figure: Estimated, *, percent: bool = True) -> str:
    import numpy as np

    values = [float(each) for each in (figure.estimate, figure.low, figure.high)]
    if np.isnan(values[0]):
        return f"{'not known':>9}"
    estimate, low, high = (f"{100 * v:.2f}" if percent else f"{v:.2f}" for v in values)
    return f"{estimate:>9}  {low} to {high}"


def _say_matrix(accuracy: Accuracy) -> Iterator[str]:
    table = accuracy.confusion
    shares = table.area_shares
    width = max(16, *(len(name) + 2 for name in accuracy.classes))
    heads = "".join(f"{name:>{width}}" for name in accuracy.classes)
    yield f"  {'map, points of class':<28}{heads}"
    for at, name in enumerate(accuracy.classes):
        cells = [
            f"{count:,}" + (f" ({100 * share:.2f} %)" if table.is_weighted else "")
            for count, share in zip(table.matrix[at].tolist(), shares[at].tolist(), strict=True)
        ]
        yield f"  {name:<28}{''.join(f'{cell:>{width}}' for cell in cells)}"


def _say_parts(parts: Accuracy) -> Iterator[str]:
    from cropmask.assess.evidence import CROP

    counts = parts.confusion.counts.sum((-1, -2, -3)).tolist()
    yield ""
    yield f"  {'':<28}{'points':>7}  overall / producer's of crop / user's of crop"
    for at, name in enumerate(_names_of(parts)):
        figures = (
            parts.overall.at(at),
            parts.producers.at(at, CROP),
            parts.users.at(at, CROP),
        )
        texts = [_format(figure).strip().replace("  ", " (") for figure in figures]
        joined = " / ".join(f"{text})" if "(" in text else text for text in texts)
        yield f"  {name:<28}{counts[at]:>7,}  {joined}"


def _encode_comparison(against: MapComparison) -> Encoded:
    return {
        "first": encode_estimated(against.first),
        "second": encode_estimated(against.second),
        "difference": encode_estimated(against.difference),
        "only_first": int(against.only_first),
        "only_second": int(against.only_second),
        "chi_square": float(against.chi_square),
        "p_value": float(against.p_value),
    }


def _say_comparison(against: MapComparison, other: str, found: Assessment) -> Iterator[str]:
    yield ""
    yield f"  {f'overall, {found.design.band}':<28}{_format(against.first)}"
    yield f"  {f'overall, {other}'[:27]:<28}{_format(against.second)}"
    yield f"  {'difference':<28}{_format(against.difference)}"
    yield (
        f"  right alone at {int(against.only_first)} and {int(against.only_second)} points: "
        f"McNemar's chi-square {float(against.chi_square):.2f}, p {float(against.p_value):.3g}"
    )
