"""Items whose fields are odd, wrong or hostile: read right, or refused in one line."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cropmask.core.cropmap import Statistics
from cropmask.errors import MAX_MESSAGE, Rejected
from cropmask.grid import geobox
from cropmask.modelfile.model import read_model
from cropmask.pixels.layers import open_layers
from cropmask.pixels.verify import verify_files
from cropmask.region.region import load_region
from cropmask.site.site import Site, open_site
from cropmask.sources.attribution import find_attribution
from cropmask.sources.bands import MAX_ID
from cropmask.stac.facts import ASSET_SUFFIXES, FileFacts, encode_json
from cropmask.stac.item import make_item
from cropmask.task import Task
from cropmask.tile.itemfacts import make_facts
from cropmask.tile.job import prepare
from tests.worlds import World, make_world

Document = dict[str, Any]
Edit = Callable[[Document], object]
BOX = (slice(1000, 1008), slice(2000, 2008))
DEEP = "@deep@"
"""Stands for lists within lists, which Python's own writer cannot write."""
NESTED = 900
"""As deep as Python's reader of JSON goes."""
MEGABYTES = "\u00e9 \u0661" * 3_000_000
HUGE = 10**400


@dataclass(frozen=True)
class Chain:
    """A world and the region that maps it: from an item to the pixels and to the item made."""

    world: World
    region: Path
    site: Site

    def run(self) -> tuple[NDArray[Any], str]:
        """Pixels of the first half-year, and the text of the item that would be written."""
        job = prepare(Task(self.world.tile, str(self.region), self.world.period), self.site)
        verify_files(job.sources.bands, self.site.read)
        box = geobox(self.world.tile, 10)[BOX]
        limits = job.basis.region.limits
        with open_layers(job.sources, box, boundary=job.basis.boundary, limits=limits) as layers:
            strip = next(layers.strips(8))
            layers.excluded()
        figures = Statistics(
            **dict.fromkeys(Statistics.__dataclass_fields__.keys() - {"extras"}, 1.0)
        )
        attribution = job.basis.region.attribution.over(find_attribution(job.sources))
        facts = make_facts(
            job, read_model(job.basis.model.file), figures, layers.not_applied, attribution
        )
        files = {
            key: FileFacts(facts.file_name(key), 1, "0" * 64, "0" * 40) for key in ASSET_SUFFIXES
        }
        pixels = np.concatenate([strip.first.reflectance, strip.first.deviation])
        return pixels, encode_json(make_item(facts, files))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("items") / "world", size=(8, 8))


def make_chain(world: World, folder: Path) -> Chain:
    model = load_region("northern").model("forest")
    region = folder / "region.toml"
    layers = {**world.ancillary.model_dump(exclude_none=True)}
    lines = [
        'name = "hostile"',
        'title = "Hostile"',
        'version = "1.0.0"',
        'boundary = "boundary.geojson"',
        "[models.forest]",
        f'file = "{model.file}"',
        f'sha256 = "{model.sha256}"',
        "[limits]",
        "min_coverage_percent = 0.0",
        "[ancillary]",
        *(f'{name} = "{path}"' for name, path in layers.items() if name != "water"),
        'water = { collection = "water", asset = "frequency" }',
    ]
    region.write_text("\n".join(lines))
    left, bottom, right, top = world.tile.bounds
    ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
    crs = {"type": "name", "properties": {"name": "EPSG:6933"}}
    boundary = {"type": "Polygon", "coordinates": [ring], "crs": crs}
    (folder / "boundary.geojson").write_text(json.dumps(boundary))
    places = {"catalog": str(world.folder), "output": str(folder / "out")}
    # Who raises the limits still meets no traceback.
    environ = {"CROPMASK_LIMITS": "nesting=5000,document_bytes=100000000"}
    return Chain(world, region, open_site(environ, places))


@pytest.fixture
def chain(made: World, tmp_path: Path) -> Chain:
    world = made.copied(tmp_path / "world")
    document = json.loads(world.items[0].read_text())
    asset = {"href": str(world.ancillary.water), "raster:bands": [{"nodata": "nan"}]}
    document |= {"id": "water", "collection": "water", "assets": {"frequency": asset}}
    (world.folder / "water.json").write_text(json.dumps(document))
    return make_chain(world, tmp_path)


