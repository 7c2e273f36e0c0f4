"""Hostile rasters: each ends in one line within its limits, and leads nowhere."""

from __future__ import annotations

import gzip
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS as RasterCrs

from cropmask.errors import CropmaskError, Interrupted, Reason, Rejected
from cropmask.grid import geobox
from cropmask.pixels.layers import open_layers
from cropmask.region.region import Limits
from cropmask.remote.fetch import ReadOptions
from cropmask.remote.limits import ReadLimits
from cropmask.sources.search import find_sources
from tests.security.hostile import Canary, watch_port
from tests.servers import serve_files
from tests.worlds import TILE, YEAR, World, make_world

BOX = geobox(TILE)[1000:1096, 2000:2128]
COARSE = geobox(TILE, 20)[500:548, 1000:1064]
ANY_COVER = Limits(min_coverage_percent=0)
OPTIONS = ReadOptions(retries=0, retry_delay_seconds=0.01, timeout_seconds=5)
LONGEST_SECONDS = 20
MOST_BYTES = 300_000_000
"""Memory that no hostile raster takes: less than a tenth of what the worst one asks for."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("rasters") / "w")


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    return made.copied(tmp_path / "w")


@pytest.fixture
def canary() -> Iterator[Canary]:
    """A server that nothing may speak to."""
    with watch_port() as watched:
        yield watched
        time.sleep(0.05)
        assert watched.connections == 0, f"somebody came and sent {watched.received!r}"


# --- TIFFs byte by byte ---------------------------------------------------------------------------

SHORT, LONG, ASCII, DOUBLE = 3, 4, 2, 12
_SIZES = {SHORT: ("H", 2), LONG: ("I", 4), ASCII: ("B", 1), DOUBLE: ("d", 8)}
Tags = dict[int, tuple[int, tuple[Any, ...]]]


def good_tags(width: int = 128, height: int = 96, block: int = 64) -> Tags:
    """Directory of a tiled uint16 raster that lies where the world's window does."""
    left, top = BOX.transform.c, BOX.transform.f
    return {
        256: (LONG, (width,)),
        257: (LONG, (height,)),
        258: (SHORT, (16,)),
        259: (SHORT, (8,)),
        262: (SHORT, (1,)),
        277: (SHORT, (1,)),
        284: (SHORT, (1,)),
        322: (LONG, (block,)),
        323: (LONG, (block,)),
        339: (SHORT, (1,)),
        33550: (DOUBLE, (10.0, 10.0, 0.0)),
        33922: (DOUBLE, (0.0, 0.0, 0.0, left, top, 0.0)),
        34735: (SHORT, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 6933)),
    }


def make_tiff(
    tags: Tags, blocks: list[bytes], *, lie: Tags | None = None, after: int | None = None
) -> bytes:
    """A TIFF of one directory and blocks; ``lie`` is said instead, the next is at ``after``."""
    said = {**tags, 324: (LONG, (0,) * len(blocks)), 325: (LONG, tuple(map(len, blocks)))}
    said |= lie or {}
    entries = len(said)
    end = 8 + 2 + 12 * entries + 4
    sizes = {tag: _SIZES[kind][1] * len(values) for tag, (kind, values) in said.items()}
    outside = {}
    for tag in sorted(said):
        if sizes[tag] > 4:
            outside[tag] = end
            end += sizes[tag] + sizes[tag] % 2
    if 324 not in (lie or {}):
        at, places = end, []
        for block in blocks:
            places.append(at)
            at += len(block)
        said[324] = (LONG, tuple(places))
    head = struct.pack("<2sHIH", b"II", 42, 8, entries)
    directory, body = b"", b""
    for tag in sorted(said):
        kind, values = said[tag]
        packed = struct.pack(f"<{len(values)}{_SIZES[kind][0]}", *values)
        place = struct.pack("<I", outside[tag]) if tag in outside else packed.ljust(4, b"\0")
        directory += struct.pack("<HHI", tag, kind, len(values)) + place
        if tag in outside:
            body += packed + b"\0" * (len(packed) % 2)
    return head + directory + struct.pack("<I", after or 0) + body + b"".join(blocks)


