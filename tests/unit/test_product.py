"""The product as published: names, paths, classes and colors."""

import pytest

from cropmask.product import BANDS, FILTERED, MASK, NODATA, PROB, Product, hex_color

EASTERN = Product("eastern", "1.2.3")


def test_paths_are_the_published_ones():
    assert EASTERN.name == "crop_mask_eastern"
    assert EASTERN.folder == "crop_mask_eastern/1-2-3"
    assert (
        EASTERN.dataset_folder("x215y075", "2019--P1Y")
        == "crop_mask_eastern/1-2-3/x215/y075/2019--P1Y"
    )


@pytest.mark.parametrize(
    "suffix",
    ["_mask.tif", "_prob.tif", "_filtered.tif", "_thumbnail.png", ".sha1", ".stac-item.json"],
)
def test_file_names_are_the_published_ones(suffix):
    name = EASTERN.file_name("x215y075", "2019--P1Y", suffix)
    assert name == f"crop_mask_eastern_x215y075_2019--P1Y{suffix}"


def test_the_item_is_the_last_of_these_files():
    assert EASTERN.item_name("x215y075", "2019--P1Y") == EASTERN.file_name(
        "x215y075", "2019--P1Y", ".stac-item.json"
    )


def test_three_bands_with_one_nodata():
    assert [band.name for band in BANDS] == ["mask", "prob", "filtered"]
    assert NODATA == 255
    assert all(cls.value != NODATA for band in BANDS for cls in band.classes)


@pytest.mark.parametrize(("band", "color"), [(MASK, "#00FF00"), (FILTERED, "#FFFF00")])
def test_crop_has_the_published_color_and_the_rest_is_transparent(band, color):
    other, crop = band.classes
    assert (other.value, other.color[3]) == (0, 0)
    assert (crop.value, hex_color(crop.color), crop.color[3]) == (1, color, 255)


def test_classes_are_never_averaged():
    assert {band.name: band.overview for band in BANDS} == {
        "mask": "mode",
        "prob": "average",
        "filtered": "mode",
    }


def test_the_ramp_of_prob_has_the_published_stops():
    colors = {value: hex_color(color) for value, color in PROB.ramp}
    assert list(colors) == list(range(0, 101, 10))
    assert colors[0] == "#000000"
    assert colors[10] == "#170B3B"
    assert colors[50] == "#BB3754"
    assert colors[100] == "#FCFEA4"


def test_the_ramp_is_known_by_a_name():
    maps = pytest.importorskip("matplotlib", reason="matplotlib is not installed").colormaps
    known = maps[PROB.ramp_name]
    for value, color in PROB.palette.items():
        off = max(
            abs(int(a) - b) for a, b in zip(known(value / 100, bytes=True), color, strict=True)
        )
        assert off <= (4 if value % 10 == 0 else 10), value
