"""The catalog written to a store: printed, or brought up to date with the results there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from cropmask.catalog.regions import CatalogRegion, load_regions
from cropmask.catalog.static import (
    CHILD,
    RELATED,
    CatalogFile,
    json_file,
    make_models,
    make_shared,
    make_static,
    text_file,
)
from cropmask.catalog.thumbnails import draw_results, wants_pictures
from cropmask.errors import Interrupted, Misconfigured, Reason, Rejected, not_installed
from cropmask.machine.stages import Progress, tell_nobody
from cropmask.product import (
    EXTRA_BANDS,
    FAMILY,
    MODELS,
    SERIES_FAMILY,
    Product,
    find_family,
    find_region,
)
from cropmask.region.attribution import Attribution
from cropmask.region.region import region_names
from cropmask.remote.limits import USUAL_LIMITS, ReadLimits
from cropmask.results.finder import find_json
from cropmask.results.itemcache import ITEM_KEY, load_item, load_items
from cropmask.stac.collection import (
    AREA_SUMS,
    PARQUET,
    ROOT_KEY,
    STATISTICS,
    THUMBNAIL,
    describe_assets,
    link_items,
    make_collection,
    make_root_catalog,
    title_of_region,
)
from cropmask.stac.facts import Document
from cropmask.stac.item import ResultItem
from cropmask.stac.links import join_href, make_absolute
from cropmask.stac.services import MapLayer
from cropmask.stac.statistics import make_statistics_csv
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


def build_static(
    store: Store, models: Path | None = None, limits: ReadLimits = USUAL_LIMITS
) -> Built:
    """Write the catalog of all regions, without results.

    Model files are linked where they are if their folder lies beside the catalog's, as in the
    repository; else they are copied. ``models`` is another folder of regions; ``limits`` hold for
    their boundaries.
    """
    refuse_other_catalog(store)
    regions = load_regions(models, limits=limits)
    place = _beside(store, regions)
    written = put_changed(store, make_static(regions, model_place=place))
    return Built({region.product.name: 0 for region in regions}, 0, written, ())


def _beside(store: Store, regions: Sequence[CatalogRegion]) -> Path | None:
    if not isinstance(store, FolderStore):
        return None
    files = [found.path for region in regions for found in region.models]
    parent = store.root.parent
    return store.root if all(parent in path.absolute().parents for path in files) else None


def build_results(
    store: Store,
    models: Path | None = None,
    *,
    limits: ReadLimits = USUAL_LIMITS,
    parquet: bool = True,
    progress: Progress = tell_nobody,
) -> Built:
    """Bring the catalog of results up to date: safe while workers write, and again at any time.

    Items are found by listing, and read only if they are new or have changed. A link to an item
    that is there is never taken away; files that would stay the same are not written. Where there
    is neither an item nor a catalog, nothing is written. ``limits`` hold for the boundaries of
    regions; ``parquet`` writes stac-geoparquet too, which needs ``rustac``.
    """
    stored = load_items(store, progress=lambda share: progress("items", share))
    if not stored.products and not store.exists(ROOT_KEY):
        return Built({}, stored.read, 0, stored.unusable)
    regions = _load_known(stored.products, models, limits)
    files: list[CatalogFile] = []
    collections: list[Document] = []
    layers: list[MapLayer] = []
    styled: set[str] = set()
    for product, listed in stored.products.items():
        region, items = regions.get(product), _with_late_ones(store, product, listed)
        base = _base_collection(store, product, region, items)
        some = _extra_bands(items, any)
        styled.update(some)
        assets = describe_assets(product, results=True, parquet=parquet, bands=some)
        collection = link_items(base, items, assets)
        collections.append(collection)
        layers.append(_layer(collection, region, items))
        files += _files_beside(store, product, region, items)
        if parquet:
            located = [make_absolute(item.document, store.uri(item.key)) for item in items]
            files.append(CatalogFile(f"{product}/{PARQUET}", encode_parquet(located)))
    model_files, model_collections = make_models(
        list({one.name: one for one in regions.values()}.values()), place=None
    )
    files += model_files
    files += make_shared(layers, store.uri, styled)
    # What links comes after what it links to.
    files += [json_file(f"{found['id']}/collection.json", found) for found in collections]
    emptied = dict(_emptied_collections(store, stored.products))
    files += emptied.values()
    written = put_changed(store, files)
    synthetic = any(item.synthetic for item in stored.all())
    named = [*collections, *model_collections]
    written += _put_root(store, named, synthetic=synthetic, unlinked=emptied)
    stored.save(store)
    progress("items", 1.0)
    counts = {product: len(items) for product, items in stored.products.items()}
    return Built(counts, stored.read, written, stored.unusable)


def _files_beside(
    store: Store, product: str, region: CatalogRegion | None, items: Sequence[ResultItem]
) -> Iterator[CatalogFile]:
    """Files beside the collection of a product."""
    yield text_file(f"{product}/{STATISTICS}", make_statistics_csv(items))
    pictures = dict(_load_pictures(store, items)) if wants_pictures(items) else {}
    yield CatalogFile(f"{product}/{THUMBNAIL}", draw_results(region, items, pictures))


def _load_pictures(store: Store, items: Sequence[ResultItem]) -> Iterator[tuple[str, bytes]]:
    """Thumbnails of items, as far as they are there and are pictures."""
    for item in items:
        href = item.assets.get("thumbnail", {}).get("href", "")
        with suppress(Absent, Rejected):
            picture = store.get(join_href(item.key, href))
            if picture.startswith(_PNG):
                yield item.key, picture


def _load_known(
    products: Iterable[str], models: Path | None, limits: ReadLimits
) -> dict[str, CatalogRegion]:
    """Regions of products, as far as the models folder has them."""
    products = tuple(products)
    wanted = {find_region(product) for product in products}
    names = [name for name in region_names(models) if name in wanted]
    regions = load_regions(models, names, limits) if names else ()
    known = {region.name: region for region in regions}
    return {name: known[find_region(name)] for name in products if find_region(name) in known}


def _with_late_ones(store: Store, product: str, listed: Sequence[ResultItem]) -> list[ResultItem]:
    """Items listed, and those that another build has linked since and that are there."""
    keys = {item.key for item in listed}
    late = []
    for link in _load_links(store, f"{product}/collection.json"):
        key = f"{product}/{str(link.get('href', '')).removeprefix('./')}"
        if link.get("rel") == "item" and key not in keys and ITEM_KEY.fullmatch(key):
            late.append(load_item(store, key))
    return sorted([*listed, *filter(None, late)], key=lambda item: item.key)


def refuse_other_catalog(store: Store) -> None:
    """Raise Misconfigured if a place has a root document that is not of our catalog."""
    if store.exists(ROOT_KEY) and find_json(store, ROOT_KEY).get("id") != FAMILY:
        raise Misconfigured(
            f"{store.uri(ROOT_KEY)} is there, and is no catalog that cropmask has written: remove "
            "it, or name another --output",
            reason=Reason.BAD_CATALOG,
        )


def is_linked(store: Store, product: str, keys: Collection[str]) -> bool:
    """Whether the collection of a product links one of these items."""
    key = f"{product}/collection.json"
    hrefs = (link.get("href") for link in _load_links(store, key) if link.get("rel") == "item")
    return any(join_href(key, str(href)) in keys for href in hrefs)


def _emptied_collections(
    store: Store, products: Iterable[str]
) -> Iterator[tuple[str, CatalogFile]]:
    """Names and files of collections whose last item was removed, without the links and sums of it.

    The root no longer links them, until a worker puts an item there: nobody looks for nothing.
    """
    named = (CHILD.fullmatch(str(link.get("href"))) for link in _load_links(store, ROOT_KEY))
    for product in sorted({match[1] for match in named if match} - {MODELS, *products}):
        key = f"{product}/collection.json"
        document = find_json(store, key)
        gone = [
            link
            for link in _load_links(store, key)
            if link.get("rel") == "item" and not store.exists(join_href(key, str(link.get("href"))))
        ]
        if not gone:
            continue
        for file in (PARQUET, STATISTICS, THUMBNAIL):
            store.remove(f"{product}/{file}")
        stay = describe_assets(product, results=False).keys() - {"thumbnail"}
        assets = document.get("assets") or {}
        emptied = {
            **{name: value for name, value in document.items() if name != AREA_SUMS},
            "links": [link for link in document["links"] if link not in gone],
            "assets": {name: each for name, each in assets.items() if name in stay},
        }
        yield product, json_file(key, emptied)


def _base_collection(
    store: Store, product: str, region: CatalogRegion | None, items: Sequence[ResultItem]
) -> Document:
    """Collection of the region, or the one that the worker put where the region is not known."""
    if region is not None:
        title, version, bounds = region.title, region.product.version, region.bounds
    else:
        title = title_of_region(find_json(store, f"{product}/collection.json"))
        version, bounds = items[-1].version, tuple(items[0].document["bbox"])
    known = Product(find_region(product), version, find_family(product))
    title = title or known.region
    return make_collection(
        title,
        known,
        bounds,
        attribution=_credit(region, items),
        resolutions=tuple(sorted({item.resolution for item in items})),
        synthetic=any(item.synthetic for item in items),
        bands=_extra_bands(items, any),
    )


def _extra_bands(
    items: Sequence[ResultItem], enough: Callable[[Iterable[bool]], bool]
) -> tuple[str, ...]:
    """Extra bands that any, or all, of some items have."""
    return tuple(
        band.name for band in EXTRA_BANDS if enough(band.name in item.bands for item in items)
    )


def _credit(region: CatalogRegion | None, items: Sequence[ResultItem]) -> Attribution:
    """Whom the maps of a product are owed to: what its region says, then what its items say."""
    said = reduce(Attribution.beside, (item.attribution for item in items))
    return region.region.attribution.over(said) if region is not None else said


def _layer(
    collection: Document, region: CatalogRegion | None, items: Sequence[ResultItem]
) -> MapLayer:
    name, resolution = str(collection["id"]), min(item.resolution for item in items)
    synthetic = any(item.synthetic for item in items)
    attribution = _credit(region, items)
    bands = _extra_bands(items, all)
    if region is not None:
        layer = region.layer(resolution)
        named = layer.product.series if find_family(name) == SERIES_FAMILY else layer.product
        return replace(
            layer, product=named, synthetic=synthetic, attribution=attribution, bands=bands
        )
    title = title_of_region(collection)
    product = Product(find_region(name), str(collection["version"]), find_family(name))
    bounds = tuple(collection["extent"]["spatial"]["bbox"][0])
    return MapLayer(product, title, (), bounds, resolution, synthetic, attribution, bands)


def put_changed(store: Store, files: Iterable[CatalogFile]) -> int:
    """Write files that are not there or differ; return how many."""
    count = 0
    for file in files:
        if not _is_there(store, file):
            store.put(file.key, file.content, file.media_type)
            count += 1
    return count


def _is_there(store: Store, file: CatalogFile) -> bool:
    if isinstance(file.content, Path):
        return store.exists(file.key)  # a model's key names its content
    try:
        return store.get(file.key) == file.content
    except Absent:
        return False


def _put_root(
    store: Store, collections: Sequence[Document], *, synthetic: bool, unlinked: Iterable[str]
) -> int:
    """Write the root catalog; what others have linked there stays, but for some collections."""
    root = make_root_catalog(collections, synthetic=synthetic, related=RELATED)
    known = {link["href"] for link in root["links"]}
    known |= {f"./{name}/collection.json" for name in unlinked}
    others = _load_links(store, ROOT_KEY)
    root["links"] += [link for link in others if link.get("href") not in known]
    return put_changed(store, [json_file(ROOT_KEY, root)])


def _load_links(store: Store, key: str) -> list[Document]:
    links = find_json(store, key).get("links")
    return [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []


def encode_parquet(items: Sequence[Document]) -> bytes:
    """Bytes of a stac-geoparquet file; items need absolute addresses, since rows have no place."""
    try:
        import rustac
    except ImportError:
        raise not_installed("rustac") from None
    with TemporaryDirectory(prefix="cropmask-") as folder:
        path = Path(folder) / "items.parquet"
        try:
            rustac.write_sync(str(path), [_without_empty(item) for item in items])
        except rustac.RustacError as error:
            raise Interrupted(f"items cannot be written as parquet: {error}") from None
        return path.read_bytes()


def _without_empty(value: Any) -> Any:  # noqa: ANN401 (any JSON value)
    """The same without empty objects, which parquet cannot hold."""
    if isinstance(value, dict):
        return {key: _without_empty(inner) for key, inner in value.items() if inner != {}}
    return value
