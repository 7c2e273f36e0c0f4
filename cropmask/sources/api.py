"""A STAC API, asked in the dialect that every server speaks: place, time, collection."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import pystac_client
import requests
from pyproj import Transformer
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import PystacClientWarning
from shapely.geometry import Point, mapping

from cropmask.errors import CropmaskError, Interrupted, Misconfigured, Reason, Rejected
from cropmask.grid import CRS, Tile
from cropmask.remote.fetch import ReadOptions, retry_policy, translate_status
from cropmask.sources.matching import StacFile
from cropmask.task import Period

_PAGE: Final = 100

# Servers that take a search by POST do not always say so.
warnings.filterwarnings("ignore", category=PystacClientWarning, module=__name__)


class _Io(StacApiIO):
    """Explorer writes a bare NaN, which only the standard library's reader takes."""

    def json_loads(self, txt: str, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
        loaded: dict[str, Any] = json.loads(txt, *args, **kwargs)
        return loaded


class StacApi:
    """A :class:`~cropmask.sources.catalogs.Catalog` that is searched by its server."""

    def __init__(self, address: str, options: ReadOptions) -> None:
        self.address = address
        self._options = options
        self._own = threading.local()

    def find_items(self, collection: str, tile: Tile, period: Period | None) -> Iterator[StacFile]:
        """Items over the tile's center; if there are none, over its box, neighbors included."""
        over_center = self._search(collection, period, intersects=_center(tile))
        if over_center:
            yield from over_center
        else:
            yield from self._search(collection, period, bbox=_bbox(tile))

    def _search(self, collection: str, period: Period | None, **where: Any) -> list[StacFile]:  # noqa: ANN401
        try:
            found = self._client().search(
                collections=[collection],
                datetime="/".join(period.interval) if period else None,
                limit=_PAGE,
                **where,
            )
            items = list(found.items_as_dicts())
        except APIError as error:
            if error.status_code:
                raise self._translate(error.status_code, str(error)) from error
            raise self._unreachable(error) from error
        except (requests.RequestException, ValueError) as error:
            raise self._unreachable(error) from error
        documents = [StacFile(item, self.address) for item in items if isinstance(item, dict)]
        return [StacFile(it.content, _self_link(it) or self.address) for it in documents]

    def _client(self) -> pystac_client.Client:
        """Client of this thread: sessions are not made to be shared."""
        if not hasattr(self._own, "client"):
            patience = retry_policy(self._options)
            io = _Io(timeout=self._options.timeout_seconds, max_retries=patience)
            self._own.client = pystac_client.Client.open(self.address, stac_io=io)
        client: pystac_client.Client = self._own.client
        return client

    def _translate(self, status: int, text: str) -> CropmaskError:
        if status == 400:
            return Rejected(  # of a tile and a period
                f"the STAC API {self.address} refuses our search: {text[:200]}",
                reason=Reason.SEARCH_REFUSED,
            )
        if status == 404:
            return Misconfigured(
                f"the STAC API {self.address} has no search: check the address",
                reason=Reason.NO_CATALOG,
            )
        known = translate_status(str(status), self.address)
        if isinstance(known, Rejected):
            return Misconfigured(str(known), reason=known.reason)
        return known

    def _unreachable(self, error: Exception) -> Interrupted:
        return Interrupted(
            f"the STAC API {self.address} cannot be reached ({type(error).__name__}): "
            "check the address, or try again later",
            reason=Reason.UNREACHABLE,
        )


def _self_link(item: StacFile) -> str | None:
    return next((str(link["href"]) for link in item.links if link.get("rel") == "self"), None)


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
