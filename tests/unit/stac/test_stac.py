"""Documents: valid, deterministic, read alike by pystac, odc-stac and the Open Data Cube's YAML."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pystac
import pytest
import rasterio
import yaml
from odc.geo.geobox import GeoBox
from odc.stac import load

from cropmask.core.cropmap import CropMap, Statistics
from cropmask.grid import Tile, geobox
from cropmask.product import BANDS, COG_TYPE, MASK, PROB, Product, hex_color
from cropmask.region.attribution import Attribution, Provider
from cropmask.results.cog import load_file_facts, write_cog, write_thumbnail, write_visual
from cropmask.stac.collection import make_collection, make_root_catalog
from cropmask.stac.datacube import make_eo3, make_odc_product
from cropmask.stac.facts import (
    ASSET_SUFFIXES,
    Document,
    FileFacts,
    ItemFacts,
    ModelFacts,
    Source,
    encode_json,
    item_id,
    make_sha1_text,
    visual_box,
)
from cropmask.stac.footprint import describe_footprint
from cropmask.stac.item import make_item
from cropmask.stac.services import MapLayer
from cropmask.task import Period, RunKey
from tests.shareddata import reason
from tests.stac_validation import SCHEMAS, assert_valid, find_unchecked

pytestmark = pytest.mark.filterwarnings(
    "ignore::PendingDeprecationWarning:odc", "ignore::DeprecationWarning:odc"
)

PRODUCT = Product("eastern", "1.2.3")
TILE = Tile(215, 75)
YEAR = Period.parse("2019")
FIRST = "1fa6f7b7-ab06-5e2c-abb1-ef414533bacc"
SECOND = "7c0d0a44-10a2-5a43-8f0b-9ad0a80d7f47"
FACTS = ItemFacts(
    product=PRODUCT,
    tile=TILE,
    period=YEAR,
    resolution=100,
    run_key=RunKey("ab" * 32),
    as_of="2021-06-15T05:00:00Z",
    software="0.1.0",
    model=ModelFacts("forest", "cd" * 32, "../../../../../models/eastern-forest.json"),
    sources=(
        Source(FIRST, "https://example.org/items/1", "GeoMAD 2019-01--P6M x215y075"),
        Source(SECOND, "https://example.org/items/2", "GeoMAD 2019-07--P6M x215y075"),
    ),
    statistics=Statistics(
        mapped_hectares=460_800.0,
        crop_hectares=0.1 + 0.2,
        crop_filtered_hectares=12.0,
        mean_probability=100 / 3,
        missing_hectares=1.0,
        half_missing_hectares=2.0,
        outside_hectares=3.0,
        protected_hectares=4.0,
        water_hectares=5.0,
        steep_hectares=6.0,
        high_hectares=7.0,
    ),
    masks_not_applied={"water": "no item for 2019", "protected_areas": "the region has none"},
)
FILES = {
    key: FileFacts(FACTS.file_name(key), 10 + number, f"{number:064x}", f"{number:040x}")
    for number, key in enumerate(ASSET_SUFFIXES)
}


def item(**changes: Any) -> Document:
    return make_item(replace(FACTS, **changes), FILES)


OWED = Attribution("CC-BY-4.0", None, (Provider(name="An Agency", roles=("licensor",)),), (2019,))
EASTERN = make_collection("Eastern Africa", PRODUCT, (28.8, -11.8, 48.0, 14.9), attribution=OWED)
DOCUMENTS: list[Callable[[], Document]] = [
    item,
    lambda: item(synthetic=True, masks_not_applied={}, sources=FACTS.sources[:0]),
    lambda: item(statistics=replace(FACTS.statistics, mean_probability=None, mapped_hectares=0.0)),
    lambda: item(model=ModelFacts("boosted", "cd" * 32)),
    lambda: item(attribution=OWED),
    lambda: item(attribution=Attribution("other", "https://agency.example.org/terms")),
    lambda: EASTERN,
    lambda: make_collection("Demo", PRODUCT, (-180.0, -90.0, 180.0, 90.0), synthetic=True),
    make_root_catalog,
    lambda: make_root_catalog([EASTERN]),
]


@pytest.mark.parametrize("make", DOCUMENTS)
def test_documents_are_valid(make: Callable[[], Document]) -> None:
    assert_valid(json.loads(encode_json(make())))


@pytest.mark.parametrize(
    "harm",
    [
        lambda found: found.pop("bbox"),
        lambda found: found["properties"].update({"proj:epsg": "EPSG:6933"}),
        lambda found: found["properties"].update({"grid:code": "x215y075"}),
        lambda found: found["properties"].pop("renders"),
        lambda found: found["assets"]["mask"].update({"file:checksum": "not hexadecimal"}),
        lambda found: found["assets"]["mask"].update({"raster:sampling": "sideways"}),
        lambda found: found["assets"]["mask"]["classification:classes"][0].pop("value"),
    ],
)
def test_the_validator_sees_errors(harm: Callable[[Document], object]) -> None:
    document = item()
    if find_unchecked(document):
        pytest.skip(reason(SCHEMAS))
    harm(document)
    with pytest.raises(AssertionError):
        assert_valid(document)


def test_item_says_what_a_reader_needs() -> None:
    found = item()
    properties = found["properties"]
    assert found["id"] == item_id(PRODUCT, TILE, YEAR)
    assert found["collection"] == properties["odc:product"] == "crop_mask_eastern"
    assert properties["title"] == "Cropland 2019, eastern, tile x215y075 at 34.3° E, 1.1° S"
    assert properties["datetime"] == properties["start_datetime"] == "2019-01-01T00:00:00Z"
    assert properties["end_datetime"] == "2019-12-31T23:59:59.999999Z"
    assert properties["gsd"] == properties["cropmask:resolution"] == 100
    assert properties["proj:epsg"] == 6933
    assert properties["proj:code"] == "EPSG:6933"
    assert properties["proj:shape"] == [960, 960]
    assert properties["proj:transform"] == [100.0, 0.0, 3264000.0, 0.0, -100.0, -96000.0]
    assert properties["proj:bbox"] == [3264000.0, -192000.0, 3360000.0, -96000.0]
    assert properties["grid:code"] == "AFRICA10-x215y075"
    assert properties["odc:region_code"] == "x215y075"
    assert properties["odc:lineage"] == {"geomad": [FIRST, SECOND]}
    assert properties["cropmask:run_key"] == "ab" * 32
    assert properties["cropmask:model"] == {"recipe": "forest", "sha256": "cd" * 32}
    assert properties["cropmask:synthetic"] is False
    assert list(properties["cropmask:masks_not_applied"]) == ["protected_areas", "water"]
    assert properties["cropmask:statistics"]["crop_hectares"] == 0.3
    assert found["assets"]["prob"]["statistics"] == {"mean": 33.3333, "valid_percent": 50.0}


def test_synthetic_items_say_so() -> None:
    assert item(synthetic=True)["properties"]["cropmask:synthetic"] is True
    assert item(synthetic=True)["properties"]["title"].startswith("SYNTHETIC Cropland 2019, ")
    assert yaml.safe_load(make_eo3(replace(FACTS, synthetic=True)))["label"].startswith("SYNTHETIC")
    collection = make_collection("Demo", PRODUCT, (0, 0, 1, 1), synthetic=True)
    assert collection["title"].startswith("SYNTHETIC ")
    assert collection["description"].startswith("SYNTHETIC")
    assert make_root_catalog(synthetic=True)["title"].startswith("SYNTHETIC ")
    for real in (item()["properties"], EASTERN, make_root_catalog()):
        assert "SYNTHETIC" not in real["title"]


def test_the_only_time_is_that_of_the_inputs() -> None:
    old, new = item(), item(as_of="2031-01-02T03:04:05Z")
    changed = {key for key in new["properties"] if new["properties"][key] != old["properties"][key]}
    assert changed == {"created", "odc:processing_datetime", "processing:datetime"}
    assert encode_json(item()) == encode_json(item())
    assert make_eo3(FACTS) == make_eo3(replace(FACTS))


def test_ids_are_uuids_of_what_a_dataset_is() -> None:
    ids = {
        item_id(PRODUCT, TILE, YEAR),
        item_id(Product("western", "1.2.3"), TILE, YEAR),
        item_id(Product("eastern", "1.2.4"), TILE, YEAR),
        item_id(PRODUCT, Tile(75, 75), YEAR),
        item_id(PRODUCT, TILE, Period.parse("2020")),
    }
    assert len(ids) == 5
    assert all(UUID(found).version == 5 for found in ids)
    # An index that holds it must update it, not double it: this id never changes.
    assert item_id(PRODUCT, TILE, YEAR) == "95834b22-aec4-52f8-9b92-d5575a65129a"
    assert item(run_key=RunKey("00" * 32))["id"] == item()["id"]


def test_lineage_names_uuids_only() -> None:
    sources = (Source("a name", "a.json", "A"), Source(FIRST, "b.json", "B"))
    found = item(sources=sources)
    assert found["properties"]["odc:lineage"] == {"geomad": [FIRST]}
    derived = [link["href"] for link in found["links"] if link["rel"] == "derived_from"]
    assert derived == ["a.json", "b.json", FACTS.model.href]
    assert item(sources=sources[:1])["properties"]["odc:lineage"] == {}


def test_assets() -> None:
    found = item()["assets"]
    assert list(found) == list(ASSET_SUFFIXES)
    for key, asset in found.items():
        assert asset["href"] == f"./crop_mask_eastern_x215y075_2019--P1Y{ASSET_SUFFIXES[key]}"
        assert asset["file:size"] == FILES[key].size
        assert asset["file:checksum"] == f"1220{FILES[key].sha256}"
    for band in BANDS:
        assert found[band.name]["roles"] == ["data"]
        assert found[band.name]["nodata"] == 255
        assert found[band.name]["data_type"] == "uint8"
        assert found[band.name]["type"] == COG_TYPE
    assert found["visual"]["roles"] == ["overview", "visual"]
    small = visual_box(FACTS.box)
    assert found["visual"]["proj:shape"] == list(small.shape)
    classes = {one["name"]: one for one in found["mask"]["classification:classes"]}
    assert classes["crop"]["color_hint"] == "00FF00"
    assert classes["non-crop"]["color_hint"] == "707070"
    assert classes["no-data"] == {**classes["no-data"], "value": 255, "nodata": True}


@pytest.mark.parametrize("change", ["missing", "renamed", "extra"])
def test_item_needs_exactly_its_files(change: str) -> None:
    files = dict(FILES)
    if change == "missing":
        del files["prob"]
    elif change == "renamed":
        files["prob"] = replace(files["prob"], name="other.tif")
    else:
        files["more"] = files["prob"]
    with pytest.raises(ValueError, match="exactly these files"):
        make_item(FACTS, files)


def test_renders_are_the_published_styles() -> None:
    for renders in (item()["properties"]["renders"], EASTERN["renders"]):
        assert renders["mask"]["colormap"] == {"0": "#00000000", "1": "#00FF00FF"}
        assert renders["filtered"]["colormap"] == {"0": "#00000000", "1": "#FFFF00FF"}
        ramp = {"rescale": [[0, 100]], "colormap_name": "inferno", "resampling": "average"}
        assert renders["prob"] == renders["prob"] | ramp
        assert "colormap" not in renders["prob"]


@pytest.mark.parametrize(
    ("words", "title"),
    [
        (
            {"region_title": "My Valley"},
            "Cropland 2019, My Valley, tile x215y075 at 34.3° E, 1.1° S",
        ),
        ({"tile": Tile(170, 86)}, "Cropland 2019, eastern, tile x170y086 at 10.4° W, 7.2° N"),
        ({"period": Period.parse("2019-07--P6M")}, "Cropland 2019-07--P6M, eastern, tile x215y075"),
    ],
)
def test_titles_have_year_and_place(words: dict[str, Any], title: str) -> None:
    assert replace(FACTS, **words).title.startswith(title)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_json(item(statistics=replace(FACTS.statistics, water_hectares=value)))


def test_text_of_json() -> None:
    text = encode_json({"b": "é", "a": [1]})
    assert text == '{\n  "b": "é",\n  "a": [\n    1\n  ]\n}\n'


def test_bounds_of_a_tile() -> None:
    expected = (33.828643735798615, -1.5051857382785072, 34.82360384567504, -0.7525296804300243)
    assert item()["bbox"] == pytest.approx(expected, abs=1e-9)
    ring = np.array(item()["geometry"]["coordinates"][0])
    assert ring[0].tolist() == ring[-1].tolist()
    x, y = ring.T
    assert ((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2) > 0, "counterclockwise, as RFC 7946 asks"


@pytest.mark.parametrize("tile", [Tile(0, 0), Tile(361, 153), Tile(0, 77), Tile(181, 153)])
def test_bounds_at_the_edge_of_the_world(tile: Tile) -> None:
    west, south, east, north = describe_footprint(None, geobox(tile, 100))["bbox"]
    assert -180 <= west < east <= 180
    assert -90 <= south < north <= 90
    assert east - west < 1


def test_eo3_agrees_with_the_item() -> None:
    document, found = yaml.safe_load(make_eo3(FACTS)), item()
    assert document["id"] == found["id"]
    assert document["label"] == "crop_mask_eastern_x215y075_2019--P1Y"
    assert document["product"]["name"] == found["collection"]
    assert document["crs"] == "EPSG:6933"
    box = document["grids"]["default"]
    assert box["shape"] == found["properties"]["proj:shape"]
    assert box["transform"] == [*found["properties"]["proj:transform"], 0, 0, 1]
    assert document["lineage"] == found["properties"]["odc:lineage"]
    assert list(document["measurements"]) == ["mask", "prob", "filtered"]
    for name, measurement in document["measurements"].items():
        assert found["assets"][name]["href"] == f"./{measurement['path']}"
    for key, value in document["properties"].items():
        if key.startswith("odc:") or key == "datetime":
            assert value == found["properties"][key], key
    assert isinstance(document["properties"]["datetime"], str)


def test_collection_explains_the_bands() -> None:
    assert "`prob` > 50 exactly where `mask` is 1" in EASTERN["description"]
    assert "255 is nodata" in EASTERN["description"]
    assert list(EASTERN["item_assets"]) == list(ASSET_SUFFIXES)
    assert EASTERN["extent"]["spatial"]["bbox"] == [[28.8, -11.8, 48.0, 14.9]]


def test_documents_say_whom_the_map_is_owed_to() -> None:
    line = "An Agency, CC-BY-4.0. Contains modified Copernicus Sentinel data 2019"
    for found in (item(attribution=OWED)["properties"], EASTERN):
        assert found["license"] == "CC-BY-4.0"
        assert found["providers"] == [{"name": "An Agency", "roles": ["licensor"]}]
        assert found["attribution"] == line
    assert line in EASTERN["description"]
    licenses = [link["href"] for link in EASTERN["links"] if link["rel"] == "license"]
    assert licenses == ["https://creativecommons.org/licenses/by/4.0/"]
    definition = yaml.safe_load(make_odc_product("East", PRODUCT, 10, OWED))
    assert definition["license"] == "CC-BY-4.0"
    assert line in definition["description"]
    layer = MapLayer(PRODUCT, "East", (), (0, 0, 1, 1), 10, attribution=OWED)
    assert line in layer.abstract
    assert layer.terms == "CC-BY-4.0, credit: An Agency"


def test_what_nobody_says_is_not_made_up() -> None:
    collection = make_collection("Demo", PRODUCT, (0, 0, 1, 1))
    for found in (item()["properties"], collection):
        assert found["license"] == "other"
        assert "providers" not in found
        assert "attribution" not in found
    assert "Credit" not in collection["description"]
    assert [link for link in collection["links"] if link["rel"] == "license"] == []
    assert yaml.safe_load(make_odc_product("Demo", PRODUCT))["license"] == "other"
    terms = Attribution("other", "https://agency.example.org/terms")
    named = [link for link in item(attribution=terms)["links"] if link["rel"] == "license"]
    assert [link["href"] for link in named] == ["https://agency.example.org/terms"]


def write_results(root: Path, facts: ItemFacts) -> tuple[Path, CropMap]:
    """A results folder as the job leaves it, with the item's path."""
    folder = root / facts.product.dataset_folder(str(facts.tile), str(facts.period))
    folder.mkdir(parents=True)
    edge = facts.box.shape[0]
    prob = np.random.default_rng(1).integers(0, 101, (edge, edge), dtype=np.uint8)
    prob[: edge // 3, : edge // 2] = 255
    mask = np.where(prob == 255, 255, prob > 50).astype(np.uint8)
    crop_map = CropMap(mask, prob, np.where(mask == 255, 255, 1 - mask).astype(np.uint8))
    paths = {key: folder / facts.file_name(key) for key in ASSET_SUFFIXES}
    for band in BANDS:
        write_cog(paths[band.name], getattr(crop_map, band.name), facts.box, band)
    write_visual(paths["visual"], crop_map.mask, MASK, facts.box, facts.visual_box)
    write_thumbnail(paths["thumbnail"], crop_map, facts.box)
    paths["odc_metadata"].write_text(make_eo3(facts))
    written = [load_file_facts(path) for path in paths.values() if path.exists()]
    paths["checksums"].write_text(make_sha1_text(written))
    files = {key: load_file_facts(path) for key, path in paths.items()}
    item_path = folder / facts.product.item_name(str(facts.tile), str(facts.period))
    item_path.write_text(encode_json(make_item(facts, files)))
    product = root / facts.product.name
    (product / "collection.json").write_text(encode_json(EASTERN))
    (root / "catalog.json").write_text(encode_json(make_root_catalog([EASTERN])))
    return item_path, crop_map


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CropMap]:
    return write_results(tmp_path_factory.mktemp("results"), FACTS)


