"""One class for each object: the majority of its pixels."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cropmask.product import NODATA


def majority(labels: NDArray[np.int32], crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crop where more than half of a segment's pixels are crop.

    Depends on which pixels share a label, not on the numbers. The comparison is strict: half
    crop is not crop.

    Parameters
    ----------
    labels
        ``(y, x)``; 0 is nodata, every other number names a segment.
    crop
        ``(y, x)``: 1 crop, 0 not, 255 nodata. A nodata pixel inside a segment does not vote.

    Returns
    -------
    NDArray[np.uint8]
        ``(y, x)``: 1 crop, 0 not, 255 where the label is 0.

    Raises
    ------
    ValueError
        If the shapes differ or a label is negative.
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
    for pixel in range(labels.size):
        if crop[pixel] != NODATA:
            balance[labels[pixel]] += 1 if crop[pixel] == 1 else -1


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(labels: NDArray[np.int32], balance: NDArray[np.int32], out: NDArray[np.uint8]) -> None:
    for pixel in range(labels.size):
        if labels[pixel] != 0:
            out[pixel] = 1 if balance[labels[pixel]] > 0 else 0
