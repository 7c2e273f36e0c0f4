"""Indexing for real: an Open Data Cube on PostgreSQL, filled by its own programs in every way."""

from __future__ import annotations

import json
import os
import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

from cropmask.catalog.api import Api
from cropmask.catalog.build import build_results
from cropmask.catalog.index import IndexOptions, index_results
from cropmask.catalog.publish import publish_catalog
from cropmask.core.series import GAIN
from cropmask.product import BANDS, SERIES_BANDS
from cropmask.store.folder import FolderStore
from cropmask.task import Period
from tests.demo_run import EASTERN, RESOLUTION, Results
from tests.postgres import Cluster, needs_postgres, run_postgres
from tests.servers import serve_app
from tests.years import PERIOD, PLACE, TILES, YearlyMaps, draw_prob, draw_truth, put_simple_series
from tests.years import PRODUCT as MAPPED

pytest.importorskip("datacube", reason="the group 'datacube' is not installed")
pytestmark = [
    needs_postgres,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),
]

PRODUCT = "crop_mask_eastern"
PRODUCTS = (PRODUCT, "crop_mask_western")
BUCKET = "indexed-by-the-cube"
LOOPBACK = "127.0.0.1"
PIXELS = 96_000 // RESOLUTION


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with run_postgres() as running:
        make_template(running)
        yield running


def make_template(running: Cluster) -> None:
    """An initialized index, to be copied for every test."""
    create_database(running, "empty", "template0")
    with cube(running.url("empty")) as dc:
        dc.index.init_db(with_default_types=True, with_permissions=True)