def packed(count: int = 64 * 64 * 2, value: bytes = b"\1") -> bytes:
    return zlib.compress(value * count, 9)


FOUR = [packed()] * 4


def changed(lie: Tags, blocks: list[bytes] | None = None, **size: int) -> bytes:
    return make_tiff(good_tags(**size), FOUR if blocks is None else blocks, lie=lie)


def bomb(size: int) -> bytes:
    """A stream that unpacks to so many zeros: a megabyte of them, packed once and repeated."""
    engine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    megabyte = engine.compress(bytes(1 << 20)) + engine.flush(zlib.Z_FULL_FLUSH)
    checksum = struct.pack(">HH", size % 65_521, 1)  # Adler-32 of zeros
    return b"\x78\xda" + megabyte * (size >> 20) + engine.flush() + checksum


def long_chain(count: int, *, blocks: bool) -> bytes:
    """A raster, and many directories that lead to each other, at last to the first."""
    first = make_tiff(good_tags(), FOUR)
    tags = [(256, 64), (257, 64), (322, 64), (323, 64), *([(324, 8), (325, 9)] if blocks else [])]
    size = 2 + 12 * len(tags) + 4
    content = bytearray(first + b"\0" * (len(first) % 2))
    at = len(content)
    struct.pack_into("<I", content, 10 + 12 * struct.unpack_from("<H", first, 8)[0], at)
    entries = b"".join(struct.pack("<HHII", tag, LONG, 1, value) for tag, value in tags)
    for number in range(count):
        after = 8 if number == count - 1 else at + (number + 1) * size
        content += struct.pack("<H", len(tags)) + entries + struct.pack("<I", after)
    return bytes(content)


def text_of(words: str) -> bytes:
    return words.encode()


def write_kind(**form: Any) -> Callable[[Path], None]:
    """Writes a real raster of another kind."""

    def write(path: Path) -> None:
        shape = {"width": 128, "height": 96, "count": 1, "dtype": "uint16", "crs": "EPSG:6933"}
        words = {"driver": "GTiff", **shape, "transform": BOX.transform, **form}
        with rasterio.open(path, "w", **words) as raster:
            values = np.ones((words["count"], words["height"], words["width"]), words["dtype"])
            raster.write(values)

    return write


VRT = (
    '<VRTDataset rasterXSize="128" rasterYSize="96"><SRS>EPSG:6933</SRS>'
    f"<GeoTransform>{BOX.transform.c}, 10, 0, {BOX.transform.f}, 0, -10</GeoTransform>%s"
    "</VRTDataset>"
)
BAND = '<VRTRasterBand dataType="UInt16" band="1"%s>%s</VRTRasterBand>'
RAW = VRT % (
    BAND
    % (
        ' subClass="VRTRawRasterBand"',
        '<SourceFilename relativetoVRT="0">/etc/passwd</SourceFilename><ImageOffset>0</ImageOffset>'
        "<PixelOffset>2</PixelOffset><LineOffset>2</LineOffset>",
    )
)


def lends(name: str, more: str = "", relative: int = 1) -> str:
    source = f'<SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>{more}'
    return VRT % (BAND % ("", f"<SimpleSource>{source}<SourceBand>1</SourceBand></SimpleSource>"))


WMS = (
    '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:%d/${z}/${x}/${y}</ServerUrl>'
    "</Service><DataWindow><SizeX>128</SizeX><SizeY>96</SizeY></DataWindow><BandsCount>1</BandsCount>"
    "<Projection>EPSG:6933</Projection></GDAL_WMS>"
)
OVERVIEWS = (
    "<GDALMetadata><Item name='OVERVIEW_FILE' domain='OVERVIEWS'>/vsicurl/http://127.0.0.1:%d/o.tif"
    "</Item></GDALMetadata>\0"
)

Make = bytes | Callable[[Path], None] | Callable[[], bytes]


@dataclass(frozen=True)
class Hostile:
    """A file in the place of a band."""

    name: str
    make: Make
    text: str
    """What its error says, among other things."""
    reason: Reason | None = None
    port: bool = False
    """Whether ``%d`` in it is the canary's port."""
    is_harmless: bool = False
    """Whether it may be read: to nothing, or to pixels that are as good as any."""


