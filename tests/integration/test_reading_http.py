"""A catalog and its rasters over HTTP, from servers that fail in every way they do."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox

from cropmask.core.strips import Strip
from cropmask.errors import Interrupted, Misconfigured, Reason, Rejected
from cropmask.grid import geobox
from cropmask.pixels.layers import open_layers
from cropmask.region.region import Ancillary, Limits
from cropmask.remote import fetch, ranges
from cropmask.remote.fetch import ReadOptions, Verify
from cropmask.remote.ranges import RemoteFiles
from cropmask.sources.search import Sources, find_sources
from tests.servers import Fault, FileServer, serve_files
from tests.worlds import BANDS, TILE, YEAR, World, declare_checksums, make_world

BOX = geobox(TILE)[1000:1260, 2000:2180]
COARSE = geobox(TILE, 60)[165:200, 333:360]
OPTIONS = ReadOptions(retries=1, retry_delay_seconds=0.01, timeout_seconds=5, threads=4)
BLUE = "2019-07--P6M_B02.tif"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("http") / "w", size=(260, 180), offset=(1000, 2000))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose files have more than a head."""
    folder = tmp_path_factory.mktemp("large") / "w"
    return make_world(folder, size=(260, 180), offset=(1000, 2000), block=64)


@pytest.fixture
def server(made: World) -> Iterator[FileServer]:
    with serve_files(made.folder) as running:
        yield running


def over_http(world: World, server: FileServer) -> Ancillary:
    layers = {
        name: f"{server.url}/{Path(path).relative_to(world.folder)}"
        for name, path in world.ancillary.model_dump().items()
    }
    return Ancillary(**layers)


def find(world: World, server: FileServer, options: ReadOptions = OPTIONS) -> Sources:
    catalog = f"{server.url}/catalog.json"
    return find_sources(catalog, TILE, YEAR, over_http(world, server), options=options)


def read(sources: Sources, box: GeoBox = BOX, files: RemoteFiles | None = None) -> Strip:
    boundary = shapely.box(*box.boundingbox.bbox)
    limits = Limits(min_coverage_percent=0)
    with open_layers(sources, box, boundary=boundary, limits=limits, files=files) as layers:
        layers.excluded()
        return next(layers.strips(box.shape.y))


def same(strip: Strip, world: World) -> bool:
    return all(
        np.array_equal(got.reflectance, truth.reflectance)
        and np.array_equal(got.deviation, truth.deviation, equal_nan=True)
        for got, truth in zip((strip.first, strip.second), world.halves, strict=True)
    )


def test_everything_over_http(made: World, server: FileServer):
    sources = find(made, server)
    assert sources.first.bands["blue"].href.startswith(server.url)
    assert same(read(sources), made)
    prints = sources.fingerprint()
    assert all(value.startswith("etag:") for key, value in prints.items() if "/" in key)
    local = find_sources(str(made.catalog), TILE, YEAR, made.ancillary).fingerprint()
    assert prints.keys() == local.keys()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_catalog_that_fails_and_then_works(made: World, server: FileServer, status: int):
    server.faults.append(Fault("stac-item.json", status=status, times=1))
    assert find(made, server).first.item_id


def test_catalog_that_keeps_failing(made: World, server: FileServer):
    server.faults.append(Fault("collection.json", status=503))
    with pytest.raises(Interrupted, match=r"answered 503 for http.*collection\.json"):
        find(made, server)


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (404, Misconfigured, "there is no catalog at"),
        (403, Misconfigured, "access to .* is denied"),
        (401, Misconfigured, "access to .* is denied"),
    ],
)
def test_catalog_that_is_not_for_us(
    made: World, server: FileServer, status: int, error: type[Exception], text: str
):
    server.faults.append(Fault("catalog.json", status=status))
    with pytest.raises(error, match=text):
        find(made, server)


def test_catalog_that_nobody_serves(made: World):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/catalog.json"
        with pytest.raises(Interrupted, match="cannot be reached"):
            find_sources(address, TILE, YEAR, made.ancillary, options=OPTIONS)


@pytest.mark.parametrize("box", [BOX, COARSE], ids=["own grid", "resampled"])
def test_raster_that_fails_and_then_works(made: World, server: FileServer, box):
    sources = find(made, server)
    expected = read(sources, box)
    # More often than a request is made again by itself.
    patient = OPTIONS.retries + 2
    server.faults.append(Fault(BLUE, status=503, times=patient))
    got = read(sources, box)
    assert got.second.reflectance.tobytes() == expected.second.reflectance.tobytes()
    assert server.faults[0].times < patient