def test_written_item_keeps_both_names_of_the_crs(results: tuple[Path, CropMap]) -> None:
    document = json.loads(results[0].read_text())
    assert document["properties"]["proj:epsg"] == 6933
    assert document["properties"]["proj:code"] == "EPSG:6933"
    assert "projection/v1.2.0" in " ".join(document["stac_extensions"])


def test_pystac_follows_every_relative_link(results: tuple[Path, CropMap]) -> None:
    path, _ = results
    found = pystac.Item.from_file(str(path))
    collection = found.get_collection()
    assert collection is not None
    assert collection.title == "Cropland extent, Eastern Africa"
    root = found.get_root()
    assert root is not None
    assert [child.id for child in root.get_children()] == ["crop_mask_eastern"]
    assert found.get_parent() is not None
    for asset in found.make_asset_hrefs_absolute().assets.values():
        assert Path(asset.href).is_file()
        assert Path(asset.href).stat().st_size == asset.extra_fields["file:size"]


def test_odc_stac_loads_the_same_pixels(results: tuple[Path, CropMap]) -> None:
    path, crop_map = results
    loaded = load([pystac.Item.from_file(str(path))], bands=["mask", "prob", "filtered"])
    assert loaded.odc.geobox == FACTS.box
    for band in BANDS:
        pixels = loaded[band.name].isel(time=0)
        assert pixels.dtype == np.uint8
        assert pixels.odc.nodata == 255
        np.testing.assert_array_equal(pixels.values, getattr(crop_map, band.name))


