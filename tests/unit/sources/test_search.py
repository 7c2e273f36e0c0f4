"""Items from static catalogs and folders; every malformed input is one clear line."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cropmask.core.scaling import Declared
from cropmask.core.strips import DEVIATION, REFLECTANCE
from cropmask.errors import Misconfigured, Rejected
from cropmask.grid import Tile
from cropmask.region.region import Ancillary, StacLayer
from cropmask.remote.address import resolve
from cropmask.sources.bands import find_asset, parse_geomad
from cropmask.sources.matching import StacFile, interval_of, is_of_period, is_of_tile, may_match
from cropmask.sources.search import Sources, find_sources
from cropmask.task import Period
from tests.worlds import BANDS, TILE, YEAR, World, make_world

FIRST, SECOND = YEAR.halves


def find(world: World, catalog: Path | str | None = None, **changes: Any) -> Sources:
    ancillary = world.ancillary.model_copy(update=changes)
    return find_sources(str(catalog or world.catalog), world.tile, world.period, ancillary)


def one_line(error: pytest.ExceptionInfo[Rejected]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def item(**properties: Any) -> StacFile:
    return StacFile({"type": "Feature", "id": "a", "properties": properties}, "/x/a.json")


@pytest.mark.parametrize("kind", ["catalog", "collection", "folder", "feature collection"])
def test_every_kind_of_catalog_gives_the_same(world: World, tmp_path: Path, kind: str):
    entry = {"catalog": world.catalog, "collection": world.collection, "folder": world.folder}
    if kind == "feature collection":
        features = [json.loads(path.read_text()) for path in world.items]
        for feature, path in zip(features, world.items, strict=True):
            for asset in feature["assets"].values():
                asset["href"] = str(path.parent / asset["href"])
        entry[kind] = tmp_path / "items.json"
        entry[kind].write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    sources = find(world, entry[kind])
    assert sources.first.item_id == "gm_s2_semiannual_x215y075_2019-01--P6M"
    assert sources.second.period == SECOND
    assert set(sources.first.bands) == set(BANDS)
    for half, geomad in enumerate((sources.first, sources.second)):
        for band, source in geomad.bands.items():
            assert Path(source.href).resolve() == world.band_file(half, band).resolve()
            assert source.dtype == ("uint16" if band in REFLECTANCE else "float32")
            nodata = source.declared.nodata
            assert nodata is not None
            assert math.isnan(nodata) == (band in DEVIATION)


@pytest.mark.parametrize("write_dtypes", [True, False])
def test_common_names_as_asset_keys(tmp_path: Path, write_dtypes: bool):
    world = make_world(tmp_path, size=(8, 8), common_names=True, write_dtypes=write_dtypes)
    sources = find(world)
    assert sources.first.bands["nir"].href.endswith("_B08.tif")
    assert sources.first.bands["bcdev"].dtype == "float32"
    assert sources.first.bands["blue"].declared == Declared(0 if write_dtypes else None)


@pytest.mark.parametrize(
    "bands",
    [
        {"eo:bands": [{"name": "nir"}]},
        {"eo:bands": [{"name": "B08", "common_name": "nir"}]},
        {"bands": [{"name": "nir"}]},
        {"bands": [{"eo:common_name": "nir", "data_type": "uint16"}]},
    ],
)
def test_names_inside_assets(bands: dict[str, Any]):
    assets = {"whatever": {"href": "a.tif", **bands}, "B8A": {"href": "b.tif", "title": "nir"}}
    document = StacFile({"assets": assets}, "")
    assert find_asset(document, "nir") == "whatever"


def test_two_assets_of_one_name_are_refused():
    twice = {"eo:bands": [{"common_name": "nir"}]}
    document = StacFile({"id": "i", "assets": {"a": twice, "b": twice}}, "")
    with pytest.raises(Rejected, match="2 assets for band 'nir': a, b"):
        find_asset(document, "nir")
    keyed = StacFile({"id": "i", "assets": {"a": twice, "b": twice, "nir": {}}}, "")
    assert find_asset(keyed, "nir") == "nir"


def test_halves_are_told_by_date_not_by_position_or_name(world: World):
    document = json.loads(world.collection.read_text())
    document["links"].reverse()
    world.collection.write_text(json.dumps(document))
    sources = find(world)
    assert sources.first.period == FIRST
    assert "2019-01--P6M" in sources.first.bands["blue"].href


@pytest.mark.parametrize("half", [0, 1])
def test_missing_half_says_which_and_what_there_is(world: World, half: int):
    document = json.loads(world.collection.read_text())
    del document["links"][half]
    world.collection.write_text(json.dumps(document))
    with pytest.raises(Rejected) as error:
        find(world)
    text = one_line(error)
    name = ("January to June 2019 (2019-01--P6M)", "July to December 2019 (2019-07--P6M)")[half]
    other = ("2019-07--P6M", "2019-01--P6M")[half]
    assert text.startswith(f"no GeoMAD for {name} of tile x215y075 in {world.catalog}")
    assert f"this tile has {other};" in text
    assert error.value.reason == "missing geomad"


def test_missing_tile_and_missing_year(world: World):
    with pytest.raises(Rejected, match=r"tile x001y001 .* has no GeoMAD there"):
        find_sources(str(world.catalog), Tile(1, 1), YEAR, world.ancillary)
    with pytest.raises(Rejected, match=r"2020.*this tile has 2019-01--P6M, 2019-07--P6M"):
        find_sources(str(world.catalog), TILE, Period.parse("2020"), world.ancillary)


def test_doubled_half_names_both(world: World):
    second = json.loads(world.items[0].read_text())
    second["id"] = "another"
    (world.items[0].parent / "x215y075_2019-01--P6M_again.json").write_text(json.dumps(second))
    with pytest.raises(Rejected) as error:
        find(world, world.folder)
    assert (
        "another (created 2021-06-15T05:00:00Z) and gm_s2_semiannual_x215y075_2019-01--P6M ("
        in (one_line(error))
    )
    assert error.value.reason == "doubled geomad"


def test_the_same_item_twice_counts_once(world: World):
    shutil.copy(world.items[0], world.items[0].parent / "copy.json")
    assert find(world, world.folder).first.item_id.endswith("2019-01--P6M")


def test_missing_band_names_it_and_what_there_is(world: World):
    world.edit_assets(1, B11=None)
    with pytest.raises(Rejected) as error:
        find(world)
    text = one_line(error)
    assert "has no band 'swir_1' (B11)" in text
    assert "B02, B03, B04, B05, B06, B07, B08, B12, BCMAD" in text
    assert error.value.reason == "missing band"


@pytest.mark.parametrize("properties", [{"proj__epsg": 32736}, {"proj__code": "EPSG:32736"}])
def test_wrong_crs(world: World, properties: dict[str, Any]):
    world.edit_item(0, **{"proj__epsg": None, **properties})
    with pytest.raises(Rejected, match="is in EPSG:32736: GeoMAD must be in EPSG:6933"):
        find(world)


def test_projection_version_2(world: World):
    world.edit_item(0, proj__epsg=None, proj__code="EPSG:6933")
    assert find(world).first.region_code == "x215y075"


def test_neighbors_are_told_by_region_code_then_by_grid(tmp_path: Path):
    world = make_world(tmp_path / "a", size=(8, 8))
    neighbor = make_world(tmp_path / "b", Tile(216, 75), size=(8, 8))
    documents = [json.loads(path.read_text()) for path in (*world.items, *neighbor.items)]
    folder = tmp_path / "folder"
    folder.mkdir()
    for keep in ("odc:region_code", "proj:transform", "bbox"):
        for index, document in enumerate(documents):
            for key in {"odc:region_code", "proj:transform"} - {keep}:
                document["properties"].pop(key, None)
            (folder / f"{index}.json").write_text(json.dumps(document))
        assert find(world, folder).first.item_id == documents[0]["id"]
        documents = [json.loads(p.read_text()) for p in (*world.items, *neighbor.items)]


def test_documents_of_other_tiles_and_years_are_not_even_read(world: World):
    document = json.loads(world.collection.read_text())
    for name in ("x100/y100/2019-01--P6M/gm_x100y100_2019-01--P6M", "x215/y075/2015--P1Y/a"):
        document["links"].append({"rel": "item", "href": f"./{name}.stac-item.json"})
    document["links"].append({"rel": "child", "href": "./x100/y100/collection.json"})
    world.collection.write_text(json.dumps(document))
    assert find(world).second.period == SECOND


def test_broken_link_and_broken_item(world: World):
    document = json.loads(world.collection.read_text())
    document["links"].append({"rel": "item", "href": "./gone.json"})
    world.collection.write_text(json.dumps(document))
    with pytest.raises(Rejected, match=r"names .*gone\.json, which does not exist"):
        find(world)
    world.items[0].write_text('{"type": "Feature", "id": ')
    with pytest.raises(Rejected, match="is not JSON") as error:
        find(world, world.folder)
    one_line(error)


def test_no_catalog_is_a_matter_of_configuration(world: World, tmp_path: Path):
    with pytest.raises(Misconfigured, match="there is no catalog at"):
        find(world, tmp_path / "nowhere.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(Misconfigured, match="is not JSON"):
        find(world, tmp_path / "text.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(Misconfigured, match="is no STAC document"):
        find(world, tmp_path / "list.json")


def test_bare_nan_in_a_static_item(world: World):
    text = world.items[0].read_text().replace('"nodata": "nan"', '"nodata": NaN')
    assert "NaN" in text
    world.items[0].write_text(text)
    nodata = find(world).first.bands["sdev"].declared.nodata
    assert nodata is not None
    assert math.isnan(nodata)


def add_collection(world: World, name: str, items: list[dict[str, Any]]) -> None:
    """Add a collection with items to the world's catalog."""
    folder = world.folder / name
    folder.mkdir()
    links = []
    for index, document in enumerate(items):
        (folder / f"{index}.json").write_text(json.dumps(document))
        links.append({"rel": "item", "href": f"./{index}.json"})
    collection = {"type": "Collection", "id": name, "links": links}
    (folder / "collection.json").write_text(json.dumps(collection))
    catalog = json.loads(world.catalog.read_text())
    catalog["links"].append({"rel": "child", "href": f"./{name}/collection.json"})
    world.catalog.write_text(json.dumps(catalog))


