"""Collections, one per product, and the root catalog above them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from cropmask.grid import CRS
from cropmask.product import (
    BANDS,
    FAMILY,
    SERIES_BANDS,
    SERIES_FAMILY,
    Product,
    find_family,
    find_region,
    with_extras,
)
from cropmask.region.attribution import UNSTATED, Attribution
from cropmask.stac import assets
from cropmask.stac.facts import ASSET_SUFFIXES, SYNTHETIC_MARK, Bounds, Document, mark_title
from cropmask.stac.item import ResultItem
from cropmask.stac.links import ITEM_TYPE, make_link, media_type
from cropmask.stac.statistics import sum_areas
from cropmask.stac.styles import STYLE_KINDS, style_file

ROOT_KEY: Final = "catalog.json"
"""Key of the root catalog below the root of the results."""
PARQUET: Final = "items.parquet"
STATISTICS: Final = "statistics.csv"
THUMBNAIL: Final = "thumbnail.png"
AREA_SUMS: Final = "cropmask:statistics"
"""Where a collection has the areas of its items, by period."""

FIRST_GEOMAD: Final = "2017-01-01T00:00:00Z"
"""The semiannual Sentinel-2 GeoMAD begins here; no map is older."""

_DESCRIPTION: Final = """\
Annual cropland extent of {title}, from two half-years of Sentinel-2 GeoMAD by the published \
method: a model of 33 features classifies every pixel, image segments of at least 1 ha filter the \
result.

- `mask`: 1 where more than half of the model's vote is crop, else 0.
- `prob`: probability of cropland in percent, rounded and kept on the mask's side of one half, \
so that `prob` > 50 exactly where `mask` is 1.
- `filtered`: 1 where more than half of the pixels of a segment are crop, else 0.

255 is nodata in all three: outside the region, protected areas, water, steep or high ground, \
and pixels without a GeoMAD. A mask whose layer was not available is named in the item's \
`cropmask:masks_not_applied`."""
_SERIES_DESCRIPTION: Final = """\
Change of cropland of {title} between years: for each pixel, the state of every year given the \
yearly maps of all years, by a hidden Markov model whose rates of change and evidence are fitted \
to the region.

{bands}

These are flags, not areas: most of what differs between two yearly maps is error, and what is \
flagged misses most of what changed. An area of change comes from a sample with change strata. \
Rates with their intervals are in the item's `cropmask:series`."""
_MADE_UP: Final = (
    "SYNTHETIC: computed from a made-up world, to try the software out. Not a map of any place.\n\n"
)


def make_collection(
    region_title: str,
    product: Product,
    bounds: Bounds,
    *,
    attribution: Attribution = UNSTATED,
    resolutions: tuple[int, ...] = (10,),
    synthetic: bool = False,
    bands: tuple[str, ...] = (),
) -> Document:
    """STAC 1.1.0 collection of a product: ``{product}/collection.json`` below the root catalog.

    It depends on the product alone, never on the tile that happens to be written first. The title
    is that of the region in words, such as ``Eastern Africa``, ``bounds`` its box in degrees,
    ``resolutions`` are pixel sizes in meters, and ``bands`` extra ones that maps of it may have.
    """
    description = _describe_product(product, region_title, bands)
    what = "Change of cropland" if product.is_series else "Cropland extent"
    if attribution.line:
        description += f" Credit: {attribution.line}."
    names = ("projection", "raster", "classification", "render", "version")
    return {
        "type": "Collection",
        "stac_version": assets.STAC_VERSION,
        "stac_extensions": assets.extensions(*names),
        "id": product.name,
        "title": mark_title(f"{what}, {region_title}", synthetic=synthetic),
        "description": f"{_MADE_UP if synthetic else ''}{description}",
        "keywords": ["cropland", "agriculture", "sentinel-2", "geomad", region_title.lower()],
        "version": product.version,
        **assets.describe_terms(attribution),
        "extent": {
            "spatial": {"bbox": [list(bounds)]},
            "temporal": {"interval": [[FIRST_GEOMAD, None]]},
        },
        "summaries": {
            "gsd": list(resolutions),
            "platform": ["sentinel-2"],
            "constellation": ["sentinel-2"],
            "instruments": ["msi"],
            "proj:code": [CRS],
            "odc:product": [product.name],
            "odc:product_family": [product.family],
        },
        "renders": assets.describe_renders(product.bands(bands)),
        "item_assets": {
            **{band.name: assets.describe_band(band) for band in product.bands(bands)},
            **{
                key: assets.describe_file(key, is_series=product.is_series)
                for key in ASSET_SUFFIXES
                if key in assets.FILE_ASSETS
            },
        },
        "links": [
            make_link("root", "../catalog.json"),
            make_link("parent", "../catalog.json"),
            *assets.license_links(attribution),
            assets.METHOD_LINK,
        ],
    }


