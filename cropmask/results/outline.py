"""Polygons as paths of SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import shapely


def outline_path(
    shape: shapely.Geometry, left: float, top: float, scale: tuple[float, float]
) -> str:
    """Text of a path: rings of polygons, from a corner on, so many units a meter across and down.

    Draw it with ``fill-rule="evenodd"``.
    """
    return "".join(
        "M"
        + " ".join(f"{(x - left) * scale[0]:.2f},{(top - y) * scale[1]:.2f}" for x, y in ring)
        + "z"
        for ring in _rings(shape)
    )


def _rings(shape: shapely.Geometry) -> Iterable[Sequence[tuple[float, float]]]:
    for part in shapely.get_parts(shape):
        if isinstance(part, shapely.Polygon) and not part.is_empty:
            for ring in (part.exterior, *part.interiors):
                yield ring.coords
