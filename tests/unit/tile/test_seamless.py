"""Seamless tiles against the segmentation of all of them together, by computations of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray

from cropmask.core.segment import segment
from cropmask.core.sharedcolors import SharedColors, fit_colors
from cropmask.core.stretch import NODATA_NDVI
from cropmask.core.strips import REFLECTANCE, Half
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.grid import CRS, Tile, geobox
from cropmask.region.region import load_region
from cropmask.results.colorfile import FittedColors, put_colors
from cropmask.site.site import Site, open_site
from cropmask.task import Period, Task
from cropmask.testing.world.spectra import draw_half
from cropmask.tile.area import load_area_task, run_area
from cropmask.tile.run import TileResult, run_tile
from tests.worlds import make_world, write_cog

YEAR = Period.parse("2019")
TILES = (Tile(221, 76), Tile(222, 76), Tile(221, 75), Tile(222, 75))
"""North-west, north-east, south-west and south-east of a corner that they share."""
RESOLUTION = 60
EDGE = 180
"""Pixels of each tile that were seen, from the corner on; the margin has 50."""
SMALLEST = 3
"""Pixels of an object: 1 ha."""
CORNER = TILES[1].bounds[:2]


@dataclass(frozen=True)
class Quarters:
    """Four tiles around a corner, and what is in them."""

    folder: Path
    ndvi: NDArray[np.int16]
    """Of both half-years ``(half, y, x)``, of the square around the corner."""
    colors: SharedColors

    def site(self, output: Path, *, seamless: bool = True, catalog: Path | None = None) -> Site:
        """Where they are mapped, with their colors in place."""
        options = {
            "catalog": catalog or self.folder / "catalog.json",
            "output": output,
            "region_files": str(self.folder / "region.toml"),
            "resolution": RESOLUTION,
            "threads": 2,
            "seamless": seamless,
        }
        site = open_site({}, options)
        fitted = FittedColors(self.colors, tuple(map(str, TILES)), {}, 4 * EDGE**2, synthetic=True)
        put_colors(site.store(), site.region("corner").product, YEAR, RESOLUTION, fitted)
        return site

    @contextmanager
    def without(self, tile: Tile) -> Iterator[Path]:
        """A catalog that lacks one of them."""
        file = self.folder / "gm_s2_semiannual" / f"without-{tile}.json"
        document = json.loads((self.folder / "gm_s2_semiannual/collection.json").read_text())
        name = f"/{str(tile)[:4]}/{str(tile)[4:]}/"
        kept = [link for link in document["links"] if name not in link["href"]]
        assert len(kept) == len(document["links"]) - 2
        file.write_text(json.dumps({**document, "links": kept}))
        yield file
        file.unlink()


@pytest.fixture(scope="module")
def quarters(tmp_path_factory: pytest.TempPathFactory) -> Quarters:
    folder = tmp_path_factory.mktemp("quarters") / "w"
    halves = make_land()
    links = []
    for number, tile in enumerate(TILES):
        rows, columns = (slice(k * EDGE, (k + 1) * EDGE) for k in divmod(number, 2))
        whole = geobox(tile, RESOLUTION).shape.x - EDGE
        part = make_world(
            folder,
            tile,
            size=(EDGE, EDGE),
            offset=((whole, 0)[number // 2], (whole, 0)[number % 2]),
            resolution=RESOLUTION,
            pixels=tuple(  # type: ignore[arg-type]
                Half(half.reflectance[:, rows, columns], half.deviation[:, rows, columns])
                for half in halves
            ),
        )
        document = json.loads(part.collection.read_text())
        links += document["links"]
    part.collection.write_text(json.dumps({**document, "links": links}))
    write_region(folder)
    ndvi = find_plain_ndvi(halves)
    colors = fit_colors([ndvi[:, ::2].reshape(2, -1)])
    return Quarters(folder, ndvi, colors)


def make_land() -> tuple[Half, Half]:
    """Made-up land around the corner, whose fields join, with nodata across a seam as well."""
    halves = [
        _join([_draw_quarter(tile, number, half) for number, tile in enumerate(TILES)])
        for half in range(2)
    ]
    for half in halves:
        half.reflectance[:, EDGE - 12 : EDGE + 20, 40:90] = 0
        half.deviation[:, EDGE - 12 : EDGE + 20, 40:90] = np.nan
    return halves[0], halves[1]


def _draw_quarter(tile: Tile, number: int, half: int) -> Half:
    first = (geobox(tile, RESOLUTION).shape.y - EDGE, 0)[number // 2]
    columns = (slice(-EDGE, None), slice(0, EDGE))[number % 2]
    drawn = draw_half(tile, RESOLUTION, half, first, EDGE)
    return Half(drawn.reflectance[..., columns], drawn.deviation[..., columns])


def _join(quarters: list[Half]) -> Half:
    def block(arrays: list[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(
            [np.concatenate(pair, axis=2) for pair in (arrays[:2], arrays[2:])], axis=1
        )

    return Half(block([q.reflectance for q in quarters]), block([q.deviation for q in quarters]))


def write_region(folder: Path) -> None:
    """A region around the corner, with layers that cover it."""
    x, y = CORNER
    grid = Affine(1_000, 0, x - 20_000, 0, -1_000, y + 20_000)
    for name, value in (("rain_first_half", 420), ("rain_second_half", 480), ("slope", 2)):
        values = np.full((40, 40), value, np.float32)
        write_cog(folder / "layers" / f"{name}.tif", values, grid, nodata=float("nan"))
    model = load_region("eastern").model("boosted")
    far = EDGE * RESOLUTION
    box = shapely.to_geojson(shapely.box(x - far, y - far, x + far, y + far))
    crs = {"type": "name", "properties": {"name": CRS}}
    (folder / "boundary.geojson").write_text(json.dumps({**json.loads(box), "crs": crs}))
    (folder / "region.toml").write_text(
        f"""name = "corner"
