"""`cropmask catalog serve`, searched by pystac-client and by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pystac
import pytest
import requests
from pystac_client import Client

from cropmask.catalog.api import Api
from cropmask.catalog.build import build_results
from cropmask.catalog.guard import Visitors
from cropmask.catalog.web import make_api_app
from cropmask.grid import Tile
from cropmask.product import RECIPES
from cropmask.region.region import region_names
from cropmask.store.folder import FolderStore
from tests.demo_run import EASTERN, WESTERN, put_item
from tests.servers import serve_app


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    made = FolderStore(tmp_path_factory.mktemp("results"))
    for tile in EASTERN:
        put_item(made, tile)
    put_item(made, WESTERN, "western")
    build_results(made, parquet=False)
    return made


@pytest.fixture(scope="module")
def address(store: FolderStore) -> Iterator[str]:
    with serve_app(make_api_app(Api(store, clock=CLOCK), store)) as url:
        yield url


def tiles(found) -> list[str]:
    return [item.properties["odc:region_code"] for item in found]


def test_pystac_client_walks_and_searches(address):
    client = Client.open(address)
    assert client.conforms_to("ITEM_SEARCH")
    names = [found.id for found in client.get_collections()]
    assert names == ["crop_mask_eastern", "crop_mask_western", "crop_mask_models"]
    search = client.search(collections=["crop_mask_eastern"])
    assert search.matched() == 2
    assert tiles(search.items()) == ["x221y075", "x222y075"]
    assert tiles(client.search(bbox=[2.5, 6, 5, 8], collections=["crop_mask_western"]).items()) == [
        str(WESTERN)
    ]
    assert (
        tiles(client.search(collections=["crop_mask_western"], bbox=[39, -2, 41, 0]).items()) == []
    )
    point = {"type": "Point", "coordinates": [40.0, -1.0]}
    collections = ["crop_mask_eastern", "crop_mask_western"]
    assert tiles(client.search(collections=collections, intersects=point).items()) == ["x221y075"]
    assert client.search(datetime="2019", collections=collections).matched() == 3
    assert client.search(datetime="2020", collections=collections).matched() == 0
    assert client.search(datetime="2018-06-01/2019-01-01", collections=collections).matched() == 3
    assert client.search(datetime="../2018-12-31", collections=collections).matched() == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_follow_each_other(address, method):
    client = Client.open(address)
    square = [[0, -10], [50, -10], [50, 20], [0, 20], [0, -10]]
    search = client.search(
        collections=["crop_mask_eastern", "crop_mask_western"],
        intersects={"type": "Polygon", "coordinates": [square]},
        limit=1,
        method=method,
    )
    assert tiles(search.items()) == ["x221y075", "x222y075", str(WESTERN)]
    assert len(list(search.pages_as_dicts())) == 3


def test_an_item_is_the_one_of_the_results(address):
    client = Client.open(address)
    (item,) = client.search(collections=["crop_mask_western"]).items()
    again = client.get_collection("crop_mask_western").get_item(item.id)
    assert again.to_dict()["properties"] == item.to_dict()["properties"]
    mask = item.assets["mask"].href
    assert mask.startswith(f"{address}/files/crop_mask_western/")
    assert requests.get(mask, timeout=60).status_code == 200
    canonical = item.get_single_link("canonical").href
    assert canonical.startswith(f"{address}/files/crop_mask_western/")
    assert pystac.Item.from_dict(requests.get(canonical, timeout=60).json()).id == item.id


def test_models_can_be_searched(address):
    client = Client.open(address)
    found = {item.id for item in client.search(collections=["crop_mask_models"]).items()}
    assert len(found) == 2 * len(RECIPES)
    # A model is for maps of any year with GeoMAD, whenever its samples were taken.
    for year, number in (("2016", 0), ("2017", len(found)), ("2031", len(found))):
        search = client.search(collections=["crop_mask_models"], datetime=year)
        assert search.matched() == number, year


@pytest.mark.parametrize(
    "query",
    [
        {"filter": "x = 1"},
        {"query": {"gsd": {"lt": 20}}},
        {"bbox": [1, 2, 3]},
        {"bbox": "a,b,c,d"},
        {"datetime": "yesterday"},
        {"intersects": {"type": "Sphere"}},
        {"bbox": [0, 0, 1, 1], "intersects": {"type": "Point", "coordinates": [0, 0]}},
        {"limit": "many"},
        {"limit": 1e400},
    ],
)
def test_what_is_not_understood_is_refused(address, query):
    answer = requests.post(f"{address}/search", data=json.dumps(query), timeout=60)
    assert answer.status_code == 400
    assert answer.json()["description"]


def test_what_is_not_there_is_404(address):
    for path in ("/collections/none", "/collections/none/items", "/collections/none/items/x"):
        assert requests.get(f"{address}{path}", timeout=60).status_code == 404
    assert requests.post(f"{address}/search", data="{", timeout=60).status_code == 400


@pytest.fixture(scope="module")
def letters(address: str, store: FolderStore) -> str:
    """Address of a file with the ten bytes ``0123456789``."""
    store.put("letters.txt", b"0123456789", "text/plain")
    store.put("empty.txt", b"", "text/plain")
    return f"{address}/files/letters.txt"


@pytest.mark.parametrize(
    ("wanted", "status", "content", "part"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=7-99", 206, b"789", "bytes 7-9/10"),
        ("bytes=0-", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=10-12", 416, None, "bytes */10"),
        # What is no range, and several, are not honored, as RFC 9110 has it.
        ("bytes=5-2", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=a-b", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("items=0-1", 200, b"0123456789", None),
    ],
)
def test_ranges(letters, wanted, status, content, part):
    for method in ("GET", "HEAD"):
        answer = requests.request(method, letters, headers={"Range": wanted}, timeout=60)
        assert (answer.status_code, answer.headers.get("Content-Range")) == (status, part)
        if content is not None:
            assert answer.headers["Content-Length"] == str(len(content))
            assert answer.content == (content if method == "GET" else b"")


def test_an_empty_file_has_no_range(letters):
    empty = letters.replace("letters", "empty")
    assert requests.get(empty, timeout=60).content == b""
    assert requests.get(empty, headers={"Range": "bytes=0-0"}, timeout=60).status_code == 416


@pytest.mark.parametrize(
    "path",
    [
        "../outside.txt",
        "%2e%2e/outside.txt",
        "crop_mask_eastern/..%2f..%2foutside.txt",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        ".hidden",
        "a/.git/config",
        "a%00b",
        "",
    ],
)
@pytest.mark.parametrize("where", ["files", "pages"])
def test_only_the_catalog_is_served(address, store, where, path):
    (store.root.parent / "outside.txt").write_text('{"secret": 1}')
    store.put(".hidden", b'{"secret": 1}', "text/plain")
    host, port = address.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=60)
    connection.request("GET", f"/{where}/{path}")  # as it is: requests would tidy it up
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if (where, path) == ("pages", ""):
        assert (answer.status, b"Cropland extent" in body) == (200, True)
    else:
        assert answer.status in (400, 404)
    assert b"secret" not in body


def test_an_index_gets_the_places_of_files(store):
    found = Api(store, assets="place").search(
        "http://x", {"collections": ["crop_mask_western"]}, post=True
    )
    (item,) = found["features"]
    links = {link["rel"]: link["href"] for link in item["links"]}
    assert links["self"] == links["canonical"]
    for href in (links["self"], item["assets"]["mask"]["href"]):
        assert href.startswith(f"file://{store.root}/crop_mask_western/")
        assert Path(href.removeprefix("file://")).is_file()


def test_a_page_elsewhere_may_ask_for_ranges_if_it_is_told_so(store, letters):
    headers = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "range",
    }
    for origin, status in (("https://elsewhere.example", 200), ("https://another.example", 400)):
        visitors = Visitors(origins=(origin,))
        with serve_app(make_api_app(Api(store), store, visitors)) as url:
            answer = requests.options(f"{url}/files/letters.txt", headers=headers, timeout=60)
        assert answer.status_code == status
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        assert (allowed == headers["Origin"]) == (status == 200)
        assert "range" in answer.headers["Access-Control-Allow-Headers"]
    answer = requests.options(letters, headers=headers, timeout=60)
    assert answer.status_code == 405
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "harm",
    [
        "{",
        "[1]",
        "{}",
        '{"type": "Feature", "id": "x", "links": [], "assets": {}}',
        '{"type": "Collection", "id": "x", "links": 5}',
        '{"type": "Collection", "id": "x", "links": [{"rel": "item", "href": 7}]}',
    ],
)
@pytest.mark.parametrize("place", ["collection", "models", "model", "root"])
def test_what_is_damaged_does_not_take_the_rest_along(tmp_path, store, harm, place):
    copy = FolderStore(tmp_path / "results")
    shutil.copytree(store.root, copy.root)
    model = next(copy.root.glob("crop_mask_models/*/*.json")).relative_to(copy.root)
    places = {
        "collection": "crop_mask_western/collection.json",
        "models": "crop_mask_models/collection.json",
        "model": model.as_posix(),
        "root": "catalog.json",
    }
    copy.put(places[place], harm.encode(), "")
    api = Api(copy)
    for document in (api.landing("http://x"), api.collections("http://x")):
        assert document["links"]
    found = api.search("http://x", {"collections": ["crop_mask_eastern"]}, post=True)
    assert found["numberMatched"] >= 2


def test_the_printed_catalog_is_served_too():
    api = Api(FolderStore(Path(__file__).parents[2] / "catalogs"))
    names = list(api.index().collections)
    assert names == [*(f"crop_mask_{region}" for region in region_names()), "crop_mask_models"]


def test_what_workers_add_appears(address, store):
    client = Client.open(address)
    put_item(store, Tile(223, 75))
    assert client.search(collections=["crop_mask_eastern"]).matched() == 2
    CLOCK.now += 11
    assert client.search(collections=["crop_mask_eastern"]).matched() == 3
