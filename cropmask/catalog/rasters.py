"""Whether a raster is what its asset says."""

from __future__ import annotations

from typing import Any

from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rio_cogeo.cogeo import cog_validate


def find_raster_problem(
    content: bytes, asset: dict[str, Any], properties: dict[str, Any]
) -> str | None:
    """What is wrong with a cloud-optimized GeoTIFF; None if nothing is.

    Parameters
    ----------
    content
        The whole file.
    asset, properties
        Its asset, and the properties of the item.
    """
    try:
        with MemoryFile(content) as file:
            valid, errors, _ = cog_validate(file.name, quiet=True)
            if not valid:
                return f"it is no cloud-optimized GeoTIFF: {'; '.join(errors)}"
            with file.open() as raster:
                return _compare(raster, asset, properties)
    except (RasterioError, OSError) as error:
        return f"it cannot be opened: {error}"


def _compare(raster: Any, asset: dict[str, Any], properties: dict[str, Any]) -> str | None:  # noqa: ANN401 (rasterio is untyped)
    known = {**properties, **asset}
    transform = known.get("proj:transform")
    pairs = {
        "proj:shape": (known.get("proj:shape"), list(raster.shape)),
        "proj:transform": (transform and transform[:6], list(raster.transform[:6])),
        "proj:code": (known.get("proj:code"), raster.crs and raster.crs.to_string()),
    }
    if "data" in (asset.get("roles") or ()):
        pairs["nodata"] = (asset.get("nodata"), raster.nodata)
        pairs["data_type"] = (asset.get("data_type"), raster.dtypes[0])
    for name, (said, true) in pairs.items():
        if said is not None and said != true:
            return f"its {name} is {true}, not {said}"
    return None
