"""A catalog of yearly maps and the series of them: linked, valid, searched, and drawn."""

from __future__ import annotations

import json
import runpy
import shutil
from typing import Any

import pytest

from cropmask.catalog.api import Api
from cropmask.catalog.build import build_results
from cropmask.catalog.check import Depth, verify_catalog
from cropmask.product import CHANGE_CLASS, SERIES_BANDS, hex_color
from cropmask.remote.fetch import ReadOptions
from cropmask.store.folder import FolderStore
from tests.stac_validation import assert_valid, offline_schemas
from tests.years import PERIOD, PLACE, PRODUCT, TILES, YearlyMaps

MAPS, SERIES = PRODUCT.name, PRODUCT.series.name


@pytest.fixture(scope="module")
def store(yearly: YearlyMaps, tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    """The maps of the first tile, and its series, with their catalog."""
    made = yearly.copied(tmp_path_factory.mktemp("catalog") / "results")
    shutil.rmtree(made.folder / PRODUCT.folder / str(TILES[1])[:4])
    assert build_results(made.store).collections == {MAPS: 6, SERIES: 1}
    return made.store


def load(store: FolderStore, key: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(store.get(key))
    return document


def test_everything_is_valid_and_all_links_and_checksums_hold(store: FolderStore) -> None:
    root, series = load(store, "catalog.json"), load(store, f"{SERIES}/collection.json")
    for document in (root, series, load(store, PLACE.item)):
        assert_valid(document)
    depth = Depth(contents=True, elsewhere=False)
    place = str(store.root / "catalog.json")
    checked = verify_catalog(place, ReadOptions(), offline_schemas(), depth)
    assert checked.problems == []
    # Six maps of three bands and a picture, and the bands and the picture of the series.
    assert checked.rasters == 6 * 4 + len(SERIES_BANDS) + 1
    children = [link["href"] for link in root["links"] if link["rel"] == "child"]
    assert children[:2] == [f"./{name}/collection.json" for name in (MAPS, SERIES)]
    assert build_results(store).written == 0


def test_collections_extend_over_all_years(store: FolderStore) -> None:
    maps, series = (load(store, f"{name}/collection.json") for name in (MAPS, SERIES))
    interval = ["2019-01-01T00:00:00Z", "2024-12-31T23:59:59.999999Z"]
    for found in (maps, series):
        assert found["extent"]["temporal"]["interval"] == [interval]
    # Every year has its sums; those of a series are of what became of the land.
    assert list(maps["cropmask:statistics"]) == [str(year) for year in PERIOD.years]
    (sums,) = series["cropmask:statistics"].values()
    kinds = ("stable_other", "stable_crop", "gain", "loss", "uncertain")
    assert sum(sums[f"{kind}_hectares"] for kind in kinds) == sums["mapped_hectares"] > 0
    assert series["summaries"]["odc:product_family"] == ["crop_series"]
    assert set(series["renders"]) == {band.name for band in SERIES_BANDS}
    documents = [load(store, key) for key in find_items(store)]
    assert len({document["id"] for document in documents}) == 7
    (row,) = store.get(f"{SERIES}/statistics.csv").decode().splitlines()[1:]
    assert row.startswith(f"{TILES[0]},{PERIOD},1.0.0,100,series,{sums['mapped_hectares']},")


def find_items(store: FolderStore) -> list[str]:
    return [entry.key for entry in store.list("") if entry.key.endswith(".stac-item.json")]


def test_an_api_lists_and_filters_the_series(store: FolderStore) -> None:
    api = Api(store)
    assert {SERIES, MAPS} <= set(api.index().collections)

    def search(**query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.search("http://x", query, post=True)["features"]
        return found

    assert len(search(datetime="2021-07-01T00:00:00Z")) == 2
    assert search(collections=[SERIES], datetime="2025-01-01T00:00:00Z/..") == []
    assert search(collections=[SERIES], bbox=[0, 0, 1, 1]) == []
    (item,) = search(collections=[SERIES], datetime="2024-12-31T12:00:00Z/..")
    years = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert len(years) == 6
    for href in years:
        year = load(store, href.removeprefix("http://x/files/"))
        assert year["collection"] == MAPS
    assert item["assets"]["class"]["href"].startswith(f"http://x/files/{SERIES}/")


def test_map_services_draw_the_class_in_its_colors(store: FolderStore) -> None:
    module = runpy.run_path(str(store.root / "services/ows_crop_mask_cfg.py"))
    maps, series = module["layers"]["layers"]
    assert (maps["product_name"], series["product_name"]) == (MAPS, SERIES)
    assert [style["name"] for style in maps["styling"]["styles"]] == [
        *("green", "filtered_yellow", "prob")
    ]
    (style,) = series["styling"]["styles"]
    assert series["styling"]["default_style"] == style["name"] == "class"
    drawn = {one["values"][0]: one["color"] for one in style["value_map"]["class"]}
    assert drawn == {one.value: hex_color(one.color) for one in CHANGE_CLASS.classes if one.value}
    assert series["bands"] == {band.name: list(band.aliases) for band in SERIES_BANDS}
    layers = load(store, "services/terria.json")["catalog"][0]["members"]
    assert [(layer["layers"], layer["styles"]) for layer in layers] == [
        *((MAPS, "green"), (SERIES, "class"))
    ]
    assert layers[1]["name"] == "Change of cropland, A made-up region"
    for band in SERIES_BANDS:
        assert store.exists(f"styles/crop_series_{band.name}.qml")
