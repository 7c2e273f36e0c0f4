"""Hostile items before ``cropmask show``: drawn as far as they go, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from cropmask.errors import CropmaskError
from cropmask.operate.show import draw_result
from cropmask.results.figure import encode_figure
from cropmask.site.site import open_site
from tests.results import put_derived_result
from tests.worlds import make_world

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:odc")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Item of a result that links the GeoMADs of a world."""
    folder = tmp_path_factory.mktemp("show")
    world = make_world(folder / "world", resolution=100)
    return put_derived_result(folder / "results", world)


@pytest.fixture
def item(result: Path, tmp_path: Path) -> Path:
    """The same in another folder, to be changed there."""
    for path in result.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / result.name


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


ODD: dict[str, Callable[[dict[str, Any]], object]] = {
    "no title": lambda found: found["properties"].pop("title"),
    "a title that is a list": lambda found: found["properties"].update(title=["$x^2$"]),
    "a title of megabytes": lambda found: found["properties"].update(title="x" * 10**6),
    "a title of formulas": lambda found: found["properties"].update(title="$\\frac{$ \\input{x}"),
    "dates of nothing": lambda found: found["properties"].update(
        datetime="?", start_datetime=5, end_datetime=[]
    ),
    "a year that Python has not": lambda found: found["properties"].update(
        start_datetime="9999-12-31T00:00:00Z", end_datetime="9999-12-31T00:00:00Z"
    ),
    "statistics of texts": lambda found: found["properties"].update(
        {"cropmask:statistics": {"mapped_hectares": "x", "crop_filtered_hectares": 0}}
    ),
    "statistics of nothing": lambda found: found["properties"].update(
        {"cropmask:statistics": {"mapped_hectares": 0, "crop_filtered_hectares": 1e999}}
    ),
    "a model that is a text": lambda found: found["properties"].update({"cropmask:model": "x"}),
    "links to nowhere": lambda found: found.update(
        links=[{"rel": "derived_from", "href": href} for href in ("\0", "s3://", "http://[", "~")]
    ),
    "a link to what must not be read": lambda found: found.update(
        links=[{"rel": "derived_from", "href": "/etc/passwd"}]
    ),
    "no links": lambda found: found.pop("links"),
    "an attribution that is a number": lambda found: found["properties"].update(attribution=5),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_item_is_drawn_as_far_as_it_goes(item: Path, name: str) -> None:
    edit(item, ODD[name])
    drawn = draw_result(str(item), open_site({}, {"output": str(item.parent)}))
    assert encode_figure(drawn.figure, "png", drawn.title)
    assert len(drawn.title) <= 150
    assert drawn.not_shown is not None
    assert len(drawn.not_shown.splitlines()) == 1
    assert sum(bool(axes.images) for axes in drawn.figure.axes) == 4  # three panels and a ramp


NONE_OF_OURS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no assets": lambda found: found.pop("assets"),
    "an asset without href": lambda found: found["assets"]["mask"].pop("href"),
    "an asset elsewhere": lambda found: found["assets"]["prob"].update(href="/etc/passwd"),
    "an asset that is gone": lambda found: found["assets"]["prob"].update(href="./none.tif"),
}


@pytest.mark.parametrize("name", NONE_OF_OURS)
def test_what_is_no_result_is_refused(item: Path, name: str) -> None:
    edit(item, NONE_OF_OURS[name])
    with pytest.raises(CropmaskError) as error:
        draw_result(str(item), open_site({}, {"output": str(item.parent)}))
    assert len(str(error.value).splitlines()) == 1


def rewrite(path: Path, values: Any = None, **changes: Any) -> None:
    """The same raster as a TIFF with other pixels or another profile."""
    with rasterio.open(path) as raster:
        known = {key: raster.profile[key] for key in ("crs", "transform", "nodata")}
        values = raster.read(1) if values is None else values
    rows, columns = values.shape
    profile = {"height": rows, "width": columns, "count": 1, "dtype": values.dtype}
    path.unlink()
    with rasterio.open(path, "w", driver="GTiff", **{**known, **profile, **changes}) as raster:
        raster.write(values, 1)


HOSTILE_BANDS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "other numbers": ("mask", lambda path: rewrite(path, np.full((960, 960), 999, np.uint16))),
    "numbers between": ("prob", lambda path: rewrite(path, np.full((960, 960), 0.5, np.float32))),
    "complex numbers": ("prob", lambda path: rewrite(path, np.ones((960, 960), np.complex64))),
    "another shape": ("filtered", lambda path: rewrite(path, np.ones((10, 10), np.uint8))),
    "another place": (
        "prob", lambda path: rewrite(path, transform=Affine(100, 0, 0, 0, -100, 0))
    ),
    "no CRS": ("mask", lambda path: rewrite(path, crs=None)),
    "degrees": ("mask", lambda path: rewrite(path, crs="EPSG:4326")),
    "pixels larger than the world": (
        "mask", lambda path: rewrite(path, transform=Affine(1e9, 0, 0, 0, -1e9, 0))
    ),
    "pixels of nothing": (
        "mask", lambda path: rewrite(path, transform=Affine(1e-300, 0, 0, 0, -1e-300, 0))
    ),
    "beyond the world": (
        "mask", lambda path: rewrite(path, transform=Affine(100, 0, 1e12, 0, -100, 1e12))
    ),
    "no raster": ("mask", lambda path: path.write_text("<html>")),
    "a cut raster": ("prob", lambda path: path.write_bytes(path.read_bytes()[:3000])),
    "an empty file": ("filtered", lambda path: path.write_bytes(b"")),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", HOSTILE_BANDS)
def test_a_hostile_band_is_refused_in_one_line(item: Path, name: str) -> None:
    band, change = HOSTILE_BANDS[name]
    change(item.parent / f"{item.name.partition('.')[0]}_{band}.tif")
    with pytest.raises(CropmaskError) as error:
        draw_result(str(item), open_site({}, {"output": str(item.parent)}))
    assert len(str(error.value).splitlines()) == 1
    assert "Traceback" not in str(error.value)