NO, BAD, WRONG = Reason.NO_RASTER, Reason.UNREADABLE_RASTER, Reason.WRONG_RASTER
GOOD = make_tiff(good_tags(), FOUR)
HOSTILE = [
    Hostile("text", b"hello world", "is no TIFF, but begins with 'hello world'", NO),
    Hostile("an error page", b"<!DOCTYPE html><h1>503</h1>", "is no TIFF", NO),
    Hostile("nothing", b"", "is empty", NO),
    Hostile("a byte", b"I", "is no TIFF", NO),
    Hostile("zeros", bytes(100_000), "is no TIFF", NO),
    Hostile("a magic number", b"II*\0", "ends within its header", NO),
    *(
        Hostile(f"a header cut at {size}", GOOD[:size], "ends within its header", NO)
        for size in (6, 8, 9, 40, 150, 250)
    ),
    Hostile("a PNG", b"\x89PNG\r\n\x1a\n" + bytes(5000), "is no TIFF", NO),
    Hostile("a PDF", b"%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj", "is no TIFF", NO),
    Hostile("a JPEG", b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(500), "is no TIFF", NO),
    Hostile("a JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(500), "is no TIFF", NO),
    Hostile("a netCDF", b"CDF\x01" + bytes(5000), "is no TIFF", NO),
    Hostile("a HDF5", b"\x89HDF\r\n\x1a\n" + bytes(5000), "is no TIFF", NO),
    Hostile("an ENVI header", b"ENVI\nsamples = 128\nlines = 96\nbands = 1\n", "is no TIFF", NO),
    Hostile("an ASCII grid", b"ncols 2\nnrows 2\ncellsize 1\n1 2 3 4\n", "is no TIFF", NO),
    Hostile("a zip", b"PK\x03\x04" + bytes(500), "is no TIFF", NO),
    Hostile("a packed TIFF", gzip.compress(GOOD), "is no TIFF", NO),
    Hostile("a WMS description", text_of(WMS), "is no TIFF", NO, port=True),
    Hostile("a VRT with a raw band", text_of(RAW), "VRT"),
    Hostile(
        "a VRT of the network",
        text_of(lends("/vsicurl/http://127.0.0.1:%d/a.tif")),
        "VRT",
        port=True,
    ),
    Hostile("a VRT of a bucket", text_of(lends("/vsis3/bucket/key.tif", relative=0)), "VRT"),
    Hostile(
        "a VRT of any file",
        text_of(lends("../../../../../../../../etc/passwd")),
        "outside of the catalog's folder",
    ),
    Hostile("a VRT of itself", text_of(lends("%s")), "VRT"),
    Hostile(
        "a VRT with options",
        text_of(lends("a.tif", "<OpenOptions><OOI key='x'>y</OOI></OpenOptions>")),
        "VRT",
    ),
    Hostile(
        "a VRT that computes",
        text_of(
            VRT
            % (
                BAND
                % (
                    ' subClass="VRTDerivedRasterBand"',
                    "<PixelFunctionLanguage>Python</PixelFunctionLanguage>",
                )
            )
        ),
        "VRT",
    ),
    Hostile(
        "a VRT with entities",
        text_of("<VRTDataset><!DOCTYPE a [<!ENTITY b 'c'>]></VRTDataset>"),
        "VRT",
    ),
    Hostile("a VRT that is none", b"<VRTDataset rasterXSize", "VRT"),
    Hostile("no pixels", changed({256: (LONG, (0,))}), "", None),
    Hostile("blocks without an edge", changed({322: (LONG, (0,))}), "", None),
    Hostile(
        "2 billion columns",
        changed({256: (LONG, (2**31 - 1,)), 257: (LONG, (2**31 - 1,))}),
        "",
        None,
    ),
    Hostile(
        "a block of 8 GB",
        changed(
            {
                322: (LONG, (65_520,)),
                323: (LONG, (65_520,)),
                256: (LONG, (65_520,)),
                257: (LONG, (65_520,)),
            },
            FOUR[:1],
        ),
        "block_bytes",
        Reason.OVER_LIMIT,
    ),
    Hostile("blocks of 2 TB", changed({322: (LONG, (2**20,)), 323: (LONG, (2**20,))}), "", None),
    Hostile(
        "a block that goes on for 2 GB",
        lambda: changed({}, [bomb(2 << 30), *FOUR[1:]]),
        "",
        is_harmless=True,
    ),
    Hostile("a block of nothing", changed({}, [b"", *FOUR[1:]]), "", is_harmless=True),
    Hostile(
        "a block that is no deflate", changed({}, [b"hello" * 99, *FOUR[1:]]), "cannot be read", BAD
    ),
    Hostile(
        "a block that is too short", changed({}, [packed(77), *FOUR[1:]]), "cannot be read", BAD
    ),
    Hostile(
        "blocks beyond the end",
        changed({324: (LONG, (9_000_000,) * 4)}),
        "ends before its last block",
        Reason.TRUNCATED_INPUT,
    ),
    Hostile(
        "blocks of 4 GB",
        changed({325: (LONG, (2**32 - 1,) * 4)}),
        "ends before its last block",
        Reason.TRUNCATED_INPUT,
    ),
    Hostile("blocks in the header", changed({324: (LONG, (8,) * 4)}), "cannot be read", BAD),
    Hostile("fewer blocks than pixels", changed({}, FOUR[:1]), "lists 1 of its 4 blocks", NO),
    Hostile(
        "a directory that leads to itself",
        make_tiff(good_tags(), FOUR, after=8),
        "lead in a circle",
        NO,
    ),
    Hostile("directories without blocks", long_chain(1000, blocks=False), "lists 0 of its 1", NO),
    Hostile("100 000 directories", lambda: long_chain(100_000, blocks=True), "more than", NO),
    Hostile("an unknown compression", changed({259: (SHORT, (65_001,))}), "", BAD),
    Hostile("a predictor that is none", changed({317: (SHORT, (99,))}), "", BAD),
    Hostile("17 bits", changed({258: (SHORT, (17,))}), "", None),
    Hostile(
        "overviews elsewhere", text_of(OVERVIEWS), "overviews in another file", WRONG, port=True
    ),
    Hostile("no grid", changed({33550: (DOUBLE, (0.0, 0.0, 0.0))}), "", Reason.WRONG_CRS),
    Hostile("a grid of NaN", changed({33550: (DOUBLE, (float("nan"), 10.0, 0.0))}), "", None),
    Hostile(
        "pixels of a nanometer",
        changed({33550: (DOUBLE, (1e-9, 1e-9, 0.0))}),
        "",
        is_harmless=True,
    ),
    Hostile(
        "a CRS that is none",
        changed({34735: (SHORT, (1, 1, 0, 1, 3072, 0, 1, 31_999))}),
        "",
        Reason.WRONG_CRS,
    ),
    *(
        Hostile(f"{kind} pixels", write_kind(dtype=kind), kind, WRONG)
        for kind in ("uint8", "int16", "int32", "uint32", "float32", "float64", "complex64")
    ),
    Hostile("eight bands", write_kind(count=8), "8 bands", WRONG),
    Hostile("no CRS", write_kind(crs=None), "no CRS", Reason.WRONG_CRS),
    Hostile("degrees", write_kind(crs="EPSG:4326"), "EPSG:4326", Reason.WRONG_CRS),
    Hostile(
        "a building's CRS",
        write_kind(crs=RasterCrs.from_wkt('LOCAL_CS["x",UNIT["metre",1]]')),
        "",
        Reason.WRONG_CRS,
    ),
    Hostile(
        "a turned grid",
        write_kind(transform=BOX.transform @ Affine.rotation(20)),
        "rotated",
        Reason.WRONG_CRS,
    ),
    Hostile(
        "a single strip of 200 MB",
        write_kind(width=10_000, height=10_000, blockysize=10_000, compress="deflate"),
        "block_bytes",
        Reason.OVER_LIMIT,
    ),
]


def put(hostile: Hostile, path: Path, canary: Canary) -> None:
    """The hostile file in the place of another."""
    path.unlink()
    made = hostile.make
    if callable(made):
        made = made(path) if made.__code__.co_argcount else made()  # type: ignore[call-arg,assignment,attr-defined]
    if isinstance(made, bytes):
        port = str(canary.port).encode()
        content = (
            made.replace(b"%d", port) if hostile.port else made.replace(b"%s", path.name.encode())
        )
        if hostile.name == "overviews elsewhere":
            content = make_tiff(good_tags(), FOUR, lie={42112: (ASCII, tuple(content))})
        path.write_bytes(content)


def read_tile(
    world: World, catalog: str, options: ReadOptions = OPTIONS, box: GeoBox = BOX
) -> NDArray[np.uint16]:
    """Read everything of a small tile, as a job does: its reflectances."""
    base = catalog.rpartition("/")[0]
    layers = {
        name: f"{base}/{Path(path).relative_to(world.folder)}"
        for name, path in world.ancillary.model_dump().items()
    }
    ancillary = world.ancillary.model_copy(update=layers)
    sources = find_sources(catalog, TILE, YEAR, ancillary, options=options)
    boundary = shapely.box(*box.boundingbox.bbox)
    with open_layers(sources, box, boundary=boundary, limits=ANY_COVER) as opened:
        strips = [strip.first.reflectance for strip in opened.strips(50)]
        opened.excluded()
        opened.check()
    return np.concatenate(strips, axis=1)


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) * 1024


