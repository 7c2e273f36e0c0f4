"""The published way in plain xarray, dask and scikit-learn, as a process of its own.

Whole-tile features, a dask graph with ``predict_proba``, NDVI to objects, majority: see
:mod:`benchmarks.reference`. Kinder than the original where that costs nothing to say: the forest
runs once instead of twice, rasters are read by our reader, one thread, COGs at deflate level 6.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import dask.array as da
import joblib
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from benchmarks import objects
from benchmarks.measure import Result, StageClock, answer
from benchmarks.part import find_part, open_part
from cropmask.core.features import FEATURES
from cropmask.core.strips import DEVIATION, REFLECTANCE, Half, Strip
from cropmask.product import BANDS, NODATA
from cropmask.results.cog import write_cog

CHUNK = 300
"""Edge of the chunks of the features."""
ROWS = 90_000
"""Pixels of a chunk of the prediction."""


def make_features(strip: Strip) -> xr.DataArray:
    """The 33 features of a whole part in memory, float32 ``(band, y, x)``."""
    halves = [
        _half_features(half, rain, suffix)
        for half, rain, suffix in zip(
            (strip.first, strip.second), strip.rain, ("S1", "S2"), strict=True
        )
    ]
    features = xr.merge([*halves, {"slope": _lazy(strip.slope)}])
    stacked = features.to_dataarray("band").sel(band=list(FEATURES))
    return stacked.where(np.isfinite(stacked), 0).astype(np.float32).compute()


def _lazy(array: NDArray[Any]) -> xr.DataArray:
    return xr.DataArray(array, dims=("y", "x")).chunk({"y": CHUNK, "x": CHUNK})


def _half_features(half: Half, rain: NDArray[np.float32], suffix: str) -> xr.Dataset:
    data = xr.Dataset()
    for name, raw in zip(REFLECTANCE, half.reflectance, strict=True):
        band = _lazy(raw)
        data[name] = band.astype(np.float32).where(band != 0) / np.float32(10_000)
    for name, raw in zip(DEVIATION, half.deviation, strict=True):
        scale = np.float32(10_000 if name == "edev" else 1)
        data[name] = (-np.log((_lazy(raw) / scale).astype(np.float64))).astype(np.float32)
    data["NDVI"] = (data.nir - data.red) / (data.nir + data.red)
    evi = 2.5 * (data.nir - data.red) / (data.nir + 6 * data.red - 7.5 * data.blue + 1)
    data["LAI"] = 3.618 * evi - 0.118
    data["MNDWI"] = (data.green - data.swir_1) / (data.green + data.swir_1)
    data["rain"] = _lazy(rain)
    return data.rename({str(name): f"{name}_{suffix}" for name in data.data_vars})


def predict(model: Any, features: xr.DataArray) -> NDArray[np.float32]:  # noqa: ANN401
    """Probability of crop ``(y, x)``: chunks of pixels through ``predict_proba``."""
    flat = features.stack(pixel=("y", "x")).transpose("pixel", "band")
    rows = da.from_array(flat.data, chunks=(ROWS, len(FEATURES)))
    pairs = rows.map_blocks(model.predict_proba, dtype=np.float64, chunks=(rows.chunks[0], (2,)))
    crop: NDArray[np.float32] = pairs[:, 1].astype(np.float32).compute()
    return crop.reshape(features.shape[1:])


def seen(strip: Strip) -> NDArray[np.bool_]:
    """Pixels with GeoMAD in either half-year."""
    return np.asarray(
        (strip.first.reflectance != 0).any(axis=0) | (strip.second.reflectance != 0).any(axis=0)
    )


def run(request: Result) -> Result:
    """Map one part; the request names inputs, edge, estimator and where to save."""
    clock = StageClock()
    box, edge = find_part(request), request["edge"]
    model = joblib.load(request["estimator"])
    clock("start")
    with open_part(request, box) as layers:
        strip = next(iter(layers.strips(edge)))
        excluded = layers.excluded() != 0
    clock("read")
    valid = seen(strip)
    features = make_features(strip)
    del strip
    clock("features")
    prob = predict(model, features)
    clock("predict")
    ndvi = features.sel(band=["NDVI_S1", "NDVI_S2"]).values
    del features
    labels = objects.segment(objects.stretch(ndvi, valid), valid)
    clock("segment")
    crop = prob > 0.5
    bands = {
        "mask": crop,
        "prob": np.rint(100 * prob),
        "filtered": objects.majority(labels, crop & valid),
    }
    final = {
        name: np.where(valid & ~excluded, band, NODATA).astype(np.uint8)
        for name, band in bands.items()
    }
    clock("majority")
    with TemporaryDirectory(prefix="cropmask-bench-") as folder:
        for band in BANDS:
            write_cog(Path(folder) / f"{band.name}.tif", final[band.name], box, band)
    clock("write")
    np.savez(request["save"], mask=final["mask"], filtered=final["filtered"])
    return {"stages": clock.stages, "segments": int(np.unique(labels).size)}


if __name__ == "__main__":
    dask.config.set(scheduler="synchronous")
    answer(run(json.loads(sys.argv[1])))
