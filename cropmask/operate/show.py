"""A result as a figure: what Sentinel-2 saw in both half-years, and what was made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from packaging.version import Version
from pyproj import Transformer

from cropmask.core.extras import is_unlike
from cropmask.errors import CropmaskError, Reason, Rejected, one_line
from cropmask.grid import CRS, Tile
from cropmask.pixels.gdal import open_reading_threads
from cropmask.pixels.rasters import Raster, open_rows
from cropmask.pixels.resample import Window
from cropmask.product import (
    CHANGE_CLASS,
    CHANGED,
    DISSIMILARITY,
    FAMILY,
    FILTERED,
    FLICKERS,
    MASK,
    MODELS,
    PROB,
    SERIES_FAMILY,
    Band,
    Mark,
    find_family,
    list_bands,
)
from cropmask.remote.address import resolve
from cropmask.remote.fetch import ReadOptions, load_json
from cropmask.results.figure import (
    PANEL_PIXELS,
    Panel,
    make_figure,
    mark_unlike,
    measure,
    paint_band,
    paint_natural,
)
from cropmask.results.finder import find_finished, find_products
from cropmask.site.site import Site
from cropmask.sources.bands import BandSource, GeoMad, parse_geomad
from cropmask.sources.matching import StacFile, interval_of, is_of_period
from cropmask.stac.facts import MADE_UP, SYNTHETIC_MARK, format_place, mark_title
from cropmask.task import Period, choose_product

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN: Final = {
    FAMILY: (PROB, MASK, FILTERED),
    SERIES_FAMILY: (CHANGE_CLASS, CHANGED, FLICKERS),
}
"""Bands that are drawn if none is asked for."""
_RGB: Final = ("red", "green", "blue")
_MAX_TITLE: Final = 150


@dataclass(frozen=True, slots=True)
class ResultFigure:
    """A result, drawn."""

    figure: Figure
    title: str
    not_shown: str | None
    """Why GeoMAD is not in it."""


def find_result(
    site: Site, tile: Tile, region: str | None = None, period: Period | None = None
) -> str:
    """Address of the finished result of a tile: of the latest year and version, if none is named.

    Raises Rejected if there is none, or there are some of several regions.
    """
    store = site.store()
    family = SERIES_FAMILY if period is not None and period.is_series else FAMILY
    own = (find_products(store, family) if region is None
           else (choose_product(site.region(region).product, period),))  # fmt: skip
    found = [
        dataset
        for product in own
        for dataset in find_finished(store, product, str(period) if period else None, [tile])
    ]
    if not found:
        which = f"{f' of {region}' if region else ''}{f' in {period}' if period else ''}"
        raise Rejected(
            f"no finished result of tile {tile}{which} is in {site.output}: "
            f"'{site.commands.line('ls')}' lists what is there",
            reason=Reason.NO_RESULTS,
        )
    last = max(dataset.period for dataset in found)
    latest = [dataset for dataset in found if dataset.period == last]
    regions = sorted({dataset.product.region for dataset in latest})
    if len(regions) > 1:
        raise Rejected(
            f"tile {tile} has results of {' and '.join(regions)}: name one with --region",
            reason=Reason.NO_RESULTS,
        )
    return store.uri(max(latest, key=lambda found: Version(found.product.version)).item_key)


def draw_result(
    item: str,
    site: Site,
    *,
    place: tuple[float, float] | None = None,
    kilometers: float | None = None,
    bands: Sequence[Band] = (),
    unlike: Mark | None = None,
) -> ResultFigure:
    """Draw a result: both half-years in natural color, ``prob``, ``mask`` and ``filtered``.

    Of a series: its classes, the year of change, and how often it flickers.

    ``item`` is the path or address of its STAC item, ``place`` longitude and latitude of a mark,
    with ``kilometers`` of the edge of a square around it that is shown. ``bands`` are drawn instead
    of these; ``unlike`` says how land outside the training data is drawn in all of them.

    Raises Rejected if it is no item of a crop mask or a series, has no such band, or the place is
    not in it; Misconfigured if matplotlib is not installed, or access is denied; Interrupted if the
    result cannot be read.
    """
    options = site.read_results.at(item)
    document = StacFile(load_json(item, options), item, options.zone)
    family = find_family(str(document.content.get("collection")))
    shown = tuple(bands) or _SHOWN[family]
    further = (DISSIMILARITY,) if unlike else ()
    hrefs = {band: _find_href(document, band, family) for band in (*shown, *further)}
    with open_reading_threads(options) as pool:
        part = pool.submit(_cut, hrefs[shown[0]], shown[0], options, place, kilometers).result()
        rows, columns = map(min, part.box.shape, measure(part.box).shape(PANEL_PIXELS))
        box = part.box.zoom_to((rows, columns))

        def read(band: Band) -> NDArray[Any]:
            with _open_band(hrefs[band], band, options) as raster:
                if raster.geobox != part.grid:
                    raise Rejected(
                        f"{raster.href} has another grid than others",
                        reason=Reason.WRONG_RASTER,
                    )
                return raster.reduce(part.window, (rows, columns), band.overview)

        outside = [*pool.map(read, further)]
        panels = [
            Panel(f"{band.title} ({band.name})", paint_band(values, band), band)
            for band, values in zip(shown, pool.map(read, shown), strict=True)
        ]
    facts, not_shown = _list_facts(document, part), None
    if unlike is not None:
        for panel in panels:
            if panel.band is not DISSIMILARITY:
                mark_unlike(panel.pixels, is_unlike(outside[0]), unlike)
        facts.append(f"{unlike.capitalize()}: outside the training data of the model")
    try:
        if family == FAMILY:
            panels = [*_see(document, site, box), *panels]
        else:
            facts.append("Flags: an area of change comes from a sample.")
    except CropmaskError as error:
        not_shown = str(error)
        facts.append("GeoMAD is not shown: it cannot be read.")
    title = _title_of(document)
    credit = document.properties.get("attribution")
    figure = make_figure(
        panels,
        box,
        title,
        facts=facts,
        credit=credit if isinstance(credit, str) else "",
        place=place,
    )
    return ResultFigure(figure, title, not_shown)


@dataclass(frozen=True, slots=True)
class _Cutout:
    """The part of a raster that is shown."""

    grid: GeoBox
    """Of all of the raster."""
    window: Window

    @property
    def box(self) -> GeoBox:
        window = self.window
        rows = slice(window.row, window.row + window.rows)
        return self.grid[rows, window.column : window.column + window.columns]

    @property
    def is_whole(self) -> bool:
        return self.window == Window(0, 0, *self.grid.shape)


def _find_href(document: StacFile, band: Band, family: str) -> str:
    href = document.assets.get(band.name, {}).get("href")
    known = list_bands(family)
    if href is None and known[0].name in document.assets:
        choose = f"choose of {', '.join(each.name for each in known)}"
        anew = f"map it anew with --bands +{band.name} --overwrite"
        raise Rejected(
            f"{document.href} has no band '{band.name}': {anew if band in known else choose}",
            reason=Reason.NO_RESULTS,
        )
    if not isinstance(href, str):
        raise Rejected(f"{document.href} is no item of a crop mask", reason=Reason.BAD_ITEM)
    return document.address_of(href, f"asset '{band.name}'")


@contextmanager
def _open_band(href: str, band: Band, options: ReadOptions) -> Iterator[Raster]:
    """A band of a result."""
    raster = Raster(href, options)
    with closing(raster):
        if raster.dtype != band.dtype or raster.geobox.crs != CRS:
            raise Rejected(
                f"{href} is no band '{band.name}', which is {band.dtype} in {CRS}",
                reason=Reason.WRONG_RASTER,
            )
        yield raster


def _cut(
    href: str,
    band: Band,
    options: ReadOptions,
    place: tuple[float, float] | None,
    kilometers: float | None,
) -> _Cutout:
    """The square around a place, as far as there are pixels; everything without one."""
    with _open_band(href, band, options) as raster:
        grid = raster.geobox
    rows, columns = grid.shape
    whole = Window(0, 0, rows, columns)
    if place is None:
        return _Cutout(grid, whole)
    x, y = Transformer.from_crs(4326, CRS, always_xy=True).transform(*place)
    column, row = (floor(at) for at in ~grid.transform @ (x, y))
    if not (0 <= row < rows and 0 <= column < columns):
        raise Rejected(
            f"{format_place(*place, digits=4)} is not in the result", reason=Reason.NO_RESULTS
        )
    if kilometers is None:
        return _Cutout(grid, whole)
    ground = measure(grid)
    up = max(1, round(kilometers * 500 * rows / ground.height))
    aside = max(1, round(kilometers * 500 * columns / ground.width))
    around = Window(row - up, column - aside, 2 * up, 2 * aside)
    return _Cutout(grid, around.clipped(rows, columns))


def _title_of(document: StacFile) -> str:
    said = document.properties.get("title")
    title = one_line(said if isinstance(said, str) else document.id)[:_MAX_TITLE]
    made_up = _is_made_up(document) and not title.startswith(SYNTHETIC_MARK)
    return mark_title(title, synthetic=made_up)


def _is_made_up(document: StacFile) -> bool:
    return document.properties.get("cropmask:synthetic") is True


def _list_facts(document: StacFile, part: _Cutout) -> list[str]:
    """Lines beside the legend."""
    facts = [MADE_UP] if _is_made_up(document) else []
    meters = part.box.resolution.x
    facts.append(f"Pixels of {meters:g} m")
    model = document.properties.get("cropmask:model")
    if isinstance(model, dict) and isinstance(model.get("recipe"), str):
        facts[-1] += f", model: {model['recipe']}"
    figures = document.properties.get("cropmask:statistics")
    if part.is_whole and isinstance(figures, dict):
        crop, mapped = (figures.get(f"{name}_hectares") for name in ("crop_filtered", "mapped"))
        if isinstance(crop, int | float) and isinstance(mapped, int | float) and mapped > 0:
            facts.append(f"{crop / mapped:.1%} of the mapped land is cropland (filtered)")
    return facts


def _see(document: StacFile, site: Site, box: GeoBox) -> list[Panel]:
    """Panels of the GeoMADs that a result was derived from."""
    interval = interval_of(document)
    if interval is None:
        raise Rejected(f"{document.href} has no dates", reason=Reason.BAD_ITEM)
    first = interval[0]
    halves = Period.parse(f"{first.year:04d}-{7 if first.month > 6 else 1:02d}--P1Y").halves
    geomads = _find_geomads(document, site, halves)
    for half, found in geomads.items():
        if not found:
            raise Rejected(
                f"{document.href} links no GeoMAD of {half}", reason=Reason.MISSING_GEOMAD
            )
    raws = []
    for found in geomads.values():
        raw = np.zeros((len(_RGB), *box.shape), np.uint16)
        for geomad, own in found:
            read = _read_rgb(geomad, box, own)
            raw = np.where((raw > 0).all(axis=0), raw, read)
        raws.append(raw)
    return [
        Panel(f"Sentinel-2, {half.start:%B} to {half.end:%B %Y}", pixels)
        for half, pixels in zip(halves, paint_natural(raws), strict=True)
    ]


def _find_geomads(
    document: StacFile, site: Site, halves: Sequence[Period]
) -> dict[Period, list[tuple[GeoMad, ReadOptions]]]:
    """GeoMADs that a result links, by half-year, with how to read them."""
    found: dict[Period, list[tuple[GeoMad, ReadOptions]]] = {half: [] for half in halves}
    for link in document.links:
        if link.get("rel") != "derived_from" or f"/{MODELS}/" in link["href"]:
            continue
        href, options = _follow(document, link["href"], site)
        file = StacFile(load_json(href, options), href, options.zone)
        for half in halves:
            if is_of_period(file, half):
                found[half].append((parse_geomad(file, half), options))
    return found


def _follow(document: StacFile, href: str, site: Site) -> tuple[str, ReadOptions]:
    """Address of a link and how to read there: what is in the site's catalog is of its zone."""
    catalog = site.catalog or str(site.cache)
    address = resolve(document.href, href)
    options = site.read.at(catalog)
    if options.zone_of(catalog).refusal(address) is None:
        return address, options
    return document.address_of(href, "link 'derived_from'"), site.read.at(address)


def _read_rgb(geomad: GeoMad, box: GeoBox, options: ReadOptions) -> NDArray[np.uint16]:
    """Red, green and blue, uint16 ``(3, y, x)``, nodata 0."""
    bands = [geomad.bands[name] for name in _RGB]

    def read(band: BandSource) -> NDArray[np.uint16]:
        rows = np.zeros(box.shape, np.uint16)
        with closing(Raster(band.href, options)) as raster:
            open_rows(raster, band, box).read_rows(0, rows)
        return rows

    with open_reading_threads(options) as pool:
        return np.stack(list(pool.map(read, bands)))
