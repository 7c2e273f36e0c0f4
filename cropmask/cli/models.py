"""``cropmask models``: the model files of the regions, shown, checked and imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from cropmask.cli import options
from cropmask.cli.console import warn
from cropmask.cli.output import pick, print_result, print_table, refuse_other_file
from cropmask.errors import CropmaskError, Reason, Rejected
from cropmask.product import RECIPES, Recipe

_HEAD: Final = (
    *("region", "recipe", "random", "grouped", "trees", "features", "rows", "kB", "SHA-256"),
    "file",
)
"""Columns of the list of models; two are balanced accuracies, see the help of the command."""
_MARKS: Final = {
    True: click.style("ok     ", fg="green"),
    False: click.style("FAILED ", fg="red"),
}


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model file, and where it was named."""

    region: str
    """Empty for a file given by its path."""
    recipe: str
    file: Path
    sha256: str | None
    """What the region file says."""
    argument: str = ""
    """What ``--region`` of a command says for the region."""


@click.group()
def models() -> None:
    """List, show, verify and import model files."""


@models.command("list")
@options.json_option
@options.models_option
def list_models(as_json: bool, models: Path | None) -> None:
    """List the models of all regions: accuracy, size, digest, training rows and features.

    The two figures of accuracy are balanced ones of cross-validations, from the model's card: of
    random rows held out, which is optimistic, and of whole groups: places of 100 km, or land of
    like rain and slope where the samples have no coordinates.
    """
    documents = []
    for item in _find_models((), models):
        try:
            documents.append({**pick(item, "region", "recipe"), **_make_document(item)})
        except CropmaskError as error:
            click.echo(f"{item.region} {item.recipe}: {error}", err=True)
    if not documents:
        raise Rejected(f"there is no model to list: {_advise_training(models)}")
    if as_json:
        print_result(documents, (), as_json=True)
    else:
        print_table([_HEAD, *map(_format_row, documents)])
        click.echo(
            "random, grouped: balanced accuracy of cross-validations, of random rows (optimistic) "
            "and of whole groups held out: places, or land of like rain and slope",
            err=True,
        )


def _format_row(document: dict[str, Any]) -> tuple[str, ...]:
    training, validation = document["training"], document["validation"]
    scores = [validation and validation[kind] for kind in ("random", "grouped")]
    return (
        document["region"],
        document["recipe"],
        *(f"{found['balanced_accuracy']['mean']:.3f}" if found else "unknown" for found in scores),
        str(document["trees"]),
        str(len(document["features"])),
        str(training["rows"]) if training else "unknown",
        f"{document['bytes'] / 1000:.0f}",
        document["sha256"][:12],
        document["file"],
    )


def _advise_training(models: Path | None) -> str:
    """How to train the first model of a folder of regions."""
    from cropmask.region.region import load_region, region_names, write_training

    for name in region_names(models):
        line = write_training("train", load_region(name, models).argument, RECIPES[0])
        return f"train one with '{line}'"
    return "no region is there: correct --models"


@models.command()
@click.argument("name", metavar="NAME_OR_FILE")
@click.option("--recipe", type=options.RECIPE, help="Show only this one of a region.")
@options.json_option
@options.models_option
def show(name: str, recipe: Recipe | None, as_json: bool, models: Path | None) -> None:
    """Show where a region's models, or one model file, come from and what they are worth.

    \b
    Examples:
      cropmask models show eastern
      cropmask models show eastern --recipe boosted --json
      cropmask models show my/forest.cropmodel
    """
    found = [item for item in _find_models((name,), models) if recipe in (None, item.recipe)]
    if not found:
        raise Rejected(f"{name} has no {recipe or ''} model".replace("  ", " "))
    documents = [_make_document(item) for item in found]
    pairs = zip(found, documents, strict=True)
    lines = (line for item, document in pairs for line in _format_document(item, document))
    print_result(documents, lines, as_json=as_json)


@models.command()
@click.argument("names", metavar="[NAME_OR_FILE]...", nargs=-1)
@options.json_option
@options.models_option
def verify(names: tuple[str, ...], as_json: bool, models: Path | None) -> None:
    """Check models: digest, structure, and probabilities of their stored probe rows.

    Without a name, the models of all regions are checked.

    \b
    Examples:
      cropmask models verify
      cropmask models verify eastern my/forest.cropmodel
    """
    checked = [_check(item) for item in _find_models(names, models)]
    lines = (f"{_MARKS[found['ok']]} {found['title']}: {found['detail']}" for found in checked)
    document = [{k: v for k, v in found.items() if k != "title"} for found in checked]
    print_result(document, lines, as_json=as_json)
    failed = sum(not found["ok"] for found in checked)
    if failed or not checked:
        raise Rejected(
            f"{failed} of {len(checked)} models failed: restore their files or train them anew"
            if checked
            else f"there is no model to verify: {_advise_training(models)}",
            reason=Reason.BAD_MODEL,
        )


def _check(item: NamedModel) -> dict[str, Any]:
    """What checking a model found, as a part of a JSON document."""
    try:
        is_ok, detail = True, _verify(item)
    except CropmaskError as error:
        is_ok, detail = False, str(error)
    title = f"{item.region} {item.recipe}".strip() or str(item.file)
    named = pick(item, "region", "recipe", "file")
    return {**named, "ok": is_ok, "detail": detail, "title": title}


