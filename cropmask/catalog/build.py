"""The catalog written to a store: printed, or brought up to date with the results there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cropmask.catalog.overview import draw_results, wants_pictures
from cropmask.catalog.regions import KnownRegion, load_regions
from cropmask.catalog.static import (
    CATALOG,
    CHILD,
    RELATED,
    Printed,
    print_json,
    print_models,
    print_shared,
    print_static,
    print_text,
)
from cropmask.errors import Rejected
from cropmask.machine.stages import Progress, tell_nobody
from cropmask.product import FAMILY, MODELS, Product
from cropmask.region import region_names
from cropmask.results.geoparquet import encode_parquet
from cropmask.results.mirror import ITEM_KEY, load_items, load_linked
from cropmask.stac.absolute import join, make_absolute
from cropmask.stac.collection import make_collection, make_root_catalog
from cropmask.stac.facts import SYNTHETIC, Document
from cropmask.stac.gathered import (
    PARQUET,
    STATISTICS,
    SUMS,
    THUMBNAIL,
    Linked,
    gather,
    is_synthetic,
    make_assets,
    make_statistics_csv,
)
from cropmask.stac.services import Layer
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Absent, Store

_PNG: Final = b"\x89PNG"


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did."""

    collections: Mapping[str, int]
    """Items by product."""
    read: int
    """Items that were new or had changed."""
    written: int
    """Files written; those that were the same already are left alone."""
    unusable: tuple[str, ...]
    """Keys of files that should be items and are none."""


def build_static(store: Store, models: Path | None = None) -> Built:
    """Print the catalog of all regions, without results.

    Model files are linked where they are if their folder lies beside the catalog's, as in the
    repository; else they are copied.

    Parameters
    ----------
    store
        Where to.
    models
        Folder of regions; default the one in the package.
    """
    regions = load_regions(models)
    place = _beside(store, regions)
    written = put_changed(store, print_static(regions, model_place=place))
    return Built({known.region.product.name: 0 for known in regions}, 0, written, ())


def _beside(store: Store, regions: Sequence[KnownRegion]) -> Path | None:
    if not isinstance(store, FolderStore):
        return None
    files = [found.path for known in regions for found in known.models]
    parent = store.root.parent
    return store.root if all(parent in path.absolute().parents for path in files) else None


def build_results(
    store: Store,
    models: Path | None = None,
    *,
    parquet: bool = True,
    progress: Progress = tell_nobody,
) -> Built:
    """Bring the catalog of results up to date: safe while workers write, and again at any time.

    Items are found by listing, and read only if they are new or have changed. A link to an item
    that is there is never taken away; files that would stay the same are not written. Where
    there is neither an item nor a catalog, nothing is written.

    Parameters
    ----------
    store
        The results.
    models
        Folder of regions; default the one in the package.
    parquet
        Whether to write the items as stac-geoparquet too, which needs ``rustac``.
    progress
        Told the share of the items that are read.

    Raises
    ------
    Misconfigured
        If the store cannot be written, or a package is missing.
    """
    mirror = load_items(store, progress=lambda share: progress("items", share))
    if not mirror.products and not store.exists(CATALOG):
        return Built({}, mirror.read, 0, mirror.unusable)
    known = _load_known(mirror.products, models)
    printed: list[Printed] = []
    collections: list[Document] = []
    layers: list[Layer] = []
    for product, listed in mirror.products.items():
        found = _with_late_ones(store, product, listed)
        base = _base_collection(store, product, known.get(product), found)
        collection = gather(base, found, make_assets(product, results=True, parquet=parquet))
        collections.append(collection)
        layers.append(_layer(collection, known.get(product), found))
        printed += _print_beside(store, product, known.get(product), found)
        if parquet:
            located = [make_absolute(each.item, store.uri(each.key)) for each in found]
            printed.append(Printed(f"{product}/{PARQUET}", encode_parquet(located)))
    shared = print_models(list(known.values()), place=None)
    printed += shared.files
    printed += print_shared(layers, store.uri)
    # What links comes after what it links to.
    printed += [print_json(f"{found['id']}/collection.json", found) for found in collections]
    printed += _print_emptied(store, mirror.products)
    written = put_changed(store, printed)
    written += _put_root(
        store,
        [*collections, *shared.collections],
        synthetic=any(map(is_synthetic, mirror.products.values())),
    )
    mirror.save(store)
    progress("items", 1.0)
    counts = {product: len(found) for product, found in mirror.products.items()}
    return Built(counts, mirror.read, written, mirror.unusable)


def _print_beside(
    store: Store, product: str, known: KnownRegion | None, found: Sequence[Linked]
) -> Iterator[Printed]:
    yield print_text(f"{product}/{STATISTICS}", make_statistics_csv(found))
    pictures = dict(_load_pictures(store, found)) if wants_pictures(found) else {}
    yield Printed(f"{product}/{THUMBNAIL}", draw_results(known, found, pictures))


