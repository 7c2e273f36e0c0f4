"""A folder that any web server, a bucket or a disk holds: the maps of a region on one page."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import shapely
from pyproj import Transformer

from cropmask.catalog.mappage import (
    CONFIG_FILE,
    LICENSES,
    MAP_MARK,
    make_licenses,
    make_map_page,
)
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.grid import CRS, RESOLUTIONS, WEB_RESOLUTIONS, Tile
from cropmask.machine.stages import Progress
from cropmask.operate.mosaic import MosaicGrid, make_grid, write_mosaic
from cropmask.product import ALL_BANDS, FILTERED, NODATA_TITLE, Band, Product, hex_color
from cropmask.remote.fetch import ReadOptions
from cropmask.results.finder import (
    Dataset,
    find_collection,
    find_datasets,
    find_products,
    is_synthetic,
)
from cropmask.results.webtiles import deepest_zoom, write_tiles
from cropmask.stac.collection import title_of_region
from cropmask.stac.facts import Document, encode_json, mark_title, suffix_of
from cropmask.stac.item import parse_item
from cropmask.store.protocol import Store, store_place
from cropmask.task import Period

MAX_WEB_PIXELS: Final = 16_384
"""Pixels of the longest edge of a web map, if no pixel size is asked for."""
MAX_OFFLINE_BYTES: Final = 64 << 20
"""Archives of a web map that are within one page for a disk as well."""
INDEX: Final = "index.html"
OFFLINE: Final = "offline.html"
_PMTILES_TYPE: Final = "application/vnd.pmtiles"
_STEPS: Final = 5
"""Colors of a ramp in the legend, about."""


@dataclass(frozen=True, slots=True)
class ReportedDistricts:
    """Cropland by district of a year, as a report has it."""

    year: str
    """The period in words."""
    level: float
    """Confidence of the intervals."""
    districts: tuple[Document, ...]
    """Name, estimate, low and high, in hectares; null where there are too few points."""


@dataclass(frozen=True, slots=True)
class WebMap:
    """What was made."""

    place: str
    product: str
    years: tuple[str, ...]
    layers: tuple[str, ...]
    meters: int
    """Pixel size."""
    tiles: int
    """Web tiles in all archives."""
    archive_bytes: int
    """Size of all archives."""
    offline: bool
    """Whether there is a page for a disk."""
    unreadable: tuple[Tile, ...]
    """Finished tiles that could not be read; they are left out."""


def find_web_product(store: Store, region: str | None) -> Product:
    """The product of a region in its newest version; of the only region, if none is named.

    Raises
    ------
    Rejected
        If there is none, or if there are several and no region is named.
    """
    found = {product.region: product for product in find_products(store)}
    if region is None and len(found) > 1:
        raise Rejected(
            f"{store_place(store)} holds {len(found)} regions: name one of them with --region: "
            f"{', '.join(sorted(found))}",
            reason=Reason.BAD_VALUE,
        )
    name = region or next(iter(found), None)
    if name not in found:
        which = f"of {region} " if region else ""
        raise Rejected(
            f"{store_place(store)} has no result {which}to show", reason=Reason.NO_RESULTS
        )
    return found[name]


def parse_districts(path: Path) -> ReportedDistricts:
    """Numbers of districts in the JSON of ``cropmask report``.

    Raises
    ------
    Misconfigured
        If the file cannot be read, or is something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["mark"] != "cropmask report":
            raise KeyError("mark")
        lines = tuple(
            {"name": str(line["name"]), **{key: _number(line["hectares"][key]) for key in _RANGE}}
            for line in document["districts"]
        )
        year = Period.parse(str(document["origin"]["period"])).words
        return ReportedDistricts(year, float(document["level"]), lines)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, RecursionError, Rejected):
        raise Misconfigured(
            f"{path} is no file of 'cropmask report': give the .json beside its page",
            reason=Reason.BAD_VALUE,
        ) from None


_RANGE: Final = ("estimate", "low", "high")


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]


def make_web(
    store: Store,
    output: Store,
    product: Product,
    library: Path,
    *,
    reports: Sequence[ReportedDistricts] = (),
    meters: int | None = None,
    options: ReadOptions | None = None,
    progress: Progress,
) -> WebMap:
    """Write the page, and an archive of tiles for each layer and year.

    Few tiles are in memory at the same time; the page is written last.

    Parameters
    ----------
    store
        Results, of which overviews are read where pixels are larger.
    output
        Where to write.
    library
        Folder of :func:`~cropmask.catalog.mappage.ensure_map_library`.
    reports
        Numbers of districts to show beside the map.
    meters
        Pixel size, one of :data:`~cropmask.grid.WEB_RESOLUTIONS`; by default the finest of at most
        :data:`MAX_WEB_PIXELS` pixels an edge, and none finer than the results.

    Raises
    ------
    Rejected
        If no tile is finished.
    Misconfigured, Interrupted
        If results cannot be read, or the folder cannot be written.
    """
    _refuse_other_page(output)
    datasets = [each for each in find_datasets(store, product) if each.is_finished]
    if not datasets:
        raise Rejected(
            f"no tile of {product.name} is finished in {store.uri(product.folder)}",
            reason=Reason.NO_RESULTS,
        )
    finest = meters or _find_resolution(store, datasets[0])
    sizes = [size for size in WEB_RESOLUTIONS if size >= finest]
    grid = make_grid({each.tile for each in datasets}, meters, MAX_WEB_PIXELS, sizes)
    shown = _find_shown(datasets)
    unreadable: set[Tile] = set()
    tiles = size = 0
    with TemporaryDirectory(prefix="cropmask-") as name:
        folder = Path(name)
        for done, (band, period, found) in enumerate(shown):
            archive = folder / _archive_name(band, period)
            mosaic = folder / "mosaic.tif"
            unreadable |= {*write_mosaic(store, found, band, grid, mosaic, options=options)}
            tiles += write_tiles(mosaic, archive, f"{product.name} {period} {band.name}")
            mosaic.unlink()
            output.put(archive.name, archive, _PMTILES_TYPE)
            size += archive.stat().st_size
            progress("map tiles", (done + 1) / len(shown))
        is_small = size <= MAX_OFFLINE_BYTES
        config = _describe(store, product, grid, datasets, shown, reports, offline=is_small)
        _put_text(output, LICENSES, make_licenses(library), "text/plain")
        _put_text(output, CONFIG_FILE, encode_json(config), "application/json")
        if is_small:
            archives = {path.name: path.read_bytes() for path in folder.glob("*.pmtiles")}
            _put_text(output, OFFLINE, make_map_page(config, library, archives), "text/html")
        else:
            output.remove(OFFLINE)
        _put_text(output, INDEX, make_map_page(config, library), "text/html")
    return WebMap(
        store_place(output),
        product.name,
        tuple(config["years"]),
        tuple(layer["name"] for layer in config["layers"]),
        grid.meters,
        tiles,
        size,
        is_small,
        tuple(sorted(unreadable)),
    )


