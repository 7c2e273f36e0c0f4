"""Regions as data: the eight that come along, one of your own, and broken files."""

import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from cropmask.cli.tiles import tiles
from cropmask.contract import ExitCode
from cropmask.errors import MAX_MESSAGE, Misconfigured, Rejected
from cropmask.region.attribution import Provider
from cropmask.region.region import (
    MAX_CHARACTERS,
    Ancillary,
    Limits,
    ModelRef,
    Region,
    StacLayer,
    Training,
    load_region,
    load_region_files,
    models_folder,
    region_names,
)

NAMES = (
    *("central", "eastern", "indian_ocean", "northern"),
    *("sahel", "southeast", "southern", "western"),
)
PROTECTED = {"eastern": "eastern", "western": "western", "southern": "southern"} | {
    "southeast": "southern"
}
# Criterion, features at a split, trees and folds as published.
PUBLISHED = {
    "eastern": ("entropy", "sqrt", 500, 10),
    "western": ("gini", "log2", 400, 10),
    "northern": ("gini", "log2", 300, 5),
    "sahel": ("entropy", "all", 200, 5),
    "southern": ("entropy", "all", 250, 7),
    "southeast": ("entropy", "all", 250, 7),
    "central": ("entropy", "all", 200, 7),
    "indian_ocean": ("entropy", "sqrt", 200, 7),
}
MINIMAL = """
name = "highlands"
title = "Highlands"
version = "0.1.0"
boundary = "boundary.geojson"
"""
SQUARE = {
    "type": "Polygon",
    "coordinates": [[[34.0, -1.4], [34.5, -1.4], [34.5, -0.8], [34.0, -0.8], [34.0, -1.4]]],
}


@pytest.fixture
def highlands(tmp_path: Path) -> Path:
    """A ninth region: a folder with a region file and a boundary within tile x215y075."""
    folder = tmp_path / "regions" / "highlands"
    folder.mkdir(parents=True)
    (folder / "boundary.geojson").write_text(json.dumps(SQUARE))
    path = folder / "region.toml"
    path.write_text(MINIMAL)
    return path


def test_the_eight_regions_are_there():
    assert region_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_region_is_as_published(name):
    region = load_region(name)
    training = region.training
    assert region.name == name
    assert region.product.name == f"crop_mask_{name}"
    assert region.boundary == models_folder() / name / "boundary.geojson"
    assert region.limits == Limits()
    assert (training.criterion, training.max_features, training.trees, training.folds) == PUBLISHED[
        name
    ]


@pytest.mark.parametrize("name", NAMES)
def test_only_four_regions_have_protected_areas(name):
    layer = load_region(name).protected_areas
    if name not in PROTECTED:
        assert layer is None
    else:
        folder = "s3://deafrica-input-datasets/protected_areas"
        assert layer == f"{folder}/WDPA_{PROTECTED[name]}.tif"


def test_limits_are_the_published_ones():
    limits = Limits()
    assert (limits.water_frequency, limits.slope_percent, limits.elevation_m) == (0.2, 50, 3600)


@pytest.mark.parametrize(
    "name", ["nowhere", "", "Eastern", "../eastern", "eastern/", "/etc", ".", "a b", "x\0y"]
)
def test_unknown_regions_are_refused_and_the_known_ones_named(name):
    with pytest.raises(Rejected, match=r"unknown region .* central, eastern, .* western") as caught:
        load_region(name)
    assert caught.value.exit_code == ExitCode.REJECTED
    assert caught.value.reason == "unknown region"


def test_an_empty_folder_has_no_regions(tmp_path):
    with pytest.raises(Rejected, match="known regions are none"):
        load_region("eastern", tmp_path)


def test_a_ninth_region_is_found_by_its_path(highlands):
    region = load_region(str(highlands))
    assert region.product.folder == "crop_mask_highlands/0-1-0"
    assert region.boundary == highlands.parent / "boundary.geojson"


def test_a_ninth_region_is_found_in_a_folder_of_regions(highlands):
    folder = highlands.parents[1]
    assert region_names(folder) == ("highlands",)
    assert load_region("highlands", folder) == load_region(str(highlands))


def test_a_path_is_taken_from_the_working_directory(highlands, monkeypatch):
    monkeypatch.chdir(highlands.parents[1])
    region = load_region("highlands/region.toml")
    assert region.boundary.is_file()


@pytest.mark.parametrize("by_name", [True, False])
def test_a_ninth_region_has_tiles(highlands, by_name):
    words = ["highlands", "--models", str(highlands.parents[1])] if by_name else [str(highlands)]
    result = CliRunner().invoke(tiles, ["--region", *words])
    assert result.exit_code == 0
    assert result.stdout == "x215y075\n"