@pytest.fixture(scope="module")
def reference(made: World, tmp_path_factory: pytest.TempPathFactory) -> NDArray[Any]:
    pixels, _ = make_chain(made, tmp_path_factory.mktemp("reference")).run()
    assert (pixels > 0).any()
    return pixels


def blue(**fields: Any) -> Edit:
    """Change fields of an asset; ``__`` stands for a colon."""
    named = {name.replace("__", ":"): value for name, value in fields.items()}
    return lambda item: item["assets"]["B02"].update(named)


def raster(**fields: Any) -> Edit:
    return lambda item: item["assets"]["B02"]["raster:bands"][0].update(fields)


def property_(**fields: Any) -> Edit:
    named = {name.replace("__", ":"): value for name, value in fields.items()}
    return lambda item: item["properties"].update(named)


def root(**fields: Any) -> Edit:
    return lambda item: item.update(fields)


def by_grid(**fields: Any) -> Edit:
    """The same where the item does not say its tile, so that its place counts."""

    def edit(item: Document) -> None:
        del item["properties"]["odc:region_code"]
        for name, value in fields.items():
            (item if name == "bbox" else item["properties"]).update(
                {name.replace("__", ":"): value}
            )

    return edit


def drop_keys(item: Document) -> None:
    item["assets"] = {f"a{n}": asset for n, asset in enumerate(item["assets"].values())}
    for asset in item["assets"].values():
        asset["eo:bands"] = [{"common_name": "blue"}]


def add_assets(item: Document) -> None:
    item["assets"].update({f"x{n}": {"href": "y", "bands": [{}]} for n in range(5000)})


def add_wild_assets(item: Document) -> None:
    item["assets"].update({"\u202eB02": {}, "../../etc/passwd": {}, "\n": {}, "": {"bands": 1}})


NO_GEOMAD = "no GeoMAD for January to June 2019"
UNDATED = NO_GEOMAD + ".* this tile has 2019-07--P6M, and .*, whose dates cannot be read"