def test_odc_stac_offers_the_data_bands_only(results: tuple[Path, CropMap]) -> None:
    loaded = load([pystac.Item.from_file(str(results[0]))], chunks={})
    assert set(loaded.data_vars) == {"mask", "prob", "filtered"}


def test_grids_in_the_item_are_those_of_the_files(results: tuple[Path, CropMap]) -> None:
    document = json.loads(results[0].read_text())
    for key in ("mask", "prob", "filtered", "visual"):
        asset = document["assets"][key]
        said = {**document["properties"], **asset}
        with rasterio.open(results[0].parent / asset["href"]) as file:
            assert list(file.shape) == said["proj:shape"]
            assert GeoBox.from_rio(file).transform[:6] == tuple(said["proj:transform"])
            assert file.crs.to_epsg() == said["proj:epsg"]


def test_checksum_sidecar_names_every_file_before_it(results: tuple[Path, CropMap]) -> None:
    folder = results[0].parent
    sidecar = (folder / FACTS.file_name("checksums")).read_text()
    names = [line.split("\t")[1] for line in sidecar.splitlines()]
    on_disk = {path.name for path in folder.iterdir()}
    assert on_disk - set(names) == {results[0].name, FACTS.file_name("checksums")}
    assert names == sorted(names)


@pytest.mark.parametrize("resolution", [10, 20, 60, 100])
def test_item_is_valid_at_every_resolution(resolution: int) -> None:
    found = item(resolution=resolution)
    assert found["properties"]["proj:shape"] == list(geobox(TILE, resolution).shape)
    assert_valid(found)


def test_python_example_of_the_docs_runs(
    results: tuple[Path, CropMap], capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[3] / "docs" / "product.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    path, crop_map = results
    where = code.index('"output/'), code.index('stac-item.json"') + len('stac-item.json"')
    exec(code[: where[0]] + repr(str(path)) + code[where[1] :], {})
    hectares = int((crop_map.filtered == 1).sum())
    mean = crop_map.prob[crop_map.prob != 255].mean()
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{hectares:,} ha of cropland", f"mean probability {mean:.1f} %"]


def test_docs_name_the_published_colors_and_every_file() -> None:
    text = (Path(__file__).parents[3] / "docs" / "product.md").read_text(encoding="utf-8")
    for _, color in PROB.ramp:
        assert hex_color(color) in text
    for suffix in (*ASSET_SUFFIXES.values(), ".stac-item.json"):
        assert f"crop_mask_eastern_x215y075_2019--P1Y{suffix}\n" in text
    for field in (key for key in item()["properties"] if key.startswith("cropmask:")):
        assert f"`{field}`" in text
