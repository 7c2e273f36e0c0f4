"""Models as STAC items (MLM extension), and the collection that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cropmask.product import CREDIT, CREDIT_URL, FAMILY, LICENSE, MASK, MODELS
from cropmask.stac import assets
from cropmask.stac.facts import Bounds, Document, FileFacts
from cropmask.stac.links import ITEM_TYPE, make_link

_EXTENSIONS: Final = ("mlm", "version", "file", "classification", "processing")
_SAMPLES_START: Final = "2019-01-01T00:00:00Z"
_SAMPLES_END: Final = "2019-12-31T23:59:59Z"
"""The samples are of the GeoMAD of 2019."""
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
    estimator: str
    kind: str
    """``vote`` or ``logit``."""
    trees: int
    nodes: int
    features: tuple[str, ...]
    hyperparameters: Mapping[str, Any]
    software: Mapping[str, str]
    training: Mapping[str, Any] | None
    """Digest and counts of the training samples; None if they are not known."""
    description: str
    """What the model is worth, as CommonMark."""
    validation: Mapping[str, Any] | None
    """Cross-validations of the model's card."""
    published: Mapping[str, Any] | None
    """Figures published of the region's map."""
    uses: tuple[str, ...]
    limits: tuple[str, ...]
    card: str | None
    """Address of the model card, from the item; None if there is none."""

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


def make_model_item(model: ModelItem) -> Document:
    """STAC 1.1.0 item of one model."""
    return {
        "type": "Feature",
        "stac_version": assets.STAC_VERSION,
        "stac_extensions": assets.extensions(*_EXTENSIONS),
        "id": model.id,
        "collection": MODELS,
        **assets.describe_area(model.bounds),
        "properties": {**_describe(model), **_mlm(model), **_evidence(model)},
        "links": _links(model),
        "assets": _assets(model),
    }


def _describe(model: ModelItem) -> Document:
    return {
        "title": model.title,
        "description": model.description,
        "datetime": None,
        "start_datetime": _SAMPLES_START,
        "end_datetime": _SAMPLES_END,
        "version": model.version,
        "license": LICENSE,
        "providers": list(assets.PROVIDERS),
        "processing:software": dict(model.software),
        "processing:lineage": (
            f"{model.estimator} fitted on all samples of the region, then stored as plain arrays"
        ),
    }


def _mlm(model: ModelItem) -> Document:
    known: Document = {
        "mlm:name": model.id,
        "mlm:architecture": _ARCHITECTURES[model.kind],
        "mlm:tasks": ["classification", "semantic-segmentation"],
        "mlm:framework": "scikit-learn",
        "mlm:accelerator": "amd64",
        "mlm:accelerator_constrained": False,
        "mlm:total_parameters": model.nodes,
        "mlm:pretrained": True,
        "mlm:pretrained_source": f"Training samples of {CREDIT}, {LICENSE}",
        "mlm:hyperparameters": dict(model.hyperparameters),
        "mlm:input": [_input(model)],
        "mlm:output": [_output(model)],
    }
    if version := model.software.get("scikit-learn"):
        known["mlm:framework_version"] = version
    return known


def _input(model: ModelItem) -> Document:
    return {
        "name": "Features of a pixel",
        "description": f"In this order: {', '.join(model.features)}",
        "bands": [],
        "input": {
            "shape": [-1, len(model.features)],
            "dim_order": ["batch", "feature"],
            "data_type": "float32",
        },
        "pre_processing_function": {
            "format": "python",
            "expression": "cropmask.core.features:features",
        },
    }


def _output(model: ModelItem) -> Document:
    votes = "share of the trees' votes" if model.kind == "vote" else "logistic of the trees' sum"
    return {
        "name": "Probability of cropland",
        "description": f"The {votes}; a pixel is crop where it is over one half.",
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


def _evidence(model: ModelItem) -> Document:
    return {
        "cropmask:region": model.region,
        "cropmask:recipe": model.recipe,
        "cropmask:trees": model.trees,
        "cropmask:training": None if model.training is None else dict(model.training),
        "cropmask:validation": None if model.validation is None else dict(model.validation),
        "cropmask:published": None if model.published is None else dict(model.published),
        "cropmask:uses": list(model.uses),
        "cropmask:limits": list(model.limits),
    }


def _links(model: ModelItem) -> list[Document]:
    maps = f"../../{FAMILY}_{model.region}/collection.json"
    return [
        make_link("root", "../../catalog.json"),
        make_link("collection", "../collection.json"),
        make_link("parent", "../collection.json"),
        make_link("related", maps, title="Maps of the region"),
        *assets.TERMS_LINKS,
    ]


def _assets(model: ModelItem) -> Document:
    known: Document = {
        "model": {
            "href": model.href,
            "type": MODEL_TYPE,
            "title": "Model file: the trees as plain arrays",
            "roles": ["mlm:model"],
            "mlm:artifact_type": "cropmodel",
            "file:size": model.file.size,
            "file:checksum": model.file.multihash,
        }
    }
    if model.card is not None:
        known["card"] = {
            "href": model.card,
            "type": "text/markdown",
            "title": "Model card: cross-validation, use and limits",
            "roles": ["metadata"],
        }
    return known


def make_models_collection(models: Iterable[Document]) -> Document:
    """STAC collection of the items of models, of which there must be one at least."""
    items = sorted(models, key=lambda item: str(item["id"]))
    wests, souths, easts, norths = zip(*(item["bbox"] for item in items), strict=True)
    return {
        "type": "Collection",
        "stac_version": assets.STAC_VERSION,
        "stac_extensions": [],  # MLM 1.5.2 takes no list in a collection's summaries
        "id": MODELS,
        "title": "Cropland models",
        "description": _DESCRIPTION,
        "keywords": ["cropland", "machine learning", "random forest", "africa"],
        "license": LICENSE,
        "providers": list(assets.PROVIDERS),
        "extent": {
            "spatial": {"bbox": [[min(wests), min(souths), max(easts), max(norths)]]},
            "temporal": {"interval": [[_SAMPLES_START, _SAMPLES_END]]},
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
            *assets.TERMS_LINKS,
            make_link("author", CREDIT_URL, "text/html", CREDIT),
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
