"""Models as STAC items (MLM extension), and the collection that holds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cropmask.core.features import FEATURES
from cropmask.core.forest import Forest
from cropmask.modelfile.model import Model
from cropmask.product import FAMILY, MASK, MODELS
from cropmask.region.attribution import UNSTATED, Attribution
from cropmask.stac import assets
from cropmask.stac.collection import FIRST_GEOMAD
from cropmask.stac.facts import Bounds, Document, FileFacts
from cropmask.stac.footprint import describe_area
from cropmask.stac.links import ITEM_TYPE, make_link

_EXTENSIONS: Final = ("mlm", "version", "file", "classification", "processing")
_FAR_END: Final = "9999-12-31T00:00:00Z"
"""Items must have an end; MLM writes one that is open so."""
_ARCHITECTURES: Final = {"vote": "Random Forest", "logit": "Gradient-boosted decision trees"}
MODEL_TYPE: Final = "application/octet-stream; application=cropmodel"

_DESCRIPTION: Final = """\
The models that the cropland maps are made with, one item per region and recipe, each with its \
cross-validation, the digest of its training samples and its license. `forest` is the published \
method; `boosted` is smaller and faster. A map's item names the SHA-256 of its model, and links to \
it here."""


@dataclass(frozen=True, slots=True)
class ModelItem:
    """Everything that the item of a model says."""

    region: str
    region_title: str
    version: str
    """Version of the region's product."""
    recipe: str
    bounds: Bounds
    """``(west, south, east, north)`` of the region in degrees."""
    file: FileFacts
    href: str
    """Address of the model file, from the item."""
    model: Model
    description: str
    """What the model is worth, as CommonMark."""
    evidence: Document
    """Properties from the model card: cross-validations, published figures, uses, limits."""
    card: str | None
    """Address of the model card, from the item; None if there is none."""
    attribution: Attribution = UNSTATED
    """Whom the model is owed to, and on which terms."""

    @property
    def id(self) -> str:
        """Id of the item."""
        return model_id(self.region, self.recipe, self.file.sha256)

    @property
    def title(self) -> str:
        """Title of the item."""
        return f"{self.region_title}: {self.recipe}"


def model_id(region: str, recipe: str, sha256: str) -> str:
    """Id of a model's item: another model has another one, so that old maps keep their links."""
    return f"{region}-{recipe}-{sha256[:12]}"


def model_key(identity: str) -> str:
    """Key of a model's item below the root of the catalog."""
    return f"{MODELS}/{identity}/{identity}.json"


def model_href(region: str, recipe: str, sha256: str) -> str:
    """Address of a model's item, from the item of a map."""
    return f"../../../../../{model_key(model_id(region, recipe, sha256))}"


def make_model_item(facts: ModelItem) -> Document:
    """STAC 1.1.0 item of one facts."""
    return {
        "type": "Feature",
        "stac_version": assets.STAC_VERSION,
        "stac_extensions": assets.extensions(*_EXTENSIONS),
        "id": facts.id,
        "collection": MODELS,
        **describe_area(facts.bounds),
        "properties": {**_describe(facts), **_mlm(facts), **_evidence(facts)},
        "links": _links(facts),
        "assets": _assets(facts),
    }


def _describe(facts: ModelItem) -> Document:
    manifest = facts.model.manifest
    return {
        "title": facts.title,
        "description": facts.description,
        "datetime": None,
        # MLM: of the data that a model is for, not of its samples; a search of a year finds it.
        "start_datetime": FIRST_GEOMAD,
        "end_datetime": _FAR_END,
        "version": facts.version,
        **assets.describe_terms(facts.attribution),
        "processing:software": dict(manifest.software),
        "processing:lineage": (
            f"{manifest.estimator} of {source.file} (SHA-256 {source.sha256}), "
            "stored as plain arrays without running it"
            if (source := manifest.source)
            else f"{manifest.estimator} fitted on all samples of the region, then stored as plain "
            "arrays"
        ),
    }


def _mlm(facts: ModelItem) -> Document:
    manifest, forest = facts.model.manifest, facts.model.forest
    known: Document = {
        "mlm:name": facts.id,
        "mlm:architecture": _ARCHITECTURES[forest.kind],
        "mlm:tasks": ["classification", "semantic-segmentation"],
        "mlm:framework": "scikit-learn",
        "mlm:accelerator": "amd64",
        "mlm:accelerator_constrained": False,
        "mlm:total_parameters": len(forest.feature),
        "mlm:pretrained": True,
        "mlm:pretrained_source": manifest.source.file
        if manifest.source
        else _describe_samples(facts.attribution),
        "mlm:hyperparameters": dict(manifest.hyperparameters),
        "mlm:input": [_input(forest.features)],
        "mlm:output": [_output(forest)],
    }
    if version := manifest.software.get("scikit-learn"):
        known["mlm:framework_version"] = version
    return known