def attack(world: World, box: GeoBox, over_http: bool) -> CropmaskError | None:
    """What a hostile world ends in, within its limits."""
    began = time.monotonic()
    forget_peak()
    before = peak()
    error = None
    with serve_files(world.folder) as server:
        catalog = f"{server.url}/catalog.json" if over_http else str(world.catalog)
        try:
            read_tile(world, catalog, box=box)
        except CropmaskError as found:
            error = found
    # A server of these tests holds the file that it sends, in each of its threads.
    allowed = MOST_BYTES + (8 * 30_000_000 if over_http else 0)
    assert peak() - before < allowed, f"{(peak() - before) / 1e6:.0f} MB were taken"
    assert time.monotonic() - began < LONGEST_SECONDS
    return error


@pytest.mark.parametrize("over_http", [False, True], ids=["local", "http"])
@pytest.mark.parametrize("hostile", HOSTILE, ids=[one.name for one in HOSTILE])
@pytest.mark.parametrize("box", [BOX, COARSE], ids=["own grid", "resampled"])
def test_a_hostile_band(
    hostile: Hostile, over_http: bool, box: GeoBox, world: World, canary: Canary
) -> None:
    put(hostile, world.band_file(0, "blue"), canary)
    error = attack(world, box, over_http)
    if hostile.is_harmless:
        assert error is None
        return
    assert error is not None, "it was read"
    assert "B02.tif" in str(error)
    assert "\n" not in str(error)
    assert isinstance(error, Rejected | Interrupted)
    if over_http and "VRT" in hostile.name:
        assert "is no TIFF, but begins with '<VRT" in str(error)
        return
    assert hostile.text in str(error)
    if hostile.reason is not None:
        assert error.reason is hostile.reason


