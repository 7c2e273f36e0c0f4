"""A catalog looked through once, for many tiles.

What comes back is a catalog again, which answers for each tile as the one that it is from: so the
search for one tile and for a region is the same code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial

from cropmask.errors import Rejected
from cropmask.grid import Tile
from cropmask.remote.fetch import find_names
from cropmask.remote.limits import EndlessSearch
from cropmask.remote.threads import map_threads
from cropmask.sources.catalogs import Catalog, Folder, StaticCatalog
from cropmask.sources.matching import StacFile, may_match, region_code, tile_in_path
from cropmask.task import Period

Wanted = tuple[str, Period | None]
"""A collection and a period, or all of its items."""


def gather(catalog: Catalog, wanted: Iterable[Wanted], tiles: Collection[Tile]) -> Catalog:
    """The same catalog, quick for these tiles.

    A static catalog is walked once for each collection, a folder listed once. An API is left as
    it is: a search for each tile is what it is made for.
    """
    if isinstance(catalog, StaticCatalog):
        try:
            return Gathered(catalog, wanted, frozenset(tiles))
        except EndlessSearch:  # so it is for every tile
            raise
        except Rejected:  # a broken document is the matter of the tile that needs it
            return catalog
    if isinstance(catalog, Folder):
        return Listed(catalog, frozenset(tiles))
    return catalog


class Gathered:
    """Items of a static catalog, by tile."""

    def __init__(
        self, catalog: StaticCatalog, wanted: Iterable[Wanted], tiles: frozenset[Tile]
    ) -> None:
        self.address = catalog.address
        self._catalog = catalog
        self._tiles = tiles
        self._found: dict[Wanted, Mapping[str | None, Sequence[StacFile]]] = {}
        self._passed_over: dict[str, tuple[Period, Mapping[Tile | None, Sequence[str]]]] = {}
        for collection, period in wanted:
            over: list[str] = []
            items = catalog.find_all(collection, tiles, period, passed_over=over)
            self._found[collection, period] = _by_tile(items)
            if period is not None:
                self._passed_over[collection] = period, _names_by_tile(over)

    def find_items(self, collection: str, tile: Tile, period: Period | None) -> Iterator[StacFile]:
        """Items that the catalog would find for a tile."""
        found = self._found.get((collection, period))
        if tile not in self._tiles or (found is None and period is not None):
            yield from self._catalog.find_items(collection, tile, period)
        elif found is not None:
            for item in (*found.get(str(tile), ()), *found.get(None, ())):
                if item.href == self.address or may_match(item.href, tile, period):
                    yield item
        else:
            yield from self._find_of_all_periods(collection, tile)

    def _find_of_all_periods(self, collection: str, tile: Tile) -> Iterator[StacFile]:
        """Items of the period, and those that were passed over for theirs."""
        if collection not in self._passed_over:
            yield from self._catalog.find_items(collection, tile, None)
            return
        period, over = self._passed_over[collection]
        yield from self.find_items(collection, tile, period)
        start = [*over.get(tile, ()), *over.get(None, ())]
        yield from self._catalog.find_all(collection, frozenset({tile}), None, start=start)


def _by_tile(items: Iterable[StacFile]) -> Mapping[str | None, Sequence[StacFile]]:
    """Items by the tile that they say they are of; under None if they say none."""
    found: dict[str | None, list[StacFile]] = defaultdict(list)
    for item in items:
        found[region_code(item)].append(item)
    return dict(found)


class Listed(Folder):
    """A folder of items whose files are known by tile."""

    def __init__(self, folder: Folder, tiles: frozenset[Tile]) -> None:
        super().__init__(folder.address, folder.options)
        self._tiles = tiles
        self._inside: dict[Tile | None, list[str]] = {}
        self._all: dict[Tile | None, list[str]] | None = None
        if folder.address.startswith("s3://"):
            self._inside = self._find_columns()
        if not all(tile in self._inside for tile in tiles):
            self._all = _names_by_tile(find_names(self._base, self.options, ".json"))

    @property
    def _base(self) -> str:
        base = self.address.rstrip("/")
        return f"{base}/" if base.startswith("s3://") else base

    def _find_columns(self) -> dict[Tile | None, list[str]]:
        """Files in the layout of Digital Earth Africa's buckets, from a listing a column."""
        columns = sorted({str(tile)[:4] for tile in self._tiles})
        prefixes = [f"{self._base}{column}/" for column in columns]
        find = partial(find_names, options=self.options, suffix=".json")
        names = [name for found in map_threads(find, prefixes) for name in found]
        places = {f"{self._base}{str(tile)[:4]}/{str(tile)[4:]}/": tile for tile in self._tiles}
        length = len(self._base) + len("x000/y000/")
        found: dict[Tile | None, list[str]] = defaultdict(list)
        for name in names:
            tile = places.get(name[:length])
            if tile is not None:
                found[tile].append(name)
        return dict(found)

    def names_of(self, tile: Tile) -> Sequence[str]:
        """Files that may be of a tile."""
        if tile not in self._tiles:
            return super().names_of(tile)
        if tile in self._inside or self._all is None:
            return self._inside.get(tile, ())
        return sorted([*self._all.get(tile, ()), *self._all.get(None, ())])


def _names_by_tile(names: Iterable[str]) -> dict[Tile | None, list[str]]:
    found: dict[Tile | None, list[str]] = defaultdict(list)
    for name in names:
        found[tile_in_path(name)].append(name)
    return dict(found)
