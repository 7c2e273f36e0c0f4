"""The card of a region's models: ``card.json`` is the truth, ``card.md`` is printed from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from cropmask.core.features import FEATURES
from cropmask.core.forest import Forest
from cropmask.errors import Misconfigured
from cropmask.modelfile.container import replace_file
from cropmask.modelfile.model import SUFFIX, Fitted, ModelManifest, ModelSource, TrainingData
from cropmask.product import METHOD_URL, RECIPES, HalfOrder, Recipe
from cropmask.region.attribution import OTHER_LICENSE
from cropmask.region.region import Region, load_region, region_names
from cropmask.training.cardtext import print_card
from cropmask.training.figures import PublishedFigures, Validation, Value, load_published

CARD_JSON: Final = "card.json"
CARD_MD: Final = "card.md"
DEFAULT_RECIPE: Final[Recipe] = "forest"

USES: Final = (
    "Mapping annual cropland extent at 10 m in the region the samples come from, from the two "
    "half-year Sentinel-2 GeoMADs of one year.",
)
_SEASONS: Final[Mapping[HalfOrder, str]] = {
    "calendar": "In a season from July to June the features `S1` are of January to June and `S2` "
    "of July to December, as in calendar years.",
    "season": "In a season from July to June the features `S1` are of July to December, with "
    "which it begins, and `S2` of January to June.",
}
LIMITS: Final = (
    "Not for other regions: the samples describe this region's crops and climate only.",
    "Cropland here is land sown and harvested at least once within a year; tree crops, pasture "
    "and fallow are not, and small or mixed fields are often missed.",
    "`prob` is the model's vote, no frequency: how far off it is on places held out stands under "
    "calibration.",
    "Areas counted from the map are biased: estimate areas from a sample of reference points.",
    "Random cross-validation is optimistic, since neighbors of a held-out sample are trained on; "
    "figures of places held out, best with what is around them left out, are nearer to unvisited "
    "land. Figures of different kinds must not be ranked against each other.",
)


class ModelFile(Value):
    """One model file, as it was written."""

    file: str
    sha256: str
    size: int
    """Bytes."""
    estimator: str
    kind: Literal["vote", "logit"]
    trees: int
    nodes: int
    threshold: float = 0.5
    """A pixel is crop where the model's vote is strictly over it."""
    features: tuple[str, ...] = FEATURES
    """Texts of :mod:`cropmask.core.formulas`, in order."""
    hyperparameters: dict[str, str | int | float | bool | None]
    software: dict[str, str]
    source: ModelSource | None = None
    """The file that it was imported from; None if it was trained here."""


class SamplesUsed(Value):
    """The samples that a model was fitted on."""

    sha256: str
    rows: int
    crop_rows: int
    crop_percent: float


class ModelCard(Value):
    """One recipe's model with its evidence."""

    model: ModelFile
    samples: SamplesUsed | None
    """None of an imported model."""
    validation: Validation | None = None
    """None until ``cropmask validate`` was run."""


class Card(Value):
    """All models of a region."""

    region: str
    title: str
    default: Recipe = DEFAULT_RECIPE
    """The published method; another one is the map owner's decision."""
    models: dict[Recipe, ModelCard] = Field(default_factory=dict)
    published: PublishedFigures | None = None
    """Figures of the published map, made with the published forest."""
    uses: tuple[str, ...] = USES
    limits: tuple[str, ...] = LIMITS
    license: str = OTHER_LICENSE
    credit: str = ""
    """Who made the samples; empty if nobody says it."""
    credit_url: str = ""
    method_url: str = METHOD_URL

    def with_model(self, recipe: Recipe, model: ModelCard) -> Card:
        """The same card with one model in place of an old one; recipes keep their order."""
        models = {**self.models, recipe: model}
        return self.model_copy(update={"models": {r: models[r] for r in RECIPES if r in models}})


def find_published(region: Region) -> PublishedFigures | None:
    """What was published of a region that comes with the package; a copy of it has none.

    A copy has another name, title (as made-up ones have), version or forest.
    """
    published = load_published().get(region.name)
    if published is None or region.name not in region_names():
        return None
    return published if _identify(region) == _identify(load_region(region.name)) else None


