"""The printed catalog: the one in the repository, valid, complete and in the published colors."""

from __future__ import annotations

import json
import runpy
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pystac
import pytest
import rasterio
import yaml
from click.testing import CliRunner

from cropmask.catalog.build import build_static
from cropmask.catalog.publish import publish_catalog
from cropmask.cli.models import models
from cropmask.errors import Misconfigured
from cropmask.modelfile.model import read_model
from cropmask.product import BANDS, FILTERED, MASK, NODATA, PROB, RECIPES, hex_color
from cropmask.region.region import load_region, region_names
from cropmask.stac.collection import FIRST_GEOMAD
from cropmask.stac.styles import style_file
from cropmask.store.folder import FolderStore
from tests.conftest import REPOSITORY
from tests.foreignmodels import dump, fitted, put
from tests.stac_validation import assert_valid
from tests.unit.training.tables import make_region_folder

PRINTED = REPOSITORY / "catalogs"
DOCUMENTS = sorted(PRINTED.rglob("*.json"))
STAC = [path for path in DOCUMENTS if path.name != "terria.json"]


def load(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalog printed again, beside the models as in the repository."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "models").symlink_to(REPOSITORY / "models")
    build_static(FolderStore(folder / "catalogs"), folder / "models")
    return folder / "catalogs"


# Pictures have no place on Earth, and rasterio says so.
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_repository_holds_what_is_printed_today(rebuilt):
    names = {path.relative_to(PRINTED) for path in PRINTED.rglob("*") if path.is_file()}
    assert names == {path.relative_to(rebuilt) for path in rebuilt.rglob("*") if path.is_file()}
    for name in sorted(names):
        if name.suffix == ".png":
            with rasterio.open(PRINTED / name) as old, rasterio.open(rebuilt / name) as new:
                np.testing.assert_array_equal(old.read(), new.read(), err_msg=str(name))
        else:
            old_text, new_text = (root / name for root in (PRINTED, rebuilt))
            assert old_text.read_text() == new_text.read_text(), (
                f"{name}: run 'cropmask catalog build' and commit"
            )


@pytest.mark.parametrize("path", STAC, ids=lambda path: path.parent.name)
def test_documents_are_valid(path):
    assert_valid(load(path))


def test_every_address_inside_leads_to_a_file():
    for path in STAC:
        document = load(path)
        named = [*document["links"], *document.get("assets", {}).values()]
        for href in (each["href"] for each in named if "://" not in each["href"]):
            assert (path.parent / href).is_file(), f"{href} in {path}"


def test_pystac_walks_it():
    root = pystac.Catalog.from_file(str(PRINTED / "catalog.json"))
    collections = {child.id: child for child in root.get_children()}
    assert set(collections) == {"crop_mask_models", *(f"crop_mask_{r}" for r in region_names())}
    models = list(collections["crop_mask_models"].get_items())
    assert len(models) == len(RECIPES) * len(region_names())
    assert all(model.get_root().id == "crop_mask" for model in models)


@pytest.mark.parametrize("region", region_names())
def test_model_items_tell_the_truth_about_the_files(region):
    known = load_region(region)
    for recipe, named in known.models.items():
        (path,) = PRINTED.glob(f"crop_mask_models/{region}-{recipe}-*/*.json")
        item = load(path)
        asset = item["assets"]["model"]
        assert (path.parent / asset["href"]).resolve() == named.file.resolve()
        assert asset["file:checksum"] == f"1220{named.sha256}"
        assert asset["file:size"] == named.file.stat().st_size
        model = read_model(named.file)
        properties = item["properties"]
        assert properties["cropmask:training"]["sha256"] == model.manifest.training.sha256
        assert properties["mlm:hyperparameters"] == model.manifest.hyperparameters
        assert properties["mlm:input"][0]["input"]["shape"] == [-1, len(model.forest.features)]
        random = properties["cropmask:validation"]["random"]["balanced_accuracy"]["mean"]
        assert f"balanced accuracy {random:.3f}" in properties["description"]
        assert properties["license"] == "CC-BY-4.0"


def test_importing_replaces_models_and_cards_only(tmp_path):
    old = put(tmp_path, dump(fitted("forest")))
    file = tmp_path / "mine.cropmodel"
    words = ["import", str(old), "--output", str(file)]
    file.write_text("three summers of notes")
    assert isinstance(CliRunner().invoke(models, words).exception, Misconfigured)
    assert file.read_text() == "three summers of notes"
    file.unlink()
    card = tmp_path / "mine.card.json"
    card.write_text('{"my": "card"}')
    assert isinstance(CliRunner().invoke(models, words).exception, Misconfigured)
    assert (card.read_text(), file.exists()) == ('{"my": "card"}', False)
    card.unlink()
    for _ in range(2):
        assert CliRunner().invoke(models, words).exit_code == 0


def test_models_are_dated_by_the_years_that_they_are_for():
    """MLM: of the data for which a model is; a search of any year of maps finds it."""
    for path in PRINTED.glob("crop_mask_models/*/*.json"):
        properties = load(path)["properties"]
        assert properties["datetime"] is None
        assert properties["start_datetime"] == FIRST_GEOMAD
        assert properties["end_datetime"] > "2100"
        assert pystac.Item.from_file(str(path)).common_metadata.end_datetime.year == 9999
    extent = load(PRINTED / "crop_mask_models/collection.json")["extent"]
    assert extent["temporal"]["interval"] == [[FIRST_GEOMAD, None]]


def test_an_imported_model_says_which_file_it_comes_from(tmp_path):
    folder = make_region_folder(tmp_path / "models" / "valley").parent
    old = put(folder, dump(fitted("forest")))
    done = CliRunner().invoke(models, ["import", str(old), "--region", "valley"])
    lines = done.output[done.output.index("[models.") :]
    (folder / "region.toml").write_text((folder / "region.toml").read_text() + lines)
    build_static(FolderStore(tmp_path / "catalogs"), tmp_path / "models")
    (path,) = (tmp_path / "catalogs").glob("crop_mask_models/valley-forest-*/*.json")
    item = load(path)
    assert_valid(item)
    digest = sha256(old.read_bytes()).hexdigest()
    assert f"old.joblib (SHA-256 {digest})" in item["properties"]["processing:lineage"]
    assert (
        f"Imported from old.joblib (RandomForestClassifier), SHA-256 {digest}"
        in (item["properties"]["description"])
    )
    assert item["properties"]["mlm:pretrained_source"] == "old.joblib"
    assert item["properties"]["cropmask:training"] is None
    assert digest in (path.parent / item["assets"]["card"]["href"]).read_text()


@pytest.mark.parametrize("region", region_names())
def test_product_definitions_are_as_published_but_for_nodata(region):
    path = PRINTED / f"crop_mask_{region}/crop_mask_{region}.odc-product.yaml"
    product = yaml.safe_load(path.read_text())
    assert product["name"] == product["metadata"]["product"]["name"] == f"crop_mask_{region}"
    assert product["metadata_type"] == "eo3"
    assert product["storage"] == {"crs": "EPSG:6933", "resolution": {"x": 10, "y": -10}}
    assert {m["name"]: m["aliases"] for m in product["measurements"]} == {
        "mask": ["crop_mask", "MASK"],
        "prob": ["crop_prob", "PROB"],
        "filtered": ["mode"],
    }
    assert {(m["dtype"], m["nodata"]) for m in product["measurements"]} == {("uint8", NODATA)}


def test_the_list_of_products_names_every_definition():
    head, *rows = (PRINTED / "products.csv").read_text().splitlines()
    assert head == "product,definition"
    named = dict(row.split(",") for row in rows)
    assert set(named) == {f"crop_mask_{region}" for region in region_names()}
    for name, place in named.items():
        assert yaml.safe_load((PRINTED / place).read_text())["name"] == name


@pytest.mark.parametrize("band", BANDS, ids=lambda band: band.name)
def test_qml_has_the_published_colors(band):
    text = (PRINTED / style_file(band, "qml")).read_text()
    assert text.startswith("<!DOCTYPE qgis")
    entries = ET.fromstring(text).findall(".//paletteEntry") or ET.fromstring(text).findall(
        ".//item"
    )
    shown = {int(e.get("value")): (e.get("color").upper(), int(e.get("alpha"))) for e in entries}
    assert shown == expected_colors(band)


@pytest.mark.parametrize("band", BANDS, ids=lambda band: band.name)
def test_sld_has_the_published_colors(band):
    root = ET.fromstring((PRINTED / style_file(band, "sld")).read_text())
    entries = root.findall(".//{*}ColorMapEntry")
    shown = {
        int(e.get("quantity")): (e.get("color").upper(), 255 * int(e.get("opacity")))
        for e in entries
    }
    assert shown == expected_colors(band)
    kind = root.find(".//{*}ColorMap").get("type")
    assert kind == ("values" if band.classes else "ramp")


def expected_colors(band):
    known = {c.value: c.color for c in band.classes} or dict(band.ramp)
    return {value: (hex_color(color), color[3]) for value, color in known.items()}


def test_ows_layers_are_those_of_the_regions_in_the_published_styles():
    module = runpy.run_path(str(PRINTED / "services/ows_crop_mask_cfg.py"))
    layers = module["layers"]["layers"]
    assert [layer["product_name"] for layer in layers] == [f"crop_mask_{r}" for r in region_names()]
    green, yellow, prob = layers[0]["styling"]["styles"]
    assert (green["name"], yellow["name"], prob["name"]) == ("green", "filtered_yellow", "prob")
    assert green["value_map"]["mask"][0]["color"] == hex_color(MASK.classes[1].color) == "#00FF00"
    assert yellow["value_map"]["filtered"][0]["color"] == hex_color(FILTERED.classes[1].color)
    assert {stop["value"]: stop["color"].upper() for stop in prob["color_ramp"]} == {
        value: hex_color(color) for value, color in PROB.ramp
    }
    assert layers[0]["bands"] == {band.name: list(band.aliases) for band in BANDS}
    # What datacube-ows 1.9 warns about is not there.
    assert {layer["time_resolution"] for layer in module["layers"]["layers"]} == {"summary"}
    assert not any("wcs" in layer for layer in module["layers"]["layers"])


def test_terria_shows_the_layers_of_ows():
    module = runpy.run_path(str(PRINTED / "services/ows_crop_mask_cfg.py"))
    (group,) = load(PRINTED / "services/terria.json")["catalog"]
    names = [layer["name"] for layer in module["layers"]["layers"]]
    styles = {style["name"] for style in module["layers"]["layers"][0]["styling"]["styles"]}
    assert [member["layers"] for member in group["members"]] == names
    assert all(member["styles"] in styles for member in group["members"])
    for member in group["members"]:
        box = member["rectangle"]
        assert -30 < box["west"] < box["east"] < 70
        assert -40 < box["south"] < box["north"] < 40


def test_elsewhere_model_files_are_copied(tmp_path):
    store = FolderStore(tmp_path / "deep" / "catalog")
    models = tmp_path / "models"
    (models / "eastern").mkdir(parents=True)
    for file in (REPOSITORY / "models/eastern").iterdir():
        (models / "eastern" / file.name).write_bytes(file.read_bytes())
    built = build_static(store, models)
    assert list(built.collections) == ["crop_mask_eastern"]
    copies = sorted(path.name for path in store.root.rglob("*.cropmodel"))
    assert copies == [f"{recipe}.cropmodel" for recipe in sorted(RECIPES)]
    assert build_static(store, models).written == 0


def test_a_catalog_of_others_is_not_replaced(tmp_path):
    other = tmp_path / "catalog.json"
    other.write_text('{"type": "Catalog", "id": "mine", "links": []}')
    target = FolderStore(tmp_path)
    with pytest.raises(Misconfigured, match="is no catalog that cropmask has written"):
        build_static(target)
    with pytest.raises(Misconfigured, match="is no catalog that cropmask has written"):
        publish_catalog(FolderStore(PRINTED), target, "https://data.example.org")
    assert [path.name for path in tmp_path.iterdir()] == [other.name]
    assert json.loads(other.read_text())["id"] == "mine"
