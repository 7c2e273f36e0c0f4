"""What makes the objects of a map those of a larger one: colors that tiles share, and neighbors.

A margin of the neighbors' pixels is segmented with the tile. It decides nothing by itself which
neighbors are mapped, or when: only their GeoMAD is read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import shapely

from cropmask.core.mapper import WHOLE, Inner
from cropmask.core.sharedcolors import margin_pixels
from cropmask.core.strips import Layers
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.grid import AFRICA_10, GridWindow, Tile, geobox
from cropmask.pixels.joined import JoinedLayers, TilePart
from cropmask.pixels.layers import TileLayers, open_layers
from cropmask.pixels.resample import Window
from cropmask.pixels.verify import verify_files
from cropmask.product import HalfOrder
from cropmask.region.region import Ancillary, Limits, Region
from cropmask.remote.fetch import ReadOptions, find_identity
from cropmask.remote.limits import EndlessSearch
from cropmask.remote.ranges import RemoteFiles
from cropmask.results.colorfile import FittedColors, find_colors
from cropmask.site.site import Site
from cropmask.sources.catalogs import Catalog
from cropmask.sources.search import Identify, Sources, find_sources
from cropmask.stac.facts import Document
from cropmask.task import Period

AHEAD_BYTES: Final = 16 << 20
"""Bytes of a neighbor that are fetched ahead of the computation: of most, little is read."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seam:
    """Colors that a map shares with its neighbors, and what is read of them."""

    fitted: FittedColors
    margin: GridWindow
    """All that is segmented."""
    neighbors: tuple[Sources, ...]
    """Inputs of the tiles around the mapped ones, sorted by tile."""
    missing: Mapping[str, str]
    """Tiles around them that have no pixel here, and the reason."""
    identities: Mapping[str, Mapping[str, str]]
    """Of the neighbors' inputs, by tile."""

    @property
    def key_parts(self) -> dict[str, Any]:
        """Parts of the run key."""
        size = margin_pixels(self.margin.resolution)
        colors = {"colors": self.fitted.digest, "margin": size}
        return {"colors": colors, "neighbors": self.identities}

    def describe(self, left_out: Mapping[str, str]) -> Document:
        """What an item says of it; ``left_out`` are neighbors that could not be read."""
        used = [str(found.tile) for found in self.neighbors if str(found.tile) not in left_out]
        return {
            "colors": self.fitted.digest,
            "margin_pixels": margin_pixels(self.margin.resolution),
            "neighbors": used,
            "missing_neighbors": dict(sorted({**self.missing, **left_out}.items())),
        }


def require_colors(site: Site, region: Region, period: Period) -> FittedColors | None:
    """Colors that tiles of a region share, if the site is seamless.

    Raises Misconfigured if they were not fitted: no tile fits them by itself, which would let the
    first of many decide.
    """
    if not site.seamless:
        return None
    fitted = find_colors(site.store(), region.product, period, site.resolution)
    if fitted is None:
        line = site.commands.line_for(
            "colors fit", region.argument, period, "--resolution", str(site.resolution)
        )
        raise Misconfigured(
            f"no shared colors of {region.product.name} {region.version}, {period}, at "
            f"{site.resolution} m are in {site.output}, which --seamless needs: fit them once, "
            f"with '{line}'",
            reason=Reason.NO_COLORS,
        )
    return fitted


def grow(window: GridWindow) -> GridWindow:
    """A window with the margin around it, within the grid."""
    edge = int(AFRICA_10.size) // window.resolution
    whole = GridWindow(0, 0, AFRICA_10.rows * edge, AFRICA_10.columns * edge, window.resolution)
    return window.grown(margin_pixels(window.resolution)).within(whole)


