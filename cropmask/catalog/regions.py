"""What the catalog says of a region and its models, loaded once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import shapely
from pydantic import BaseModel

from cropmask.errors import Rejected
from cropmask.modelfile.model import Model, read_model
from cropmask.product import Product, Recipe
from cropmask.region.attribution import Attribution, parse_attribution
from cropmask.region.region import Region, load_region, region_names
from cropmask.remote.limits import USUAL_LIMITS, ReadLimits
from cropmask.results.cog import load_file_facts
from cropmask.sources.boundary import load_boundary
from cropmask.stac.facts import Bounds, Document, FileFacts, degrees_box
from cropmask.stac.modelitem import ModelItem
from cropmask.stac.services import MapLayer
from cropmask.training.card import CARD_MD, Card, ModelCard, find_model_card, load_card
from cropmask.training.cardtext import (
    calibration_text,
    coordinates_text,
    doubt_text,
    groups_text,
    independent_text,
    kind_text,
)


@dataclass(frozen=True, slots=True)
class RegionModel:
    """A model file of a region with all that is known of it."""

    recipe: Recipe
    path: Path
    file: FileFacts
    model: Model
    card: ModelCard | None
    card_path: Path | None
    """Its card as text."""


@dataclass(frozen=True, slots=True)
class CatalogRegion:
    """A region, its outline and its models."""

    region: Region
    boundary: shapely.Geometry
    """EPSG:6933."""
    card: Card | None
    card_path: Path | None
    """The model card as text."""
    models: tuple[RegionModel, ...]

    @property
    def name(self) -> str:
        """Name of the region."""
        return self.region.name

    @property
    def title(self) -> str:
        """The region in words."""
        return self.region.title

    @property
    def product(self) -> Product:
        """Product of the region."""
        return self.region.product

    @property
    def bounds(self) -> Bounds:
        """Box of the region in degrees."""
        return degrees_box(*self.boundary.bounds)

    def layer(self, resolution: int) -> MapLayer:
        """Map layer of the region's product."""
        return MapLayer(
            self.product,
            self.title,
            self.region.countries,
            self.bounds,
            resolution,
            attribution=self.region.attribution,
        )


def load_regions(
    models: Path | None = None, names: Iterable[str] = (), limits: ReadLimits = USUAL_LIMITS
) -> tuple[CatalogRegion, ...]:
    """Regions below a models folder with their models, all or those of some names."""
    chosen = names or region_names(models)
    found = tuple(_load(load_region(name, models), limits) for name in chosen)
    if not found:
        raise Rejected(f"there is no region in {models}: name a folder of regions with --models")
    return found


def _load(region: Region, limits: ReadLimits) -> CatalogRegion:
    folder = region.boundary.parent
    card = load_card(folder)
    text = folder / CARD_MD
    return CatalogRegion(
        region=region,
        boundary=load_boundary(region.boundary, limits),
        card=card,
        card_path=text if text.is_file() else None,
        models=tuple(_load_models(region)),
    )


def _load_models(region: Region) -> Iterator[RegionModel]:
    for recipe, named in region.models.items():
        folder = region.boundary.parent
        card, page = find_model_card(named.file, named.sha256, folder) or (None, None)
        yield RegionModel(
            recipe=recipe,
            path=named.file,
            file=load_file_facts(named.file),
            model=read_model(named.file, named.sha256),
            card=card,
            card_path=page if page and page.is_file() else None,
        )


def describe_model(
    region: CatalogRegion, found: RegionModel, *, href: str, card: str | None
) -> ModelItem:
    """What the item of a model says; addresses of the model file and its card are from the item."""
    return ModelItem(
        region=region.name,
        region_title=region.title,
        version=region.product.version,
        recipe=found.recipe,
        bounds=region.bounds,
        file=found.file,
        href=href,
        model=found.model,
        description="\n\n".join(_paragraphs(region, found)),
        evidence={
            "cropmask:validation": _dump(found.card and found.card.validation),
            "cropmask:published": _dump(region.card and region.card.published),
            "cropmask:uses": list(region.card.uses) if region.card else [],
            "cropmask:limits": list(region.card.limits) if region.card else [],
        },
        card=card,
        attribution=credit_model(region, found),
    )


def credit_model(region: CatalogRegion, found: RegionModel) -> Attribution:
    """Whom a model is owed to, as its file says; the region may know more of the same provider."""
    manifest = found.model.manifest
    named = [p for p in region.region.providers if p.name == manifest.credit]
    if not named and manifest.credit:
        said = {"name": manifest.credit, "url": manifest.credit_url, "roles": ["licensor"]}
        return parse_attribution({"license": manifest.license, "providers": [said]})
    return replace(parse_attribution({"license": manifest.license}), providers=tuple(named))


def _dump(part: BaseModel | None) -> Document | None:
    return part.model_dump(mode="json") if part else None


def _paragraphs(region: CatalogRegion, found: RegionModel) -> Iterator[str]:
    """What the model is worth, as paragraphs of CommonMark."""
    manifest, forest, card = found.model.manifest, found.model.forest, region.card
    yield (
        f"{manifest.estimator} for {region.title}: {len(forest.roots)} trees on "
        f"{len(forest.features)} features of a pixel."
    )
    if manifest.training:
        rows, crop = manifest.training.rows, manifest.training.crop_rows
        yield f"Fitted on {rows} samples, {100 * crop / rows:.1f} % of them crop."
    if source := manifest.source:
        yield f"Imported from {source.file} ({source.contents}), SHA-256 {source.sha256}."
    if found.card and found.card.validation:
        yield "Cross-validation, mean ± standard deviation over the folds:"
        yield "\n".join(
            f"- {kind_text(scores.model_dump(mode='json'))}: balanced accuracy "
            f"{scores.balanced_accuracy}, F1 {scores.f1}, ROC AUC {scores.auc}"
            + (
                f", places alone {only.balanced_accuracy}"
                if (only := scores.coordinates_only)
                else ""
            )
            for scores in found.card.validation.scores
        )
        validation = found.card.validation.model_dump(mode="json")
        yield from filter(None, (coordinates_text(validation), groups_text(validation)))
        if validation["calibration"]:
            yield calibration_text(validation["calibration"])
        if validation["doubt"]:
            yield doubt_text(validation["doubt"])
    if card and card.published:
        yield independent_text(card.published.model_dump(mode="json"))
    if card:
        yield "\n".join(f"- {sentence}" for sentence in (*card.uses, *card.limits))