SIDECARS = (".ovr", ".msk", ".aux.xml", ".tfw", ".IMD")


@pytest.mark.parametrize("over_http", [False, True], ids=["local", "http"])
@pytest.mark.parametrize("ending", SIDECARS)
@pytest.mark.parametrize("box", [BOX, COARSE], ids=["own grid", "resampled"])
def test_files_beside_a_raster_are_not_read(
    made: World, world: World, ending: str, over_http: bool, box: GeoBox
) -> None:
    path = world.band_file(0, "blue")
    beside = path.with_suffix(".tfw") if ending == ".tfw" else Path(f"{path}{ending}")
    if ending == ".aux.xml":
        beside.write_text(
            "<PAMDataset><SRS>EPSG:4326</SRS><GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform>"
            "<PAMRasterBand band='1'><NoDataValue>7</NoDataValue><Scale>2</Scale></PAMRasterBand>"
            "</PAMDataset>"
        )
    elif ending == ".tfw":
        beside.write_text("1\n0\n0\n-1\n0\n0\n")
    else:
        with rasterio.open(path) as raster:
            form = {**raster.profile, "driver": "GTiff"}
        with rasterio.open(beside, "w", **form) as other:
            other.write(np.full((1, form["height"], form["width"]), 9, "uint16"))
    with serve_files(world.folder) as server:
        catalog = f"{server.url}/catalog.json" if over_http else str(world.catalog)
        got = read_tile(world, catalog, box=box)
        expected = read_tile(made, str(made.catalog), box=box)
        assert got.tobytes() == expected.tobytes()
        assert not [path for _, path in server.requests if beside.suffix in path]