def _load_pictures(store: Store, found: Sequence[Linked]) -> Iterator[tuple[str, bytes]]:
    """Thumbnails of items, as far as they are there and are pictures."""
    for each in found:
        href = str(each.item["assets"].get("thumbnail", {}).get("href", ""))
        with suppress(Absent, Rejected):
            picture = store.get(join(each.key, href))
            if picture.startswith(_PNG):
                yield each.key, picture


def _load_known(products: Iterable[str], models: Path | None) -> dict[str, KnownRegion]:
    """Regions of products, as far as the models folder has them."""
    wanted = {product.removeprefix(f"{FAMILY}_") for product in products}
    names = [name for name in region_names(models) if name in wanted]
    regions = load_regions(models, names) if names else ()
    return {known.region.product.name: known for known in regions}


def _with_late_ones(store: Store, product: str, listed: Sequence[Linked]) -> list[Linked]:
    """Items listed, and those that another build has linked since and that are there."""
    keys = {each.key for each in listed}
    late = []
    for link in _load_links(store, f"{product}/collection.json"):
        key = f"{product}/{str(link.get('href', '')).removeprefix('./')}"
        if link.get("rel") == "item" and key not in keys and ITEM_KEY.fullmatch(key):
            late.append(load_linked(store, key))
    return sorted([*listed, *filter(None, late)], key=lambda each: each.key)


def _print_emptied(store: Store, products: Iterable[str]) -> Iterator[Printed]:
    """Collections whose last item was removed, without the links and sums of what has gone."""
    named = (CHILD.fullmatch(str(link.get("href"))) for link in _load_links(store, CATALOG))
    for product in sorted({match[1] for match in named if match} - {MODELS, *products}):
        key = f"{product}/collection.json"
        document = _load_json(store, key)
        gone = [
            link
            for link in _load_links(store, key)
            if link.get("rel") == "item" and not store.exists(join(key, str(link.get("href"))))
        ]
        if not gone:
            continue
        for file in (PARQUET, STATISTICS, THUMBNAIL):
            store.remove(f"{product}/{file}")
        stay = make_assets(product, results=False).keys() - {"thumbnail"}
        assets = document.get("assets") or {}
        yield print_json(
            key,
            {
                **{name: value for name, value in document.items() if name != SUMS},
                "links": [link for link in document["links"] if link not in gone],
                "assets": {name: each for name, each in assets.items() if name in stay},
            },
        )


def _base_collection(
    store: Store, product: str, known: KnownRegion | None, found: Sequence[Linked]
) -> Document:
    """Collection of the region, or the one that the worker put where the region is not known."""
    synthetic = is_synthetic(found)
    resolutions = tuple(sorted({int(each.properties["gsd"]) for each in found}))
    if known is not None:
        return make_collection(
            known.region.title,
            known.region.product,
            known.bounds,
            resolutions=resolutions,
            synthetic=synthetic,
        )
    there = _load_json(store, f"{product}/collection.json")
    region = product.removeprefix(f"{FAMILY}_")
    title = str(there.get("title", "")).removeprefix(SYNTHETIC).partition(", ")[2] or region
    version = str(found[-1].properties["version"])
    box = tuple(found[0].item["bbox"])
    return make_collection(
        title, Product(region, version), box, resolutions=resolutions, synthetic=synthetic
    )


def _layer(collection: Document, known: KnownRegion | None, found: Sequence[Linked]) -> Layer:
    resolution = min(int(each.properties["gsd"]) for each in found)
    synthetic = is_synthetic(found)
    if known is not None:
        return replace(known.layer(resolution), synthetic=synthetic)
    name = str(collection["id"]).removeprefix(f"{FAMILY}_")
    title = str(collection["title"]).removeprefix(SYNTHETIC).partition(", ")[2]
    box = tuple(collection["extent"]["spatial"]["bbox"][0])
    product = Product(name, str(collection["version"]))
    return Layer(product, title, (), box, resolution, synthetic)


def put_changed(store: Store, files: Iterable[Printed]) -> int:
    """Write files that are not there or differ; return how many."""
    count = 0
    for file in files:
        if not _is_there(store, file):
            store.put(file.key, file.content, file.kind)
            count += 1
    return count


def _is_there(store: Store, file: Printed) -> bool:
    if isinstance(file.content, Path):
        return store.exists(file.key)  # a model's key names its content
    try:
        return store.get(file.key) == file.content
    except Absent:
        return False


def _put_root(store: Store, collections: Sequence[Document], *, synthetic: bool) -> int:
    """Write the root catalog; what others have linked there stays."""
    root = make_root_catalog(collections, synthetic=synthetic, related=RELATED)
    ours = {link["href"] for link in root["links"]}
    root["links"] += [link for link in _load_links(store, CATALOG) if link.get("href") not in ours]
    return put_changed(store, [print_json(CATALOG, root)])


def _load_json(store: Store, key: str) -> Document:
    try:
        found = json.loads(store.get(key))
    except (Absent, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _load_links(store: Store, key: str) -> list[Document]:
    links = _load_json(store, key).get("links")
    return [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