def test_relative_paths_are_taken_from_the_region_file(highlands):
    folder = highlands.parent
    highlands.write_text(
        MINIMAL
        + f"""
protected_areas = "parks.tif"
[models.forest]
file = "forest.cropmodel"
sha256 = "{"0" * 64}"
[ancillary]
rain_first_half = "rain/first.tif"
rain_second_half = "s3://bucket/second.tif"
slope = "/data/slope.tif"
elevation = {{ collection = "dem_srtm", asset = "elevation" }}
"""
    )
    region = load_region(str(highlands))
    assert region.protected_areas == str(folder / "parks.tif")
    assert region.model("forest").file == folder / "forest.cropmodel"
    assert region.ancillary is not None
    assert region.ancillary.rain_first_half == str(folder / "rain/first.tif")
    assert region.ancillary.rain_second_half == "s3://bucket/second.tif"
    assert region.ancillary.slope == "/data/slope.tif"
    assert region.ancillary.elevation == StacLayer(collection="dem_srtm", asset="elevation")
    assert region.ancillary.water is None


def test_a_recipe_without_a_model_says_how_to_train_one(highlands):
    with pytest.raises(Rejected, match=r"has no 'boosted' model .*it has: none.*cropmask train"):
        load_region(str(highlands)).model("boosted")


BROKEN = {
    "empty": (
        b"",
        r"'name' is missing; 'title' is missing; 'version' is missing; 'boundary' is missing",
    ),
    "no TOML": (b"name = ", "is not valid TOML"),
    "JSON": (b'{"name": "highlands"}', "is not valid TOML"),
    "no UTF-8": (b'name = "\xff"', "is not valid TOML"),
    "too deep": (b"a = " + b"[" * 100_000, "is not valid TOML"),
    "endless number": (b"a = " + b"9" * 10_000, "is not valid TOML"),
    "zeros": (bytes(100), "is not valid TOML"),
    "key twice": (MINIMAL.encode() + b'name = "other"', "is not valid TOML"),
}
CHANGES = {
    "no boundary": (('boundary = "boundary.geojson"', ""), "'boundary' is missing"),
    "lost boundary": (("boundary.geojson", "lost.geojson"), "lost.geojson does not exist"),
    "boundary a folder": (('"boundary.geojson"', '"."'), "is a folder, no GeoJSON file"),
    "boundary a number": (
        ('"boundary.geojson"', "1"),
        "'boundary' must be a path in quotes, not 1",
    ),
    "name in capitals": (('"highlands"', '"Highlands"'), "'name' must be small letters"),
    "name a path": (('"highlands"', '"../eastern"'), "'name' must be small letters"),
    "name a number": (('"highlands"', "9"), "'name' must be a text in quotes, not 9"),
    "version of two": (("0.1.0", "0.1"), "'version' must be three numbers"),
    "version a number": (('"0.1.0"', "0.1"), "'version' must be a text in quotes"),
    "two problems": (('"0.1.0"', '0.1\nextra = "x"'), r"'extra' is unknown: .*; 'version' must be"),
}
ADDITIONS = {
    "unknown key": ("color = 'red'", "'color' is unknown: known are name, title"),
    "countries a text": ("countries = 'Kenya'", "'countries' must be a list"),
    "no trees": ("training = { trees = 0 }", "'training.trees' must be at least 1, not 0"),
    "unknown criterion": (
        "training = { criterion = 'luck' }",
        "'training.criterion' must be 'gini' or 'entropy', not 'luck'",
    ),
    "clusters of no size": (
        "training = { cluster_km = -1 }",
        "'training.cluster_km' must be more than 0",
    ),
    "unknown recipe": (f"models.neural = {{file='a', sha256='{'0' * 64}'}}", "'models.neural"),
    "short digest": (
        "models.forest = { file = 'a', sha256 = 'abc' }",
        "'models.forest.sha256' must be 64 digits",
    ),
    "no digest": ("models.forest = { file = 'a' }", "'models.forest.sha256' is missing"),
    "water in percent": (
        "limits = { water_frequency = 20 }",
        "'limits.water_frequency' must be at most 1, not 20",
    ),
    "steep below level": (
        "limits = { slope_percent = -1 }",
        "'limits.slope_percent' must be at least 0",
    ),
    "misspelled limit": (
        "limits = { elevation = 1 }",
        "'limits.elevation' is unknown: did you mean 'elevation_m'",
    ),
    "half the layers": (
        "ancillary = { slope = 's.tif' }",
        "'ancillary.rain_first_half' is missing",
    ),
    "layer a number": (
        "ancillary = { rain_first_half='a', rain_second_half='b', slope='c', water=1 }",
        "'ancillary.water' must be a path or address, or a table",
    ),
}