def water_item(world: World, year: int, tile: str = "x215y075", **more: Any) -> dict[str, Any]:
    document = json.loads(world.items[0].read_text())
    return document | {
        "id": f"wofs-{tile}-{year}-{more}",
        "collection": "wofs_ls_summary_annual",
        "properties": {
            "datetime": f"{year}-01-01T00:00:00Z",
            "start_datetime": f"{year}-01-01T00:00:00Z",
            "end_datetime": f"{year}-12-31T23:59:59Z",
            "odc:region_code": tile,
            **more,
        },
        "assets": {"frequency": {"href": f"./{tile}-{year}.tif"}, "count": {"href": "./c.tif"}},
    }


WATER = StacLayer(collection="wofs_ls_summary_annual", asset="frequency", dated=True)


def test_layer_found_by_search_is_of_the_year_and_tile(world: World):
    neighbors = [water_item(world, 2018), water_item(world, 2019, "x216y075")]
    add_collection(world, "wofs_ls_summary_annual", [*neighbors, water_item(world, 2019)])
    layer = find(world, water=WATER).ancillary["water"]
    assert layer.href == str(world.folder / "wofs_ls_summary_annual" / "x215y075-2019.tif")
    assert layer.item_id is not None


def test_absent_masks_are_recorded_and_absent_features_are_errors(world: World):
    add_collection(world, "wofs_ls_summary_annual", [water_item(world, 2018)])
    ancillary = find(world, water=WATER, protected_areas=None).ancillary
    assert ancillary["water"].href is None
    assert ancillary["water"].reason == (
        "no item of wofs_ls_summary_annual over tile x215y075 in 2019"
    )
    assert ancillary["protected_areas"].reason == "not configured for this region"
    with pytest.raises(Rejected, match="'slope' is a feature of the model"):
        find(world, slope=WATER)  # of this tile: another may have an item