def _put_text(output: Store, key: str, text: str, kind: str) -> None:
    output.put(key, text.encode(), f"{kind}; charset=utf-8")


def _refuse_other_page(output: Store) -> None:
    entry = output.find(INDEX)
    if entry is not None and MAP_MARK.encode() not in output.get(INDEX):
        raise Misconfigured(
            f"{output.uri(INDEX)} is there, and is no page of 'cropmask web': name another folder"
        )


def _find_resolution(store: Store, dataset: Dataset) -> int:
    item = parse_item(dataset.item_key, store.get(dataset.item_key))
    return item.resolution if item is not None else RESOLUTIONS[0]


_Shown = tuple[Band, str, list[Dataset]]


def _find_shown(datasets: Sequence[Dataset]) -> list[_Shown]:
    """Bands and periods that some tile has, with the tiles that have them; the first view first."""
    by_period = defaultdict(list)
    for dataset in datasets:
        by_period[dataset.period].append(dataset)
    bands = sorted(ALL_BANDS, key=lambda band: band is not FILTERED)
    all_shown = (
        (band, period, [each for each in found if _has(each, band)])
        for band in bands
        for period, found in sorted(by_period.items())
    )
    return [shown for shown in all_shown if shown[2]]


def _has(dataset: Dataset, band: Band) -> bool:
    return any(file.endswith(suffix_of(band.name)) for file in dataset.entries)


def _archive_name(band: Band, period: str) -> str:
    return f"{band.name}_{period}.pmtiles"


def _describe(
    store: Store,
    product: Product,
    grid: MosaicGrid,
    datasets: Sequence[Dataset],
    shown: Sequence[_Shown],
    reports: Sequence[ReportedDistricts],
    *,
    offline: bool,
) -> Document:
    """What the page shows."""
    collection = find_collection(store, product.name)
    synthetic = is_synthetic(collection)
    region = title_of_region(collection or {}) or product.region
    credit = (collection or {}).get("attribution")
    files: dict[Band, dict[str, str]] = {}
    for band, period, _ in shown:
        files.setdefault(band, {})[Period.parse(period).words] = _archive_name(band, period)
    bounds, outline = _outline(grid, [each.tile for each in datasets])
    return {
        "title": mark_title(f"Cropland, {region}", synthetic=synthetic),
        "synthetic": synthetic,
        "credit": f"{credit or product.name}, version {product.version}",
        "years": sorted({year for found in files.values() for year in found}),
        "zoom": deepest_zoom(grid.meters),
        "bounds": bounds,
        "outline": outline,
        "offline": OFFLINE if offline else None,
        "layers": [_describe_layer(band, found) for band, found in files.items()],
        "reports": [
            {"year": each.year, "level": each.level, "districts": list(each.districts)}
            for each in reports
        ],
    }


def _describe_layer(band: Band, files: Mapping[str, str]) -> Document:
    return {
        "name": band.name,
        "title": band.title,
        "description": band.description,
        "unit": band.unit,
        "palette": {str(value): color for value, color in band.opaque_palette.items()},
        "legend": list(_legend(band)),
        "values": {str(found.value): found.title for found in band.classes},
        "files": dict(files),
    }


def _legend(band: Band) -> Iterator[Document]:
    colors = band.opaque_palette
    for found in band.classes:
        yield {"color": hex_color(colors[found.value]), "text": found.title}
    stops = [value for value, _ in band.ramp]
    for value in stops[:: max(1, len(stops) // _STEPS)]:
        unit = " %" if band.unit == "percent" else ""
        yield {"color": hex_color(colors[value]), "text": f"{value}{unit}"}
    yield {"color": "transparent", "text": NODATA_TITLE}


def _outline(grid: MosaicGrid, tiles: Sequence[Tile]) -> tuple[list[float], Any]:
    """Bounds of the grid in degrees, and the outline of tiles as GeoJSON."""
    to_degrees = Transformer.from_crs(CRS, 4326, always_xy=True)

    def project(corners: Any) -> Any:  # noqa: ANN401 (arrays of shapely)
        x, y = to_degrees.transform(corners[:, 0], corners[:, 1])
        return list(zip(x.round(6), y.round(6), strict=True))

    whole = shapely.box(*grid.geobox.boundingbox)
    union = shapely.union_all([shapely.box(*tile.bounds) for tile in tiles])
    bounds = [round(degrees, 6) for degrees in shapely.transform(whole, project).bounds]
    return bounds, json.loads(shapely.to_geojson(shapely.transform(union, project)))
