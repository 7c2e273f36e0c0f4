"""``cropmask train`` and ``cropmask validate``: a model from samples, and what it is worth."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cropmask.cli import options
from cropmask.cli.output import print_result, print_table
from cropmask.errors import Misconfigured, not_installed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cropmask.product import Recipe
    from cropmask.region.region import Region
    from cropmask.training.card import Card
    from cropmask.training.figures import Validation
    from cropmask.training.samples import Samples


@contextmanager
def translate_missing_packages() -> Iterator[None]:
    """Say in one line that a package which training needs is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("sklearn", "scipy", "threadpoolctl"):
            raise
        raise not_installed("scikit-learn") from None


def _read_recipes(text: str) -> tuple[str, ...]:
    """Recipes with commas between them, each once."""
    words = (options.RECIPE.convert(word.strip(), None, None) for word in text.split(","))
    return tuple(dict.fromkeys(words))


_sample_options = options.combine(
    options.region_option,
    click.option(
        "--samples",
        type=options.FILE,
        help="Training samples: a text table whose first line names the columns, 'Class' "
        "(1 crop, 0 not) and the 33 features; it may say where each is from, as 'cropmask samples "
        "extract' does.  [default: those of the region in the shared data, with their coordinates]",
    ),
    click.option(
        "--coordinates",
        type=options.FILE,
        help="x and y of each sample, row by row, in meters of EPSG:6933: whole places "
        "are held out.  [default: where the samples say they are from, else land of like rain and "
        "slope stands for places]",
    ),
    click.option(
        "--jobs",
        type=options.WholeNumber(1),
        default=os.cpu_count() or 1,
        show_default="all CPUs",
        help="CPUs to use; the result does not depend on it.",
    ),
    options.models_option,
)


@click.command()
@_sample_options
@click.option(
    "--recipe",
    type=options.RECIPE,
    default="forest",
    help="'forest' is the published random forest; 'boosted' are gradient-boosted trees; 'robust' "
    "is chosen on places held out.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0.01, 0.99),
    help="Probability over which land is crop.  [default: 0.5; of 'robust' the best one on "
    "held-out groups, which changes the mapped area]",
)
@click.option("--output", type=options.FOLDER, help="[default: the folder of the region file]")
@click.option(
    "--validate/--no-validate",
    "validated",
    default=True,
    help="Cross-validate for the card; this takes many times longer than the fit.",
)
def train(
    region: str,
    samples: Path | None,
    coordinates: Path | None,
    jobs: int,
    models: Path | None,
    recipe: Recipe,
    threshold: float | None,
    output: Path | None,
    validated: bool,
) -> None:
    """Fit a region's model and name it in the region's file.

    Writes RECIPE.cropmodel, card.json and card.md, and sets the file and its digest in the
    region.toml beside them.

    \b
    Examples:
      cropmask train --region eastern --samples samples.txt
      cropmask train --region my/region.toml --samples samples.txt --recipe boosted
    """
    from cropmask.region.region import load_region, model_table

    with translate_missing_packages():
        from cropmask.training.fit import fit
        from cropmask.training.save import check_writable, find_region_file, save
    zone = load_region(region, models)
    folder = output or find_region_file(region, models).parent
    check_writable(folder)
    table, places = _load(samples, coordinates, zone)
    click.echo(f"fitting {recipe} of {zone.name} on {len(table.labels)} samples", err=True)
    fitted = fit(zone, table, recipe, jobs, coordinates=places, threshold=threshold)
    if recipe == "robust":
        from cropmask.training.cardtext import choice_text

        click.echo(choice_text(dict(fitted.manifest.hyperparameters)))
    saved = save(folder, zone, fitted)
    click.echo(f"wrote {saved.file} ({saved.file.stat().st_size / 1000:.0f} kB) and its card")
    if validated:
        _put_validation(folder, zone, table, recipe, places, jobs)
        # What the validation found goes into the model file as well: the table of calibration.
        saved = save(folder, zone, fitted)
    if saved.named:
        click.echo(f"named it in {folder / 'region.toml'}")
    else:
        click.echo("name it in a region.toml with these lines at its end:")
        click.echo(model_table(recipe, saved.file.name, saved.sha256), nl=False)


