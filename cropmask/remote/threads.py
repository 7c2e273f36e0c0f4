"""The same request for many things, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

THREADS: Final = 10
"""Requests under way at the same time: as many as boto3 keeps connections."""

T = TypeVar("T")
R = TypeVar("R")


def map_threads(
    function: Callable[[T], R],
    items: Sequence[T],
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[R]:
    """Results of a function for each item, in their order.

    The first exception is raised; what has not begun by then is not begun. ``progress`` is told
    in the caller's thread how many of how many are done.
    """
    results = []
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for result in pool.map(function, items):
                results.append(result)
                progress(len(results), len(items))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results
