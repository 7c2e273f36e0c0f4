"""Results opened in memory: the bands of items as an :class:`xarray.Dataset` with its grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from packaging.version import Version

from cropmask.errors import Reason, Rejected, write_command
from cropmask.grid import GridWindow, tiles_within
from cropmask.pixels.gdal import GdalRaster, open_reading_threads
from cropmask.pixels.rasters import Raster
from cropmask.pixels.resample import Window
from cropmask.product import (
    AREAS,
    EXTRA_BANDS,
    FAMILY,
    SERIES_FAMILY,
    Band,
    find_band,
    find_family,
    list_bands,
)
from cropmask.remote.fetch import ReadOptions, load_json
from cropmask.results.finder import Dataset, find_finished, find_products
from cropmask.site.site import Site, open_site
from cropmask.sources.boundary import load_area
from cropmask.sources.matching import StacFile
from cropmask.store.doors import open_store
from cropmask.store.protocol import Store, store_place
from cropmask.task import Period

if TYPE_CHECKING:
    import pystac
    import xarray as xr
    from odc.geo.geobox import GeoBox

MAX_BYTES: Final = 8_000_000_000
"""Most bytes that are loaded into memory: about 30 tiles at 10 m."""


def load(
    item_or_results: str | Path | pystac.Item,
    aoi: object = None,
    *,
    bands: Sequence[str] = (),
    region: str | None = None,
    period: Period | str | None = None,
    site: Site | None = None,
) -> xr.Dataset:
    """Results in memory: an item, or all tiles of a product put together; cropped to an area.

    >>> import cropmask
    >>> site = cropmask.open_site(options={"resolution": 100})
    >>> result = cropmask.map_tile("x010y020", "eastern", "2019", site=site)
    >>> dict(cropmask.load(result.item).sizes)
    {'y': 960, 'x': 960}
    >>> crops = cropmask.load("./output", (-169.9, -47.7, -169.8, -47.6), bands=["prob"])
    >>> list(crops), dict(crops.sizes)
    (['prob'], {'y': 86, 'x': 96})

    Parameters
    ----------
    item_or_results
        STAC item of a tile or an area, its path or address, or the folder or ``s3://`` prefix of
        results.
    aoi
        Where to load pixels: a GeoJSON file or object, a geometry in degrees such as one of
        shapely, or a box ``(west, south, east, north)`` in degrees. Pixels whose centers are
        outside are nodata. Default everything.
    bands
        Names of bands, extra ones where results have them; default ``mask``, ``prob`` and
        ``filtered``, of a series all.
    region
        Name of the region whose product is loaded from results; needed where several are there.
    period
        Year of it, such as ``2019``; needed where several are there. The span of a series, such as
        ``2019--P6Y``, has what became of each pixel over the years.
    site
        How results are read; default what ``open_site()`` finds in the environment.

    Returns
    -------
    xarray.Dataset
        Variables ``(y, x)`` on the product's grid: ``.odc.geobox`` says which. Pixels are uint8,
        nodata 255; of some bands of a series uint16, nodata 65535.

    Raises
    ------
    Rejected
        If there is no such result, results of several regions, years or pixel sizes and none is
        named, nothing in the area, or more than fits :data:`MAX_BYTES`.
    Misconfigured
        If access is denied, or the area's file cannot be used.
    Interrupted
        If something cannot be read now.
    """
    place = _find_place(item_or_results)
    site = site or open_site(options={"output": "."})  # nothing is written
    area = None if aoi is None else load_area(aoi, site.read.limits)
    options = site.read_results.at(place)
    if not place.endswith(".json"):
        store = open_store(place, site.write)
        found = _find_tiles(store, place, area, region, period)
        names = _check_bands(bands, found[0].product.name)
        hrefs = [_hrefs_of(store, dataset, names) for dataset in found]
        return _join(hrefs, area, options, _facts_of(found, place))
    if area is None:
        return open_result(place, bands, site.read_results)
    document = load_json(place, options)
    hrefs = [_hrefs(StacFile(document, place, options.zone), bands)]
    return _join(hrefs, area, options, _facts(document, place))


def open_result(
    item: str, bands: Sequence[str] = (), options: ReadOptions | None = None
) -> xr.Dataset:
    """Bands of a finished tile, read whole: variables as of :func:`load`, on the tile's grid.

    ``item`` is the path or address of its STAC item; bands are ``mask``, ``prob`` and ``filtered``
    where none are named, of a series all, and ``options`` those of
    :attr:`cropmask.site.site.Site.read`.

    Raises Rejected if the address holds no item of a crop mask, or it has no such band;
    Misconfigured if access is denied; Interrupted if it cannot be read now.
    """
    options = (options or ReadOptions()).at(item)
    document = load_json(item, options)
    hrefs = _hrefs(StacFile(document, item, options.zone), bands)

    def read(href: str) -> tuple[Any, GeoBox]:
        with GdalRaster(href, options) as raster:
            raster.want_all()
            return raster.use(_read)

    with open_reading_threads(options) as pool:
        found = dict(zip(hrefs, pool.map(read, hrefs.values()), strict=True))
    return _wrap(found, _facts(document, item))


def _wrap(found: Mapping[str, tuple[NDArray[Any], GeoBox]], facts: Mapping[str, Any]) -> xr.Dataset:
    import xarray as xr
    from odc.geo.xr import wrap_xr

    arrays = {}
    for name, (pixels, box) in found.items():
        band = find_band(name)
        arrays[name] = wrap_xr(pixels, box, nodata=band.nodata).assign_attrs(describe_band(band))
    return xr.Dataset(arrays, attrs=facts)


def _hrefs(item: StacFile, bands: Sequence[str]) -> dict[str, str]:
    """Addresses by band of an item, which may be anything that JSON can say."""
    product = str(item.content.get("collection"))
    try:
        there = item.content["assets"]
        assets = {
            band.name: str(there[band.name]["href"])
            for band in list_bands(find_family(product))
            if band not in EXTRA_BANDS or band.name in there
        }
    except (TypeError, KeyError):
        raise Rejected(f"{item.href} is no item of a crop mask", reason=Reason.BAD_ITEM) from None
    names = _check_bands(bands, product)
    if missing := [name for name in names if name not in assets]:
        raise _no_band(missing[0], item.href)
    return {name: item.address_of(assets[name], f"asset '{name}'") for name in names}


def _no_band(name: str, place: str) -> Rejected:
    return Rejected(
        f"{place} has no band '{name}': map it anew with --bands +{name} --overwrite",
        reason=Reason.NO_RESULTS,
    )


def _find_place(item_or_results: object) -> str:
    """Path or address of results, also of an item of pystac that knows where it is."""
    find_self = getattr(item_or_results, "get_self_href", None)
    place = find_self() if callable(find_self) else item_or_results
    if not isinstance(place, str | Path):
        raise Rejected(
            f"{type(item_or_results).__name__} is no place of results: give the path or address of "
            "an item, or the folder of results",
            reason=Reason.BAD_VALUE,
        )
    return str(place)


def _check_bands(bands: Sequence[str], product: str) -> tuple[str, ...]:
    bands = (bands,) if isinstance(bands, str) else bands
    known = {band.name: band for band in list_bands(find_family(product))}
    if unknown := sorted(set(bands) - {*known}):
        raise Rejected(
            f"there is no band '{unknown[0]}': choose of {', '.join(known)}",
            reason=Reason.BAD_VALUE,
        )
    return tuple(bands) or tuple(name for name, band in known.items() if band not in EXTRA_BANDS)


def _read(dataset: Any) -> tuple[Any, GeoBox]:  # noqa: ANN401 (rasterio is untyped)
    from odc.geo.geobox import GeoBox

    return dataset.read(1), GeoBox(dataset.shape, dataset.transform, dataset.crs)


def describe_band(band: Band) -> dict[str, Any]:
    """Attributes as the CF conventions name them."""
    classes: dict[str, Any] = {
        "flag_values": [found.value for found in band.classes],
        "flag_meanings": " ".join(found.name.replace("-", "_") for found in band.classes),
    }
    return {"long_name": band.title, "units": band.unit} | (classes if band.classes else {})


def _facts(document: dict[str, Any], item: str) -> dict[str, Any]:
    names = ("title", "start_datetime", "end_datetime", "cropmask:run_key")
    properties = document["properties"]
    return {name: properties[name] for name in names if name in properties} | {
        "collection": document.get("collection"),
        "item": item,
    }


def _find_tiles(
    store: Store,
    place: str,
    area: shapely.Geometry | None,
    region: str | None,
    period: Period | str | None,
) -> tuple[Dataset, ...]:
    """Finished tiles of one product, its latest version, and period."""
    when = None if period is None else Period.of_task(str(period))
    span = None if when is None else str(when)
    family = SERIES_FAMILY if when is not None and when.is_series else FAMILY
    tiles = None if area is None else tiles_within(area)
    found = [
        dataset
        for product in find_products(store, family)
        if region in (None, product.region)
        for dataset in find_finished(store, product, span, tiles)
    ]
    if not found:
        which = f"{f' of {region}' if region else ''}{f' in {period}' if period else ''}"
        listing = write_command("ls", "--output", store_place(store))
        raise Rejected(
            f"no finished tile{which}{' in the area' if area else ''} is in {place}: '{listing}' "
            f"lists what is there, and the map of an area below {AREAS}/ is loaded by its item",
            reason=Reason.NO_RESULTS,
        )
    _name_one({dataset.product.region for dataset in found}, place, "region")
    _name_one({dataset.period for dataset in found}, place, "period")
    last = max((dataset.product for dataset in found), key=lambda each: Version(each.version))
    return tuple(dataset for dataset in found if dataset.product == last)


def _name_one(there: set[str], place: str, what: str) -> None:
    if len(there) > 1:
        names = sorted(there)
        raise Rejected(
            f"{place} has results of {' and '.join(names)}: name one, {what}='{names[0]}'",
            reason=Reason.NO_RESULTS,
        )


def _hrefs_of(store: Store, dataset: Dataset, bands: Sequence[str]) -> dict[str, str]:
    folder = dataset.item_key.rpartition("/")[0]
    names = dataset.file_names
    if missing := [name for name in bands if name not in names]:
        raise _no_band(missing[0], store.uri(dataset.item_key))
    return {name: store.uri(f"{folder}/{names[name]}") for name in bands}


def _facts_of(datasets: Sequence[Dataset], place: str) -> dict[str, Any]:
    product, period = datasets[0].product, Period.parse(datasets[0].period)
    start, end = period.interval
    return {
        "title": f"{product.name} {product.version} {period.words}, {len(datasets)} tiles",
        "start_datetime": start,
        "end_datetime": end,
        "collection": product.name,
        "results": place,
    }


def _join(
    hrefs: Sequence[Mapping[str, str]],
    area: shapely.Geometry | None,
    options: ReadOptions,
    facts: Mapping[str, Any],
) -> xr.Dataset:
    """Bands of some tiles or areas on one grid; nodata where nothing is, and outside the area."""
    with open_reading_threads(options) as pool:
        bands = [find_band(name) for name in hrefs[0]]
        first = bands[0]
        windows = [*pool.map(lambda each: _locate(each[first.name], first, options), hrefs)]
        target = _choose_window(windows, area, sum(np.dtype(band.dtype).itemsize for band in bands))
        shape = (target.rows, target.columns)
        arrays = {band.name: np.full(shape, band.nodata, band.dtype) for band in bands}

        def read(job: tuple[Band, str, GridWindow]) -> None:
            band, href, window = job
            common = window.within(target)
            if common.pixels:
                pixels = _read_part(href, band, window, common, options)
                arrays[band.name][common.seen_from(target)] = pixels

        jobs = [
            (band, each[band.name], window)
            for each, window in zip(hrefs, windows, strict=True)
            for band in bands
        ]
        for _ in pool.map(read, jobs):
            pass
    if area is not None:
        outside = ~target.inside(area)
        for band in bands:
            arrays[band.name][outside] = band.nodata
    return _wrap({name: (pixels, target.geobox) for name, pixels in arrays.items()}, facts)


def _choose_window(
    windows: Sequence[GridWindow], area: shapely.Geometry | None, pixel_bytes: int
) -> GridWindow:
    """What is loaded of some windows, with so many bytes of all bands a pixel."""
    sizes = sorted({window.resolution for window in windows})
    if len(sizes) > 1:
        raise Rejected(
            f"results have pixels of {' and '.join(map(str, sizes))} m: load items one by one",
            reason=Reason.NO_RESULTS,
        )
    target = reduce(GridWindow.joined, windows)
    if area is not None:
        target = GridWindow.around(area.bounds, sizes[0]).within(target)
    if target.pixels == 0:
        raise Rejected("the area has no pixel of the results", reason=Reason.NO_RESULTS)
    size = target.pixels * pixel_bytes
    if size > MAX_BYTES:
        raise Rejected(
            f"{size / 1e9:,.0f} GB would be loaded, over {MAX_BYTES / 1e9:,.0f}: "
            "give an aoi or one of bands, or load the items with odc-stac and dask",
            reason=Reason.OVER_LIMIT,
        )
    return target


def _locate(href: str, band: Band, options: ReadOptions) -> GridWindow:
    with closing(Raster(href, options)) as raster:
        return _window_of(raster, band)


def _window_of(raster: Raster, band: Band) -> GridWindow:
    window = GridWindow.of_box(raster.geobox)
    if window is None or raster.dtype != band.dtype:
        raise Rejected(
            f"{raster.href} is no band '{band.name}', which is {band.dtype} on the product's grid",
            reason=Reason.WRONG_RASTER,
        )
    return window


def _read_part(
    href: str, band: Band, whole: GridWindow, part: GridWindow, options: ReadOptions
) -> NDArray[Any]:
    with closing(Raster(href, options)) as raster:
        if _window_of(raster, band) != whole:
            raise Rejected(
                f"{href} has another grid than the other bands", reason=Reason.WRONG_RASTER
            )
        return raster.read(Window.of(part, whole))
