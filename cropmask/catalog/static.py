"""The documents that depend on the product and the regions alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import Final

from cropmask.catalog.overview import draw_region, draw_regions
from cropmask.catalog.regions import KnownRegion, RegionModel, describe_model
from cropmask.product import BANDS, FAMILY
from cropmask.stac.assets import type_of
from cropmask.stac.collection import make_collection, make_root_catalog
from cropmask.stac.facts import Document, encode_json
from cropmask.stac.gathered import THUMBNAIL, gather, make_assets
from cropmask.stac.modelitem import (
    make_model_item,
    make_models_collection,
    model_id,
    model_key,
)
from cropmask.stac.odc import make_odc_product, make_products_csv, product_file
from cropmask.stac.services import OWS_FILE, TERRIA_FILE, Layer, make_ows_config, make_terria_group
from cropmask.stac.styles import make_qml, make_sld, style_file

CATALOG: Final = "catalog.json"
CHILD: Final = re.compile(rf"\./({FAMILY}_[a-z0-9_]+)/collection\.json")
"""Links of the root catalog to collections; the group is the collection's name."""
PRODUCTS: Final = "products.csv"
RELATED: Final = {
    PRODUCTS: "Open Data Cube products, for dc-sync-products",
    OWS_FILE: "Layers of datacube-ows",
    TERRIA_FILE: "Group of a Terria map",
}
"""Files that the root catalog links to beside its collections."""
CARD: Final = "card.md"


@dataclass(frozen=True, slots=True)
class Printed:
    """One file of the catalog."""

    key: str
    content: bytes | Path
    """Bytes, or a file to copy whose content its key names."""

    @property
    def kind(self) -> str:
        """Its media type."""
        return type_of(self.key)


def print_text(key: str, text: str) -> Printed:
    """A file of text."""
    return Printed(key, text.encode())


def print_json(key: str, document: Document) -> Printed:
    """A JSON document."""
    return print_text(key, encode_json(document))


def print_static(regions: Sequence[KnownRegion], *, model_place: Path | None) -> Iterator[Printed]:
    """The whole catalog without results.

    Parameters
    ----------
    regions
        What it is about.
    model_place
        Folder of the catalog, to link model files from where they are; None to copy them.
    """
    collections = [print_collection(known) for known in regions]
    models = print_models(regions, place=model_place)
    for known in regions:
        picture = draw_region(known, regions)
        yield Printed(f"{known.region.product.name}/{THUMBNAIL}", picture)
    yield from models.files
    yield from print_shared([known.layer(10) for known in regions], lambda key: key)
    yield from (print_json(f"{found['id']}/collection.json", found) for found in collections)
    root = make_root_catalog([*collections, *models.collections], related=RELATED)
    yield print_json(CATALOG, root)


def print_collection(known: KnownRegion) -> Document:
    """Collection of a region's product, without items."""
    product = known.region.product
    base = make_collection(known.region.title, product, known.bounds)
    return gather(base, (), make_assets(product.name, results=False))


def print_shared(layers: Sequence[Layer], address: Callable[[str], str]) -> Iterator[Printed]:
    """Styles, product definitions and map services.

    Parameters
    ----------
    layers
        The products that are here.
    address
        Where a key is found, for the list of product definitions.
    """
    for band in BANDS:
        yield print_text(style_file(band, "qml"), make_qml(band))
        yield print_text(style_file(band, "sld"), make_sld(band))
    places = {}
    for layer in layers:
        key = product_file(layer.product.name)
        places[layer.product.name] = address(key)
        yield print_text(key, make_odc_product(layer.title, layer.product, layer.resolution))
    yield print_text(PRODUCTS, make_products_csv(places))
    yield print_text(OWS_FILE, make_ows_config(layers))
    yield print_json(TERRIA_FILE, make_terria_group(layers))


@dataclass(frozen=True, slots=True)
class PrintedModels:
    """Items of models, their files, and their collection if there are any."""

    files: tuple[Printed, ...]
    collections: tuple[Document, ...]


def print_models(regions: Sequence[KnownRegion], *, place: Path | None) -> PrintedModels:
    """Items of all models of regions.

    Parameters
    ----------
    regions
        The regions.
    place
        Folder of the catalog, to link model files from where they are; None to copy them.
    """
    files: list[Printed] = []
    items: list[Document] = []
    for known in regions:
        for found in known.models:
            item, copies = _print_model(known, found, place)
            files += [*copies, print_json(model_key(str(item["id"])), item)]
            items.append(item)
    if not items:
        return PrintedModels((), ())
    collection = make_models_collection(items)
    files.append(Printed(f"{collection['id']}/{THUMBNAIL}", draw_regions(regions)))
    files.append(print_json(f"{collection['id']}/collection.json", collection))
    return PrintedModels(tuple(files), (collection,))


def _print_model(
    known: KnownRegion, found: RegionModel, place: Path | None
) -> tuple[Document, list[Printed]]:
    key = model_key(model_id(known.region.name, found.recipe, found.file.sha256))
    folder = key.rpartition("/")[0]
    card = known.card_path
    if place is not None:
        here = place / folder
        href = Path(relpath(found.path, here)).as_posix()
        text = Path(relpath(card, here)).as_posix() if card else None
        return make_model_item(describe_model(known, found, href=href, card=text)), []
    copies = [Printed(f"{folder}/{found.file.name}", found.path)]
    if card is not None:
        copies.append(Printed(f"{folder}/{CARD}", card.read_bytes()))
    named = describe_model(
        known, found, href=f"./{found.file.name}", card=f"./{CARD}" if card else None
    )
    return make_model_item(named), copies
