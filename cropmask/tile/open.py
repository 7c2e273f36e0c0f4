"""Results opened in memory: the bands of an item as an :class:`xarray.Dataset` with its grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cropmask.errors import Reason, Rejected
from cropmask.pixels.gdal import GdalRaster, open_reading_threads
from cropmask.product import BANDS, NODATA, Band
from cropmask.remote.fetch import ReadOptions, load_json
from cropmask.sources.matching import StacFile

if TYPE_CHECKING:
    import xarray as xr
    from odc.geo.geobox import GeoBox


def open_result(
    item: str, bands: Sequence[str] = (), options: ReadOptions | None = None
) -> xr.Dataset:
    """Bands of a finished tile, read whole.

    Parameters
    ----------
    item
        Path or address of its STAC item.
    bands
        Names of bands; default ``mask``, ``prob`` and ``filtered``.
    options
        Credentials and patience, as of :attr:`cropmask.site.site.Site.read`.

    Returns
    -------
    xarray.Dataset
        Variables uint8 ``(y, x)``, nodata 255, on the tile's grid: ``.odc.geobox`` says which.

    Raises
    ------
    Rejected
        If the address holds no item of a crop mask, or it has no such band.
    Misconfigured
        If access is denied.
    Interrupted
        If it cannot be read now.
    """
    import xarray as xr
    from odc.geo.xr import wrap_xr

    options = (options or ReadOptions()).at(item)
    document = load_json(item, options)
    hrefs = _hrefs(StacFile(document, item, options.zone), bands)

    def read(href: str) -> tuple[Any, GeoBox]:
        with GdalRaster(href, options) as raster:
            raster.want_all()
            return raster.use(_read)

    with open_reading_threads(options) as pool:
        found = dict(zip(hrefs, pool.map(read, hrefs.values()), strict=True))
    arrays = {
        name: wrap_xr(pixels, box, nodata=NODATA).assign_attrs(_describe(band))
        for name, (pixels, box) in found.items()
        for band in BANDS
        if band.name == name
    }
    return xr.Dataset(arrays, attrs=_facts(document, item))


def _hrefs(item: StacFile, bands: Sequence[str]) -> dict[str, str]:
    """Addresses by band of an item, which may be anything that JSON can say."""
    known = tuple(band.name for band in BANDS)
    try:
        assets = {name: str(item.content["assets"][name]["href"]) for name in known}
    except (TypeError, KeyError):
        raise Rejected(f"{item.href} is no item of a crop mask", reason=Reason.BAD_ITEM) from None
    if unknown := sorted(set(bands) - set(known)):
        raise Rejected(
            f"there is no band '{unknown[0]}': choose of {', '.join(known)}",
            reason=Reason.BAD_VALUE,
        )
    return {name: item.address_of(assets[name], f"asset '{name}'") for name in bands or known}


def _read(dataset: Any) -> tuple[Any, GeoBox]:  # noqa: ANN401 (rasterio is untyped)
    from odc.geo.geobox import GeoBox

    return dataset.read(1), GeoBox(dataset.shape, dataset.transform, dataset.crs)


def _describe(band: Band) -> dict[str, Any]:
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