def test_layer_without_its_asset_is_the_items_fault(world: World):
    add_collection(world, "wofs_ls_summary_annual", [water_item(world, 2019)])
    wrong = WATER.model_copy(update={"asset": "freq"})
    with pytest.raises(Rejected, match="no asset 'freq': its assets are count, frequency"):
        find(world, water=wrong)


def test_newest_of_several_ancillary_items(world: World, caplog: pytest.LogCaptureFixture):
    old = water_item(world, 2019, **{"odc:dataset_version": "1.0.0"})
    new = water_item(world, 2019, **{"odc:dataset_version": "1.1.0"})
    new["assets"]["frequency"]["href"] = "./new.tif"
    add_collection(world, "wofs_ls_summary_annual", [new, old])
    assert str(find(world, water=WATER).ancillary["water"].href).endswith("new.tif")
    assert "(version 1.1.0) is used, not wofs" in caplog.text


def test_continental_item_without_region_code(world: World):
    document = water_item(world, 2019)
    del document["properties"]["odc:region_code"]
    document |= {"bbox": [-18, -35, 52, 38], "collection": "dem_srtm", "id": "dem"}
    document["properties"].pop("proj:transform", None)
    add_collection(world, "dem_srtm", [document])
    layer = StacLayer(collection="dem_srtm", asset="frequency")
    assert find(world, elevation=layer).ancillary["elevation"].item_id == "dem"


