"""Several versions of one dataset: the newest is used, and said; others are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cropmask.core.cropmap import Statistics
from cropmask.errors import Rejected
from cropmask.grid import Tile
from cropmask.modelfile.model import read_model
from cropmask.operate.plan import make_plan
from cropmask.operate.planfile import Need, Plan
from cropmask.region.attribution import UNSTATED
from cropmask.region.region import StacLayer
from cropmask.remote.fetch import ReadOptions
from cropmask.site.site import open_site
from cropmask.sources.matching import StacFile
from cropmask.sources.search import Sources, find_sources
from cropmask.sources.versions import describe_version, parse_number, sort_versions
from cropmask.stac.facts import ASSET_SUFFIXES, FileFacts
from cropmask.stac.item import make_item
from cropmask.task import Task
from cropmask.tile.itemfacts import make_facts
from cropmask.tile.job import prepare
from tests.regions import YEAR, RegionWorld, make_region
from tests.unit.operate.test_plan import NOW
from tests.worlds import World

STRICT = ReadOptions(strict=True)


def put_version(
    path: Path, *, name: str | None = None, links: list[dict[str, str]] | None = None, **said: Any
) -> str:
    """Put another version of an item beside it; the id of the new one."""
    document = json.loads(path.read_text())
    number = len(list(path.parent.glob("*.json")))
    document["id"] = name or f"{document['id']}_{number}"
    document["links"] = links or []
    for fact in ("created", "updated", "deprecated", "version", "odc:dataset_version"):
        document["properties"].pop(fact, None)
    document["properties"].update({name.replace("__", ":"): value for name, value in said.items()})
    (path.parent / f"{path.stem}_{number}.json").write_text(json.dumps(document))
    return str(document["id"])


def say(path: Path, **said: Any) -> str:
    """Change what an item says of itself; its id."""
    document = json.loads(path.read_text())
    document["properties"].pop("created", None)
    document["properties"].update({name.replace("__", ":"): value for name, value in said.items()})
    path.write_text(json.dumps(document))
    return str(document["id"])


def find(world: World, options: ReadOptions | None = None, **layers: Any) -> Sources:
    ancillary = world.ancillary.model_copy(update=layers)
    folder = str(world.folder)
    return find_sources(folder, world.tile, world.period, ancillary, options=options)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"odc__dataset_version": "0-9-0"}, {"odc__dataset_version": "0-10-0"}),
        ({"odc__dataset_version": "1.9"}, {"odc__dataset_version": "1.10"}),
        ({"version": "1.0.0-rc1"}, {"version": "1.0.0"}),
        ({"version": "v1"}, {"odc__dataset_version": "2"}),
        (
            {"version": "1", "created": "2026-01-01T00:00:00Z"},
            {"version": "2", "created": "2021-01-01T00:00:00Z"},
        ),
        ({"created": "2021-01-01T00:00:00Z"}, {"created": "2021-01-01T00:00:00.5Z"}),
        ({"created": "2021-01-01T23:00:00-03:00"}, {"created": "2021-01-02T03:00:00Z"}),
        (
            {"version": "1", "created": "2021-01-01T00:00:00Z"},
            {"version": "1.0", "created": "2022-01-01T00:00:00Z"},
        ),
        (
            {"created": "2021-01-01T00:00:00Z", "updated": "2022-01-01T00:00:00Z"},
            {"created": "2021-01-01T00:00:00Z", "updated": "2023-01-01T00:00:00Z"},
        ),
        ({"deprecated": True}, {}),
        ({"version": "2", "deprecated": True}, {"version": "1"}),
        ({"version": "1", "deprecated": True}, {"version": "2", "deprecated": True}),
        ({"version": "1", "gsd": 10, "platform": "Sentinel-2"}, {"version": "2", "gsd": 10.0}),
    ],
)
@pytest.mark.parametrize("first_is_old", [True, False])
def test_the_newest_is_used_and_said(
    world: World,
    caplog: pytest.LogCaptureFixture,
    old: dict[str, Any],
    new: dict[str, Any],
    first_is_old: bool,
) -> None:
    path = world.items[0]
    there, other = (old, new) if first_is_old else (new, old)
    ids = say(path, **there), put_version(path, **other)
    newest, oldest = ids[first_is_old], ids[not first_is_old]
    sources = find(world)
    assert sources.first.item_id == newest
    assert sources.second.choice is None
    choice = sources.choices["first"]
    assert choice.used.partition(" (")[0] == newest
    assert [name.partition(" (")[0] for name in choice.passed_over] == [oldest]
    assert f"{choice.used} is used, not {choice.passed_over[0]}" in caplog.text
    with pytest.raises(Rejected, match="--strict-inputs uses none of several") as error:
        find(world, STRICT)
    assert error.value.reason == "doubled geomad"
    assert newest in str(error.value)
    assert oldest in str(error.value)


@pytest.mark.parametrize("rel", ["successor-version", "latest-version", "predecessor-version"])
def test_links_between_versions(world: World, rel: str) -> None:
    path = world.items[0]
    link = [{"rel": rel, "href": f"./{path.name}"}]
    other = put_version(path, links=link, created="2021-06-15T05:00:00Z")
    first = str(json.loads(path.read_text())["id"])
    assert find(world).first.item_id == (other if rel == "predecessor-version" else first)


def test_links_that_contradict_each_other_tell_nothing() -> None:
    def item(name: str, other: str) -> StacFile:
        links = [{"rel": "successor-version", "href": f"./{other}.json"}]
        return StacFile({"id": name, "links": links}, f"/x/{name}.json")

    assert sort_versions([item("a", "b"), item("b", "a")])[1] == "nothing says which is the newest"
    assert sort_versions([item("a", "b"), item("b", "c")])[1] is None


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ({}, {}, "nothing says which is the newest"),
        ({"version": "2"}, {}, "nothing says which is the newest"),
        ({"version": "new"}, {"version": "newer"}, "nothing says which is the newest"),
        ({"version": "1.0"}, {"version": "v1.0.0+b"}, "nothing says which is the newest"),
        ({"version": "1", "platform": "a"}, {"version": "2", "platform": "b"}, "platform differs"),
        (
            {"version": "1", "odc__product": "gm_s2_semiannual"},
            {"version": "2", "odc__product": "gm_ls8_semiannual"},
            "odc:product differs",
        ),
        ({"version": "1", "gsd": 10}, {"version": "2", "gsd": 20}, "gsd differs"),
        (
            {"version": "1", "instruments": ["msi"]},
            {"version": "2", "instruments": ["oli", "tirs"]},
            "instruments differs",
        ),
    ],
)
def test_what_cannot_be_told_apart_is_refused(
    world: World, one: dict[str, Any], other: dict[str, Any], why: str
) -> None:
    ids = say(world.items[1], **one), put_version(world.items[1], **other)
    with pytest.raises(Rejected, match=why) as error:
        find(world)
    assert "remove all but one" in str(error.value)
    assert all(name in str(error.value) for name in ids)


def test_versions_of_one_id(world: World) -> None:
    path = world.items[0]
    name = say(path, version="1")
    before = find(world).fingerprint()
    put_version(path, name=name, version="2")
    assert find(world).choices["first"].passed_over == (f"{name} (version 1)",)
    assert find(world).fingerprint() == before, "the same rasters, read the same way"
    newest = sorted(path.parent.glob("*_*_*.json"))[-1]
    assert json.loads(newest.read_text())["properties"]["version"] == "2"
    document = json.loads(newest.read_text())
    document["assets"]["B02"]["raster:bands"][0].update(scale=0.0001, offset=-0.1)
    newest.write_text(json.dumps(document))
    after = find(world).fingerprint()
    assert {key for key in before if before[key] != after[key]} == {"first/blue"}


def test_a_deprecated_item_alone_is_used(world: World, caplog: pytest.LogCaptureFixture) -> None:
    name = say(world.items[0], deprecated=True)
    assert find(world).first.item_id == name
    assert find(world, STRICT).choices == {}
    assert f"{name} (deprecated) is used, though it is deprecated" in caplog.text


def add_layer(world: World, *said: dict[str, Any]) -> StacLayer:
    """A collection of water items, one for each set of properties."""
    folder = world.folder / "wofs"
    folder.mkdir()
    document = json.loads(world.items[0].read_text())
    for number, properties in enumerate(said):
        document["collection"], document["id"] = "wofs", f"wofs-{number}"
        document["properties"] = {
            "datetime": "2019-01-01T00:00:00Z",
            "odc:region_code": "x215y075",
            **properties,
        }
        document["assets"] = {"frequency": {"href": f"./{number}.tif"}}
        (folder / f"{number}.json").write_text(json.dumps(document))
    return StacLayer(collection="wofs", asset="frequency")


def test_layers_have_versions_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    layer = add_layer(world, {"version": "1.10.0"}, {"version": "1.9.0"})
    found = find(world, water=layer).ancillary["water"]
    assert found.item_id == "wofs-0"
    assert str(found.href).endswith("0.tif")
    assert found.choice is not None
    assert found.choice.passed_over == ("wofs-1 (version 1.9.0)",)
    assert "wofs-0 (version 1.10.0) is used, not wofs-1 (version 1.9.0)" in caplog.text
    with pytest.raises(Rejected, match="2 items for the layer 'water' in wofs") as error:
        find(world, STRICT, water=layer)
    assert error.value.reason == "doubled layer"


def test_layers_that_nothing_tells_apart_are_no_mistake(world: World) -> None:
    layer = add_layer(world, {}, {"platform": "other"})
    assert find(world, water=layer).ancillary["water"].item_id == "wofs-1"


@pytest.mark.parametrize(
    ("older", "newer"),
    [("0-9-0", "0-10-0"), ("1", "1.0.1"), ("v9", "V10"), ("2.0b1", "2.0"), ("1.0-rc2", "1")],
)
def test_numbers_of_versions(older: str, newer: str) -> None:
    first, second = parse_number(older), parse_number(newer)
    assert first is not None
    assert second is not None
    assert first < second
    assert parse_number(newer + "+build.7") == second


@pytest.mark.parametrize("version", ["", "latest", None, 3, ["1"], "1" * 5000, "\u0661", "-1"])
def test_what_is_no_number_of_a_version(version: object) -> None:
    assert parse_number(version) is None


def test_a_version_in_words_is_one_short_line() -> None:
    wild = {"version": "9\n\u202e" * 10_000, "created": "2021-01-01", "deprecated": "yes"}
    item = StacFile({"id": "a\nb" + "c" * 10_000, "properties": wild}, "/a.json")
    words = describe_version(item)
    assert words.isprintable()
    assert len(words) < 320
    assert "created 2021-01-01T00:00:00Z" in words


@pytest.fixture
def region(tmp_path: Path) -> RegionWorld:
    return make_region(tmp_path / "region", [Tile(200, 70), Tile(201, 70)])


def test_lineage_names_the_version_used_and_those_passed_over(
    region: RegionWorld, tmp_path: Path
) -> None:
    path = region.item_file(region.tiles[0], 1)
    old, new = say(path, version="1.0.0"), put_version(path, version="1.1.0")
    options = {"catalog": str(region.items), "output": str(tmp_path / "out")}
    job = prepare(Task(region.tiles[0], str(region.region), YEAR), open_site({}, options))
    hectares = dict.fromkeys(Statistics.__dataclass_fields__.keys() - {"extras"}, 1.0)
    facts = make_facts(job, read_model(job.basis.model.file), Statistics(**hectares), {}, UNSTATED)
    files = {key: FileFacts(facts.file_name(key), 1, "0" * 64, "0" * 40) for key in ASSET_SUFFIXES}
    item = make_item(facts, files)
    assert item["properties"]["cropmask:input_versions"] == {
        "second": {"used": f"{new} (version 1.1.0)", "passed_over": [f"{old} (version 1.0.0)"]}
    }
    origins = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert any(href.endswith("stac-item_1.json") for href in origins)
    assert not any(href.endswith(path.name) for href in origins)


def test_strictness_goes_through_the_plan_to_the_workers(
    region: RegionWorld, tmp_path: Path
) -> None:
    path = region.item_file(region.tiles[0], 0)
    say(path, version="1")
    put_version(path, version="2")
    places = {"catalog": str(region.items), "output": str(tmp_path / "out")}
    for strict, need in ((False, Need.NEW), (True, Need.INVALID)):
        site = open_site({}, {**places, "strict_inputs": strict})
        plan = make_plan(str(region.region), YEAR, site, now=NOW)
        assert [planned.need for planned in plan.tiles] == [need, Need.NEW]
        assert Plan.from_json(plan.to_json()).strict_inputs is strict
        environment = site.worker_environment()
        assert environment.get("CROPMASK_STRICT_INPUTS") == ("1" if strict else None)
        assert open_site(environment).read.strict is strict
    document = json.loads(plan.to_json())
    del document["strict_inputs"]
    assert Plan.from_json(json.dumps(document)).strict_inputs is False