def _identify(region: Region) -> tuple[str, str, str | None]:
    """What figures are of: title, version and forest of a region."""
    forest = region.models.get("forest")
    return region.title, region.version, forest.sha256 if forest else None


def make_card(region: Region) -> Card:
    """Card of a region that has no model yet."""
    owed, owner = region.attribution, region.attribution.first
    return Card(
        region=region.name,
        title=region.title,
        published=find_published(region),
        uses=(*USES, _SEASONS[region.half_years]),
        license=owed.license or OTHER_LICENSE,
        credit=owner.name if owner else "",
        credit_url=(owner.url or "") if owner else "",
    )


def make_model_card(
    file: Path, sha256: str, forest: Forest, manifest: ModelManifest, old: ModelCard | None
) -> ModelCard:
    """Card of a model file just written; validation of ``old`` is kept if it is of the same fit."""
    training = manifest.training
    model = ModelFile(
        file=file.name,
        sha256=sha256,
        size=file.stat().st_size,
        estimator=manifest.estimator,
        kind=forest.kind,
        trees=len(forest.roots),
        nodes=len(forest.feature),
        threshold=forest.threshold,
        features=forest.features,
        hyperparameters=manifest.hyperparameters,
        software=manifest.software,
        source=manifest.source,
    )
    same = old is not None and is_same_fit(forest, manifest, old)
    return ModelCard(
        model=model,
        samples=training and _describe_samples(training),
        validation=old.validation if old and same else None,
    )


def is_same_fit(forest: Forest, manifest: ModelManifest, card: ModelCard) -> bool:
    """Whether a card is of a fit on the same samples, features and settings."""
    training, model = manifest.training, card.model
    return (
        card.samples == (training and _describe_samples(training))
        and model.hyperparameters == manifest.hyperparameters
        and (model.threshold, model.features) == (forest.threshold, forest.features)
    )


def _describe_samples(training: TrainingData) -> SamplesUsed:
    return SamplesUsed(
        sha256=training.sha256,
        rows=training.rows,
        crop_rows=training.crop_rows,
        crop_percent=round(100 * training.crop_rows / training.rows, 1),
    )


def load_card(folder: Path, name: str = CARD_JSON) -> Card | None:
    """Card of a folder, or None if it has none; Misconfigured if its ``card.json`` is no card."""
    path = folder / name
    try:
        return Card.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Misconfigured(f"model card {path} cannot be read: {error.strerror}") from None
    except ValidationError:
        raise Misconfigured(
            f"model card {path} is not a model card: remove it, then train or validate again"
        ) from None


def find_model_card(
    file: Path, sha256: str, folder: Path | None = None
) -> tuple[ModelCard, Path] | None:
    """Card of a model file, and the page with its text.

    It is one of its own, or in the card of its folder or of ``folder``. The card of another fit
    says nothing about this one.
    """
    own, beside = file.with_suffix(f".{CARD_JSON}"), file.parent / CARD_JSON
    for path in (own, beside, *([folder / CARD_JSON] if folder else [])):
        card = load_card(path.parent, path.name)
        for entry in card.models.values() if card else ():
            if entry.model.sha256 == sha256:
                return entry, path.with_suffix(".md")
    return None


def put_import_card(file: Path, sha256: str, fitted: Fitted) -> Path:
    """Write the card of an imported model beside its file, as a document and as text; its path."""
    # A card of its own: what the folder's card says of a trained model stays as it is.
    assert file.suffix == SUFFIX
    manifest = fitted.manifest
    region = manifest.region or ""
    entry = make_model_card(file, sha256, fitted.forest, manifest, None)
    card = Card(
        region=region,
        title=region or file.stem,
        published=load_published().get(region),
    ).with_model(manifest.recipe, entry)
    return put_card(file.parent, card, f"{file.stem}.{CARD_JSON}")


def put_card(folder: Path, card: Card, name: str = CARD_JSON) -> Path:
    """Write ``card.json``, and ``card.md`` printed from it; path of the latter."""
    document = card.model_dump(mode="json")
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    page = (folder / name).with_suffix(".md")
    replace_file(folder / name, f"{text}\n".encode())
    replace_file(page, print_card(document).encode())
    return page