def _describe_samples(attribution: Attribution) -> str:
    of = " of" if attribution.providers else ","
    return (
        f"Training samples{of} {attribution.credit}" if attribution.credit else "Training samples"
    )


def _input(features: tuple[str, ...]) -> Document:
    known = all(name in FEATURES for name in features)
    return {
        "name": "Features of a pixel",
        "description": f"In this order: {', '.join(features)}",
        "bands": [],
        "input": {
            "shape": [-1, len(features)],
            "dim_order": ["batch", "feature"],
            "data_type": "float32",
        },
        "pre_processing_function": {
            "format": "python",
            "expression": "cropmask.core.features:features"
            if known
            else "cropmask.core.formulas:compute_features",
        },
    }


def _output(forest: Forest) -> Document:
    at = "one half" if forest.threshold == 0.5 else f"{forest.threshold:g}"
    votes = "share of the trees' votes" if forest.kind == "vote" else "logistic of the trees' sum"
    return {
        "name": "Probability of cropland",
        "description": f"The {votes}; a pixel is crop where it is over {at}.",
        "tasks": ["classification", "semantic-segmentation"],
        "bands": [],
        "result": {"shape": [-1], "dim_order": ["batch"], "data_type": "float64"},
        "classification:classes": [
            {
                "value": found.value,
                "name": found.name,
                "title": found.title,
                "description": found.title,
            }
            for found in MASK.classes
        ],
    }


def _evidence(facts: ModelItem) -> Document:
    training = facts.model.manifest.training
    return {
        "cropmask:region": facts.region,
        "cropmask:recipe": facts.recipe,
        "cropmask:trees": len(facts.model.forest.roots),
        "cropmask:training": training.model_dump() if training else None,
        **facts.evidence,
    }


def _links(facts: ModelItem) -> list[Document]:
    maps = f"../../{FAMILY}_{facts.region}/collection.json"
    return [
        make_link("root", "../../catalog.json"),
        make_link("collection", "../collection.json"),
        make_link("parent", "../collection.json"),
        make_link("related", maps, title="Maps of the region"),
        *assets.license_links(facts.attribution),
        assets.METHOD_LINK,
    ]


def _assets(facts: ModelItem) -> Document:
    known: Document = {
        "model": {
            "href": facts.href,
            "type": MODEL_TYPE,
            "title": "Model file: the trees as plain arrays",
            "roles": ["mlm:model"],
            "mlm:artifact_type": "cropmodel",
            "file:size": facts.file.size,
            "file:checksum": facts.file.multihash,
        }
    }
    if facts.card is not None:
        known["card"] = {
            "href": facts.card,
            "type": "text/markdown",
            "title": "Model card: cross-validation, use and limits",
            "roles": ["metadata"],
        }
    return known


def make_models_collection(models: Iterable[Document], attribution: Attribution) -> Document:
    """STAC collection of the items of models, of which there must be one at least.

    ``attribution`` is that of all of them together.
    """
    items = sorted(models, key=lambda item: str(item["id"]))
    wests, souths, easts, norths = zip(*(item["bbox"] for item in items), strict=True)
    return {
        "type": "Collection",
        "stac_version": assets.STAC_VERSION,
        "stac_extensions": [],  # MLM 1.5.2 takes no list in a collection's summaries
        "id": MODELS,
        "title": "Cropland models",
        "description": _DESCRIPTION,
        "keywords": ["cropland", "machine learning", "random forest"],
        **assets.describe_terms(attribution),
        "extent": {
            "spatial": {"bbox": [[min(wests), min(souths), max(easts), max(norths)]]},
            "temporal": {"interval": [[FIRST_GEOMAD, None]]},
        },
        "summaries": {
            "mlm:architecture": sorted({i["properties"]["mlm:architecture"] for i in items}),
            "mlm:framework": ["scikit-learn"],
            "mlm:tasks": ["classification", "semantic-segmentation"],
        },
        "assets": {
            "thumbnail": {
                "href": "./thumbnail.png",
                "type": "image/png",
                "title": "The regions",
                "roles": ["thumbnail"],
            }
        },
        "links": [
            make_link("root", "../catalog.json"),
            make_link("parent", "../catalog.json"),
            *assets.license_links(attribution),
            assets.METHOD_LINK,
            *(
                make_link("author", each.url, "text/html", each.name)
                for each in attribution.providers
                if each.url is not None
            ),
            *(
                make_link(
                    "item",
                    f"./{item['id']}/{item['id']}.json",
                    ITEM_TYPE,
                    item["properties"]["title"],
                )
                for item in items
            ),
        ],
    }
