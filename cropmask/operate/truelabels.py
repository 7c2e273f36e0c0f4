"""Labels of a sample of a made-up region, from what its fields are really used for."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from numpy.typing import NDArray

from cropmask.assess.design import Sample
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.testing.world.regionfiles import find_truth

WORDS: Final = ("other", "crop")
"""Labels of the values of the truth."""


def label_sample(sample: Sample, world: Path) -> str:
    """CSV of a sample's labels in a made-up region of several years, as a person would fill it in.

    ``world`` is the folder that ``cropmask demo --years`` has made. Columns are ``id``, ``lon`` and
    ``lat``, and those that labels of the sample are written into. Raises Rejected if a point lies
    outside of the region; Misconfigured if the world has no truth of a year, or it cannot be read.
    """
    design = sample.design
    read = [_read_truth(find_truth(world, year), sample.x, sample.y) for year in design.years]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "lon", "lat", *design.label_columns))
    writer.writerows(_list_rows(sample, read))
    return text.getvalue()


def _list_rows(sample: Sample, read: Sequence[NDArray[np.uint8]]) -> Iterator[tuple[str, ...]]:
    for number, name in enumerate(sample.id):
        values = [int(found[number]) for found in read]
        if max(values) >= len(WORDS):
            raise Rejected(
                f"point {name} lies outside of the made-up region: the sample is of another one",
                reason=Reason.BAD_SAMPLES,
            )
        place = (f"{sample.lon[number]:.7f}", f"{sample.lat[number]:.7f}")
        yield (str(name), *place, *(WORDS[value] for value in values))


def _read_truth(path: Path, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Truth at points ``(point,)``; nodata outside."""
    try:
        with rasterio.open(path) as raster:
            values = [one[0] for one in raster.sample(zip(x, y, strict=True))]
    except rasterio.errors.RasterioError as error:
        raise Misconfigured(f"{path} cannot be read: {error}") from None
    return np.array(values, np.uint8)