title = "A made-up corner"
version = "1.1.0"
boundary = "boundary.geojson"
models.boosted = {{ file = "{model.file}", sha256 = "{model.sha256}" }}
[ancillary]
rain_first_half = "layers/rain_first_half.tif"
rain_second_half = "layers/rain_second_half.tif"
slope = "layers/slope.tif"
"""
    )


def find_plain_ndvi(halves: tuple[Half, Half]) -> NDArray[np.int16]:
    """NDVI in ten-thousandths by its formula; nodata where nothing was seen."""
    bands = [REFLECTANCE.index(name) for name in ("red", "nir")]
    red, nir = (
        np.stack([half.reflectance[band].astype(np.float32) for half in halves]) for band in bands
    )
    with np.errstate(invalid="ignore"):
        index = np.rint((nir - red) / (nir + red) * np.float32(10_000))
    return np.where(red + nir == 0, NODATA_NDVI, np.nan_to_num(index)).astype(np.int16)


def filter_together(
    ndvi: NDArray[np.int16], colors: SharedColors, mask: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The object filter of a whole image in plain numpy, but for the segmentation itself."""
    painted = []
    for band, spread in zip(ndvi, colors.spreads, strict=True):
        share = (band - (spread.mean - 2 * spread.deviation)) / (4 * spread.deviation)
        painted.append(np.clip(np.rint(255 * share), 0, 255).astype(np.uint8))
    valid = ndvi[0] != NODATA_NDVI
    labels = segment(
        np.stack(painted), valid, min_pixels=SMALLEST, centers=np.array(colors.centers)
    )
    crop = np.bincount(labels[mask == 1], minlength=labels.max() + 1)
    every = np.bincount(labels.ravel(), minlength=labels.max() + 1)
    return np.where(valid, 2 * crop[labels] > every[labels], 255).astype(np.uint8)


def run(site: Site, tile: Tile, *, overwrite: bool = False) -> TileResult:
    return run_tile(Task(tile, "corner", YEAR), site, recipe="boosted", overwrite=overwrite)


def read_quarter(result: TileResult, tile: Tile, band: str) -> NDArray[np.uint8]:
    """The part of a result that was seen."""
    item = Path(result.item)
    south, east = divmod(TILES.index(tile), 2)
    with rasterio.open(item.parent / json.loads(item.read_text())["assets"][band]["href"]) as file:
        pixels = file.read(1)
    rows, columns = (slice(0, EDGE) if far else slice(-EDGE, None) for far in (south, east))
    assert np.count_nonzero(pixels != 255) == np.count_nonzero(pixels[rows, columns] != 255)
    return pixels[rows, columns]


def join(results: dict[Tile, TileResult], band: str) -> NDArray[np.uint8]:
    parts = [read_quarter(results[tile], tile, band) for tile in TILES]
    return np.block([parts[:2], parts[2:]])


def read_seam(result: TileResult) -> dict[str, object]:
    return json.loads(Path(result.item).read_text())["properties"]["cropmask:seamless"]


@pytest.fixture(scope="module")
def mapped(quarters: Quarters, tmp_path_factory: pytest.TempPathFactory) -> dict[Tile, TileResult]:
    site = quarters.site(tmp_path_factory.mktemp("seamless"))
    return {tile: run(site, tile) for tile in TILES}