CUT = Fault(BLUE, keep_bytes=700, methods=("GET",))


@pytest.mark.parametrize(
    ("box", "fault", "error", "text"),
    [
        (BOX, Fault(BLUE, status=503), Interrupted, BLUE),
        (BOX, Fault(BLUE, status=404), Rejected, f"{BLUE} does not exist"),
        (BOX, Fault(BLUE, status=403), Rejected, f"{BLUE} is denied"),
        (BOX, CUT, Interrupted, f"{BLUE} cannot be read"),
        (COARSE, CUT, Interrupted, f"{BLUE} cannot be read"),
    ],
    ids=["503", "404", "403", "cut", "cut, resampled"],
)
def test_raster_that_keeps_failing(
    made: World, server: FileServer, box, fault: Fault, error: type[Exception], text: str
):
    sources = find(made, server)
    server.faults.append(replace(fault))
    with pytest.raises(error) as raised:
        read(sources, box)
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)
    # And as soon as the server is well, so are we.
    server.faults.clear()
    assert read(sources, box).first.reflectance.any()


def test_failure_in_the_middle_of_reading(
    made: World, server: FileServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ranges, "EDGE_BYTES", 4096)
    sources = find(made, server)
    head = Fault(BLUE, times=1)
    failing = Fault(BLUE, status=500, times=OPTIONS.retries + 2)
    server.faults[:] = [replace(head), failing]
    assert same(read(sources), made)
    assert failing.times == 0
    limits = Limits(min_coverage_percent=0)
    boundary = shapely.box(*BOX.boundingbox.bbox)
    server.faults[:] = [replace(head), Fault(BLUE, status=500)]
    with (
        open_layers(sources, BOX, boundary=boundary, limits=limits) as layers,
        pytest.raises(Interrupted, match="B02"),
    ):
        list(layers.strips(100))


def test_mask_that_fails_is_an_error_and_absent_is_not(made: World, server: FileServer):
    server.faults.append(Fault("water.tif", status=503))
    sources = find(made, server)
    with pytest.raises(Interrupted, match=r"water\.tif"):
        read(sources)
    server.faults[:] = [Fault("water.tif", status=404)]
    boundary, limits = shapely.box(*BOX.boundingbox.bbox), Limits(min_coverage_percent=0)
    with open_layers(sources, BOX, boundary=boundary, limits=limits) as layers:
        assert layers.not_applied == {"water": f"{server.url}/ancillary/water.tif does not exist"}


def test_server_without_etags(made: World, server: FileServer, monkeypatch: pytest.MonkeyPatch):
    from tests import servers

    original = servers._FileHandler.send_header

    def without(self: servers._FileHandler, name: str, value: str) -> None:
        if name != "ETag":
            original(self, name, value)

    monkeypatch.setattr(servers._FileHandler, "send_header", without)
    prints = find(made, server).fingerprint()
    local = find_sources(str(made.catalog), TILE, YEAR, made.ancillary).fingerprint()
    assert prints == local


def needed(world: World, box) -> dict[str, int]:
    """Bytes of the blocks of each band that a box is computed from, by file name."""
    found = {}
    for half in (0, 1):
        for band in BANDS:
            path = world.band_file(half, band)
            with rasterio.open(path) as raster:
                level = {} if box is BOX else {"overview_level": raster.overviews(1).index(4)}
            with rasterio.open(path, **level) as raster:
                height, width = raster.block_shapes[0]
                rows, columns = -(-raster.height // height), -(-raster.width // width)
                found[path.name] = sum(
                    int(raster.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=1))
                    for x in range(columns)
                    for y in range(rows)
                )
    return found


@pytest.mark.parametrize("box", [BOX, COARSE], ids=["own grid", "resampled"])
def test_few_requests_and_no_byte_twice(large: World, monkeypatch: pytest.MonkeyPatch, box: GeoBox):
    """Fingerprint and reading together: what is needed, and the head, in very few requests."""
    monkeypatch.setattr(ranges, "EDGE_BYTES", 2048)
    monkeypatch.setattr(fetch, "EDGE_BYTES", 2048)
    with serve_files(large.folder) as server:
        sources = find(large, server)
        with RemoteFiles() as files:
            sources.fingerprint(files.identify)
            strip = read(sources, box, files)
        local = find_sources(str(large.catalog), TILE, YEAR, large.ancillary)
        assert strip.first.reflectance.tobytes() == read(local, box).first.reflectance.tobytes()
        assert not [path for method, path in server.requests if method != "GET"]
        asked = Counter(Path(path).name for path, _, _ in server.sent)
        sent: Counter[str] = Counter()
        for path, _, number in server.sent:
            sent[Path(path).name] += number
    for name, number in needed(large, box).items():
        assert asked[name] <= (3 if box is BOX else 2)
        assert sent[name] <= 1.02 * (number + 2048)
    assert all(asked[Path(path).name] <= 2 for path in large.ancillary.model_dump().values())


