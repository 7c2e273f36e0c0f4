"""The files of a catalog that depend on the product and the regions alone, not on results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from os.path import relpath
from pathlib import Path
from typing import Final

from cropmask.catalog.regions import CatalogRegion, RegionModel, credit_model, describe_model
from cropmask.catalog.thumbnails import draw_region, draw_regions
from cropmask.product import FAMILIES, SERIES_BANDS, with_extras
from cropmask.region.attribution import Attribution
from cropmask.stac.collection import (
    ROOT_KEY,
    THUMBNAIL,
    describe_assets,
    link_items,
    make_collection,
    make_root_catalog,
)
from cropmask.stac.datacube import make_odc_product, make_products_csv, product_file
from cropmask.stac.facts import Document, encode_json
from cropmask.stac.links import media_type
from cropmask.stac.modelitem import (
    make_model_item,
    make_models_collection,
    model_id,
    model_key,
)
from cropmask.stac.services import (
    OWS_FILE,
    TERRIA_FILE,
    MapLayer,
    make_ows_config,
    make_terria_group,
)
from cropmask.stac.styles import STYLE_KINDS, make_qml, make_sld, style_file

CHILD: Final = re.compile(rf"\./((?:{'|'.join(FAMILIES)})_[a-z0-9_]+)/collection\.json")
"""Links of the root catalog to collections; the group is the collection's name."""
PRODUCTS: Final = "products.csv"
RELATED: Final = {
    PRODUCTS: "Open Data Cube products, for dc-sync-products",
    OWS_FILE: "Layers of datacube-ows",
    TERRIA_FILE: "Group of a Terria map",
}
"""Files that the root catalog links to beside its collections."""
_CARD: Final = "card.md"


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """One file of the catalog."""

    key: str
    content: bytes | Path
    """Bytes, or a file to copy whose content its key names."""

    @property
    def media_type(self) -> str:
        """Its media type."""
        return media_type(self.key)


def text_file(key: str, text: str) -> CatalogFile:
    """A file of text."""
    return CatalogFile(key, text.encode())


def json_file(key: str, document: Document) -> CatalogFile:
    """A JSON document."""
    return text_file(key, encode_json(document))


def make_static(
    regions: Sequence[CatalogRegion], *, model_place: Path | None
) -> Iterator[CatalogFile]:
    """The whole catalog without results; ``model_place`` is as in :func:`make_models`."""
    collections = [_make_empty(region) for region in regions]
    model_files, model_collections = make_models(regions, place=model_place)
    for region in regions:
        picture = draw_region(region, regions)
        yield CatalogFile(f"{region.product.name}/{THUMBNAIL}", picture)
    yield from model_files
    yield from make_shared([region.layer(10) for region in regions], lambda key: key)
    yield from (json_file(f"{found['id']}/collection.json", found) for found in collections)
    root = make_root_catalog([*collections, *model_collections], related=RELATED)
    yield json_file(ROOT_KEY, root)


def _make_empty(region: CatalogRegion) -> Document:
    """Collection of a region's product, without items."""
    attribution = region.region.attribution
    base = make_collection(region.title, region.product, region.bounds, attribution=attribution)
    return link_items(base, (), describe_assets(region.product.name, results=False))


def make_shared(
    layers: Sequence[MapLayer], address: Callable[[str], str], styled: Iterable[str] = ()
) -> Iterator[CatalogFile]:
    """Styles, product definitions and map services; ``address`` says where a key is found.

    ``styled`` are extra bands that some maps have, beside those that all maps of a layer have.
    """
    makers = {"qml": make_qml, "sld": make_sld}
    extras = {name for layer in layers for name in layer.bands}
    series = SERIES_BANDS if any(layer.product.is_series for layer in layers) else ()
    for band in (*with_extras({*extras, *styled}), *series):
        for kind in STYLE_KINDS:
            yield text_file(style_file(band, kind), makers[kind](band))
    places = {}
    for layer in layers:
        key = product_file(layer.product.name)
        places[layer.product.name] = address(key)
        definition = make_odc_product(
            layer.title, layer.product, layer.resolution, layer.attribution, layer.bands
        )
        yield text_file(key, definition)
    yield text_file(PRODUCTS, make_products_csv(places))
    yield text_file(OWS_FILE, make_ows_config(layers))
    yield json_file(TERRIA_FILE, make_terria_group(layers))


def make_models(
    regions: Sequence[CatalogRegion], *, place: Path | None
) -> tuple[list[CatalogFile], list[Document]]:
    """Files about all models of regions, and the collection of models, if there are any.

    Model files are copied, or linked from a catalog in the folder ``place``.
    """
    files: list[CatalogFile] = []
    items: list[Document] = []
    for region in regions:
        for found in region.models:
            item, copies = _make_model(region, found, place)
            files += [*copies, json_file(model_key(str(item["id"])), item)]
            items.append(item)
    if not items:
        return [], []
    owed = [credit_model(region, found) for region in regions for found in region.models]
    collection = make_models_collection(items, reduce(Attribution.beside, owed))
    files.append(CatalogFile(f"{collection['id']}/{THUMBNAIL}", draw_regions(regions)))
    files.append(json_file(f"{collection['id']}/collection.json", collection))
    return files, [collection]


def _make_model(
    region: CatalogRegion, found: RegionModel, place: Path | None
) -> tuple[Document, list[CatalogFile]]:
    """Item of a model, and what is copied beside it."""
    key = model_key(model_id(region.name, found.recipe, found.file.sha256))
    folder = key.rpartition("/")[0]
    card = found.card_path or region.card_path
    if place is not None:
        here = place / folder
        href = Path(relpath(found.path, here)).as_posix()
        text = Path(relpath(card, here)).as_posix() if card else None
        return make_model_item(describe_model(region, found, href=href, card=text)), []
    copies = [CatalogFile(f"{folder}/{found.file.name}", found.path)]
    if card is not None:
        copies.append(CatalogFile(f"{folder}/{_CARD}", card.read_bytes()))
    text = f"./{_CARD}" if card else None
    named = describe_model(region, found, href=f"./{found.file.name}", card=text)
    return make_model_item(named), copies
