"""Whether a file is an item of ours is answered in one place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cropmask.grid import Tile
from cropmask.stac.facts import ASSET_SUFFIXES, FileFacts, encode_json
from cropmask.stac.item import make_item, parse_item
from tests.results import make_facts

FACTS = make_facts(Tile(215, 75))
FOLDER = FACTS.product.dataset_folder("x215y075", "2019--P1Y")
KEY = f"{FOLDER}/{FACTS.product.item_name('x215y075', '2019--P1Y')}"
FILES = {
    key: FileFacts(FACTS.file_name(key), 10 + number, f"{number:064x}", f"{number:040x}")
    for number, key in enumerate(ASSET_SUFFIXES)
}
DOCUMENT = make_item(FACTS, FILES)
READ = [
    *("start_datetime", "end_datetime", "version", "gsd", "odc:region_code"),
    *("cropmask:run_key", "cropmask:synthetic", "cropmask:resolution"),
    *("cropmask:statistics", "cropmask:model"),
]


def changed(change: Callable[[Any], object]) -> bytes:
    document = json.loads(json.dumps(DOCUMENT))
    change(document)
    return json.dumps(document).encode()


def test_an_item_that_was_written_is_read_back() -> None:
    found = parse_item(KEY, encode_json(DOCUMENT).encode())
    assert found is not None
    assert (found.key, found.id, found.product) == (KEY, FACTS.id, "crop_mask_eastern")
    assert (found.tile, found.period, found.version) == (FACTS.tile, "2019--P1Y", "1.1.0")
    assert (found.run_key, found.resolution, found.synthetic) == ("a" * 64, 100, False)
    assert found.model == {"recipe": "forest", "sha256": "0" * 64}
    assert found.statistics["crop_filtered_hectares"] == 1.0
    assert set(found.assets) == set(ASSET_SUFFIXES)
    assert found.document == json.loads(encode_json(DOCUMENT))


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("value", [None, [], "x220"])
def test_what_is_read_has_its_type(name: str, value: object) -> None:
    if isinstance(DOCUMENT["properties"][name], str) and name != "odc:region_code":
        value = 5
    text = changed(lambda item: item["properties"].update({name: value}))
    assert parse_item(KEY, text) is None
    assert parse_item(KEY, changed(lambda item: item["properties"].pop(name))) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda item: item.update(type="Collection"),
        lambda item: item.update(id=5),
        lambda item: item.update(bbox=[1, 2, 3]),
        lambda item: item.update(bbox=[1, 2, 3, "4"]),
        lambda item: item.update(properties=[]),
        lambda item: item.update(links={}),
        lambda item: item.update(assets=[]),
        lambda item: item["links"].append({"rel": "item"}),
        lambda item: item["assets"].update(mask="mask.tif"),
        lambda item: item["assets"].update(mask={"href": 5}),
    ],
)
def test_what_has_another_form_is_none_of_ours(change: Callable[[Any], object]) -> None:
    assert parse_item(KEY, changed(change)) is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"5", b"null", b"[" * 100_000, b"\xff"])
def test_what_is_no_document_is_none_of_ours(text: bytes) -> None:
    assert parse_item(KEY, text) is None
