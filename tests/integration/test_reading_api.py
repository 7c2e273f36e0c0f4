"""A STAC API in the dialect of Digital Earth Africa's Explorer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cropmask.errors import Interrupted, Misconfigured, Rejected
from cropmask.grid import Tile
from cropmask.region.region import StacLayer
from cropmask.remote.fetch import ReadOptions
from cropmask.sources.search import find_sources
from cropmask.task import Period
from tests.servers import StacApi, serve_stac_api
from tests.worlds import TILE, YEAR, World, make_world

OPTIONS = ReadOptions(retries=2, retry_delay_seconds=0.01, timeout_seconds=5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("api"), size=(8, 8))


def whole_tile(document: dict[str, Any], tile: Tile, index: int = 0) -> dict[str, Any]:
    """The item as if of a whole tile, its box a little too large, as footprints are."""
    from pyproj import Transformer

    left, bottom, right, top = tile.bounds
    to_degrees = Transformer.from_crs("EPSG:6933", "EPSG:4326", always_xy=True)
    west, south = to_degrees.transform(left - 100, bottom - 100)
    east, north = to_degrees.transform(right + 100, top + 100)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    address = "https://explorer.invalid/stac/collections/gm/items/a"
    copy = json.loads(json.dumps(document))
    copy["properties"]["odc:region_code"] = str(tile)
    return copy | {
        "id": f"{document['id']}-{tile}-{index}",
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "links": [{"rel": "self", "href": address}],
        "assets": {
            key: {**asset, "href": f"s3://bucket/{tile}/{Path(asset['href']).name}"}
            for key, asset in copy["assets"].items()
        },
    }


@pytest.fixture
def items(made: World) -> list[dict[str, Any]]:
    """Both halves of nine tiles, and of the year before."""
    documents = [json.loads(path.read_text()) for path in made.items]
    found = [
        whole_tile(document, Tile(TILE.x + dx, TILE.y + dy))
        for dx in (-1, 0, 1)
        for dy in (-1, 0, 1)
        for document in documents
    ]
    for item in [whole_tile(document, TILE, 1) for document in documents]:
        text = json.dumps(item).replace("2019-", "2018-")
        found.append(json.loads(text))
    return found


def find(api: StacApi, made: World, **layers: Any):
    ancillary = made.ancillary.model_copy(update=layers)
    return find_sources(api.url, TILE, YEAR, ancillary, options=OPTIONS)


def test_one_search_over_the_center(made: World, items: list[dict[str, Any]]):
    with serve_stac_api(items) as api:
        sources = find(api, made)
    assert sources.first.item_id.endswith("2019-01--P6M-x215y075-0")
    assert sources.second.item_id.endswith("2019-07--P6M-x215y075-0")
    assert sources.first.bands["red"].href.startswith("s3://bucket/x215y075/")
    assert sources.first.href == "https://explorer.invalid/stac/collections/gm/items/a"
    assert len(api.searches) == 1
    assert api.searches[0]["intersects"]["type"] == "Point"
    assert api.searches[0]["collections"] == ["gm_s2_semiannual"]
    assert "query" not in api.searches[0]


def test_bare_nan(made: World, items: list[dict[str, Any]]):
    def spoil(text: str) -> str:
        assert '"nodata": "nan"' in text or '"features": []' in text
        return text.replace('"nodata": "nan"', '"nodata": NaN')

    with serve_stac_api(items, spoil=spoil) as api:
        nodata = find(api, made).first.bands["sdev"].declared.nodata
    assert nodata != nodata


def test_neighbors_without_region_codes(made: World, items: list[dict[str, Any]]):
    for item in items:
        del item["properties"]["odc:region_code"]
        del item["properties"]["proj:transform"]
    with serve_stac_api(items) as api:
        assert find(api, made).first.item_id.endswith("x215y075-0")


def test_scene_away_from_the_center_is_found_by_the_box(made: World):
    documents = [json.loads(path.read_text()) for path in made.items]
    with serve_stac_api(documents) as api:
        assert find(api, made).first.item_id == documents[0]["id"]
        assert [("intersects" in search, "bbox" in search) for search in api.searches] == [
            (True, False),
            (False, True),
        ]


@pytest.mark.parametrize("half", [0, 1])
def test_one_half_whose_footprint_does_not_reach_the_center(
    made: World, items: list[dict[str, Any]], half: int
):
    code = str(TILE)
    own = [item for item in items if item["properties"]["odc:region_code"] == code]
    own = sorted(own, key=lambda item: item["properties"]["datetime"])[2:]  # of this year
    west, south, east, north = own[half]["bbox"]
    own[half]["bbox"] = [west, south, west + (east - west) / 3, north]
    with serve_stac_api(items) as api:
        found = find(api, made)
        assert (found.first.item_id, found.second.item_id) == tuple(item["id"] for item in own)
    lost = [item for item in items if item is not own[half]]
    with serve_stac_api(lost) as api, pytest.raises(Rejected, match="no GeoMAD for"):
        find(api, made)


def test_pages_are_followed(made: World, items: list[dict[str, Any]]):
    crowd = [
        whole_tile({**items[0], "id": f"crowd{i}"}, Tile(TILE.x + 1, TILE.y))
        | {"bbox": items[8]["bbox"]}
        for i in range(7)
    ]
    with serve_stac_api([*crowd, *items]) as api:
        assert find(api, made).second.item_id.endswith("x215y075-0")
        assert len(api.searches) > 3


def test_missing_year_tells_what_there_is(made: World, items: list[dict[str, Any]]):
    with serve_stac_api(items) as api, pytest.raises(Rejected) as error:
        find_sources(api.url, TILE, Period.parse("2021"), made.ancillary, options=OPTIONS)
    assert ("this tile has 2018-01--P6M, 2018-07--P6M, 2019-01--P6M, 2019-07--P6M") in str(
        error.value
    )


def test_busy_api(made: World, items: list[dict[str, Any]]):
    with serve_stac_api(items) as api:
        api.refusals += [503, 429]
        assert find(api, made).first
        api.refusals += [503] * 10
        with pytest.raises(Interrupted, match="answered 503"):
            find(api, made)


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (400, Rejected, "refuses our search"),
        (403, Misconfigured, "access to .* is denied"),
        (404, Misconfigured, "has no search"),
        (418, Interrupted, "answered 418"),
    ],
)
def test_api_that_refuses(
    made: World, items: list[dict[str, Any]], status: int, error: type[Exception], text: str
):
    with serve_stac_api(items) as api:
        api.refusals.append(status)
        with pytest.raises(error, match=text) as raised:
            find(api, made)
    assert "\n" not in str(raised.value)


def test_answer_that_is_no_json(made: World, items: list[dict[str, Any]]):
    with (
        serve_stac_api(items, spoil=lambda text: text[:50]) as api,
        pytest.raises(Interrupted, match="answers no JSON"),
    ):
        find(api, made)


def test_layers_in_the_same_api(made: World, items: list[dict[str, Any]]):
    water = whole_tile(items[0], TILE) | {"id": "water", "collection": "wofs_ls_summary_annual"}
    water["properties"] |= {
        "start_datetime": "2019-01-01T00:00:00Z",
        "end_datetime": "2019-12-31T23:59:59Z",
    }
    water["assets"] = {"frequency": {"href": "s3://bucket/water.tif"}}
    layer = StacLayer(collection="wofs_ls_summary_annual", asset="frequency", dated=True)
    with serve_stac_api([*items, water]) as api:
        assert find(api, made, water=layer).ancillary["water"].href == "s3://bucket/water.tif"
        absent = find(api, made, water=layer.model_copy(update={"collection": "none"}))
    assert absent.ancillary["water"].reason == "no item of none over tile x215y075 in 2019"