def test_fingerprint_is_of_content_not_of_place_or_time(world: World, tmp_path: Path):
    before = find(world).fingerprint()
    assert before["first"] == "gm_s2_semiannual_x215y075_2019-01--P6M"
    assert len(before) == 2 + 24 + 7
    copy = tmp_path / "elsewhere"
    shutil.copytree(world.folder, copy, copy_function=shutil.copyfile)
    paths = {
        name: str(copy / "ancillary" / Path(path).name)
        for name, path in world.ancillary.model_dump().items()
    }
    again = find_sources(str(copy / "catalog.json"), TILE, YEAR, Ancillary(**paths)).fingerprint()
    assert again == before
    with world.band_file(1, "sdev").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    after = find(world).fingerprint()
    assert {key for key in before if before[key] != after[key]} == {"second/sdev"}


def test_fingerprint_prefers_the_checksum_of_the_item(world: World):
    document = json.loads(world.items[0].read_text())
    document["assets"]["B02"]["file:checksum"] = "1220abcd"
    world.items[0].write_text(json.dumps(document))
    assert find(world).fingerprint()["first/blue"] == "checksum:1220abcd"


def test_fingerprint_has_what_the_item_says_of_its_numbers(world: World):
    before = find(world).fingerprint()
    document = json.loads(world.items[0].read_text())
    band = document["assets"]["B02"]["raster:bands"][0]
    for changes, changed in (
        ({"scale": 0.0001, "nodata": "0"}, set()),  # as GeoMAD is
        ({"offset": -0.1}, {"first/blue"}),
        ({"offset": 0, "nodata": 65_535}, {"first/blue"}),
    ):
        band.update(changes)
        world.items[0].write_text(json.dumps(document))
        after = find(world).fingerprint()
        assert {key for key in before if before[key] != after[key]} == changed


