"""Hostile items before ``cropmask show``: drawn as far as they go, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