def assert_one_clear_line(path: Path, problem: str) -> None:
    with pytest.raises(Misconfigured, match=problem) as caught:
        load_region(str(path))
    assert str(path) in str(caught.value)
    for word in ("pydantic", "Input should", "Extra inputs", "Field required", "String should"):
        assert word not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == ExitCode.MISCONFIGURED


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_is_no_region_gives_one_line(case, highlands):
    content, problem = BROKEN[case]
    highlands.write_bytes(content)
    assert_one_clear_line(highlands, problem)


@pytest.mark.parametrize("case", CHANGES)
def test_a_wrong_value_gives_one_line_with_its_key(case, highlands):
    (old, new), problem = CHANGES[case]
    assert old in MINIMAL
    highlands.write_text(MINIMAL.replace(old, new))
    assert_one_clear_line(highlands, problem)


@pytest.mark.parametrize("case", ADDITIONS)
def test_a_wrong_addition_gives_one_line_with_its_key(case, highlands):
    addition, problem = ADDITIONS[case]
    highlands.write_text(MINIMAL + addition)
    assert_one_clear_line(highlands, problem)


def test_a_lost_region_file_gives_one_line(tmp_path):
    assert_one_clear_line(tmp_path / "lost.toml", "cannot be read: No such file")


def test_a_folder_instead_of_a_region_file_gives_one_line(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    assert_one_clear_line(tmp_path / "folder.toml", "cannot be read: Is a directory")


def test_a_title_of_several_lines_becomes_one(highlands):
    highlands.write_text(MINIMAL.replace('"Highlands"', '"""High\n  lands"""'))
    assert load_region(str(highlands)).title == "High lands"


def test_region_files_are_found_by_the_names_that_they_say(highlands, tmp_path):
    assert load_region("highlands", tmp_path, [highlands]).product.name == "crop_mask_highlands"
    assert load_region("eastern", None, [highlands]).name == "eastern"
    with pytest.raises(Rejected, match="unknown region 'lowlands'"):
        load_region("lowlands", None, [highlands])
    copy = highlands.with_name("copy.toml")
    copy.write_text(highlands.read_text())
    with pytest.raises(Misconfigured, match=r"two region files have the name 'highlands': .*copy"):
        load_region_files([highlands, copy])
    with pytest.raises(Misconfigured, match=r"nowhere\.toml cannot be read"):
        load_region("eastern", None, [tmp_path / "nowhere.toml"])


GUIDE = Path(__file__).parents[2] / "docs" / "add-a-region.md"


def examples() -> list[str]:
    """The region files shown in the guide, in order: the shortest, then the full one."""
    return re.findall(r"```toml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("index", [0, 1])
def test_the_region_files_of_the_guide_work(index, highlands):
    highlands.write_text(examples()[index])
    assert load_region(str(highlands)).product.name == "crop_mask_highlands"


def test_the_full_region_file_of_the_guide_has_every_key():
    document = tomllib.loads(examples()[1])
    assert set(document) == set(Region.model_fields)
    assert set(document["training"]) == set(Training.model_fields)
    assert set(document["limits"]) == set(Limits.model_fields)
    assert set(document["ancillary"]) == set(Ancillary.model_fields)
    assert set(document["ancillary"]["water"]) == set(StacLayer.model_fields)
    assert set(document["models"]["forest"]) == set(ModelRef.model_fields)
    assert set(document["providers"][0]) == set(Provider.model_fields)


def test_the_defaults_of_the_guide_are_the_defaults():
    document = tomllib.loads(examples()[1])
    assert Limits(**document["limits"]) == Limits()
    assert Training(**document["training"] | {"cluster_km": None}) == Training()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "true", "1e400"])
@pytest.mark.parametrize("key", ["elevation_m", "slope_percent", "min_coverage_percent"])
def test_limits_are_finite_numbers(key, value, highlands):
    highlands.write_text(f"{MINIMAL}[limits]\n{key} = {value}\n")
    with pytest.raises(Misconfigured, match=f"'limits.{key}'") as error:
        load_region(str(highlands))
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_does_no_harm(highlands):
    highlands.write_text(MINIMAL, encoding="utf-8-sig")
    assert load_region(str(highlands)).name == "highlands"


def test_what_is_no_region_file_is_not_read_to_its_end(highlands, tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    highlands.write_text(MINIMAL + "#" * MAX_CHARACTERS)
    for path in (tmp_path / "pipe.toml", tmp_path / "zero.toml", highlands):
        with pytest.raises(Misconfigured, match=r"no file|too large"):
            load_region(str(path))


def test_a_boundary_of_an_impossible_name(highlands):
    highlands.write_text(MINIMAL.replace("boundary.geojson", "x" * 5000))
    with pytest.raises(Misconfigured, match="too long") as error:
        load_region(str(highlands))
    assert len(str(error.value)) <= MAX_MESSAGE + 5
