"""What should be there against what is: tiles of a region, objects, items, checksums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from cropmask.grid import Tile, tiles_within
from cropmask.machine.stages import CountDone
from cropmask.product import Product, format_bands
from cropmask.region.region import Region
from cropmask.remote.threads import map_threads
from cropmask.results.finder import Dataset, check_item, find_datasets, has_checksum
from cropmask.site.site import Site
from cropmask.sources.boundary import load_boundary
from cropmask.stac.item import ResultItem, parse_item
from cropmask.store.protocol import Absent, Store
from cropmask.task import Period


class Finding(StrEnum):
    """What is the matter with a tile."""

    OK = "ok"
    PARTIAL = "partial"
    """Files without an item."""
    MISSING = "missing"
    """Nothing is there."""
    ORPHAN = "orphan"
    """Something is there, but the tile is not the region's."""
    MISMATCH = "mismatch"
    """The item is there, but it or a file is not as it must be."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a result was made; one product should have one way."""

    resolution: int | None
    recipe: str | None
    model: str | None
    """First digits of the model file's digest."""
    software: str | None
    bands: str = ""
    """Extra bands, such as ``+spread``."""
    seamless: bool = False
    """Whether objects go across the edges of tiles."""

    def __str__(self) -> str:
        extras = f", {self.bands}" if self.bands else ""
        extras += ", seamless" if self.seamless else ""
        return f"{self.resolution} m, {self.recipe} {self.model}, cropmask {self.software}{extras}"


@dataclass(frozen=True, slots=True)
class TileCheck:
    """What was found of one tile."""

    tile: Tile
    finding: Finding
    problems: tuple[str, ...] = ()
    """One line each; none if it is ok."""
    bytes: int = 0
    made: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was found of a product in one period."""

    product: Product
    period: str
    checks: tuple[TileCheck, ...]
    """Sorted by tile: each tile of the region, and each other that has files, once."""
    strays: tuple[str, ...]
    """Keys in the datasets' folders that belong to no dataset; they do no harm."""
    verified: bool
    """Whether checksums were computed anew."""

    @property
    def counts(self) -> dict[Finding, int]:
        """Tiles by finding; they sum to the number of checks."""
        found = Counter(check.finding for check in self.checks)
        return {finding: found[finding] for finding in Finding}

    @property
    def is_ok(self) -> bool:
        """Whether every expected tile is ok, and nothing else is there."""
        return all(check.finding is Finding.OK for check in self.checks)

    @property
    def ways(self) -> dict[Provenance, int]:
        """How results were made, the most frequent first; more than one way is worth a look."""
        return dict(Counter(check.made for check in self.checks if check.made).most_common())

    def of(self, finding: Finding) -> tuple[TileCheck, ...]:
        """Tiles with one finding."""
        return tuple(check for check in self.checks if check.finding is finding)


def expected_tiles(site: Site, region: Region) -> tuple[Tile, ...]:
    """Tiles that a region has at a site: those that its boundary reaches."""
    return tiles_within(load_boundary(site.inputs(region).boundary, site.read.limits))


def reconcile(
    store: Store,
    product: Product,
    period: Period,
    expected: Iterable[Tile],
    *,
    verify: bool = False,
    progress: CountDone = lambda _done, _all: None,
) -> Reconciliation:
    """Compare the tiles of a region with what a store holds: one listing, each item read once.

    ``verify`` reads every file, and compares its SHA-256 with ``file:checksum``.
    """
    wanted = set(expected)
    found_datasets = find_datasets(store, product, str(period))
    datasets = [dataset for dataset in found_datasets if dataset.entries]
    checks = map_threads(
        lambda dataset: _check(store, dataset, dataset.tile in wanted, verify=verify),
        datasets,
        progress,
    )
    missing = wanted - {dataset.tile for dataset in datasets}
    checks += [TileCheck(tile, Finding.MISSING, ("no file is there",)) for tile in missing]
    return Reconciliation(
        product,
        str(period),
        tuple(sorted(checks, key=lambda check: check.tile)),
        tuple(key for dataset in found_datasets for key in dataset.strays),
        verify,
    )


def _check(store: Store, dataset: Dataset, expected: bool, *, verify: bool) -> TileCheck:
    tile, size = dataset.tile, dataset.bytes
    if not expected:
        kind = "a finished dataset" if dataset.is_finished else "files"
        return TileCheck(tile, Finding.ORPHAN, (f"{kind} of a tile outside the region",), size)
    if not dataset.is_finished:
        problem = f"{len(dataset.entries)} files but no item: an attempt was interrupted"
        return TileCheck(tile, Finding.PARTIAL, (problem,), size)
    try:
        text = store.get(dataset.item_key)
    except Absent:
        return TileCheck(tile, Finding.PARTIAL, ("the item went away meanwhile",), size)
    item = parse_item(dataset.item_key, text)
    if item is None:
        problem = "the item is not one of ours, or damaged"
        return TileCheck(tile, Finding.MISMATCH, (problem,), size)
    problems = check_item(item, dataset)
    if verify and not problems:
        problems = _verify(store, item, dataset)
    finding = Finding.MISMATCH if problems else Finding.OK
    return TileCheck(tile, finding, problems, size, _made(item))


def _verify(store: Store, item: ResultItem, dataset: Dataset) -> tuple[str, ...]:
    problems = []
    for asset, name in dataset.names_of(item).items():
        try:
            data = store.get(dataset.entries[name].key)
        except Absent:
            problems.append(f"{name} went away meanwhile")
            continue
        if not has_checksum(item.assets[asset], data):
            problems.append(f"{name} has another checksum than the item says")
    return tuple(problems)


def _made(item: ResultItem) -> Provenance:
    return Provenance(
        item.resolution,
        _text(item.model.get("recipe")),
        _text(item.model.get("sha256"), 12),
        _text(item.properties.get("processing:version")),
        format_bands(item.bands) if item.bands else "",
        item.seamless,
    )


def _text(value: object, digits: int = 40) -> str | None:
    return value[:digits] if isinstance(value, str) else None
