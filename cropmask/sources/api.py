"""A STAC API, asked in the dialect that every server speaks: place, time, collection."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import pystac_client
from pyproj import Transformer
from pystac import Link
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import PystacClientWarning
from shapely.geometry import Point, mapping

from cropmask.errors import CropmaskError, Interrupted, Misconfigured, Reason, Rejected
from cropmask.grid import CRS, Tile
from cropmask.remote.address import is_remote
from cropmask.remote.fetch import ReadOptions, ask, translate_status
from cropmask.remote.limits import EndlessSearch, SearchBudget, parse_json
from cropmask.sources.matching import StacFile, dicts_in, is_of_period
from cropmask.task import Period

_PAGE: Final = 100

# Servers that take a search by POST do not always say so.
warnings.filterwarnings("ignore", category=PystacClientWarning, module=__name__)


class _Io(StacApiIO):
    """Asks as everything is asked here: in a zone, within limits, with errors of ours."""

    def __init__(self, address: str, options: ReadOptions) -> None:
        super().__init__(max_retries=None)
        self.read_bytes = 0
        """Bytes of all answers."""
        self._address = address
        self._options = options

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401 (pystac's)
        """Text of a link, or of an address, which pystac would also take for a path."""
        return str(
            super().read_text(source, *args, **kwargs)
            if isinstance(source, Link)
            else self.request(str(source), *args, **kwargs)
        )

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Text of an answer to GET or POST."""
        method = (method or "GET").upper()
        if method not in ("GET", "POST"):
            raise ValueError(f"a link wants {method}")
        most = self._options.limits.document_bytes
        body = {"json" if method == "POST" else "params": parameters}
        answer = ask(
            method, href, self._options, most=most, headers=headers, refuse=self._refuse, **body
        )
        self._options.limits.check("document_bytes", len(answer.content), href)
        self.read_bytes += len(answer.content)
        return answer.content.decode(errors="replace")

    def json_loads(self, txt: str, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401, ARG002
        """Value of a text; Explorer writes a bare NaN, which the standard library takes."""
        try:
            loaded: dict[str, Any] = parse_json(txt, self._options.limits, self._address)
        except ValueError as error:
            raise Interrupted(
                f"the STAC API {self._address} answers no JSON ({error}): check the address, "
                "or try again later",
                reason=Reason.UNREACHABLE,
            ) from None
        return loaded

    def _refuse(self, status: int, text: str) -> CropmaskError:
        if status == 400:
            return Rejected(  # of a tile and a period
                f"the STAC API {self._address} refuses our search: {text[:200]}",
                reason=Reason.SEARCH_REFUSED,
            )
        if status == 404:
            return Misconfigured(
                f"the STAC API {self._address} has no search: check the address",
                reason=Reason.NO_CATALOG,
            )
        known = translate_status(str(status), self._address)
        if isinstance(known, Rejected):
            return Misconfigured(str(known), reason=known.reason)
        return known


class StacApi:
    """A :class:`~cropmask.sources.catalogs.Catalog` that is searched by its server."""

    def __init__(self, address: str, options: ReadOptions) -> None:
        self.address = address
        self._options = options
        self._own = threading.local()

    def find_items(self, collection: str, tile: Tile, period: Period | None) -> Iterator[StacFile]:
        """Items over the tile's center; where there are none, over its box, neighbors included.

        An item need not cover the center of its tile: where there is one of a half-year, the other
        one is looked for by the box.
        """
        found = self._search(collection, period, intersects=_center(tile))
        yield from found
        if not found:
            yield from self._search(collection, period, bbox=_bbox(tile))
        elif period is not None:
            unseen = [
                half for half in period.halves if not any(is_of_period(i, half) for i in found)
            ]
            if len(unseen) == 1:
                yield from self._search(collection, unseen[0], bbox=_bbox(tile))

    def _search(self, collection: str, period: Period | None, **where: Any) -> list[StacFile]:  # noqa: ANN401
        zone = self._options.zone
        try:
            found = self._client().search(
                collections=[collection],
                datetime="/".join(period.interval) if period else None,
                limit=_PAGE,
                **where,
            )
            return [_at_home(StacFile(item, self.address, zone)) for item in self._items(found)]
        except CropmaskError:
            raise
        except Exception as error:  # pystac stumbles over odd answers in any way
            raise Rejected(
                f"the STAC API {self.address} answers what cannot be understood "
                f"({type(error).__name__}: {error}): check the address",
                reason=Reason.BAD_DOCUMENT,
            ) from error

    def _items(self, search: pystac_client.ItemSearch) -> Iterator[dict[str, Any]]:
        """Items of all pages, as long as these have an end and say something new."""
        budget = SearchBudget(self._options.limits, self.address)
        seen: set[str] = set()
        before = self._own.io.read_bytes
        for page in search.pages_as_dicts():
            items = dicts_in(page, "features")
            size, before = self._own.io.read_bytes - before, self._own.io.read_bytes
            budget.count_page(size, len(items))
            ids = json.dumps([item.get("id") for item in items])
            if ids in seen:
                raise EndlessSearch(
                    f"the STAC API {self.address} gives the same page again as its next one, "
                    "so that its search has no end: report it there",
                    reason=Reason.BAD_DOCUMENT,
                )
            seen.add(ids)
            yield from items

    def _client(self) -> pystac_client.Client:
        """Client of this thread: sessions are not made to be shared."""
        if not hasattr(self._own, "client"):
            self._own.io = _Io(self.address, self._options)
            self._own.client = pystac_client.Client.open(self.address, stac_io=self._own.io)
        client: pystac_client.Client = self._own.client
        return client


def _at_home(item: StacFile) -> StacFile:
    """The item with the address that it says it has, where relative links in it start."""
    itself = next((link["href"] for link in item.links if link.get("rel") == "self"), "")
    return replace(item, href=itself) if is_remote(itself) else item


@lru_cache(maxsize=1)
def _to_degrees() -> Transformer:
    return Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)


def _center(tile: Tile) -> dict[str, Any]:
    left, bottom, right, top = tile.bounds
    point = Point(_to_degrees().transform((left + right) / 2, (bottom + top) / 2))
    return dict(mapping(point))


def _bbox(tile: Tile) -> list[float]:
    left, bottom, right, top = tile.bounds
    west, south = _to_degrees().transform(left, bottom)
    east, north = _to_degrees().transform(right, top)
    return [west, south, east, north]