@models.command("import")
@click.argument("old", type=options.FILE, metavar="FILE.joblib")
@click.option(
    "--output", type=options.FILE, help="Model file.  [default: the old name with .cropmodel]"
)
@click.option(
    "--features",
    metavar="NAMES",
    help="Names of the estimator's features in its order, separated by commas.  [default: as the "
    "estimator names them, else the 33 in the order of this package]",
)
@click.option("--region", type=options.NAME, help="Region that the model is for, for its card.")
def import_model(old: Path, output: Path | None, features: str | None, region: str | None) -> None:
    """Turn a scikit-learn joblib file into a model file, running nothing of it.

    Random forests, extra trees and boosted trees of scikit-learn 0.22 or newer, compressed or not,
    alone or within a pipeline or a search. scikit-learn need not be installed. Writes a card beside
    the model file that says where it comes from.

    \b
    Examples:
      cropmask models import gm_mads_two_seasons_ml_model.joblib
      cropmask models import old.joblib --region central --output central.cropmodel
    """
    from cropmask.modelfile.container import MAGIC
    from cropmask.modelfile.importer import find_doubts, import_joblib
    from cropmask.modelfile.model import SUFFIX, check_probes, write_model
    from cropmask.region.region import model_table
    from cropmask.training.card import CARD_JSON, load_card, put_import_card

    file = output or old.with_suffix(SUFFIX)
    if file.suffix != SUFFIX:
        raise click.BadParameter(f"'{file}' does not end with {SUFFIX}", param_hint="--output")
    refuse_other_file(file, MAGIC)
    load_card(file.parent, f"{file.stem}.{CARD_JSON}")  # none but a card is replaced either
    names = tuple(name.strip() for name in features.split(",")) if features else None
    fitted = import_joblib(old, names, region)
    worst = check_probes(fitted.forest, fitted.probes, file)
    sha256 = write_model(file, fitted.forest, fitted.manifest, fitted.probes)
    page = put_import_card(file, sha256, fitted)
    source = fitted.manifest.source
    assert source is not None
    click.echo(f"{old} holds a {source.contents}, SHA-256 {source.sha256}")
    click.echo(f"order of its features: {source.order}")
    for doubt in find_doubts(fitted.forest):
        warn(f"are its features in this order? {doubt}")
    click.echo(f"wrote {file}: {len(fitted.forest.roots)} trees, {worst}; its card is {page}")
    click.echo("use it with --model of cropmask-job, or name it in a region.toml at its end:")
    click.echo(model_table(fitted.manifest.recipe, file.name, sha256), nl=False)


def _find_models(names: tuple[str, ...], folder: Path | None) -> Iterator[NamedModel]:
    from cropmask.modelfile.model import SUFFIX
    from cropmask.region.region import load_region, region_names

    for name in names or region_names(folder):
        path = Path(name)
        if path.suffix == SUFFIX or (path.is_file() and path.suffix != ".toml"):
            yield NamedModel("", "", path, None)
            continue
        region = load_region(name, folder)
        for recipe in RECIPES:
            if recipe in region.models:
                ref = region.models[recipe]
                yield NamedModel(region.name, recipe, ref.file, ref.sha256, region.argument)


def _verify(item: NamedModel) -> str:
    from cropmask.modelfile.model import check_probes, read_model
    from cropmask.training.card import find_model_card

    model = read_model(item.file, item.sha256)
    text = check_probes(model.forest, model.probes, item.file)
    if item.sha256 is not None and find_model_card(item.file, model.forest.digest) is None:
        return f"{text}; no card beside it describes it"
    return text


def _make_document(item: NamedModel) -> dict[str, Any]:
    from cropmask.modelfile.model import read_model
    from cropmask.training.card import find_model_card

    model = read_model(item.file, item.sha256)
    forest = model.forest
    card, _ = find_model_card(item.file, forest.digest) or (None, None)
    return {
        "file": str(item.file),
        "bytes": model.size,
        "sha256": forest.digest,
        "kind": forest.kind,
        "trees": len(forest.roots),
        "nodes": len(forest.feature),
        "cuts": len(forest.cuts),
        "probes": len(model.probes.probability),
        "features": list(forest.features),
        **model.manifest.model_dump(mode="json"),
        "validation": card.model_dump(mode="json")["validation"] if card else None,
    }


def _format_document(item: NamedModel, document: dict[str, Any]) -> Iterator[str]:
    from cropmask.region.region import write_training
    from cropmask.training import cardtext

    yield f"{document['file']} ({document['bytes'] / 1000:.0f} kB)"
    for key, value in document.items():
        if key in ("file", "bytes", "validation"):
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{name} {part}" for name, part in value.items())
        elif isinstance(value, list):
            words = " ".join(word.replace(" ", "") for word in value)
            value = f"{len(value)}: {words}" if len(value) > 3 else ", ".join(value)
        yield f"  {key}: {'unknown' if value is None else value}"
    if document["validation"]:
        yield f"  {', '.join(cardtext.HEAD[1:])}:"
        for row in cardtext.score_rows("", document["validation"]):
            yield f"    {', '.join(row[1:]).removesuffix(', ')}"
        yield f"  calibration: {cardtext.calibration_text(document['validation']['calibration'])}"
    elif item.argument:
        line = write_training("validate", item.argument, item.recipe)
        yield f"  validation: none, run '{line}'"
    else:
        yield "  validation: none"
    yield ""