def test_fingerprint_of_what_is_absent(world: World):
    Path(str(world.ancillary.water)).unlink()
    assert find(world).fingerprint()["water"] == "absent"
    assert "water" not in find(world, water=None).fingerprint()
    with pytest.raises(Misconfigured, match="'slope' is a feature"):
        find(world, slope="/nowhere.tif").fingerprint()
    world.band_file(0, "blue").unlink()
    with pytest.raises(Rejected, match=r"B02\.tif does not exist"):
        find(world).fingerprint()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2019-01-01T00:00:00Z", "2019-06-30T23:59:59.999999Z", True),
        ("2019-01-01T00:00:00Z", "2019-07-01T00:00:00Z", True),
        ("2018-12-31T22:00:00Z", "2019-06-30T22:00:00Z", True),
        ("2019-01-01T00:00:00Z", "2019-12-31T23:59:59Z", False),
        ("2019-01-01T00:00:00Z", "2019-03-31T23:59:59Z", False),
        ("2019-07-01T00:00:00Z", "2019-12-31T23:59:59Z", False),
        ("2020-01-01T00:00:00Z", "2020-06-30T23:59:59Z", False),
    ],
)
def test_intervals_and_halves(start: str, end: str, expected: bool):
    for prefix in ("", "dtr:"):
        document = item(**{f"{prefix}start_datetime": start, f"{prefix}end_datetime": end})
        assert is_of_period(document, FIRST) is expected


def test_a_single_date_is_of_the_half_that_holds_it():
    document = item(datetime="2019-04-01T12:00:00.5Z")
    assert is_of_period(document, FIRST)
    assert not is_of_period(document, SECOND)
    assert interval_of(item(datetime=None)) is None
    assert not is_of_period(item(datetime="yesterday"), FIRST)


def test_region_codes_of_all_spellings():
    for code in ("x215y075", "215,75", "X215Y75"):
        assert is_of_tile(item(**{"odc:region_code": code}), TILE)
    assert not is_of_tile(item(**{"odc:region_code": "x216y075"}), TILE)
    assert not is_of_tile(item(), TILE)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://b/gm/1-0-0/x215/y075/2019-01--P6M/gm_x215y075_2019-01--P6M.json", True),
        ("gm/x215/y076/2019-01--P6M/a.json", False),
        ("gm_x216y075_2019-01--P6M.json", False),
        ("x215y075/2018--P1Y.json", False),
        ("x215y075/2018--P2Y.json", True),
        ("item-17.json", True),
    ],
)
def test_what_a_path_tells(path: str, expected: bool):
    assert may_match(path, TILE, YEAR) is expected


@pytest.mark.parametrize(
    ("base", "href", "expected"),
    [
        ("/a/b/c.json", "./d.tif", "/a/b/d.tif"),
        ("/a/b/c.json", "../d.tif", "/a/d.tif"),
        ("/a/b/c.json", "/e/d.tif", "/e/d.tif"),
        ("/a/b/c.json", "file:///e/d.tif", "/e/d.tif"),
        ("/a/b/c.json", "s3://x/d.tif", "s3://x/d.tif"),
        ("s3://x/b/c.json", "../d.tif", "s3://x/d.tif"),
        ("s3://x/b/c.json", "https://y/d.tif", "https://y/d.tif"),
        ("https://y/b/c.json", "./d.tif", "https://y/b/d.tif"),
        ("https://y/b/c.json", "/d.tif", "https://y/d.tif"),
        ("https://y/b/c.json", "s3://x/d.tif", "s3://x/d.tif"),
    ],
)
def test_hrefs(base: str, href: str, expected: str):
    assert resolve(base, href) == expected


def test_item_address_is_its_self_link(world: World):
    document = json.loads(world.items[0].read_text())
    plain = parse_geomad(StacFile(document, "/data/a.json"), FIRST)
    assert plain.href == "/data/a.json"
    assert plain.title == plain.item_id
    document["links"] = [{"rel": "self", "href": "https://example.org/a.json"}]
    assert parse_geomad(StacFile(document, "/data/a.json"), FIRST).href == (
        "https://example.org/a.json"
    )