def test_tiles_are_parts_of_the_joint_segmentation(
    quarters: Quarters, mapped: dict[Tile, TileResult], tmp_path: Path
) -> None:
    wanted = filter_together(quarters.ndvi, quarters.colors, join(mapped, "mask"))
    assert 0.05 < (wanted == 1).mean() < 0.95
    np.testing.assert_array_equal(join(mapped, "filtered"), wanted)
    # A tile by itself is not, so the test could fail.
    alone = run(quarters.site(tmp_path / "alone", seamless=False), TILES[0])
    for band in ("mask", "prob", "filtered"):
        here, there = (read_quarter(each, TILES[0], band) for each in (alone, mapped[TILES[0]]))
        assert ((here != there).mean() > 0.01) == (band == "filtered")
        assert (here == there).all() == (band != "filtered")


def test_the_item_says_what_was_shared(quarters: Quarters, mapped: dict[Tile, TileResult]) -> None:
    said = read_seam(mapped[TILES[0]])
    assert said["neighbors"] == sorted(map(str, TILES[1:]))
    assert said["margin_pixels"] == 50
    # Of eight tiles around, five have no pixel.
    assert set(said["missing_neighbors"].values()) == {"missing geomad"}
    assert len(said["missing_neighbors"]) == 5


def test_what_is_mapped_before_does_not_matter(
    quarters: Quarters, mapped: dict[Tile, TileResult], tmp_path: Path
) -> None:
    site = quarters.site(tmp_path)
    alone = run(site, TILES[2])
    assert alone.run_key == mapped[TILES[2]].run_key
    folders = [Path(result.item).parent for result in (alone, mapped[TILES[2]])]
    assert [(folders[0] / f.name).read_bytes() for f in sorted(folders[1].glob("*.tif"))] == [
        f.read_bytes() for f in sorted(folders[1].glob("*.tif"))
    ]
    assert run(site, TILES[2]).state == "SKIPPED"
    # Without shared colors it is another result, and the refusal says what differs, once.
    with pytest.raises(Rejected, match="another colors of objects") as refused:
        run(replace(site, seamless=False), TILES[2])
    assert refused.value.reason is Reason.CHANGED
    assert str(refused.value).count("colors") == 1


def test_missing_and_damaged_neighbors_are_written_down(
    quarters: Quarters, mapped: dict[Tile, TileResult], tmp_path: Path
) -> None:
    missing, damaged = str(TILES[1]), str(TILES[2])
    folder = quarters.folder / "gm_s2_semiannual" / damaged[:4] / damaged[4:]
    file = next(folder.rglob("*_B04.tif"))
    kept = file.read_bytes()
    with quarters.without(TILES[1]) as catalog:
        try:
            file.write_bytes(b"no raster")
            result = run(quarters.site(tmp_path, catalog=catalog), TILES[0])
        finally:
            file.write_bytes(kept)
    said = read_seam(result)
    assert said["missing_neighbors"][missing] == "missing geomad"
    assert damaged in said["missing_neighbors"]
    assert said["neighbors"] == [str(TILES[3])]
    assert result.run_key != mapped[TILES[0]].run_key
    here, there = (read_quarter(each, TILES[0], "filtered") for each in (result, mapped[TILES[0]]))
    assert 0 < (here != there).mean() < 0.05
    assert (here == there)[: EDGE - 100, : EDGE - 100].all()


def test_an_area_has_the_objects_of_its_tiles(
    quarters: Quarters, mapped: dict[Tile, TileResult], tmp_path: Path
) -> None:
    x, y = CORNER
    near = [value * RESOLUTION for value in (90, 61, 77, 102)]
    box = shapely.box(x - near[0], y - near[1], x + near[2], y + near[3])
    polygon = json.loads(shapely.to_geojson(box))
    crs = {"type": "name", "properties": {"name": CRS}}
    (tmp_path / "area.geojson").write_text(json.dumps({**polygon, "crs": crs}))
    site = quarters.site(tmp_path / "out")
    asked = load_area_task(tmp_path / "area.geojson", YEAR, region="corner", recipe="boosted")
    result = run_area(asked, site)
    item = json.loads(Path(result.item).read_text())
    with rasterio.open(Path(result.item).parent / item["assets"]["filtered"]["href"]) as file:
        found = file.read(1)
    wanted = join(mapped, "filtered")[EDGE - 102 : EDGE + 61, EDGE - 90 : EDGE + 77]
    np.testing.assert_array_equal(found, wanted)
    assert item["properties"]["cropmask:seamless"]["corner"]["margin_pixels"] == 50
    assert run_area(asked, site).state == "SKIPPED"
    with pytest.raises(Rejected, match="another colors and neighbors"):
        run_area(asked, replace(site, seamless=False))


def test_colors_are_never_made_by_the_way(quarters: Quarters, tmp_path: Path) -> None:
    site = quarters.site(tmp_path)
    site = replace(site, resolution=20)
    with pytest.raises(Misconfigured, match="colors fit") as refused:
        run(site, TILES[0])
    assert refused.value.reason is Reason.NO_COLORS
    assert "--resolution 20" in str(refused.value)
