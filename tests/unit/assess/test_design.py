"""Documents of samples that somebody has changed: one line says what is wrong."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from pyproj import Transformer

from cropmask.assess.design import encode_sample, parse_sample
from cropmask.grid import CRS, Tile

TILE = Tile(221, 75)
POINT = ("features", 0, "properties")
STRATUM = ("design", "strata", 0)
ID, CLASS, PLACE = ((*POINT, name) for name in ("id", "mask", "x"))


def make_point(row: int, stratum: str, map_class: int) -> dict[str, Any]:
    left, _, _, top = TILE.bounds
    x, y = left + 15.0, top - 10.0 * row - 5.0
    to_degrees = Transformer.from_crs(CRS, "OGC:CRS84", always_xy=True)
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": list(to_degrees.transform(x, y))},
        "properties": {
            "id": str(row),
            "plot": str(row),
            "region": "eastern",
            "tile": str(TILE),
            "row": row,
            "column": 1,
            "x": x,
            "y": y,
            "stratum": stratum,
            "district": "",
            "mask": map_class,
            "filtered": map_class,
            "inclusion_probability": 1 / (100, 50)[map_class],
        },
    }


def make_document() -> dict[str, Any]:
    strata = [
        {"name": "other", "region": "eastern", "map_class": 0, "pixels": 100, "hectares": 1.0},
        {"name": "crop", "region": "eastern", "map_class": 1, "pixels": 50, "hectares": 0.5},
    ]
    design = {
        "format": 1,
        "products": ["crop_mask_eastern"],
        "version": "1.1.0",
        "period": "2019--P1Y",
        "band": "mask",
        "resolution": 10,
        "factors": ["class"],
        "allocation": "equal",
        "seed": 0,
        "plot_pixels": 1,
        "unseen_hectares": 921_598.5,
        "strata": [{**stratum, "sampled": 1} for stratum in strata],
        "tiles": [{"region": "eastern", "tile": str(TILE), "run_key": "key"}],
    }
    points = [make_point(row, name, row) for row, name in enumerate(("other", "crop"))]
    return {"type": "FeatureCollection", "design": design, "features": points}


def test_a_document_comes_back() -> None:
    sample = parse_sample(make_document())
    again = encode_sample(sample)
    assert encode_sample(parse_sample(json.loads(again))) == again


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        ((*POINT, "row"), 10**30, "no pixel has"),
        ((*POINT, "row"), -1, "no pixel has"),
        ((*POINT, "row"), 5, "moved off its pixel"),
        ((*POINT, "x"), 10**400, "too large"),
        ((*POINT, "x"), float("nan"), "no number"),
        (CLASS, 300, "no pixel has"),
        (CLASS, 1, "not of its stratum's class"),
        (ID, "", "empty name"),
        (ID, "a" * 201, "over 200 characters"),
        (ID, "a\nb", "one line"),
        (ID, "\ud800", "one line"),
        (("features", 0, "geometry", "coordinates"), [500, 95], "moved off its pixel"),
        (("features", 0, "geometry", "coordinates", 0), 12.5, "moved off its pixel"),
        (("features", 0, "geometry"), None, "point 1 lacks"),
        (("features", 0), None, "point 1 lacks"),
        ((*STRATUM, "hectares"), 99.0, "99.0 ha, which are not 100 pixels of 10 m"),
        ((*STRATUM, "pixels"), 10**40, "pixels"),
        ((*POINT, "inclusion_probability"), 0.02, "another inclusion probability"),
        ((*POINT, "inclusion_probability"), None, "another inclusion probability"),
        (("design", "unseen_hectares"), 0.0, "1.5 ha, and the tiles 921,600.0 ha"),
        ((*STRATUM, "name"), "a\nb", "one line"),
        ((*STRATUM, "map_class"), 2, "map_class"),
        (("design", "resolution"), 0, "resolution"),
        (("design", "resolution"), 20, "which are not 100 pixels of 20 m"),
        (("design", "band"), "prob", "band"),
        (("design", "seed"), -1, "seed"),
        (("design", "prob_edges"), [60, 20], "larger than the one before"),
        (("design", "edge_pixels"), 10**9, "edge_pixels"),
        (("design", "unseen_hectares"), -1.0, "unseen_hectares"),
    ],
)
def test_a_changed_value_is_refused_in_one_line(
    place: tuple[Any, ...], value: Any, problem: str
) -> None:
    document = make_document()
    part: Any = document
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    with pytest.raises(ValueError, match=problem) as refused:
        parse_sample(document)
    assert "\n" not in str(refused.value)


def test_more_points_than_pixels_are_refused() -> None:
    document = make_document()
    document["design"]["strata"][0] |= {"pixels": 1, "hectares": 0.01, "sampled": 2}
    with pytest.raises(ValueError, match="has 2 points in 1 pixels"):
        parse_sample(document)


def test_two_points_in_one_pixel_are_refused() -> None:
    document = make_document()
    document["design"]["strata"][0]["sampled"] = 2
    document["features"][0]["properties"]["inclusion_probability"] = 0.02
    twin = copy.deepcopy(document["features"][0])
    twin["properties"] |= {"id": "7", "plot": "7"}
    document["features"].append(twin)
    with pytest.raises(ValueError, match="two points are in the same pixel"):
        parse_sample(document)
