"""What a map owes for its inputs: of the items, and of the collections that they link."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cropmask.errors import Interrupted
from cropmask.product import SYNTHETIC
from cropmask.region.attribution import UNSTATED, Provider
from cropmask.remote.fetch import ReadOptions
from cropmask.sources import attribution
from cropmask.sources.attribution import find_attribution
from cropmask.sources.search import Sources, find_sources
from tests.worlds import World, make_world

AGENCY = {"name": "An Agency", "roles": ["producer", "host"], "url": "https://a.example.org"}
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("owed") / "w", size=(20, 20))


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    world = made.copied(tmp_path / "w")
    edit_collection(world, lambda found: found.update(providers=[AGENCY]))
    edit_items(world, lambda item: link(item, "../../../collection.json"))
    return world


def collection_file(world: World) -> Path:
    return world.folder / "gm_s2_semiannual" / "collection.json"


def edit_collection(world: World, edit: Edit) -> None:
    path = collection_file(world)
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def edit_items(world: World, edit: Edit, half: int | None = None) -> None:
    for path in sorted(world.folder.rglob("*.stac-item.json"))[slice(half, half and half + 1)]:
        document = json.loads(path.read_text())
        edit(document)
        path.write_text(json.dumps(document))


def link(item: dict[str, Any], href: str, rel: str = "collection") -> None:
    item["links"] = [{"rel": rel, "href": href}]


def sources(world: World) -> Sources:
    options = ReadOptions(retries=0, timeout_seconds=2)
    return find_sources(
        str(world.catalog), world.tile, world.period, world.ancillary, options=options
    )


def test_collection_items_and_years(world: World) -> None:
    found = find_attribution(sources(world))
    assert found.license == "CC0-1.0"
    assert found.providers == (
        Provider(name="An Agency", roles=("producer",), url="https://a.example.org"),
    )
    assert found.sensed == (world.period.start.year,)


def test_what_an_item_says_of_itself_goes_first(world: World) -> None:
    said = {"license": "MIT", "providers": [{"name": "A Processor", "roles": ["processor"]}]}
    edit_items(world, lambda item: item["properties"].update(said))
    found = find_attribution(sources(world))
    assert found.license == "MIT"
    assert [each.name for each in found.providers] == ["A Processor", "An Agency"]


def test_halves_of_different_licenses_have_none_together(world: World) -> None:
    edit_items(world, lambda item: item["properties"].update(license="MIT"), half=1)
    assert find_attribution(sources(world)).license == "other"


def test_made_up_inputs_contain_no_sentinel_data(world: World) -> None:
    edit_items(world, lambda item: item["properties"].update({"odc:producer": SYNTHETIC}))
    assert find_attribution(sources(world)).sensed is None


def test_a_parent_will_do_if_it_is_a_collection(world: World) -> None:
    edit_items(world, lambda item: link(item, "../../../collection.json", "parent"))
    assert find_attribution(sources(world)).license == "CC0-1.0"
    edit_items(world, lambda item: link(item, "../../../../catalog.json", "parent"))
    assert find_attribution(sources(world)).license is None


@pytest.mark.parametrize(
    "href",
    [
        "../../../none.json",
        "../../../../layers",
        "/etc/hostname",
        "../../../../../../outside.json",
        "http://127.0.0.1:9/collection.json",
        "ftp://example.org/collection.json",
        "javascript:alert(1)",
        "https://[",
    ],
)
def test_a_collection_out_of_reach_leaves_license_and_providers_out(
    world: World, href: str
) -> None:
    edit_items(world, lambda item: link(item, href))
    found = find_attribution(sources(world))
    assert replace(found, sensed=None) == UNSTATED
    assert found.sensed is not None  # the items' own name says so


@pytest.mark.parametrize("content", ["<html></html>", "[]", "{}", "[" * 100_000, '"x"', ""])
def test_a_collection_that_is_none_is_a_warning(
    world: World, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (collection_file(world).parent / "odd.json").write_text(content)
    edit_items(world, lambda item: link(item, "../../../odd.json"))
    with caplog.at_level(logging.WARNING):
        assert find_attribution(sources(world)).license is None
    assert len(caplog.messages) == (content != "{}")


def test_a_server_that_fails_is_tried_again_where_the_items_are_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(href: str, options: ReadOptions) -> None:
        raise Interrupted(f"{href} cannot be reached")

    found = sources(world)
    monkeypatch.setattr(attribution, "load_document", fail)
    with pytest.raises(Interrupted):
        find_attribution(found)
    halves = (
        replace(half, collection_href="https://elsewhere.example.org/collections/gm")
        for half in (found.first, found.second)
    )
    first, second = halves
    assert find_attribution(replace(found, first=first, second=second)).license is None
