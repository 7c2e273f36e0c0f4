"""What commands on labeled samples share: their options, and what they say of the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropmask.assess.choices import LEVEL, METHODS, MIN_POINTS
from cropmask.cli import options
from cropmask.cli.console import warn
from cropmask.errors import list_some

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cropmask.assess.districts import Districts
    from cropmask.assess.intervals import Estimated
    from cropmask.operate.assessment import Assessment, AssessRequest
    from cropmask.remote.limits import ReadLimits
    from cropmask.site.site import Site


label_options = options.combine(
    click.option(
        "--sample",
        type=options.FILE,
        help="The sample as 'cropmask sample' wrote it: .geojson or .gpkg.",
    ),
    click.option(
        "--labels",
        multiple=True,
        type=options.FILE,
        help="Labels: CSV, GeoJSON, GeoPackage, or an export of Collect Earth Online; may be given "
        "several times, such as for each labeler.",
    ),
    click.option(
        "--label",
        type=options.NAME,
        help="Column of the classes.  [default: class, label, landcover or crop; the question of "
        "an export]",
    ),
    click.option(
        "--crop-values",
        type=options.NAME,
        help="Labels that are crop, with commas between.  [default: crop, cropland, 1, yes, true]",
    ),
    click.option(
        "--other-values",
        type=options.NAME,
        help="Labels that are not crop.  [default: non-crop, noncrop, 0, no, false]",
    ),
    click.option(
        "--id", "id_column", type=options.NAME, help="Column of the points' ids.  [default: id]"
    ),
    click.option(
        "--training",
        multiple=True,
        type=options.FILE,
        help="Places that the model was trained on, as a table of samples or points: a sample that "
        "has one of them is refused. May be given several times.",
    ),
    click.option(
        "--accept-unlabeled",
        is_flag=True,
        help="Take points that are labeled for those of their stratum that are not, also where "
        "these are more than a fifth.",
    ),
)
figure_options = options.combine(
    click.option(
        "--method",
        type=click.Choice(METHODS),
        default="mover",
        show_default=True,
        help="Kind of interval; normal, the usual one, is too narrow where points or errors are "
        "few.",
    ),
    click.option(
        "--level",
        type=options.FiniteNumber(0, 1, min_open=True, max_open=True),
        default=LEVEL,
        show_default=True,
        help="Confidence of the intervals.",
    ),
)
district_options = options.combine(
    click.option(
        "--districts",
        type=options.FILE,
        help="GeoJSON or GeoPackage of polygons with names.",
    ),
    click.option("--name-column", type=options.NAME, help="Column of the districts' names."),
)
min_points_option = click.option(
    "--min-points",
    type=options.WholeNumber(2),
    default=MIN_POINTS,
    show_default=True,
    help="A district with fewer points gets no number.",
)


def check_districts(given: Mapping[str, Any]) -> None:
    """Raise UsageError for a column of districts that are not given."""
    if given["name_column"] and given["districts"] is None:
        raise click.UsageError("--name-column is of --districts")


def load_given_districts(given: Mapping[str, Any], limits: ReadLimits) -> Districts | None:
    """Districts of a command's options; tells which are several polygons of one name."""
    from cropmask.assess.districts import load_districts

    if given["districts"] is None:
        return None
    districts = load_districts(given["districts"], given["name_column"], limits=limits)
    if districts.joined:
        warn(
            f"{list_some(districts.joined, 5)}: polygons of one name are one district; if they are "
            "several, give them names of their own"
        )
    return districts


def open_request(given: Mapping[str, Any]) -> tuple[Site, AssessRequest]:
    """Site and request of a command's options."""
    from cropmask.assess.labelpoints import PointColumns
    from cropmask.operate.assessment import AssessRequest

    site = options.open_site(options.pick_site_options(given))
    limits = site.read.limits
    return site, AssessRequest(
        sample=given["sample"],
        labels=tuple(given["labels"]),
        columns=PointColumns(
            given["label"],
            given["id_column"],
            None,
            options.split_names(given["crop_values"]),
            options.split_names(given["other_values"]),
            given.get("label_since"),
            given.get("label_change"),
        ),
        region=given.get("region"),
        districts=load_given_districts(given, limits),
        training=_load_training(given["training"], limits),
        method=given["method"],
        level=given["level"],
        min_points=given.get("min_points") or MIN_POINTS,
        accept_unlabeled=given["accept_unlabeled"],
        change=given.get("change", False),
    )


def _load_training(files: Sequence[Path], limits: ReadLimits) -> NDArray[np.float64] | None:
    """Places that the model was trained on, ``(row, 2)`` in EPSG:6933; None without files."""
    if not files:
        return None
    import numpy as np

    return np.concatenate([_load_places(file, limits) for file in files])


def _load_places(file: Path, limits: ReadLimits) -> NDArray[np.float64]:
    """Places of a table of samples, or of a file of points."""
    import shapely

    from cropmask.errors import Reason, Rejected
    from cropmask.sources.points import load_points
    from cropmask.training.samples import load_samples

    if file.suffix.lower() != ".txt":
        centers = shapely.centroid(load_points(file, limits=limits).geometries)
        places: NDArray[np.float64] = shapely.get_coordinates(centers)
        return places
    coordinates = load_samples(file).origins.coordinates
    if coordinates is None:
        raise Rejected(
            f"samples file {file} does not say where its samples are from: give their places as "
            "CSV with lon and lat, or GeoJSON",
            reason=Reason.BAD_SAMPLES,
        )
    return coordinates


def describe_evidence(found: Assessment) -> dict[str, Any]:
    """What figures are made of, as JSON."""
    design, labels = found.design, found.labels
    return {
        "regions": [*found.zones],
        "period": design.period,
        **({"since": str(design.years[0])} if design.is_change else {}),
        "band": design.band,
        "synthetic": design.synthetic,
        "points": len(found.evidence.sample),
        "labeled": int(found.evidence.is_labeled.sum()),
        "labels": {
            **{name: getattr(labels, name) for name in ("by_id", "by_place")},
            "not_of_this_sample": labels.strangers,
            "contradicted": labels.contradicted,
            "report": labels.report,
        },
        "method": found.request.method,
        "level": found.request.level,
    }


def say_labels(found: Assessment) -> Iterator[str]:
    """What became of the labels, a line each."""
    from cropmask.assess.refusals import MANY_UNLABELED

    if found.design.synthetic:
        yield "SYNTHETIC: the map is of the made-up world."
    yield f"Map: {found.design.title}"
    yield from found.labels.describe()
    for name, share in found.evidence.unlabeled_shares.items():
        if share > MANY_UNLABELED:
            yield f"  label again    {100 * share:.0f} % of the points of '{name}' have no class"


Encoded = dict[str, Any]


def encode_estimated(figures: Estimated) -> Encoded:
    """Figures as JSON; null where there is none."""
    names = ("estimate", "standard_error", "low", "high")
    return {name: encode_numbers(getattr(figures, name)) for name in names}


def encode_numbers(values: Any) -> Any:  # noqa: ANN401 (numbers, or lists of them)
    """Numbers as JSON; null for NaN."""
    import numpy as np

    numbers = np.asarray(values, float)
    found = numbers.astype(object)
    found[~np.isfinite(numbers)] = None
    return found.tolist()