def _describe_product(product: Product, title: str, extras: tuple[str, ...]) -> str:
    """What the product is, in Markdown."""
    if not product.is_series:
        return _DESCRIPTION.format(title=title) + _describe_extras(extras)
    lines = "\n".join(f"- `{band.name}`: {band.description}" for band in SERIES_BANDS)
    return _SERIES_DESCRIPTION.format(title=title, bands=lines)


def _describe_extras(bands: tuple[str, ...]) -> str:
    """A paragraph on the extra bands, if there are any."""
    named = with_extras(bands)[len(BANDS) :]
    lines = "\n".join(f"- `{band.name}`: {band.description}" for band in named)
    return f"\n\nMaps that were made with them also have:\n\n{lines}" if lines else ""


def title_of_region(collection: Mapping[str, object]) -> str:
    """The region in words, as the title of its product's collection has it."""
    title = str(collection.get("title", ""))
    return title.removeprefix(SYNTHETIC_MARK).partition(", ")[2]


def describe_assets(
    product: str, *, results: bool, parquet: bool = False, bands: tuple[str, ...] = ()
) -> Document:
    """Assets of a product's collection, by paths from ``{product}/collection.json``.

    ``results`` and ``parquet`` say whether figures and stac-geoparquet of items are beside it,
    ``bands`` which extra bands its maps have.
    """
    known_product = Product(find_region(product), "", find_family(product))
    picture = "Share of cropland by tile" if results else "Where the region is"
    definition = f"{product}.odc-product.yaml"
    known: Document = {
        "thumbnail": _asset(THUMBNAIL, picture, "thumbnail"),
        "odc-product": _asset(definition, "Open Data Cube product", "metadata"),
    }
    if results:
        known["statistics"] = _asset(STATISTICS, "Figures of every tile", "metadata")
    if parquet:
        known["items"] = _asset(PARQUET, "All items, stac-geoparquet", "collection-mirror")
    for band in known_product.bands(bands):
        for kind, words in STYLE_KINDS.items():
            title = f"{words} of {band.name}"
            known[f"{kind}-{band.name}"] = _asset(f"../{style_file(band, kind)}", title, "style")
    return known


def _asset(name: str, title: str, role: str) -> Document:
    href = name if name.startswith("../") else f"./{name}"
    return {"href": href, "type": media_type(name), "title": title, "roles": [role]}


def link_items(base: Document, items: Sequence[ResultItem], extra: Document) -> Document:
    """A product's collection that links its items, sums them up and has these assets too."""
    others = [link for link in base["links"] if link["rel"] != "item"]
    document = {**base, "assets": dict(extra), "links": [*others, *map(_item_link, items)]}
    if not items:
        return document
    document["extent"] = _extent(items)
    document["summaries"] = {
        **base["summaries"],
        "gsd": sorted({item.resolution for item in items}),
        "version": sorted({item.version for item in items}),
        "cropmask:synthetic": sorted({item.synthetic for item in items}),
    }
    document[AREA_SUMS] = sum_areas(items)
    return document


def _item_link(item: ResultItem) -> Document:
    href = f"./{item.key.removeprefix(f'{item.product}/')}"
    return make_link("item", href, ITEM_TYPE, item.title)


def _extent(items: Sequence[ResultItem]) -> Document:
    wests, souths, easts, norths = zip(*(item.document["bbox"] for item in items), strict=True)
    starts = [item.properties["start_datetime"] for item in items]
    ends = [item.properties["end_datetime"] for item in items]
    return {
        "spatial": {"bbox": [[min(wests), min(souths), max(easts), max(norths)]]},
        "temporal": {"interval": [[min(starts), max(ends)]]},
    }


def make_root_catalog(
    collections: Iterable[Document] = (),
    *,
    synthetic: bool = False,
    related: Mapping[str, str] = MappingProxyType({}),
) -> Document:
    """STAC catalog at the root of the results, with links to collections.

    ``related`` has titles of other files, by key.
    """
    collections = tuple(collections)
    children = sorted((found["id"], found["title"]) for found in collections)
    has_series = any(find_family(name) == SERIES_FAMILY for name, _ in children)
    links = [
        make_link("root", "./catalog.json"),
        *(make_link("child", f"./{name}/collection.json", title=title) for name, title in children),
    ]
    if related:
        links += [
            *_shared_licenses(collections),
            assets.METHOD_LINK,
            *(
                make_link("related", f"./{key}", media_type(key), title)
                for key, title in related.items()
            ),
        ]
    return {
        "type": "Catalog",
        "stac_version": assets.STAC_VERSION,
        "id": FAMILY,
        "title": mark_title("Cropland extent", synthetic=synthetic),
        "description": "Annual cropland extent, one collection per region"
        f"{' and one of its change between years' if has_series else ''}.",
        "links": links,
    }


def _shared_licenses(collections: Sequence[Document]) -> list[Document]:
    """Links to the license that all collections have, if it is one."""
    linked = [
        [link for link in found["links"] if link.get("rel") == "license"] for found in collections
    ]
    return linked[0] if linked and all(links == linked[0] for links in linked) else []