@pytest.fixture
def damaged(large: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world of which only heads come with the first request."""
    monkeypatch.setattr(ranges, "EDGE_BYTES", 4096)
    return large.copied(tmp_path / "w")


def read_checked(world: World, server: FileServer, box: GeoBox = BOX) -> Strip:
    sources = find(world, server)
    boundary, limits = shapely.box(*box.boundingbox.bbox), Limits(min_coverage_percent=0)
    with open_layers(sources, box, boundary=boundary, limits=limits) as layers:
        strip = next(layers.strips(box.shape.y))
        layers.check()
        return strip


def spoil_later(server: FileServer, times: int) -> None:
    """Damage bytes in the middle of what follows the head of a band."""
    server.faults[:] = [Fault(BLUE, times=1), Fault(BLUE, spoil=True, times=times)]


@pytest.mark.parametrize("box", [BOX, COARSE], ids=["own grid", "resampled"])
def test_bytes_damaged_on_the_way_that_no_checksum_tells(damaged: World, box: GeoBox):
    """What GDAL notices is fetched again, and refused if it stays so."""
    with serve_files(damaged.folder) as server:
        expected = read_checked(damaged, server, box)
        spoil_later(server, 1)
        got = read_checked(damaged, server, box)
        assert got.second.reflectance.tobytes() == expected.second.reflectance.tobytes()
        assert server.faults[1].times == 0
        spoil_later(server, 1000)
        with pytest.raises(Rejected, match="though all of it is there") as raised:
            read_checked(damaged, server, box)
        assert raised.value.reason is Reason.UNREADABLE_RASTER


def test_damage_in_a_file_with_a_checksum(damaged: World):
    declare_checksums(damaged)
    with serve_files(damaged.folder) as server:
        assert same(read_checked(damaged, server), damaged)
        spoil_later(server, 1)
        with pytest.raises(Interrupted, match="came damaged, and whole when it was fetched again"):
            read_checked(damaged, server)
        spoil_later(server, 1000)
        with pytest.raises(Rejected, match="is not the file that its item describes") as raised:
            read_checked(damaged, server)
        assert raised.value.reason is Reason.CORRUPT_INPUT


def test_damage_that_gdal_does_not_notice(damaged: World):
    """Overviews are not read here, and still belong to what is compared."""
    declare_checksums(damaged)
    path = damaged.band_file(1, "blue")
    content = bytearray(path.read_bytes())
    with rasterio.open(path, overview_level=0) as raster:
        content[int(raster.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1)) + 99] ^= 1
    path.write_bytes(content)
    with serve_files(damaged.folder) as server:
        with pytest.raises(Rejected, match=f"{BLUE} is not the file"):
            read_checked(damaged, server)
        trusting = replace(OPTIONS, verify=Verify.NONE)
        assert same(read(find(damaged, server, trusting)), damaged)
        # Of a file that is read in part nothing is known, unless it is asked for.
        read(find(damaged, server), COARSE)
        sources = find(damaged, server, replace(OPTIONS, verify=Verify.ALL))
        boundary, limits = shapely.box(*COARSE.boundingbox.bbox), Limits(min_coverage_percent=0)
        with (
            open_layers(sources, COARSE, boundary=boundary, limits=limits) as layers,
            pytest.raises(Rejected, match=f"{BLUE} is not the file"),
        ):
            layers.check()


def test_a_file_that_is_replaced_while_a_tile_is_read(damaged: World):
    with serve_files(damaged.folder) as server:
        sources = find(damaged, server)
        with RemoteFiles() as files:
            sources.fingerprint(files.identify)
            path = damaged.band_file(1, "blue")
            path.write_bytes(damaged.band_file(1, "green").read_bytes())
            with pytest.raises(Interrupted, match="replaced while it was read"):
                read(sources, BOX, files)


def test_a_server_without_ranges(large: World):
    with serve_files(large.folder) as server:
        server.ranges = False
        assert same(read(find(large, server)), large)
        number = sum(path.endswith(".tif") for _, path in server.requests)
        assert number == len({path for _, path in server.requests if path.endswith(".tif")})
