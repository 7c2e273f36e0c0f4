"""Extra bands of tiles and areas, against plain numpy on the same raw pixels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

import cropmask
from cropmask.core.features import FEATURES, features
from cropmask.errors import Rejected
from cropmask.grid import geobox
from cropmask.modelfile.model import read_model, write_model
from cropmask.operate.show import draw_result
from cropmask.pixels.layers import open_layers
from cropmask.product import BANDS, EXTRA_BANDS, MASK, NODATA, SPREAD
from cropmask.site.site import Site, open_site
from cropmask.task import Period, Task
from cropmask.testing.world.demoworld import DEMO_TILE
from cropmask.tile.job import prepare
from tests.extras import EASTERN, TABLE, write_whole_model
from tests.stac_validation import assert_valid

ALL = "+calibrated,+spread,+dissimilarity"
TASK = Task(DEMO_TILE, "eastern", Period.parse("2019"))
AREA = (-169.62, -47.85, -169.5, -47.75)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole_model(tmp_path_factory.mktemp("model") / "whole.cropmodel")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, demo_cache: Path) -> Site:
    folder = tmp_path_factory.mktemp("extras")
    return open_site({}, {"cache": demo_cache, "output": folder, "resolution": 100, "threads": 2})


@pytest.fixture(scope="module")
def tile(site, model):
    return cropmask.map_tile("x010y020", "eastern", "2019", site=site, model=model, bands=ALL)


@pytest.fixture(scope="module")
def pixels(tile) -> dict[str, np.ndarray]:
    return {band.name: read(tile.item, band.name) for band in (*BANDS, *EXTRA_BANDS)}


def read(item: str, band: str) -> np.ndarray:
    path = item.replace(".stac-item.json", f"_{band}.tif")
    with rasterio.open(path) as raster:
        return raster.read(1)


def test_tables_of_prob_are_the_calibration_and_the_spread(pixels):
    prob, valid = pixels["prob"], pixels["prob"] != NODATA
    assert valid.any()
    assert not valid.all()
    np.testing.assert_array_equal(pixels["calibrated"][valid], TABLE[prob[valid]])
    share = prob[valid].astype(int)
    expected = 2 * np.minimum(share, 100 - share)
    np.testing.assert_array_equal(pixels["spread"][valid], expected)
    for band in EXTRA_BANDS:
        np.testing.assert_array_equal(pixels[band.name] == NODATA, ~valid)


def test_dissimilarity_is_the_distance_to_the_nearest_sample(pixels, site, model):
    job = prepare(TASK, site, recipe=model)
    limits, known = job.basis.region.limits, read_model(model).applicability
    assert known is not None
    box = geobox(DEMO_TILE, 100)
    with open_layers(job.sources, box, boundary=job.basis.boundary, limits=limits) as layers:
        columns = [FEATURES.index(name) for name in known.features]
        samples = (known.samples.astype(float) - known.center) * known.factor
        for strip in layers.strips(400):
            rows = slice(strip.row, strip.row + strip.shape[0])
            found = pixels["dissimilarity"][rows]
            y, x = np.nonzero(found != NODATA)
            if not len(y):
                continue
            chosen = np.random.default_rng(1).choice(len(y), min(len(y), 500), replace=False)
            y, x = y[chosen], x[chosen]
            values = features(strip)[columns][:, y, x].T.astype(float)
            scaled = (values - known.center) * known.factor
            away = np.sqrt(((scaled[:, None] - samples[None]) ** 2).sum(axis=2)).min(axis=1)
            share = 100 * away / known.mean_distance / known.threshold
            expected = np.ceil(share).clip(0, 254)
            # Rounding up by whole percentages; sums of another order differ in their last bits.
            off = found[y, x] != expected
            assert (np.abs(share[off] - np.round(share[off])) < 1e-3).all()


def test_the_published_bands_do_not_change(tile, pixels, site, model, tmp_path):
    plain = replace(site, output=str(tmp_path))
    without = cropmask.map_tile("x010y020", "eastern", "2019", site=plain, model=model)
    assert without.run_key != tile.run_key
    ends = [f"_{band.name}.tif" for band in BANDS]
    for end in (*ends, "_visual.tif"):
        names = [Path(found.item.replace(".stac-item.json", end)) for found in (tile, without)]
        assert names[0].read_bytes() == names[1].read_bytes()
    item = json.loads(Path(without.item).read_text())
    assert "cropmask:bands" not in item["properties"]
    assert "bands" not in item["properties"]["cropmask:run_key_parts"]
    assert not {band.name for band in EXTRA_BANDS} & item["assets"].keys()


def test_the_item_describes_them(tile, pixels):
    item = json.loads(Path(tile.item).read_text())
    assert_valid(item)
    properties, hectares = item["properties"], 1.0
    assert properties["cropmask:bands"] == ["calibrated", "spread", "dissimilarity"]
    assert properties["cropmask:calibration"] == {"eastern": "table"}
    figures, valid = properties["cropmask:statistics"], pixels["prob"] != NODATA
    for name in ("calibrated", "spread"):
        assert figures[f"mean_{name}"] == pytest.approx(pixels[name][valid].mean(), abs=1e-4)
        assert item["assets"][name]["statistics"]["mean"] == figures[f"mean_{name}"]
    outside = valid & (pixels["dissimilarity"] > 100)
    assert 0.02 < outside.sum() / valid.sum() < 0.98
    assert figures["unlike_hectares"] == pytest.approx(outside.sum() * hectares)
    crops = outside & (pixels["mask"] == 1)
    assert figures["unlike_crop_hectares"] == pytest.approx(crops.sum() * hectares)
    assert tile.statistics["unlike_crop_hectares"] == figures["unlike_crop_hectares"]
    assert [*item["assets"]][:6] == [band.name for band in (*BANDS, *EXTRA_BANDS)]
    assert set(properties["renders"]) == {band.name for band in (*BANDS, *EXTRA_BANDS)}
    collection = json.loads((Path(tile.item).parents[4] / "collection.json").read_text())
    assert "spread" in collection["item_assets"]
    assert_valid(collection)


def test_other_bands_are_another_result(tile, site, model):
    again = cropmask.map_tile("x010y020", "eastern", "2019", site=site, model=model, bands=ALL)
    assert again.state == "SKIPPED"
    with pytest.raises(Rejected, match=r"another choice of extra bands .*, now none"):
        cropmask.map_tile("x010y020", "eastern", "2019", site=site, model=model)


def test_an_overwritten_result_leaves_no_band_behind(site, model, tmp_path):
    folder = replace(site, output=str(tmp_path), resolution=100)
    words = {"site": folder, "model": model}
    made = cropmask.map_tile("x010y020", "eastern", "2019", bands="+spread", **words)
    assert list(tmp_path.rglob("*_spread.tif"))
    assert set(made.open("spread")) == {"spread"}
    cropmask.map_tile("x010y020", "eastern", "2019", overwrite=True, **words)
    assert not list(tmp_path.rglob("*_spread.tif"))
    with pytest.raises(Rejected, match="has no band 'spread': map it anew with --bands"):
        cropmask.load(made.item, bands=["spread"])


def test_an_area_has_the_pixels_of_its_tile(tile, pixels, site, model):
    area = cropmask.map_area(AREA, "2019", site=site, model=model, bands=ALL, name="here")
    dataset = area.open("mask", *(band.name for band in EXTRA_BANDS))
    box, whole = dataset.odc.geobox, geobox(DEMO_TILE, 100)
    row = round((whole.transform.f - box.transform.f) / 100)
    column = round((box.transform.c - whole.transform.c) / 100)
    window = (slice(row, row + box.shape[0]), slice(column, column + box.shape[1]))
    inside = dataset["mask"].values != NODATA
    assert inside.any()
    for band in EXTRA_BANDS:
        found, expected = dataset[band.name].values, pixels[band.name][window]
        np.testing.assert_array_equal(found[inside], expected[inside])
    assert_valid(json.loads(Path(area.item).read_text()))


def test_a_model_without_samples_is_refused_before_anything_is_written(site, tmp_path):
    plain = replace(site, output=str(tmp_path / "none"))
    whole, bare = read_model(EASTERN), tmp_path / "bare.cropmodel"
    write_model(bare, whole.forest, whole.manifest, whole.probes)
    with pytest.raises(Rejected, match="does not hold its training samples"):
        cropmask.map_tile(
            "x010y020", "eastern", "2019", site=plain, model=bare, bands="+dissimilarity"
        )
    assert not (tmp_path / "none").exists()


def test_unknown_bands_are_refused(site):
    with pytest.raises(Rejected, match="there is no extra band '\\+color': choose of"):
        cropmask.map_tile("x010y020", "eastern", "2019", site=site, bands="+color")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_land_outside_the_training_data_is_pale_in_the_thumbnail(tile, pixels, site, model):
    assert (pixels["dissimilarity"] > 100).any()
    with rasterio.open(tile.thumbnail) as raster:
        colors = {tuple(color) for color in raster.read().reshape(4, -1).T}
    gray, pale = (112, 112, 112, 255), (219, 219, 219, 255)
    assert {gray, pale} <= colors


def test_a_figure_draws_bands_and_marks_unlike_land(tile, site):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    bands = [MASK, SPREAD]
    drawn = [
        draw_result(tile.item, site, bands=bands, unlike=how) for how in (None, "pale", "hatched")
    ]
    pictures = []
    for found in drawn:
        shown = [
            np.asarray(axes.images[0].get_array()) for axes in found.figure.axes if axes.images
        ]
        titles = [text.get_text() for text in found.figure.texts]
        assert "Spread of the vote (spread)" in titles
        pictures.append([picture for picture in shown if picture.shape[0] > 1][2:])
    assert all(len(found) == 2 for found in pictures)
    plain, pale, hatched = (found[0] for found in pictures)
    changed = (plain != pale).any(axis=-1)
    assert changed.any()
    assert not changed.all()
    assert (pale[changed, :3] >= plain[changed, :3]).all()
    lines = (plain != hatched).any(axis=-1)
    assert lines.any()
    assert not (lines & ~changed).any()
