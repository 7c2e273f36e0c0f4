"""A folder that any web server, a bucket or a disk holds: the maps of a region on one page."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
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
from cropmask.operate.webfigures import (
    ReportedChange,
    ReportedDistricts,
    ShownSeries,
    choose_series,
)
from cropmask.product import (
    ALL_BANDS,
    CHANGE_CLASS,
    FILTERED,
    FLICKERS,
    HISTORY,
    NODATA_TITLE,
    Band,
    Product,
    hex_color,
)
from cropmask.remote.fetch import ReadOptions
from cropmask.results.finder import (
    Dataset,
    find_collection,
    find_finished,
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
CHANGE: Final = "change"
"""Name of the layer of a series of years."""
_ASKED: Final = (HISTORY, FLICKERS)
"""Bands of a series that are not drawn: a click on the change tells them."""
_PMTILES_TYPE: Final = "application/vnd.pmtiles"
_STEPS: Final = 5
"""Colors of a ramp in the legend, about."""


@dataclass(frozen=True, slots=True)
class WebFigures:
    """Figures to show beside the map."""

    districts: tuple[ReportedDistricts, ...] = ()
    change: ReportedChange | None = None


@dataclass(frozen=True, slots=True)
class _Archive:
    """Tiles of a band in a period, and the results that they are made of."""

    band: Band
    period: Period
    datasets: tuple[Dataset, ...]

    @property
    def name(self) -> str:
        """Its file."""
        return f"{self.band.name}_{self.period}.pmtiles"

    @property
    def title(self) -> str:
        """What it shows, for its metadata."""
        return f"{self.datasets[0].product.name} {self.period} {self.band.name}"


@dataclass(frozen=True, slots=True)
class WebMap:
    """What was made."""

    place: str
    product: str
    years: tuple[str, ...]
    layers: tuple[str, ...]
    """Those of single years."""
    series: Period | None
    """Years of the layer of change; None without one."""
    other_series: tuple[Period, ...]
    """Years of series that are there too."""
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

    Raises Rejected if there is none, or if there are several and no region is named.
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


_NO_FIGURES: Final = WebFigures()


def make_web(
    store: Store,
    output: Store,
    product: Product,
    library: Path,
    *,
    figures: WebFigures = _NO_FIGURES,
    series: Period | None = None,
    meters: int | None = None,
    options: ReadOptions | None = None,
    progress: Progress,
) -> WebMap:
    """Write the page, and an archive of tiles for each layer and year.

    Few tiles are in memory at the same time; the page is written last. ``library`` is the folder of
    :func:`~cropmask.catalog.mappage.ensure_map_library`. Of ``series``, the longest is shown as
    change if none is named, of equal ones the newest. ``meters`` is one of
    :data:`~cropmask.grid.WEB_RESOLUTIONS`; by default the finest of at most :data:`MAX_WEB_PIXELS`
    pixels an edge, and none finer than the results.

    Raises Rejected if no tile is finished, or there is no such series; Misconfigured and
    Interrupted if results cannot be read, or the folder cannot be written.
    """
    _refuse_other_page(output)
    datasets = find_finished(store, product)
    if not datasets:
        raise Rejected(
            f"no tile of {product.name} is finished in {store.uri(product.folder)}",
            reason=Reason.NO_RESULTS,
        )
    shown = choose_series(store, product, series)
    resolution = _find_resolution(store, datasets[0])
    sizes = [size for size in WEB_RESOLUTIONS if size >= (meters or resolution)]
    everywhere = sorted({each.tile for each in (*datasets, *(shown.datasets if shown else ()))})
    grid = make_grid(everywhere, meters, MAX_WEB_PIXELS, sizes)
    yearly, change = _find_yearly(datasets), _find_change(shown)
    layers = [*_describe_yearly(yearly), *_describe_change(change, grid.meters > resolution)]
    config = {
        **_describe(store, product, grid, everywhere),
        "years": [period.span for period in sorted({each.period for each in yearly})],
        "layers": layers,
        **_describe_figures(figures),
    }
    unreadable: set[Tile] = set()
    tiles = 0
    with TemporaryDirectory(prefix="cropmask-") as name:
        folder = Path(name)
        for done, each in enumerate(all_archives := (*yearly, *change)):
            path, mosaic = folder / each.name, folder / "mosaic.tif"
            found = write_mosaic(store, each.datasets, each.band, grid, mosaic, options=options)
            unreadable |= {*found}
            tiles += write_tiles(mosaic, path, each.title, only_deepest=each.band in _ASKED)
            mosaic.unlink()
            output.put(each.name, path, _PMTILES_TYPE)
            progress("map tiles", (done + 1) / len(all_archives))
        paths = [folder / each.name for each in all_archives]
        size = sum(path.stat().st_size for path in paths)
        is_small = size <= MAX_OFFLINE_BYTES
        _put_pages(output, config, library, paths if is_small else ())
    return WebMap(
        store_place(output),
        product.name,
        tuple(config["years"]),
        tuple(layer["name"] for layer in layers if "files" in layer),
        shown.period if shown else None,
        shown.others if shown else (),
        grid.meters,
        tiles,
        size,
        is_small,
        tuple(sorted(unreadable)),
    )


def _put_pages(output: Store, config: Document, library: Path, small: Sequence[Path]) -> None:
    """The page with what is beside it, and the page for a disk if all archives are small."""
    config = {**config, "offline": OFFLINE if small else None}
    _put_text(output, LICENSES, make_licenses(library), "text/plain")
    _put_text(output, CONFIG_FILE, encode_json(config), "application/json")
    if small:
        archives = {path.name: path.read_bytes() for path in small}
        _put_text(output, OFFLINE, make_map_page(config, library, archives), "text/html")
    else:
        output.remove(OFFLINE)
    _put_text(output, INDEX, make_map_page(config, library), "text/html")


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


def _find_yearly(datasets: Sequence[Dataset]) -> tuple[_Archive, ...]:
    """Archives of what some tile has; that of the first view first."""
    by_period = defaultdict(list)
    for dataset in datasets:
        by_period[Period.parse(dataset.period)].append(dataset)
    bands = sorted(ALL_BANDS, key=lambda band: band is not FILTERED)
    all_archives = (
        _Archive(band, period, tuple(each for each in found if _has(each, band)))
        for band in bands
        for period, found in sorted(by_period.items())
    )
    return tuple(archive for archive in all_archives if archive.datasets)


def _has(dataset: Dataset, band: Band) -> bool:
    return any(file.endswith(suffix_of(band.name)) for file in dataset.entries)


def _find_change(series: ShownSeries | None) -> tuple[_Archive, ...]:
    """Archives of a series: of the class, and of what a click tells."""
    if series is None:
        return ()
    return tuple(_Archive(band, series.period, series.datasets) for band in (CHANGE_CLASS, *_ASKED))


def _describe(store: Store, product: Product, grid: MosaicGrid, tiles: Sequence[Tile]) -> Document:
    """What the page shows, and where."""
    collection = find_collection(store, product.name)
    synthetic = is_synthetic(collection)
    region = title_of_region(collection or {}) or product.region
    credit = (collection or {}).get("attribution")
    bounds, outline = _outline(grid, tiles)
    return {
        "title": mark_title(f"Cropland, {region}", synthetic=synthetic),
        "synthetic": synthetic,
        "credit": f"{credit or product.name}, version {product.version}",
        "zoom": deepest_zoom(grid.meters),
        "bounds": bounds,
        "outline": outline,
    }


def _describe_yearly(archives: Sequence[_Archive]) -> Iterator[Document]:
    """Layers that every year has."""
    files: dict[Band, dict[str, str]] = {}
    for each in archives:
        files.setdefault(each.band, {})[each.period.span] = each.name
    for band, found in files.items():
        yield {**_describe_layer(band), "files": found}


def _describe_change(archives: Sequence[_Archive], is_coarse: bool) -> Iterator[Document]:
    """The layer of a series, if there is one."""
    if not archives:
        return
    names = {each.band.name: each.name for each in archives}
    years = archives[0].period
    layer = _describe_layer(CHANGE_CLASS)
    if is_coarse:
        layer["description"] += (
            " Of the pixels of the results that are one of this map the most frequent class is "
            "shown; a click tells the years of one of them."
        )
    yield {
        **layer,
        "name": CHANGE,
        "span": f"{years.years[0].span} to {years.years[-1].span}",
        "years": [year.span for year in years.years],
        "file": names[CHANGE_CLASS.name],
        **{band.name: names[band.name] for band in _ASKED},
    }


def _describe_figures(figures: WebFigures) -> Document:
    change = figures.change
    return {
        "reports": [
            {"year": each.year, "level": each.level, "districts": list(each.districts)}
            for each in figures.districts
        ],
        "change": None if change is None else asdict(change),
    }


def _describe_layer(band: Band) -> Document:
    return {
        "name": band.name,
        "title": band.title,
        "description": band.description,
        "unit": band.unit,
        "palette": {str(value): color for value, color in band.opaque_palette.items()},
        "legend": list(_legend(band)),
        "values": {str(found.value): found.title for found in band.classes},
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