ACCEPTED: dict[str, Edit] = {
    "bands that are a text": blue(bands="red"),
    "bands that are texts": blue(bands=["red", "nir"]),
    "bands that are null": blue(bands=None, eo__bands=None),
    "bands that are an object": blue(bands={"name": "red"}),
    "bands within bands": blue(bands=[[{"name": "red"}]]),
    "bands nested deeply": blue(bands=DEEP),
    "raster:bands that are a number": blue(raster__bands=5),
    "raster:bands nested deeply": blue(raster__bands=[{"nodata": None, "histogram": DEEP}]),
    "a band name that is an object": blue(eo__bands=[{"name": {"name": "red"}}]),
    "a band name nested deeply": blue(eo__bands=[{"name": DEEP, "common_name": DEEP}]),
    "a band name of megabytes": blue(eo__bands=[{"name": MEGABYTES}]),
    "nodata of infinity": raster(nodata=math.inf),
    "nodata that no pixel can have": raster(nodata=-9999),
    "nodata of half a number": raster(nodata=0.5),
    "nodata beyond the type": raster(nodata=65_536),
    "nodata of NaN as text": raster(nodata="NaN"),
    "nodata of minus infinity as text": raster(nodata="-inf"),
    "nodata as text with spaces": raster(nodata=" 0 "),
    "nodata as a word for nothing": raster(nodata="None"),
    "a data type in capitals": raster(data_type="UINT16"),
    "a data type that is empty": raster(data_type=""),
    "a scale that is empty": raster(scale=""),
    "a scale that is as we have it": raster(scale="1e-4", offset=-0.0),
    "file:size below zero": blue(file__size=-1),
    "file:size with a fraction": blue(file__size=2.5),
    "file:size that is true": blue(file__size=True),
    "file:size nested deeply": blue(file__size=DEEP),
    "a checksum that is a list": blue(file__checksum=["1220"]),
    "a checksum nested deeply": blue(file__checksum=DEEP),
    "a checksum of an unknown kind": blue(file__checksum="zz"),
    "a checksum cut short": blue(file__checksum="1220abcd"),
    "a checksum of megabytes": blue(file__checksum=MEGABYTES),
    "5000 more assets": add_assets,
    "assets of wild keys": add_wild_assets,
    "an id that looks like a path": root(id="../../../../etc/passwd"),
    "an id of emoji": root(id="\U0001f33e" * 20),
    "a title of megabytes": property_(title=MEGABYTES),
    "a title that drives a terminal": property_(title="\x1b[2J\x1b]0;hello\x07"),
    "a title with direction marks": property_(title="GeoMAD \u202egnp.exe"),
    "a title that is an object": property_(title={"a": 1}),
    "a title of half a character": property_(title="\ud800"),
    "a datetime that is a list": property_(datetime=[1]),
    "a transform of NaN beside the tile's code": property_(proj__transform=[math.nan] * 6),
    "a shape of another kind beside the tile's code": property_(proj__shape={"rows": 8}),
    "a box of texts beside the tile's code": root(bbox=["w", "s", "e", "n"]),
    "a geometry that is a text": root(geometry="POINT (0 0)"),
    "a geometry nested deeply": root(geometry={"type": "Polygon", "coordinates": DEEP}),
    "a code that is a list, and a grid": property_(odc__region_code=["x215y075"]),
    "a code that is a number, and a grid": property_(odc__region_code=215_075),
    "a code of megabytes of digits, and a grid": property_(odc__region_code="x" + "1" * 3_000_000),
    "an EPSG code as text": property_(proj__epsg="6933"),
    "an EPSG code with a fraction": property_(proj__epsg=6933.0),
    "a CRS in small letters": property_(proj__code="epsg:6933"),
    "links that are a text": root(links="self"),
    "links nested deeply": root(links=DEEP),
    "links of wrong types": root(links=[["self"], {"rel": ["self"], "href": 5}, {"rel": DEEP}]),
    "a relation that is a list": root(links=[{"rel": ["self"], "href": "./other.json"}]),
    "created that is a number": property_(created=20_210_615),
    "created in another notation": property_(created="20210615T05"),
    "created before time": property_(created="0001-01-01T00:00:00+14:00"),
    "created nested deeply": property_(created=DEEP, updated=DEEP),
    "deprecated in another type": property_(deprecated=DEEP),
    "a version of megabytes of digits": property_(odc__dataset_version="9" * 3_000_000),
    "a version nested deeply": property_(odc__dataset_version=DEEP, version=DEEP),
    "a producer that is an object": property_(odc__producer={}),
    "a product that is an object": property_(odc__product={}),
    "a collection that is a list": root(collection=["gm_s2_semiannual"]),
    "a platform nested deeply": property_(platform=DEEP, instruments=DEEP),
    "a version of STAC that is a number": root(stac_version=1.1),
    "extensions that are null": root(stac_extensions=None),
    "properties of megabytes beside": property_(note=MEGABYTES),
}
"""What says nothing that is read, or says it in another way."""