def create_database(running: Cluster, name: str, template: str) -> None:
    from sqlalchemy import create_engine, text

    engine = create_engine(running.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()


@contextmanager
def cube(url: str) -> Iterator[Any]:
    import datacube

    config = {"default": {"index_driver": "postgres", "db_url": url}}
    dc = datacube.Datacube(raw_config=config, env="default", validate_connection=False)
    try:
        yield dc
    finally:
        dc.close()
        dc.index.close()


class Index:
    """One empty index, and the Open Data Cube's programs on it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, program: str, *words: str) -> str:
        """Run a program as its command line would, without loading datacube once more."""
        from importlib.metadata import entry_points

        (found,) = entry_points(group="console_scripts", name=program)
        # What names a stand-in for GDAL is a wrong address for s3-to-dc.
        variables = {"ODC_DEFAULT_DB_URL": self.url, "AWS_S3_ENDPOINT": None}
        done = CliRunner().invoke(found.load(), list(words), env=variables)
        if done.exception is not None:
            # Else s3-to-dc's thread, which waits for its object to go, keeps this process for ever.
            traceback.clear_frames(done.exception.__traceback__)
        assert done.exit_code == 0, f"{done.exception!r}\n{done.output}"
        return done.output

    def datasets(self) -> dict[str, Any]:
        with cube(self.url) as dc:
            found = dc.index.datasets.search()
            return {str(each.id): each for each in found}

    def load(self, product: str = PRODUCT, **where: Any) -> Any:
        with cube(self.url) as dc:
            return dc.load(product=product, **where)


@pytest.fixture
def index(cluster: Cluster, results: Results, request: pytest.FixtureRequest) -> Index:
    """An index with our product definitions in it."""
    name = f"odc_{abs(hash(request.node.name))}"
    create_database(cluster, name, "empty")
    made = Index(cluster.url(name))
    listed = results.folder.parent / "products.csv"
    rows = (
        f"{product},{results.folder / product / product}.odc-product.yaml" for product in PRODUCTS
    )
    listed.write_text("\n".join(["product,definition", *rows, ""]))
    assert "Added: 2" in made.run("dc-sync-products", str(listed))
    return made


@contextmanager
def stac_api(folder: Path) -> Iterator[str]:
    """`cropmask catalog serve` in a thread."""
    from cropmask.catalog.web import make_api_app

    store = FolderStore(folder)
    with serve_app(make_api_app(Api(store, assets="place"), store)) as url:
        yield url


def ids(results: Results) -> set[str]:
    return {json.loads(path.read_text())["id"] for path in results.items()}


Program = Callable[[Results, Index, list[str]], str]
"""Indexes all results with further options, and says what the program said."""
UPDATE = ["--update-if-exists", "--allow-unsafe"]


def index_from_api(results: Results, index: Index, more: list[str]) -> str:
    with stac_api(results.folder) as address:
        words = ["--catalog-href", address, "--collections", ",".join(PRODUCTS)]
        return index.run("stac-to-dc", "--skip-lineage", *words, *more)


def index_published_items(results: Results, index: Index, more: list[str]) -> str:
    target = FolderStore(results.folder.with_name("published"))
    publish_catalog(FolderStore(results.folder), target, f"file://{results.folder}")
    words = ["--stac", "--skip-lineage", "--glob", "**/*.stac-item.json", str(target.root)]
    return index.run("fs-to-dc", *words, *more)


def index_documents(results: Results, index: Index, more: list[str]) -> str:
    words = ["--skip-lineage", "--glob", "**/*.odc-metadata.yaml", str(results.folder)]
    return index.run("fs-to-dc", *words, *more)


def index_from_bucket(results: Results, index: Index, more: list[str]) -> str:
    client = boto3.client("s3")
    for path in results.folder.rglob("1-1-0/**/*.*"):
        client.upload_file(str(path), BUCKET, f"out/{path.relative_to(results.folder)}")
    words = [f"s3://{BUCKET}/out/**/*.stac-item.json", " ".join(PRODUCTS)]
    return index.run("s3-to-dc", "--stac", "--skip-lineage", *more, *words)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[int]:
    """Port of a stand-in for S3 with an empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        port = server.get_host_and_port()[1]
        with pytest.MonkeyPatch.context() as patch:
            set_bucket(patch, port)
            place = {"LocationConstraint": "af-south-1"}
            boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        yield port
    finally:
        server.stop()


@pytest.fixture
def bucket(stand_in: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket, for boto3 and for GDAL."""
    set_bucket(monkeypatch, stand_in)


def set_bucket(patch: pytest.MonkeyPatch, port: int) -> None:
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "af-south-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_S3_ENDPOINT": f"{LOOPBACK}:{port}",
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }
    for name, value in settings.items():
        patch.setenv(name, value)


@pytest.fixture(scope="module")
def updated(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The results with one tile computed again, by another model."""
    made = results.copied(tmp_path_factory.mktemp("updated") / "results")
    made.run("eastern", EASTERN[0], recipe="boosted", overwrite=True)
    return made


def assert_pixels(index: Index, results: Results) -> None:
    """Two neighbors load as one array that equals their files; the sea beside them is nodata.

    STAC items extend over what is valid, and so does the array: beside it the files are empty.
    """
    wide = index.load()
    left, _, _, top = EASTERN[0].bounds
    column = round((float(wide.x[0]) - RESOLUTION / 2 - left) / RESOLUTION)
    row = round((top - float(wide.y[0]) - RESOLUTION / 2) / RESOLUTION)
    window = slice(row, row + wide.sizes["y"]), slice(column, column + wide.sizes["x"])
    for band in BANDS:
        assert (wide[band.name].dtype, wide[band.name].nodata) == ("uint8", 255)
        files = [tile_file(results, str(tile), band.name) for tile in EASTERN]
        expected = np.concatenate([rasterio.open(file).read(1) for file in files], axis=1)
        np.testing.assert_array_equal(wide[band.name].values[0], expected[window])
        assert (expected[:, -100:] == 255).all()
        assert np.count_nonzero(expected != 255) == np.count_nonzero(expected[window] != 255)
    assert set(np.unique(wide.crop_mask if "crop_mask" in wide else wide["mask"])) == {0, 1, 255}


def assert_gap(index: Index) -> None:
    """A window over a tile that was not mapped reads nodata there."""
    left, bottom, right, _ = EASTERN[0].bounds
    found = index.load(
        measurements=["mask"],
        x=(left, right),
        y=(bottom - 48_000, bottom + 48_000),
        crs="EPSG:6933",
        output_crs="EPSG:6933",
        resolution=(-RESOLUTION, RESOLUTION),
    )
    half = found["mask"].values[0]
    assert (half[half.shape[0] // 2 + 1 :] == 255).all()
    assert not (half[: half.shape[0] // 2 - 1] == 255).all()


def tile_file(results: Results, tile: str, band: str) -> Path:
    (found,) = results.folder.rglob(f"{PRODUCT}_{tile}_*_{band}.tif")
    return found


def runs(index: Index) -> dict[str, tuple[str, Any]]:
    """Run key and time of indexing of every dataset."""
    return {
        identity: (found.metadata_doc["properties"]["cropmask:run_key"], found.indexed_time)
        for identity, found in index.datasets().items()
    }


@pytest.mark.parametrize(
    ("program", "place", "said"),
    [
        (index_from_api, "file:///", ["Added 3 Datasets, failed 0", "skipped 3"]),
        (index_from_bucket, f"s3://{BUCKET}/", ["Added 3 datasets, skipped 0", "skipped 3"]),
        (index_published_items, "file:///", ["", ""]),
        (index_documents, "file:///", ["", ""]),
    ],
    ids=["stac-to-dc", "s3-to-dc", "fs-to-dc --stac", "EO3"],
)
@pytest.mark.usefixtures("bucket")
def test_every_way_adds_once_and_replaces_what_changed(
    index: Index,
    results: Results,
    updated: Results,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: Program,
    place: str,
    said: list[str],
) -> None:
    changing = results.copied(tmp_path / "results")
    assert said[0] in program(changing, index, [])
    first = runs(index)
    assert set(first) == ids(results)
    # A server has ended by now: the index names the results themselves.
    assert all(found.uri.startswith(place) for found in index.datasets().values())
    assert_pixels(index, changing)
    assert_gap(index)

    assert said[1] in program(changing, index, [])
    assert runs(index) == first

    before = index.load(measurements=["prob"])["prob"].values
    shutil.copytree(updated.folder, changing.folder, dirs_exist_ok=True)
    program(changing, index, UPDATE)
    after = runs(index)
    assert set(after) == set(first)
    known = [json.loads(path.read_text()) for path in updated.items()]
    assert {identity: run for identity, (run, _) in after.items()} == {
        item["id"]: item["properties"]["cropmask:run_key"] for item in known
    }
    assert sum(after[identity][0] != first[identity][0] for identity in first) == 1
    # GDAL keeps what it read of an address: by another name of the same place it reads anew.
    monkeypatch.setenv(
        "AWS_S3_ENDPOINT", os.environ["AWS_S3_ENDPOINT"].replace(LOOPBACK, "localhost")
    )
    assert_pixels(index, updated)
    assert (index.load(measurements=["prob"])["prob"].values != before).any()


def test_cropmask_index_counts_what_is_really_there(index, results, updated, tmp_path, monkeypatch):
    changing = results.copied(tmp_path / "results")
    monkeypatch.setenv("ODC_DEFAULT_DB_URL", index.url)
    (first,) = changing.folder.rglob(f"*{EASTERN[0]}*.odc-metadata.yaml")
    index.run("fs-to-dc", "--skip-lineage", "--glob", first.name, str(first.parent))
    shutil.copytree(updated.folder, changing.folder, dirs_exist_ok=True)
    # One that cannot be indexed: the program ends with 0 all the same.
    (broken,) = changing.folder.rglob(f"*{EASTERN[1]}*.odc-metadata.yaml")
    broken.write_text(broken.read_text().replace("measurements:", "measured:"))
    found = index_results(FolderStore(changing.folder), IndexOptions(update=True))
    counts = (found.expected, found.added, found.updated, found.unchanged, found.outdated)
    assert counts == (3, 1, 1, 0, ())
    (missing,) = found.missing
    assert Path(missing).name.startswith(broken.name.removesuffix(".odc-metadata.yaml"))


def test_extra_bands_are_measurements_once_all_tiles_have_them(index, results, tmp_path):
    """A dataset that lacks a measurement of its product would be refused."""
    changing = results.copied(tmp_path / "results")
    store = FolderStore(changing.folder)
    definition = changing.folder / PRODUCT / f"{PRODUCT}.odc-product.yaml"
    plain = definition.read_text()
    changing.run("eastern", EASTERN[0], overwrite=True, bands="+spread,+calibrated")
    build_results(store, changing.models)
    assert definition.read_text() == plain
    index_documents(changing, index, [])
    assert set(index.datasets()) == ids(changing)
    assert_pixels(index, changing)

    changing.run("eastern", EASTERN[1], overwrite=True, bands="+spread")
    build_results(store, changing.models)
    assert "name: spread" in definition.read_text()
    assert "name: calibrated" not in definition.read_text()
    index.run("datacube", "product", "update", "--allow-unsafe", str(definition))
    index_documents(changing, index, UPDATE)
    wide = index.load(measurements=["spread"])
    files = [rasterio.open(tile_file(changing, str(tile), "spread")).read(1) for tile in EASTERN]
    expected = np.concatenate(files, axis=1)
    assert wide["spread"].nodata == 255
    np.testing.assert_array_equal(
        np.unique(wide["spread"].values, return_counts=True)[1][:-1],
        np.unique(expected, return_counts=True)[1][:-1],
    )


def test_a_series_is_loaded_beside_the_maps_that_it_was_made_of(
    cluster: Cluster, yearly: YearlyMaps, tmp_path: Path
) -> None:
    from datacube.utils.masking import make_mask

    made, series = yearly.copied(tmp_path / "results"), MAPPED.series.name
    seasons = Period.parse("2019-07--P6Y")
    put_simple_series(made.store, MAPPED, TILES[0], draw_prob(draw_truth()), seasons)
    build_results(made.store, parquet=False)
    create_database(cluster, "odc_series", "empty")
    index = Index(cluster.url("odc_series"))
    assert "Added: 2" in index.run("dc-sync-products", str(made.folder / "products.csv"))
    with stac_api(made.folder) as address:
        words = ["--catalog-href", address, "--collections", f"{MAPPED.name},{series}"]
        assert "Added 12 Datasets, failed 0" in index.run("stac-to-dc", "--skip-lineage", *words)

    found = index.load(series, time="2021")
    assert set(found.data_vars) == {band.name for band in SERIES_BANDS}
    for band in SERIES_BANDS:
        pixels = found[band.name]
        assert (pixels.dtype, pixels.nodata, pixels.units) == (band.dtype, band.nodata, band.unit)
        name = MAPPED.series.file_name(str(TILES[0]), str(PERIOD), f"_{band.name}.tif")
        expected = rasterio.open(made.folder / PLACE.key(name)).read(1)
        # The item extends over what is valid: there is nothing in the west.
        np.testing.assert_array_equal(pixels.values[0], expected[:, 96:])
        assert (expected[:, :96] == band.nodata).all()
        assert (pixels.values != band.nodata).any()
    gains = make_mask(found["class"], **{"class": "gain"})
    np.testing.assert_array_equal(gains.values, found["class"].values == GAIN)
    assert index.load(series, time="2018").sizes == {}
    changed = index.load(series, measurements=["crop_changed"], time="2024").crop_changed
    assert set(np.unique(changed)) >= {0, 2020, 2024}
    # That of seasons is a second time, and the only one that lasts until 2025.
    assert found.sizes["time"] == 2
    later = index.load(series, measurements=["changed"], time="2025").changed
    assert later.sizes["time"] == 1
    assert later.time.values[0] == found.time.values[1]
    # Only the first tile has a map of the year.
    assert index.load(MAPPED.name, measurements=["mask"], time="2023").sizes["time"] == 1


def test_the_transform_of_older_programs_reads_the_item(results):
    """They know ``proj:epsg`` only, and take an asset for a band if its type says geotiff."""
    from odc.apps.dc_tools._stac import stac_transform

    item = json.loads(results.items()[0].read_text())
    del item["properties"]["proj:code"]
    found = stac_transform(item)
    assert (found["id"], found["crs"]) == (item["id"], "epsg:6933".upper())
    assert found["product"]["name"] == PRODUCT
    grid = found["grids"]["default"]
    assert (grid["shape"], grid["transform"]) == (
        item["properties"]["proj:shape"],
        item["properties"]["proj:transform"],
    )
    for band in BANDS:
        known = found["measurements"][band.name]
        assert known == {"path": item["assets"][band.name]["href"]}
    assert found["properties"]["odc:region_code"] == str(EASTERN[0])
