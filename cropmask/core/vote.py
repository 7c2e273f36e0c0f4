"""One class for each object: the majority of its pixels."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cropmask.product import NODATA


def majority(labels: NDArray[np.int32], crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 where more than half of a segment's pixels are crop, 0 elsewhere, 255 where label is 0.

    ``crop`` is 1 crop, 0 not, 255 nodata; a nodata pixel inside a segment does not vote. Half crop
    is not crop.
    """
    if labels.shape != crop.shape:
        raise ValueError(f"labels are {labels.shape}, but crop is {crop.shape}")
    out = np.full(labels.shape, NODATA, np.uint8)
    if labels.size == 0:
        return out
    if labels.min() < 0:
        raise ValueError("labels must not be negative")
    balance = np.zeros(int(labels.max()) + 1, np.int32)
    flat = np.ascontiguousarray(labels).reshape(-1)
    _count(flat, np.ascontiguousarray(crop).reshape(-1), balance)
    _spread(flat, balance, out.reshape(-1))
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _count(labels: NDArray[np.int32], crop: NDArray[np.uint8], balance: NDArray[np.int32]) -> None:
    """Crop pixels minus others, by label."""
    # One signed count instead of two: a majority is a balance over 0, and half crop is exactly 0.
    for pixel in range(labels.size):
        if crop[pixel] != NODATA:
            balance[labels[pixel]] += 1 if crop[pixel] == 1 else -1


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(labels: NDArray[np.int32], balance: NDArray[np.int32], out: NDArray[np.uint8]) -> None:
    for pixel in range(labels.size):
        if labels[pixel] != 0:
            out[pixel] = 1 if balance[labels[pixel]] > 0 else 0
