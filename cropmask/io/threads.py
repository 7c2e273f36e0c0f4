"""The same request for many things, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

THREADS: Final = 10
"""Requests under way at the same time: as many as boto3 keeps connections."""

T = TypeVar("T")
R = TypeVar("R")


def map_threads(function: Callable[[T], R], items: Iterable[T], threads: int = THREADS) -> list[R]:
    """Results of a function for each item, in their order.

    The first exception is raised; what has not begun by then is not begun.
    """
    pool = ThreadPoolExecutor(threads)
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(cancel_futures=True)
