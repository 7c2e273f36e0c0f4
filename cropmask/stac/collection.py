"""Collections, one per product, and the root catalog above them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from cropmask.grid import CRS
from cropmask.product import BANDS, CREDIT, FAMILY, LICENSE, METHOD_URL, Product
from cropmask.stac import assets
from cropmask.stac.facts import ASSET_SUFFIXES, SYNTHETIC, Document

FIRST_GEOMAD: Final = "2017-01-01T00:00:00Z"
"""The semiannual Sentinel-2 GeoMAD begins here; no map is older."""

_DESCRIPTION: Final = """\
Annual cropland extent of {title}, from two half-years of Sentinel-2 GeoMAD by Digital Earth \
Africa's published method: a model of 33 features classifies every pixel, image segments of at \
least 1 ha filter the result.

- `mask`: 1 where more than half of the model's vote is crop, else 0.
- `prob`: probability of cropland in percent, rounded and kept on the mask's side of one half, \
so that `prob` > 50 exactly where `mask` is 1.
- `filtered`: 1 where more than half of the pixels of a segment are crop, else 0.

255 is nodata in all three: outside the region, protected areas, water, steep or high ground, \
and pixels without a GeoMAD. A mask whose layer was not available is named in the item's \
`cropmask:masks_not_applied`. Credit: {credit}, CC BY 4.0."""
_SYNTHETIC_DESCRIPTION: Final = (
    "SYNTHETIC: computed from a made-up world, to try the software out. Not a map of any place.\n\n"
)


def make_collection(
    region_title: str,
    product: Product,
    bounds: tuple[float, float, float, float],
    *,
    resolutions: tuple[int, ...] = (10,),
    synthetic: bool = False,
) -> Document:
    """STAC 1.1.0 collection of a product: ``{product}/collection.json`` below the root catalog.

    It depends on the product alone, never on the tile that happens to be written first.

    Parameters
    ----------
    region_title
        The region in words, such as ``Eastern Africa``.
    product
        The product.
    bounds
        ``(west, south, east, north)`` of the region in degrees.
    resolutions
        Pixel sizes in meters.
    synthetic
        Whether the maps show the made-up world.
    """
    description = _DESCRIPTION.format(title=region_title, credit=CREDIT)
    names = ("projection", "raster", "classification", "render", "version")
    return {
        "type": "Collection",
        "stac_version": assets.STAC_VERSION,
        "stac_extensions": assets.extensions(*names),
        "id": product.name,
        "title": f"{SYNTHETIC if synthetic else ''}Cropland extent, {region_title}",
        "description": f"{_SYNTHETIC_DESCRIPTION if synthetic else ''}{description}",
        "keywords": ["cropland", "agriculture", "sentinel-2", "geomad", "africa"],
        "license": LICENSE,
        "version": product.version,
        "providers": list(assets.PROVIDERS),
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
            "odc:product_family": [FAMILY],
        },
        "renders": assets.describe_renders(),
        "item_assets": {
            **{band.name: assets.describe_band(band) for band in BANDS},
            **{key: assets.FILES[key] for key in ASSET_SUFFIXES if key in assets.FILES},
        },
        "links": [
            assets.make_link("root", "../catalog.json", "application/json"),
            assets.make_link("parent", "../catalog.json", "application/json"),
            assets.make_link("license", assets.LICENSE_URL, "text/html", "CC BY 4.0"),
            assets.make_link("about", METHOD_URL, "text/html", "Published method"),
        ],
    }


def make_root_catalog(
    collections: Iterable[Document] = (),
    *,
    synthetic: bool = False,
    related: Mapping[str, str] = MappingProxyType({}),
) -> Document:
    """STAC catalog at the root of the results, ``catalog.json``, with links to collections.

    Parameters
    ----------
    collections
        The collections to link.
    synthetic
        Whether maps show the made-up world.
    related
        Titles of other files, by key.
    """
    children = sorted((found["id"], found["title"]) for found in collections)
    links = [
        assets.make_link("root", "./catalog.json", "application/json"),
        *(
            assets.make_link("child", f"./{name}/collection.json", "application/json", title)
            for name, title in children
        ),
    ]
    if related:
        links += [
            assets.make_link("license", assets.LICENSE_URL, "text/html", "CC BY 4.0"),
            assets.make_link("about", METHOD_URL, "text/html", "Published method"),
            *(
                assets.make_link("related", f"./{key}", assets.type_of(key), title)
                for key, title in related.items()
            ),
        ]
    return {
        "type": "Catalog",
        "stac_version": assets.STAC_VERSION,
        "id": FAMILY,
        "title": f"{SYNTHETIC if synthetic else ''}Cropland extent",
        "description": "Annual cropland extent, one collection per region.",
        "links": links,
    }