WILD: dict[str, Any] = {
    "assets of other kinds": {"assets": {"B02": "text", "B03": None, "B04": [], "B08": 5}},
    "links of other kinds": {"links": 5},
    "links that are text": {"links": ["a", None]},
    "no id": {"id": None},
    "an id of several lines": {"id": "a\nb"},
    "a pixel grid of text": {"properties": {"proj:transform": list("abcdef"), "proj:shape": [1]}},
    "a box of text": {"properties": {}, "bbox": ["a", "b", "c", "d"]},
    "a date before time": {"properties": {"start_datetime": "0001-01-01T00:00:00+14:00"}},
    "a date after time": {"properties": {"end_datetime": "9999-12-31T23:59:59-14:00"}},
}


@pytest.mark.parametrize("name", WILD)
def test_an_item_of_wild_types_is_one_line(world: World, name: str):
    path = world.items[0]
    content = json.loads(path.read_text())
    changed = content | WILD[name]
    if "proj:transform" in changed["properties"]:
        changed["properties"]["proj:epsg"] = 6933
    path.write_text(json.dumps(changed))
    if name.startswith("links"):
        assert find(world).first.item_id == content["id"]
        return
    with pytest.raises(Rejected) as error:
        find(world)
    one_line(error)


@pytest.mark.parametrize(
    "changes",
    [
        {"href": "http://[::1/x.tif"},
        {"href": "http://host:99999/x.tif"},
        {"href": "a\0b.tif"},
        {"href": "\ud800.tif"},
        {"raster:bands": [{"nodata": "abc"}]},
        {"raster:bands": [{"nodata": [1]}]},
    ],
)
def test_an_asset_that_cannot_be_meant_is_one_line(world: World, changes: dict[str, Any]):
    path = world.items[0]
    content = json.loads(path.read_text())
    content["assets"]["B04"].update(changes)
    path.write_text(json.dumps(content))
    with pytest.raises(Rejected, match=r"correct it|which is none; correct the item") as error:
        find(world)
    assert one_line(error).isprintable()


def test_bands_of_other_types_do_not_disturb(world: World):
    path = world.items[0]
    content = json.loads(path.read_text())
    for key, value in (("raster:bands", 5), ("eo:bands", {"a": 1}), ("bands", "text")):
        content["assets"]["B04"][key] = value
    content["properties"] |= {"created": 5, "title": ["a"]}
    path.write_text(json.dumps(content))
    found = find(world).first
    assert (found.created, found.title) == (None, found.item_id)


def make_chain(world: World, length: int) -> Path:
    """First of so many catalogs in a row; the last links to the first, itself and the world's."""
    for number in range(length - 1):
        link = {"rel": "child", "href": f"c{number + 1}.json"}
        document = {"type": "Catalog", "links": [link]}
        (world.folder / f"c{number}.json").write_text(json.dumps(document))
    ends = [{"rel": "child", "href": href} for href in ("c0.json", f"c{length - 1}.json")]
    ends.append({"rel": "child", "href": str(world.catalog)})
    (world.folder / f"c{length - 1}.json").write_text(json.dumps({"links": ends}))
    return world.folder / "c0.json"


def test_a_chain_of_catalogs_that_ends_where_it_began(world: World):
    assert find(world, make_chain(world, 40)).first.item_id == find(world).first.item_id


def test_a_chain_of_catalogs_is_not_followed_for_ever(world: World):
    with pytest.raises(Rejected, match="exceeds the limit levels=50"):
        find(world, make_chain(world, 1500))


def test_a_pipe_or_nested_text_is_no_document(world: World, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(Misconfigured, match="not a file"):
        find(world, tmp_path / "pipe.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(Misconfigured, match="exceeds the limit nesting=64"):
        find(world, tmp_path / "deep.json")
    with pytest.raises(Misconfigured, match="give a path, or an http"):
        find(world, "ftp://127.0.0.1/catalog.json")
    assert find(world, f"file://{world.catalog}").first.href == find(world).first.href