@click.command()
@_sample_options
@click.option(
    "--recipe",
    "recipes",
    type=options.RECIPE,
    multiple=True,
    default=("forest",),
    help="What to validate; may be given twice.",
)
@click.option(
    "--recipes",
    "compared",
    type=options.parsed("recipes", _read_recipes),
    metavar="RECIPE,...",
    help="Compare these with the published forest on the same folds instead, such as "
    "'forest,boosted,robust'; takes minutes, the card stays as it is.",
)
@click.option(
    "--groupings",
    type=options.WholeNumber(2),
    default=10,
    help="With --recipes: ways to put the groups into folds.",
)
@options.json_option
def validate(
    region: str,
    samples: Path | None,
    coordinates: Path | None,
    jobs: int,
    models: Path | None,
    recipes: tuple[Recipe, ...],
    compared: tuple[Recipe, ...] | None,
    groupings: int,
    as_json: bool,
) -> None:
    """Cross-validate a region's model, beside the published figures.

    Prints the published random cross-validation and, with coordinates, three that hold out
    whole places: of 100 km, the same with 50 km around them left out, and of the region's
    'cluster_km'; without, one that holds out land of like rain and slope. Says how well 'prob' is
    calibrated there, and how much is known. The results go into the card of the region's model
    if it was fitted on these samples; the model file stays as it is.

    \b
    Examples:
      cropmask validate --region sahel --samples sahel.txt
      cropmask validate --region eastern --samples eastern.txt --coordinates places.txt
      cropmask validate --region eastern --recipes forest,boosted,robust
    """
    from cropmask.region.region import load_region

    with translate_missing_packages():
        import cropmask.training.validate  # noqa: F401 (fails here, in one line)
        from cropmask.training.save import find_region_file
    zone = load_region(region, models)
    folder = find_region_file(region, models).parent
    table, places = _load(samples, coordinates, zone)
    if compared:
        _print_pairs(zone, table, compared, places, groupings, jobs, as_json=as_json)
        return
    found = {
        recipe: _put_validation(folder, zone, table, recipe, places, jobs, quiet=as_json)
        for recipe in dict.fromkeys(recipes)
    }
    if as_json:
        print_result(found, (), as_json=True)


def _print_pairs(
    zone: Region,
    table: Samples,
    recipes: tuple[Recipe, ...],
    places: NDArray[Any] | None,
    groupings: int,
    jobs: int,
    *,
    as_json: bool,
) -> None:
    from cropmask.training.paired import compare, pair_rows, pairs_text, plan_comparison

    plan = plan_comparison(zone, table, places, groupings)
    with click.progressbar(
        length=plan.count, label=f"comparing {len(recipes)} recipes", file=sys.stderr
    ) as bar:
        found = compare(plan, recipes, jobs=jobs, done=lambda: bar.update(1))
    if as_json:
        print_result([pair.model_dump(mode="json") for pair in found], (), as_json=True)
        return
    print_table(pair_rows(found))
    click.echo(pairs_text(found))


def _find_shared(zone: Region, folder: str) -> Path | None:
    """A file of a region in the shared data, which lie beside a checkout; None without it."""
    from cropmask.region.region import models_folder

    shared = os.environ.get("CROPMASK_SHARED_DATA")
    top = Path(shared) if shared else models_folder().parents[1] / "shared" / "data"
    path = top / folder / f"{zone.name}.txt"
    return path if path.is_file() else None


def _load(
    samples: Path | None, coordinates: Path | None, zone: Region
) -> tuple[Samples, NDArray[Any] | None]:
    from cropmask.training.samples import load_coordinates, load_samples

    if samples is None:
        samples = _find_shared(zone, "training")
        coordinates = coordinates or _find_shared(zone, "coordinates")
    if samples is None:
        raise Misconfigured(f"no samples of {zone.name}: give a table with --samples FILE")
    table = load_samples(samples)
    if coordinates:
        return table, load_coordinates(coordinates, len(table.labels))
    return table, table.origins.coordinates


def _put_validation(
    folder: Path,
    zone: Region,
    table: Samples,
    recipe: Recipe,
    places: NDArray[Any] | None,
    jobs: int,
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Cross-validate, write it into the card, and print it unless quiet; as a JSON document."""
    from cropmask.training.save import save_validation
    from cropmask.training.validate import count_folds, validate

    with click.progressbar(
        length=count_folds(zone, places), label=f"validating {recipe}", file=sys.stderr
    ) as bar:
        found = validate(zone, table, recipe, places, jobs=jobs, done=lambda: bar.update(1))
    card, reason = save_validation(folder, zone, table, recipe, found)
    if not quiet:
        _print_scores(recipe, found, card)
        click.echo(f"card of {folder} " + (f"not changed: {reason}" if reason else "updated"))
    return {**found.model_dump(mode="json"), "card": {"folder": folder, "not_changed": reason}}


def _print_scores(recipe: Recipe, found: Validation, card: Card) -> None:
    from cropmask.training import cardtext

    rows = [cardtext.HEAD, *cardtext.score_rows(recipe, found.model_dump(mode="json"))]
    published = card.published and card.published.model_dump(mode="json")
    if published:
        rows += cardtext.published_rows(published)
    print_table(rows)
    click.echo("mean ± standard deviation over folds; compare figures of the same kind only")
    document = found.model_dump(mode="json")
    for text in (cardtext.coordinates_text(document), cardtext.groups_text(document)):
        if text:
            click.echo(text)
    click.echo(cardtext.calibration_text(document["calibration"]))
    if found.doubt:
        click.echo(cardtext.doubt_text(document["doubt"]))
    if published:
        click.echo(cardtext.independent_text(published))
    else:
        click.echo("no figures were published of this region with this version and model")