@pytest.mark.parametrize(
    "href",
    [
        "/vsicurl/http://127.0.0.1:%d/a.tif",
        "/vsicurl_streaming/http://127.0.0.1:%d/a.tif",
        "/vsis3/bucket/a.tif",
        "/vsigzip//vsicurl/http://127.0.0.1:%d/a.tif",
        "/vsizip/a.zip/a.tif",
        "/vsisubfile/0_10,/etc/passwd",
        "/vsimem/a.tif",
        "GTIFF_DIR:1:a.tif",
        "GTIFF_RAW:a.tif",
        'NETCDF:"http://127.0.0.1:%d/a.nc":x',
        "WMS:http://127.0.0.1:%d/wms?SERVICE=WMS",
        "<GDAL_WMS><Service name='TMS'/></GDAL_WMS>",
        "vrt:///vsicurl/http://127.0.0.1:%d/a.tif",
        "MEM:::DATAPOINTER=1,PIXELS=1,LINES=1",
        "/dev/zero",
        "/dev/stdin",
        "/proc/self/mem",
        "pipe",
        "folder",
        "circle",
        "elsewhere.tif",
    ],
)
@pytest.mark.parametrize("over_http", [False, True], ids=["local", "http"])
def test_a_hostile_place(href: str, over_http: bool, world: World, canary: Canary) -> None:
    folder = world.items[0].parent
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "elsewhere.tif").symlink_to("/etc/hostname")
    world.edit_assets(0, B02=href.replace("%d", str(canary.port)))
    error = attack(world, BOX, over_http)
    assert isinstance(error, Rejected)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "form", "words"),
    [
        ("slope", {"dtype": "complex64"}, "complex64"),
        ("water", {"dtype": "complex128"}, "complex128"),
        ("elevation", {"crs": None}, "no CRS"),
        ("rain_first_half", {"step": 0.001}, "held_pixels=100000000"),
        (
            "rain_second_half",
            {"width": 10_000, "height": 10_000, "blockysize": 10_000, "compress": "deflate"},
            "block_bytes",
        ),
        ("water", {"step": 0.0, "crs": "EPSG:6933"}, "grid"),
    ],
)
def test_a_hostile_layer(name: str, form: dict[str, Any], words: str, world: World) -> None:
    path = Path(str(getattr(world.ancillary, name)))
    step = form.pop("step", 600.0)
    left, _, _, top = TILE.bounds
    path.unlink()
    write_kind(**{"dtype": "float32", "transform": Affine(step, 0, left, 0, -step, top), **form})(
        path
    )
    error = attack(world, BOX, over_http=False)
    assert error is not None
    assert words in str(error)
    assert path.name in str(error)


def test_a_limit_says_its_name_its_default_and_how_to_raise_it(world: World) -> None:
    """Blocks of the world have 128 x 128 pixels of up to 4 bytes."""

    def read_with(**limits: int) -> None:
        read_tile(world, str(world.catalog), replace(OPTIONS, limits=ReadLimits(**limits)))

    read_with(block_bytes=65_536, raster_pixels=96 * 128)
    with pytest.raises(Rejected) as raised:
        read_with(block_bytes=65_535)
    assert "a block of" in str(raised.value)
    assert "exceeds the limit block_bytes=65535" in str(raised.value)
    assert "CROPMASK_LIMITS=block_bytes=131070" in str(raised.value)
    with pytest.raises(Rejected, match=f"raster_pixels={96 * 128 - 1}"):
        read_with(raster_pixels=96 * 128 - 1)
