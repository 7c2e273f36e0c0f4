"""Documents as values: STAC items, collections and catalogs, and the Open Data Cube's EO3.

Plain dictionaries in, text out. They are never passed through pystac before writing, which
would drop ``proj:epsg``; pystac reads and validates them. Nothing here looks at a clock: equal
facts give equal bytes.
"""

from cropmask.stac.collection import make_collection, make_root_catalog
from cropmask.stac.eo3 import make_eo3
from cropmask.stac.facts import (
    ASSET_SUFFIXES,
    Bounds,
    Document,
    FileFacts,
    ItemFacts,
    ModelFacts,
    Source,
    degrees_box,
    encode_json,
    item_id,
    lonlat_bounds,
    make_sha1_text,
    visual_box,
)
from cropmask.stac.item import make_item

__all__ = [
    "ASSET_SUFFIXES",
    "Bounds",
    "Document",
    "FileFacts",
    "ItemFacts",
    "ModelFacts",
    "Source",
    "degrees_box",
    "encode_json",
    "item_id",
    "lonlat_bounds",
    "make_collection",
    "make_eo3",
    "make_item",
    "make_root_catalog",
    "make_sha1_text",
    "visual_box",
]
