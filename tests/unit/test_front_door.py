"""``import cropmask``: free, lazy, typed; what it gives works as its pages say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox

import cropmask
from cropmask.grid import Tile, geobox
from cropmask.operate.planfile import Need
from tests.conftest import REPOSITORY

HEAVY = "numpy rasterio numba pydantic boto3 shapely odc xarray pystac yaml requests click".split()
IMPORT = "import sys, time; a = time.process_time(); import cropmask; b = time.process_time(); "


def run(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout


def test_importing_takes_less_than_50_ms_and_loads_nothing_heavy() -> None:
    seconds = [float(run(IMPORT + "print(b - a)")) for _ in range(5)]
    assert min(seconds) < 0.05
    assert run(IMPORT + f"print([n for n in {HEAVY} if n in sys.modules])").strip() == "[]"


def test_at_most_fifteen_names_and_all_of_them_are_there() -> None:
    names = dir(cropmask)
    assert len(names) <= 15
    assert {"map_tile", "open_site", "plan", "Tile", "Region", "Period", "Task"} <= set(names)
    assert {"predict", "features", "load"} <= set(names)
    for name in names:
        assert getattr(cropmask, name) is not None
        if name != "__version__":
            assert getattr(cropmask, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'map_tiles'"):
        _ = cropmask.map_tiles


@pytest.fixture
def at_home(tmp_path: Path, demo_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CROPMASK_CACHE", str(demo_cache))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_result_opens_with_the_grid_of_its_tile(
    at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROPMASK_RESOLUTION", "100")  # the pages' examples are at the usual 60
    told: list[str] = []
    result = cropmask.map_tile(
        "x10y20", "eastern", "2019", progress=lambda stage, _share: told.append(stage)
    )
    assert {"search", "classify", "segment", "mask", "write"} <= set(told)
    dataset = result.open()
    assert list(dataset) == ["mask", "prob", "filtered"]
    box: GeoBox = dataset.odc.geobox
    assert box == geobox(Tile(10, 20), 100)
    for name in dataset:
        band = dataset[name]
        assert (band.dims, band.dtype, band.odc.nodata) == (("y", "x"), np.uint8, 255)
        with rasterio.open(next(at_home.rglob(f"*_{name}.tif"))) as raster:
            np.testing.assert_array_equal(band, raster.read(1))
    hectares = float((dataset["mask"] == 1).sum())  # a pixel has one
    assert hectares == pytest.approx(result.statistics["crop_hectares"])
    assert dataset["mask"].attrs["flag_meanings"] == "non_crop crop"
    assert dataset.attrs["cropmask:run_key"] == result.run_key
    assert list(result.open("prob")) == ["prob"]
    with pytest.raises(cropmask.Rejected, match="choose of mask, prob, filtered"):
        result.open("crops")

    again = cropmask.map_tile(Tile(10, 20), "eastern", cropmask.Period.parse("2019"))
    assert (again.state, again.run_key) == ("SKIPPED", result.run_key)
    (planned,) = cropmask.plan("eastern", "2019").tiles
    assert planned.need is Need.UNCHANGED
    with pytest.raises(cropmask.Rejected, match="x215y075"):
        cropmask.plan("eastern", "2019", tiles=["x215y075"])


def test_what_is_no_item_is_said_in_a_line(at_home: Path) -> None:
    from cropmask.tile.open import open_result

    (at_home / "other.json").write_text('{"assets": {"mask": 3}}')
    with pytest.raises(cropmask.Rejected, match="no item of a crop mask"):
        open_result(str(at_home / "other.json"))


@pytest.mark.parametrize("module", ["cropmask", "cropmask.tile.arrays", "cropmask.tile.open"])
def test_the_examples_of_the_front_door_run(at_home: Path, module: str) -> None:
    said = run(f"import doctest, {module} as found; print(doctest.testmod(found))")
    assert "failed=0" in said
    assert "attempted=0" not in said


def test_the_page_runs_word_by_word(at_home: Path) -> None:
    page = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 5
    said = run("\n".join(blocks))
    assert "SUCCEEDED" in said
    assert "ha of made-up crops" in said
    assert "x010y020 unchanged" in said
    assert "outside region" in said
    assert "('y', 'x') 6933" in said
    assert "33 True" in said
    assert "ha of made-up crops there" in said
