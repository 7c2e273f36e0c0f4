"""A made-up report for tests of what is written of one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from cropmask.assess.area import POST_STRATIFIED, REGRESSION, TOO_FEW
from cropmask.assess.report import (
    AccuracyFacts,
    DistrictLine,
    LabelFacts,
    LandPart,
    Ranged,
    Report,
    ReportOrigin,
    StratumLine,
)
from cropmask.assess.reportmap import ReportMap
from cropmask.grid import CRS, Tile
from cropmask.product import FILTERED

NONE = Ranged(math.nan, math.nan, math.nan)
TILES = [Tile(x, y) for x in range(214, 218) for y in range(74, 77)]
HEADING = "+cmd|' /C calc'!A0"
"""Name of a district that a spreadsheet would run."""


def make_district(name: str, hectares: float, points: int) -> DistrictLine:
    if points < 20:
        return DistrictLine(
            name, NONE, NONE, 90_000.0, 1_000.0, hectares * 1.1, points, math.nan, TOO_FEW
        )
    low, high = hectares * 0.8, hectares * 1.25
    return DistrictLine(
        name,
        Ranged(hectares, low, high, hectares / 10),
        Ranged(*(each / 400_000 for each in (hectares, low, high))),
        400_000.0,
        12_345.6,
        hectares * 1.1,
        points,
        points * 1.7,
        POST_STRATIFIED if points > 60 else REGRESSION,
    )


def make_report(count: int = 12) -> Report:
    """A report with so many districts, one of them with a name that is markup."""
    names = ["<b>Tharaka</b> & Nithi", HEADING, *(f"District {n}" for n in range(count))][:count]
    points = (100, 40, 12, 80)
    districts = tuple(
        make_district(name, 180_000 - 700.0 * n, points[n % 4]) for n, name in enumerate(names)
    )
    return Report(
        region="eastern",
        region_title="Eastern Africa",
        is_synthetic=True,
        level=0.95,
        method="mover",
        hectares=Ranged(2_358_612.4, 2_101_345.6, 2_641_800.2, 138_000.0),
        share=Ranged(0.2458, 0.219, 0.2753, 0.0144),
        pixel_hectares=2_712_345.0,
        accuracy=AccuracyFacts(
            overall=Ranged(0.9033, 0.8641, 0.9322),
            producers=Ranged(0.81, 0.722, 0.8749),
            users=Ranged(0.8901, 0.809, 0.9398),
            f1=Ranged(0.8482, 0.786, 0.894),
            classes=("other", "crop"),
            counts=((190, 19), (10, 81)),
            area_shares=((0.689, 0.0688), (0.0277, 0.2145)),
        ),
        land=(
            LandPart("mapped", 9_596_000.0),
            LandPart("protected", 812_345.0),
            LandPart("water", 92_345.0),
            LandPart("missing", 12_345.0),
            LandPart("shared", 921_600.0),
        ),
        strata=(
            StratumLine("other", 7_200_000.0, 212, 209),
            StratumLine("crop", 2_396_000.0, 93, 91),
        ),
        districts=districts,
        min_points=20,
        min_cell_points=5,
        labels=LabelFacts(305, 300, {"unsure": 3, "tie": 2}, 2, 93.4, 0.853, "b" * 64),
        origin=ReportOrigin(
            product="crop_mask_eastern",
            version="1.1.0",
            period="2019--P1Y",
            band="filtered",
            meters=100,
            run_keys={str(tile): f"{n:064x}" for n, tile in enumerate(TILES)},
            models=("forest 4dbf543565e2",),
            seed=42,
            allocation="proportional",
            stratified_by=("class", "prob"),
            sample_digest="a" * 64,
            software="0.1.0",
        ),
        credit="Contains modified Copernicus Sentinel data 2019; Digital Earth Africa",
        license="CC-BY-4.0",
        training_places=None,
        has_plots=False,
    )


def without_districts(report: Report) -> Report:
    return replace(report, districts=())


def make_drawn(count: int = 12) -> ReportMap:
    """Maps of a report with so many districts."""
    left, bottom, right, top = 3_168_000.0, -288_000.0, 3_552_000.0, 0.0
    box = GeoBox.from_bbox((left, bottom, right, top), CRS, resolution=400, tight=True)
    y, x = np.mgrid[: box.shape[0], : box.shape[1]]
    pixels = ((x // 23 + y // 31) % 3 == 0).astype(np.uint8)
    pixels[:, :40] = 255
    across = max(1, math.ceil(math.sqrt(count)))
    width, height = (right - left) / across, (top - bottom) / across
    corners = [(left + n % across * width, bottom + n // across * height) for n in range(count)]
    districts = [shapely.box(x, y, x + width, y + height) for x, y in corners]
    outline = shapely.union_all(districts) if districts else None
    return ReportMap(box, pixels, FILTERED, outline, districts)
