"""License and providers of a tile's inputs: of the items, and of the collections that they link.

They are no part of what is computed: a collection that is not there, or is none, leaves them out.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from cropmask.errors import Interrupted, Misconfigured, Rejected
from cropmask.region.attribution import UNSTATED, Attribution, parse_attribution
from cropmask.remote.fetch import ReadOptions
from cropmask.sources.bands import GeoMad
from cropmask.sources.catalogs import load_document
from cropmask.sources.search import Sources

_PATIENCE_ELSEWHERE: Final = 10.0
"""Seconds to wait for a collection that is not where its item is, and may be out of reach."""

log = logging.getLogger(__name__)


def find_attribution(sources: Sources) -> Attribution:
    """What a map owes for the GeoMAD that it is made from.

    Raises Interrupted if a collection beside its item cannot be read now: equal inputs give equal
    results, so it is not left out for that.
    """
    halves = sources.first, sources.second
    collections: dict[str | None, Attribution] = {None: UNSTATED}
    for half in halves:
        if half.collection_href not in collections:
            collections[half.collection_href] = _find_of_collection(half, sources.options)
    first, second = (half.attribution.over(collections[half.collection_href]) for half in halves)
    found = first.beside(second).handed_on()
    if found.sensed is None or any(half.synthetic for half in halves):
        return replace(found, sensed=None)
    years = {day.year for half in halves for day in (half.period.start, half.period.end)}
    return replace(found, sensed=tuple(sorted(years)))


def _find_of_collection(geomad: GeoMad, options: ReadOptions) -> Attribution:
    """What the collection of an item says."""
    href = str(geomad.collection_href)
    beside = _place(href) == _place(geomad.read_at)
    if not beside:
        options = replace(options, retries=0, timeout_seconds=_PATIENCE_ELSEWHERE)
    try:
        document = load_document(href, options).content
    except (Rejected, Misconfigured, Interrupted) as error:
        if beside and isinstance(error, Interrupted):
            raise
        log.warning("license and providers of %s are not known: %s", geomad.item_id, error)
        return UNSTATED
    # A parent may be a catalog, which has neither.
    return parse_attribution(document) if document.get("type") == "Collection" else UNSTATED


def _place(href: str) -> tuple[str, str]:
    """Server or bucket of an address; the same for all local files."""
    parts = urlsplit(href)
    return parts.scheme, parts.netloc