def find_seam(
    fitted: FittedColors,
    window: GridWindow,
    mapped: Collection[Tile],
    period: Period,
    ancillary: Ancillary,
    catalog: str | Catalog,
    options: ReadOptions,
    identify: Identify = find_identity,
    *,
    order: HalfOrder = "calendar",
) -> Seam:
    """Find the inputs of the tiles around a window of some that are mapped.

    A neighbor whose inputs are missing, or not as they must be, is left out: it can have no map
    that ours would have to fit. Raises Misconfigured and Interrupted as
    :func:`~cropmask.sources.search.find_sources`.
    """
    margin = grow(window)
    neighbors, missing, identities = [], {}, {}
    for tile in sorted(set(margin.tiles) - set(mapped)):
        try:
            found = find_sources(
                catalog, tile, period, ancillary, order=order, masks=False, options=options
            )
            identities[str(tile)] = found.fingerprint(identify)
        except EndlessSearch:
            raise
        except Rejected as error:
            log.debug("neighbor %s is left out: %s", tile, error)
            missing[str(tile)] = str(error.reason)
        else:
            neighbors.append(found)
    return Seam(fitted, margin, tuple(neighbors), missing, identities)


@dataclass(frozen=True, slots=True, eq=False)
class JoinedInputs:
    """Layers of what is mapped, and of what is around it."""

    layers: Layers
    mapped: tuple[TileLayers, ...]
    """Those of the mapped tiles."""
    every: tuple[TileLayers, ...]
    """These and the neighbors'."""
    inner: Inner
    """Rows and columns that are mapped."""
    left_out: Mapping[str, str]
    """Neighbors that could not be read, and the reason."""

    @property
    def pixel_bytes(self) -> int:
        """Bytes of pixels read so far."""
        return sum(layers.pixel_bytes for layers in self.every)

    @property
    def not_applied(self) -> Mapping[str, str]:
        """Masks that could not be applied, and why."""
        causes: dict[str, str] = {}
        for layers in reversed(self.mapped):
            causes.update(layers.not_applied)
        return causes

    def check(self) -> None:
        """As :meth:`~cropmask.pixels.layers.TileLayers.check`, of all."""
        for layers in self.every:
            layers.check()


@contextmanager
def open_joined(
    mapped: Mapping[Tile, Sources],
    window: GridWindow,
    margin: GridWindow,
    *,
    boundary: shapely.Geometry,
    limits: Limits,
    files_of: Callable[[Tile], RemoteFiles],
    neighbors: Collection[Sources] = (),
) -> Iterator[JoinedInputs]:
    """Open the layers of tiles that are mapped within a window, and of a margin around it.

    Raises as :func:`~cropmask.pixels.layers.open_layers`. A neighbor that cannot be used is left
    out, with a warning.
    """
    with ExitStack() as stack:

        def place(layers: TileLayers, piece: GridWindow, *, is_margin: bool) -> TilePart:
            at = piece.row - margin.row, piece.column - margin.column
            return TilePart(stack.enter_context(layers), *at, is_margin=is_margin)

        def begin(sources: Sources) -> tuple[GridWindow, Callable[..., TileLayers]]:
            whole = GridWindow.of_tile(sources.tile, window.resolution)
            piece = margin.within(whole)
            box = geobox(sources.tile, window.resolution)
            part = Window.of(piece, whole)
            return piece, partial(
                open_layers, sources, box, boundary=boundary, limits=limits, window=part
            )

        pieces = []
        for tile, sources in mapped.items():
            piece, start = begin(sources)
            pieces.append(place(start(files=files_of(tile)), piece, is_margin=False))
        left_out = {}
        for sources in neighbors:
            piece, start = begin(sources)
            files = stack.enter_context(RemoteFiles(AHEAD_BYTES))
            try:
                verify_files(sources.bands, sources.options, is_whole=False)
                layers = start(files=files, masks=False, covered=False)
            except Rejected as error:
                log.warning("neighbor %s cannot be used: %s", sources.tile, error)
                left_out[str(sources.tile)] = str(error.reason)
                continue
            pieces.append(place(layers, piece, is_margin=True))
        every = tuple(piece.layers for piece in pieces)
        is_alone = len(every) == 1 and every[0].shape == (margin.rows, margin.columns)
        yield JoinedInputs(
            every[0] if is_alone else JoinedLayers((margin.rows, margin.columns), pieces),
            tuple(piece.layers for piece in pieces if not piece.is_margin),
            every,
            WHOLE if window == margin else window.seen_from(margin),
            left_out,
        )