REFUSED: dict[str, tuple[Edit, str]] = {
    "nodata that is an object": (raster(nodata={"value": 0}), "nodata 'a dict', which is none"),
    "nodata that is a list": (raster(nodata=[0]), "nodata 'a list', which is none"),
    "nodata nested deeply": (raster(nodata=DEEP), "nodata 'a list', which is none"),
    "nodata that is true": (raster(nodata=True), "nodata 'True', which is none"),
    "nodata of 400 digits": (raster(nodata=HUGE), "which is none"),
    "nodata in hexadecimal": (raster(nodata="0x10"), "nodata '0x10', which is none"),
    "nodata in digits of other scripts": (raster(nodata="\u0661\u0662"), "which is none"),
    "nodata of megabytes": (raster(nodata="9" * 3_000_000), "which is none"),
    "nodata that drives a terminal": (raster(nodata="\x1b[2J"), r"nodata '\?\[2J'"),
    "a data type that is a number": (raster(data_type=16), "data type '16', which is none"),
    "a data type that is an object": (raster(data_type={}), "data type 'a dict', which is none"),
    "a data type that is another": (raster(data_type="complex64"), "it holds complex64, where"),
    "a data type with direction marks": (raster(data_type="uint16\u202e"), r"holds uint16\?"),
    "a scale of zero": (raster(scale=0), "cannot have scale 0"),
    "a scale below zero": (raster(scale=-1e-4), "cannot have scale -0.0001"),
    "a scale of infinity": (raster(scale=math.inf), "cannot have scale inf"),
    "a scale of infinity as text": (raster(scale="inf"), "cannot have scale inf"),
    "a scale of NaN": (raster(scale=math.nan), "cannot have scale nan"),
    "a scale beyond all": (raster(scale=1e308), "cannot have scale 1e"),
    "a scale of 400 digits": (raster(scale=HUGE), "which is none"),
    "a scale below the least float": (raster(scale=5e-324), "cannot have scale"),
    "a scale that is an object": (raster(scale={}), "scale 'a dict', which is none"),
    "a scale that is true": (raster(scale=True), "scale 'True', which is none"),
    "an offset beyond all": (raster(scale=1e-4, offset=-1e308), "and offset -1e"),
    "an offset of NaN": (raster(scale=1e-4, offset=math.nan), "and offset nan"),
    "an offset in digits": (raster(scale=1e-4, offset=-1000), "would be reflectances from -1000"),
    "an offset with a minus sign of print": (raster(offset="\u22120.1"), "which is none"),
    "two scales": (blue(bands=[{"raster:scale": 1e-3, "scale": 1e-4}]), "scale 0.0001 and 0.001"),
    "two bands in one asset": (blue(bands=[{}, {"name": "red"}]), "it has 2 bands"),
    "a band that says it is another": (blue(eo__bands=[{"name": "red"}]), r"B02 \(red\)"),
    "twelve times the same band": (drop_keys, "12 assets for band 'blue'"),
    "assets that are a list": (root(assets=[{"B02": {}}]), "its assets are none"),
    "assets that are null": (root(assets=None), "its assets are none"),
    "assets nested deeply": (root(assets=DEEP), "its assets are none"),
    "an asset that is a text": (lambda it: it["assets"].update(B02="x.tif"), "no band 'blue'"),
    "an href that is a number": (blue(href=5), "has no href"),
    "an href that is a list": (blue(href=["a.tif"]), "has no href"),
    "an href nested deeply": (blue(href=DEEP), "has no href"),
    "an href that is empty": (blue(href=""), "has no href"),
    "an href that is a folder": (blue(href="."), "."),
    "an href of megabytes": (blue(href="a" * 3_000_000), "."),
    "a checksum of another file": (blue(file__checksum="1220" + "0" * 64), "is not the file"),
    "file:size of another file": (blue(file__size=5), "its item says 5"),
    "file:size beyond all": (blue(file__size=10**30), "file:size"),
    "file:size of 400 digits": (blue(file__size=HUGE), "file:size"),
    "no id": (root(id=None), "has no id"),
    "an id that is a number": (root(id=5), "has no id"),
    "an id that is a list": (root(id=["a"]), "has no id"),
    "an id nested deeply": (root(id=DEEP), "has no id"),
    "an empty id": (root(id=""), "has no id"),
    "an id of two lines": (root(id="a\nb"), "has no id"),
    "an id with direction marks": (root(id="a\u202eb"), "has no id"),
    "an id of half a character": (root(id="\ud800"), "has no id"),
    "an id of megabytes": (root(id="a" * 3_000_000), f"it may have {MAX_ID:,}"),
    "properties that are null": (root(properties=None), NO_GEOMAD),
    "properties that are a list": (root(properties=[]), NO_GEOMAD),
    "properties nested deeply": (root(properties=DEEP), NO_GEOMAD),
    "a start in the year 0": (property_(start_datetime="0000-01-01T00:00:00Z"), UNDATED),
    "an end in the year 99999": (property_(end_datetime="99999-01-01T00:00:00Z"), UNDATED),
    "an interval reversed": (
        property_(start_datetime="2019-06-30T00:00:00Z", end_datetime="2019-01-01T00:00:00Z"),
        UNDATED,
    ),
    "dates that are numbers": (
        property_(start_datetime=2019, end_datetime=2019, datetime=2019),
        NO_GEOMAD,
    ),
    "dates nested deeply": (
        property_(start_datetime=DEEP, end_datetime=DEEP, datetime=DEEP),
        NO_GEOMAD,
    ),
    "a zone of 99 hours": (property_(start_datetime="2019-01-01T00:00:00+99:00"), UNDATED),
    "a transform of NaN": (by_grid(proj__transform=[math.nan] * 6, bbox=None), NO_GEOMAD),
    "a transform of texts": (by_grid(proj__transform=list("abcdef"), bbox=None), NO_GEOMAD),
    "a transform of lists": (by_grid(proj__transform=[[1]] * 6, bbox=None), NO_GEOMAD),
    "a transform nested deeply": (by_grid(proj__transform=DEEP, bbox=None), NO_GEOMAD),
    "a transform of 400 digits": (by_grid(proj__transform=[HUGE] * 6, bbox=None), NO_GEOMAD),
    "a shape below zero": (by_grid(proj__shape=[-(10**9), -(10**9)], bbox=None), NO_GEOMAD),
    "a shape of 400 digits": (by_grid(proj__shape=[HUGE, HUGE], bbox=None), NO_GEOMAD),
    "a shape that is empty": (by_grid(proj__shape=[], bbox=None), NO_GEOMAD),
    "a box of texts": (by_grid(proj__shape=None, bbox=["w", "s", "e", "n"]), NO_GEOMAD),
    "a box of infinity": (by_grid(proj__shape=None, bbox=[-math.inf, 0, math.inf, 1]), NO_GEOMAD),
    "a box of NaN": (by_grid(proj__shape=None, bbox=[math.nan] * 4), NO_GEOMAD),
    "a box of 400 digits": (by_grid(proj__shape=None, bbox=[HUGE] * 4), NO_GEOMAD),
    "a box nested deeply": (by_grid(proj__shape=None, bbox=DEEP), NO_GEOMAD),
    "a code of another tile": (property_(odc__region_code="x1y1"), NO_GEOMAD),
    "a CRS that is an object": (property_(proj__code={"id": 6933}), "is in A DICT"),
    "a CRS nested deeply": (property_(proj__epsg=DEEP), "is in EPSG:a list"),
    "an EPSG code that is true": (property_(proj__epsg=True), "is in EPSG:True"),
    "an EPSG code of 400 digits": (property_(proj__epsg=HUGE), "is in EPSG:1000"),
    "another CRS of an asset": (blue(proj__epsg=32_633), "is in EPSG:32633"),
    "a type that is none": (root(type="feature"), NO_GEOMAD),
    "a type that is a list": (root(type=["Feature"]), NO_GEOMAD),
    "another collection": (root(collection="other"), NO_GEOMAD),
}
"""What contradicts what is read, with words of the one line that says so."""


