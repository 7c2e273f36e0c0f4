"""Indexing for real: an Open Data Cube on PostgreSQL, filled by its own programs in every way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
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
from cropmask.catalog.host import open_socket
from cropmask.catalog.index import Recipe, index_results
from cropmask.catalog.publish import publish
from cropmask.io.fetch import ReadOptions
from cropmask.io.store import FolderStore
from cropmask.product import BANDS
from tests.demo_run import EASTERN, RESOLUTION, Results
from tests.postgres import Cluster, needs_postgres, run_postgres

pytest.importorskip("datacube", reason="the group 'datacube' is not installed")
pytestmark = [
    needs_postgres,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("datacube"),
    pytest.mark.filterwarnings("ignore"),
]

PRODUCT = "crop_mask_eastern"
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
        done = CliRunner().invoke(found.load(), list(words), env={"ODC_DEFAULT_DB_URL": self.url})
        assert done.exit_code == 0, done.output
        return done.output

    def datasets(self) -> dict[str, Any]:
        with cube(self.url) as dc:
            found = dc.index.datasets.search()
            return {str(each.id): each for each in found}

    def load(self, **where: Any) -> Any:
        with cube(self.url) as dc:
            return dc.load(product=PRODUCT, **where)


@pytest.fixture
def index(cluster: Cluster, results: Results, request: pytest.FixtureRequest) -> Index:
    """An index with our product definitions in it."""
    name = f"odc_{abs(hash(request.node.name))}"
    create_database(cluster, name, "empty")
    made = Index(cluster.url(name))
    listed = results.folder.parent / "products.csv"
    rows = (
        f"{product},{results.folder / product / product}.odc-product.yaml"
        for product in (PRODUCT, "crop_mask_western")
    )
    listed.write_text("\n".join(["product,definition", *rows, ""]))
    assert "Added: 2" in made.run("dc-sync-products", str(listed))
    return made


@contextmanager
def stac_api(folder: Path) -> Iterator[str]:
    """`cropmask catalog serve` in a thread."""
    import uvicorn

    from cropmask.catalog.web import make_api_app

    store = FolderStore(folder)
    bound = open_socket("127.0.0.1", 0)
    app = make_api_app(Api(store), store, ReadOptions())
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    bound.listen(128)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def ids(results: Results) -> set[str]:
    return {json.loads(path.read_text())["id"] for path in results.items()}


def assert_pixels(index: Index, results: Results) -> None:
    """Two neighbors load as one array that equals their files; the sea beside them is nodata."""
    wide = index.load()
    assert wide.sizes == {"time": 1, "y": PIXELS, "x": 2 * PIXELS}
    for band in BANDS:
        assert (wide[band.name].dtype, wide[band.name].nodata) == ("uint8", 255)
        files = [tile_file(results, str(tile), band.name) for tile in EASTERN]
        expected = np.concatenate([rasterio.open(file).read(1) for file in files], axis=1)
        np.testing.assert_array_equal(wide[band.name].values[0], expected)
        assert (expected[:, -100:] == 255).all()
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


def test_stac_to_dc_reads_what_we_serve(index, results):
    with stac_api(results.folder) as address:
        words = ["--catalog-href", address, "--skip-lineage"]
        words += ["--collections", "crop_mask_eastern,crop_mask_western"]
        assert "Added 3 Datasets, failed 0" in index.run("stac-to-dc", *words)
        assert "Added 0 Datasets, failed 0 Datasets, skipped 3" in index.run("stac-to-dc", *words)
    found = index.datasets()
    assert set(found) == ids(results)
    # The server has ended: the index names the results themselves.
    assert all(each.uri.startswith("file:///") for each in found.values())
    assert_pixels(index, results)
    assert_gap(index)


def test_fs_to_dc_reads_published_items(index, results, tmp_path):
    target = FolderStore(tmp_path / "published")
    publish(FolderStore(results.folder), target, f"file://{results.folder}")
    words = ["--stac", "--skip-lineage", "--glob", "**/*.stac-item.json", str(target.root)]
    index.run("fs-to-dc", *words)
    assert set(index.datasets()) == ids(results)
    index.run("fs-to-dc", *words)
    assert set(index.datasets()) == ids(results)
    assert_pixels(index, results)


def test_eo3_documents_are_indexed_where_they_are(index, results):
    words = ["--skip-lineage", "--glob", "**/*.odc-metadata.yaml", str(results.folder)]
    index.run("fs-to-dc", *words)
    assert set(index.datasets()) == ids(results)
    assert_pixels(index, results)


def test_s3_to_dc_reads_items_with_relative_addresses(index, results, monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        _, port = server.get_host_and_port()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "af-south-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(
            Bucket="indexed", CreateBucketConfiguration={"LocationConstraint": "af-south-1"}
        )
        for path in results.folder.rglob("crop_mask_eastern/1-0-0/**/*.*"):
            client.upload_file(str(path), "indexed", f"out/{path.relative_to(results.folder)}")
        pattern = f"s3://indexed/out/{PRODUCT}/**/*.stac-item.json"
        words = ["--stac", "--skip-lineage", pattern, PRODUCT]
        assert "Added 2 datasets, skipped 0" in index.run("s3-to-dc", *words)
        assert "Added 0 datasets, skipped 2" in index.run("s3-to-dc", *words)
        assert all(d.uri.startswith("s3://indexed/out/") for d in index.datasets().values())
        settings = {
            "AWS_S3_ENDPOINT": f"127.0.0.1:{port}",
            "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        assert_pixels(index, results)
    finally:
        server.stop()


def test_a_tile_computed_again_replaces_the_old_one(index, results, tmp_path):
    changing = results.copied(tmp_path / "results")
    words = ["--skip-lineage", "--glob", "**/*.odc-metadata.yaml", str(changing.folder)]
    index.run("fs-to-dc", *words)
    before = index.load(measurements=["prob"])["prob"].values
    changing.run("eastern", EASTERN[0], recipe="boosted", overwrite=True)
    index.run("fs-to-dc", "--update-if-exists", "--allow-unsafe", *words)
    assert set(index.datasets()) == ids(results)
    after = index.load(measurements=["prob"])["prob"].values
    assert (after[..., :PIXELS] != before[..., :PIXELS]).any()
    np.testing.assert_array_equal(after[..., PIXELS:], before[..., PIXELS:])
    assert_pixels(index, changing)
    (item,) = (
        json.loads(path.read_text()) for path in changing.items() if str(EASTERN[0]) in path.name
    )
    known = index.datasets()[item["id"]].metadata_doc["properties"]["cropmask:run_key"]
    assert known == item["properties"]["cropmask:run_key"]


def test_cropmask_index_counts_what_is_really_there(index, results, tmp_path, monkeypatch):
    changing = results.copied(tmp_path / "results")
    monkeypatch.setenv("ODC_DEFAULT_DB_URL", index.url)
    store = FolderStore(changing.folder)
    # One that cannot be indexed: the program ends with 0 all the same.
    (broken,) = changing.folder.rglob(f"*{EASTERN[1]}*.odc-metadata.yaml")
    text = broken.read_text()
    broken.write_text(text.replace("measurements:", "measured:"))
    first = index_results(store, Recipe())
    assert (first.expected, first.added, first.unchanged) == (3, 2, 0)
    (missing,) = first.missing
    assert Path(missing).name.startswith(broken.name.removesuffix(".odc-metadata.yaml"))
    broken.write_text(text)
    changing.run("eastern", EASTERN[0], recipe="boosted", overwrite=True)
    second = index_results(store, Recipe(update=True))
    assert (second.added, second.updated, second.unchanged) == (1, 1, 1)
    assert (second.missing, second.outdated) == ((), ())


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
