"""The made-up world's boundary: an island around its tiles, with ragged shores and cut corners."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from pyproj import Transformer

from cropmask.grid import CRS, Tile
from cropmask.testing.world.landscape import salt_of
from cropmask.testing.world.noise import octaves_at

_CORNER_M: Final = 18_000.0
"""Radius of the cut corners."""
_INSET_M: Final = 1_500.0
"""Mean distance of the shore from the tiles' edge."""
_RAGGED_M: Final = 3_500.0
_STEP_M: Final = 500.0
_EDGE_M: Final = 100.0
"""Least distance of the shore from the tiles' edge."""
_SHORE: Final = 5000


def make_outline(tiles: Sequence[Tile], seed: int = 0) -> shapely.Geometry:
    """Outline of the land in meters of EPSG:6933: most of the tiles, without their corners.

    It lies inside of the tiles: no other tile has any of it.
    """
    land = shapely.union_all([shapely.box(*tile.bounds) for tile in tiles])
    inset = shapely.buffer(land, -(_INSET_M + _CORNER_M))
    smooth = shapely.segmentize(shapely.buffer(inset, _CORNER_M), _STEP_M)
    salt = salt_of(seed)

    def shake(points: Any) -> Any:  # noqa: ANN401 (shapely is untyped)
        moved = [
            (
                x + _RAGGED_M * octaves_at(x, y, 9_000.0, 4, salt + _SHORE),
                y + _RAGGED_M * octaves_at(x, y, 9_000.0, 4, salt + _SHORE + 10),
            )
            for x, y in points
        ]
        return np.array(moved)

    shaken = shapely.make_valid(shapely.transform(smooth, shake))
    # Shores may not touch the edge either, or rounded degrees would reach the next tile.
    kept = shapely.intersection(shaken, shapely.buffer(land, -_EDGE_M, join_style="mitre"))
    return shapely.union_all(
        [part for part in shapely.get_parts(kept) if isinstance(part, shapely.Polygon)]
    )


def encode_outline(outline: shapely.Geometry) -> str:
    """GeoJSON text of an outline, in degrees of longitude and latitude."""
    transformer = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    degrees = shapely.transform(
        outline,
        lambda points: np.round(
            np.column_stack(transformer.transform(points[:, 0], points[:, 1])), 6
        ),
    )
    feature = {
        "type": "Feature",
        "properties": {"title": "SYNTHETIC: the made-up island, no real coast"},
        "geometry": json.loads(shapely.to_geojson(degrees)),
    }
    return json.dumps({"type": "FeatureCollection", "features": [feature]}) + "\n"


def write_outline(path: Path, tiles: Sequence[Tile], seed: int = 0) -> None:
    """Write the boundary of a world of these tiles as GeoJSON."""
    path.write_text(encode_outline(make_outline(tiles, seed)), encoding="utf-8")