def write(path: Path, document: object) -> None:
    text = json.dumps(document)
    path.write_text(text.replace(f'"{DEEP}"', "[" * NESTED + "]" * NESTED))


def check_refused(chain: Chain, words: str) -> None:
    with pytest.raises(Rejected, match=words) as error:
        chain.run()
    text = str(error.value)
    assert text.isprintable()
    assert len(text) <= MAX_MESSAGE + 10


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_odd_item_gives_the_same_pixels(
    chain: Chain, reference: NDArray[Any], name: str
) -> None:
    path = chain.world.items[0]
    document = json.loads(path.read_text())
    ACCEPTED[name](document)
    write(path, document)
    pixels, text = chain.run()
    np.testing.assert_array_equal(pixels, reference)
    assert len(text) < 50_000
    written = json.loads(text)
    for link in written["links"]:
        assert str(link.get("title", "")).isprintable()
    assert written["properties"]["created"] in ("2019-12-31T23:59:59Z", "2021-06-15T05:00:00Z")


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_item_is_refused_in_one_line(chain: Chain, name: str) -> None:
    edit, words = REFUSED[name]
    path = chain.world.items[0]
    document = json.loads(path.read_text())
    edit(document)
    write(path, document)
    check_refused(chain, words)


TEXTS: dict[str, tuple[Callable[[bytes], bytes], str | None]] = {
    "a list": (lambda _: b"[]", "is no STAC document"),
    "a number": (lambda _: b"5", "is no STAC document"),
    "nothing": (lambda _: b"", "is not JSON"),
    "a text that is cut short": (lambda text: text[: len(text) // 2], "is not JSON"),
    "bytes of no text": (lambda text: text + b"\xff\xfe\xfa", "is not JSON"),
    "lists without end": (lambda _: b"[" * 200_000, "is not JSON|nest|deep"),
    "a number of 10 000 digits": (
        lambda text: text.replace(b'"links": []', b'"links": ' + b"1" * 10_000),
        "is not JSON",
    ),
    "the same name twice": (lambda text: text.replace(b'{"type"', b'{"id": 5, "type"', 1), None),
    "a mark of the order of bytes": (lambda text: b"\xef\xbb\xbf" + text, None),
    "UTF-16": (lambda text: text.decode().encode("utf-16"), None),
    "bare numbers that JSON has not": (
        lambda text: text.replace(b'"links": []', b'"x": [NaN, -Infinity, 1e999], "links": []'),
        None,
    ),
    "features of wrong types": (
        lambda text: (
            b'{"type": "FeatureCollection", "features": [null, 5, [], {"type": 5}, '
            + text.replace(b'"href": "./', b'"href": "./')
            + b"]}"
        ),
        None,
    ),
    "features that are no list": (
        lambda text: b'{"type": "FeatureCollection", "features": ' + text + b"}",
        NO_GEOMAD,
    ),
}
"""Files in an item's place, and words of the refusal; None where the item is read."""


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_in_an_items_place(chain: Chain, reference: NDArray[Any], name: str) -> None:
    change, words = TEXTS[name]
    path = chain.world.items[0]
    path.write_bytes(change(path.read_bytes()))
    if words is not None:
        check_refused(chain, words)
        return
    pixels, _ = chain.run()
    np.testing.assert_array_equal(pixels, reference)


LAYERS: dict[str, tuple[Edit, str]] = {
    "assets that are a list": (root(assets=[1]), "has no asset 'frequency'"),
    "an asset of another name": (root(assets={"x": {"href": "a.tif"}}), "has no asset 'frequency'"),
    "an href that is an object": (root(assets={"frequency": {"href": {}}}), "has no asset"),
    "nodata that is an object": (
        lambda it: it["assets"]["frequency"].update(nodata={}, **{"raster:bands": None}),
        "which is none",
    ),
    "a scale of zero": (
        lambda it: it["assets"]["frequency"].update(scale=0),
        "cannot have scale 0",
    ),
    "a scale of infinity": (
        lambda it: it["assets"]["frequency"].update(scale="inf"),
        "cannot have scale inf",
    ),
    "two names": (
        root(
            assets={
                "a": {"href": "a.tif", "bands": [{"name": "frequency"}]},
                "b": {"href": "b.tif", "bands": [{"name": "frequency"}]},
            }
        ),
        "has 2 assets for band 'frequency'",
    ),
}
"""Items of a layer beside GeoMAD."""


@pytest.mark.parametrize("name", LAYERS)
def test_a_hostile_item_of_a_layer_is_the_tasks_fault(chain: Chain, name: str) -> None:
    edit, words = LAYERS[name]
    path = chain.world.folder / "water.json"
    document = json.loads(path.read_text())
    edit(document)
    write(path, document)
    check_refused(chain, words)


def test_versions_of_hostile_items_are_told_in_short_lines(
    chain: Chain, reference: NDArray[Any]
) -> None:
    path = chain.world.items[0]
    document = json.loads(path.read_text())
    other = copy.deepcopy(document)
    other["id"] = "\u202e" + "a" * 3_000_000
    other["properties"]["version"] = "0\n" + MEGABYTES
    other["properties"]["deprecated"] = True
    write(path.parent / "other.json", other)
    pixels, text = chain.run()
    np.testing.assert_array_equal(pixels, reference)
    (words,) = json.loads(text)["properties"]["cropmask:input_versions"]["first"]["passed_over"]
    assert words.isprintable()
    assert len(words) < 320


def test_a_checksum_that_is_right_is_compared(chain: Chain, reference: NDArray[Any]) -> None:
    path = chain.world.items[0]
    document = json.loads(path.read_text())
    content = chain.world.band_file(0, "blue").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    document["assets"]["B02"].update({"file:checksum": f"1220{digest}", "file:size": len(content)})
    write(path, document)
    np.testing.assert_array_equal(chain.run()[0], reference)
