"""Features of labeled places, as a map of their tiles would have them.

Tiles are read by windows, some at a time. What is known of a tile is kept in a file of its own
beside the output until all are done, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any, Final, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from cropmask.assess.labelpoints import LabeledPoint
from cropmask.contract import VERSION
from cropmask.core.features import FEATURES, observed
from cropmask.core.formulas import compute_features, parse_formula
from cropmask.core.strips import Half, Strip
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.grid import AFRICA_10, GridWindow, Tile, geobox, tile_at, tile_polygon
from cropmask.machine.stages import ShareDone
from cropmask.modelfile.container import replace_file
from cropmask.pixels.layers import open_layers
from cropmask.pixels.resample import Window
from cropmask.pixels.verify import verify_files
from cropmask.region.region import Limits, Region
from cropmask.site.site import Inputs, Site
from cropmask.sources.catalogs import Catalog, open_catalog
from cropmask.sources.search import MASK_LAYERS, Sources, find_sources
from cropmask.task import Period
from cropmask.training.samples import (
    LEFT_OUT,
    ORIGIN,
    SampleRow,
    encode_header,
    encode_row,
    find_left_out,
    group_left_out,
)

EXTRACTED: Final = "extracted:"
"""Begins the remark on how a table was made."""
NO_GEOMAD: Final = "no GeoMAD"
TOO_LARGE: Final = "too large"
MAX_EXPRESSION_BYTES: Final = 2**17
MAX_POLYGON_PIXELS: Final = 2**20
"""Most pixels of the box of a polygon: 10 km x 10 km at 10 m."""

_CELL: Final = 512
"""Edge in pixels of the squares that are read together: the usual block of a COG."""
_OPENING: Final = 2
"""What opening the rasters of a window costs, in such squares that could be read meanwhile."""
_MAX_CELLS: Final = 8
"""Most such squares of a window, for the sake of memory."""
_STRIP_PIXELS: Final = 2**18
_BATCH_PIXELS: Final = 2**19
"""Pixels whose features are held at once, unless one polygon has more."""
_MARK: Final = "cropmask"

PolygonMode = Literal["median", "center"]
"""What stands for a polygon: medians of its pixels, or the pixel at a point on it."""
_Pixels = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns of pixels of the grid, counted as :class:`~cropmask.grid.GridWindow` does."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was written."""

    file: Path
    rows: int
    crop_rows: int
    tiles: int
    tiles_resumed: int
    """Tiles that an earlier run had done already."""
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Ids of places without features, by the reason."""
    windows: int = 0
    """Windows that were read now."""
    pixels: int = 0
    """Pixels of these windows."""


def extract(
    points: Sequence[LabeledPoint],
    region: Region,
    inputs: Inputs,
    site: Site,
    period: Period,
    out: Path,
    *,
    at: PolygonMode = "median",
    expressions: Sequence[str] = (),
    threads: int = 4,
    overwrite: bool = False,
    done: ShareDone = lambda _share: None,
) -> Extraction:
    """Write the features of places as a table of samples, in their order.

    A point has the features of its pixel. A polygon has the median of each feature over the pixels
    whose centers are inside, across tiles; one without a pixel center counts as a point on it, as
    all do with ``at="center"``. Pixels without GeoMAD, as the region's limits say, count as if they
    were not there; places may lie outside of the region. ``expressions`` are features beside the
    33, computed pixel by pixel as in a map: :func:`load_expressions`.

    Parts of the table wait in a folder of the same name with ``.parts``: another run goes on.
    ``overwrite`` replaces a table that is there, and begins anew.

    Raises Rejected if a table with other contents is there, no place has GeoMAD, or an input is not
    as it must be; Misconfigured if the catalog or a layer cannot be used, or the file cannot be
    written; Interrupted if something cannot be read now.
    """
    names = (*FEATURES, *expressions)
    key = _make_key(points, region, inputs, site, period, at, names)
    if _is_done(out, key, overwrite=overwrite):
        return _recall(out)
    parts = _Parts(out, key)
    by_tile: dict[Tile, list[int]] = defaultdict(list)
    for index, point in enumerate(points):
        by_tile[_home(point.geometry)].append(index)
    known = {} if overwrite else parts.load(by_tile)
    reader = _Reader(region, inputs, site, period, names)
    shares = {tile: float(tile in known) for tile in sorted(by_tile)}
    waiting = [tile for tile, share in shares.items() if not share]

    def tell(tile: Tile, share: float) -> None:
        shares[tile] = share
        done(sum(shares.values()) / len(shares))

    def run(tile: Tile) -> None:
        some = [points[index] for index in by_tile[tile]]
        found = [*reader.extract(tile, some, at, partial(tell, tile))]
        parts.put(tile, found)
        known[tile] = found
        tell(tile, 1.0)

    resumed = len(known)
    _run_all(run, waiting, threads, reader.stop)
    by_id = {entry["id"]: entry for found in known.values() for entry in found}
    entries = [by_id[point.id] for point in points]
    written = [point for point, entry in zip(points, entries, strict=True) if "line" in entry]
    if not written:
        parts.remove()
        raise _nothing(entries, period, inputs)
    facts = {"period": str(period), "resolution": site.resolution, "region": region.name}
    if period != period.calendar_year:
        facts["first_half"] = str(period.order_halves(region.half_years)[0])
    facts |= {"polygons": at, "software": VERSION, "key": key}
    replace_file(out, _encode(entries, facts, expressions).encode())
    parts.remove()
    return Extraction(
        out,
        len(written),
        sum(point.label for point in written),
        len(by_tile),
        resumed,
        group_left_out(entry for entry in entries if "reason" in entry),
        len(reader.read),
        sum(window.pixels for window in reader.read),
    )


_Entry = dict[str, Any]
"""What is known of a place: its id, and its line in the table or the reason why it has none."""


def load_expressions(path: Path) -> tuple[str, ...]:
    """Features beside the 33 that a text file names, one a line; ``#`` begins a remark.

    Raises Misconfigured if the file cannot be read; Rejected if a line is no feature, or says what
    another one says.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_EXPRESSION_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "it is not text"
        raise Misconfigured(f"features file {path} cannot be read ({problem})") from None
    if len(text) > MAX_EXPRESSION_BYTES:
        raise Rejected(f"features file {path} is too large: at most {MAX_EXPRESSION_BYTES} bytes")
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not (words := line.partition("#")[0].strip()):
            continue
        try:
            formula = parse_formula(words)
        except Rejected as error:
            raise Rejected(
                f"features file {path}, line {number}: {error}", reason=Reason.BAD_SAMPLES
            ) from None
        if str(formula) in found:
            raise Rejected(
                f"features file {path}: lines {found[str(formula)]} and {number} are the same",
                reason=Reason.BAD_SAMPLES,
            )
        found[str(formula)] = number
    return tuple(name for name in found if name not in FEATURES)


def _encode(
    entries: Sequence[_Entry], facts: Mapping[str, object], expressions: Sequence[str]
) -> str:
    lines = [encode_header(expressions), f"# {EXTRACTED} {_MARK} {json.dumps(facts)}\n"]
    lines += [entry["line"] for entry in entries if "line" in entry]
    left = [entry for entry in entries if "reason" in entry]
    return "".join([*lines, *(f"# {LEFT_OUT} {json.dumps(entry)}\n" for entry in left)])


def _nothing(entries: Sequence[_Entry], period: Period, inputs: Inputs) -> Rejected:
    reasons = ", ".join(sorted({entry["reason"] for entry in entries}))
    return Rejected(
        f"none of {len(entries)} places has features ({reasons}): choose a period and a catalog "
        "that has GeoMAD there, and see that longitude and latitude are not exchanged; this was "
        f"{period} in {inputs.catalog}",
        reason=Reason.BAD_SAMPLES,
    )


def _make_key(
    points: Sequence[LabeledPoint],
    region: Region,
    inputs: Inputs,
    site: Site,
    period: Period,
    at: PolygonMode,
    names: Sequence[str],
) -> str:
    """Digest of everything that was asked for."""
    asked: list[object] = [VERSION, names, str(period), site.resolution, at, inputs.catalog]
    if period != period.calendar_year:
        asked.append(region.half_years)
    asked += [inputs.ancillary.model_dump(mode="json"), region.limits.require_both_halves]
    asked += [
        [
            point.id,
            point.label,
            point.lon,
            point.lat,
            point.date,
            shapely.to_wkb(point.geometry, hex=True),
        ]
        for point in points
    ]
    return sha256(json.dumps(asked, default=str).encode()).hexdigest()


def _is_done(out: Path, key: str, *, overwrite: bool) -> bool:
    """Whether the table is there; refuses to replace another file.

    Another table is replaced only if that is asked for.
    """
    if not out.exists():
        return False
    remark = _read_remark(out)
    if remark is None:
        raise Misconfigured(
            f"{out} is there, and is no table that this command has written: remove it, or name "
            "another file"
        )
    if key not in remark and not overwrite:
        raise Rejected(
            f"{out} is there, of other points, another period or other inputs: name another file, "
            "or give --overwrite",
            reason=Reason.CHANGED,
        )
    return not overwrite


def _read_remark(out: Path) -> str | None:
    """What a table says of how it was made; None of any other file."""
    if not out.is_file():
        return None
    try:
        with out.open(encoding="utf-8", errors="replace") as file:
            lines = [file.readline(2**16) for _ in range(2)]
    except OSError as error:
        raise Misconfigured(f"{out} cannot be written: {error.strerror}") from None
    return lines[1] if lines[1].startswith(f"# {EXTRACTED} {_MARK} ") else None


def _recall(out: Path) -> Extraction:
    """What an earlier run has written."""
    lines = out.read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    tiles = {row[ORIGIN.index("tile")] for row in rows}
    left = find_left_out(line[2:] for line in lines if line.startswith("# "))
    crop = sum(row[len(ORIGIN)] == "1" for row in rows)
    return Extraction(out, len(rows), crop, len(tiles), len(tiles), left)


class _Parts:
    """What is known of each tile, in a folder beside the output, until all are done."""

    def __init__(self, out: Path, key: str) -> None:
        self._folder = out.with_name(f"{out.name}.parts")
        self._key = key

    def load(self, tiles: Mapping[Tile, object]) -> dict[Tile, list[_Entry]]:
        """Tiles that another run has done, which was asked for the same."""
        found: dict[Tile, list[_Entry]] = {}
        for tile in tiles:
            try:
                document = json.loads(self._path(tile).read_text(encoding="utf-8"))
                if document["key"] == self._key:
                    found[tile] = document["places"]
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError):
                continue  # of somebody else: it is written anew
        return found

    def put(self, tile: Tile, places: Sequence[_Entry]) -> None:
        """Write what is known of a tile, whole or not at all."""
        document = json.dumps({"key": self._key, "places": places})
        replace_file(self._path(tile), document.encode())

    def remove(self) -> None:
        """Remove what is in the table now."""
        for path in self._folder.glob("x*y*.json"):
            path.unlink(missing_ok=True)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()

    def _path(self, tile: Tile) -> Path:
        return self._folder / f"{tile}.json"


def _run_all(
    action: Callable[[Tile], None], tiles: Sequence[Tile], threads: int, stop: Event
) -> None:
    """Do some tiles at a time; after the first error no other one begins, and it is raised.

    Whatever interrupts the wait, such as Ctrl-C, also stops the tiles that are under way.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="tile") as pool:
        try:
            futures = [pool.submit(action, tile) for tile in tiles]
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                future.cancel()
            wait(futures)  # what is under way is finished, and kept for the next run
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for future in futures:
        if not future.cancelled():
            future.result()


def _home(geometry: shapely.Geometry) -> Tile:
    """Tile of a point, or of a point on a polygon."""
    point = shapely.point_on_surface(geometry)
    return tile_at(point.x, point.y)


def pixels_of(
    geometry: shapely.Geometry, resolution: int, at: PolygonMode = "median"
) -> _Pixels | None:
    """Pixels of the grid that stand for a place; None for a polygon that is too large.

    A place on a border of pixels belongs to the east and the north, as with tiles.
    """
    if geometry.geom_type != "Point" and at == "median":
        window = GridWindow.around(geometry.bounds, resolution)
        if window.pixels > MAX_POLYGON_PIXELS:
            return None
        rows, columns = np.nonzero(window.inside(geometry))
        if len(rows):
            return rows + window.row, columns + window.column
    point = shapely.point_on_surface(geometry)
    row = int(np.ceil((AFRICA_10.top - point.y) / resolution)) - 1
    column = int(np.floor((point.x - AFRICA_10.left) / resolution))
    return np.array([row]), np.array([column])


class _Reader:
    """Features of pixels from the tiles that they lie in."""

    def __init__(
        self, region: Region, inputs: Inputs, site: Site, period: Period, names: Sequence[str]
    ) -> None:
        self._names = names
        self._order = region.half_years
        self._limits = Limits(
            min_coverage_percent=0, require_both_halves=region.limits.require_both_halves
        )
        # What only masks is not looked for.
        self._ancillary = inputs.ancillary.model_copy(update=dict.fromkeys(MASK_LAYERS))
        self._catalog: Catalog = open_catalog(inputs.catalog, site.read)
        self._site = site
        self._period = period
        self.read: list[Window] = []
        """Windows that were read."""
        self.stop = Event()
        """Once it is set, reading ends after the strip that is under way."""

    def extract(
        self, tile: Tile, points: Sequence[LabeledPoint], at: PolygonMode, tell: ShareDone
    ) -> Iterator[_Entry]:
        """What is known of the places of a tile, in their order.

        Raises CancelledError once it is to stop.
        """
        begun = 0

        def tell_batch(share: float) -> None:
            tell((begun + share * len(batch)) / len(points))

        batch: list[tuple[LabeledPoint, _Pixels | None]] = []
        held = 0
        for point in points:
            pixels = pixels_of(point.geometry, self._site.resolution, at)
            size = 0 if pixels is None else len(pixels[0])
            if batch and held + size > _BATCH_PIXELS:
                yield from self._extract(tile, batch, tell_batch)
                begun += len(batch)
                batch, held = [], 0
            batch.append((point, pixels))
            held += size
        yield from self._extract(tile, batch, tell_batch)

    def _extract(
        self, tile: Tile, batch: Sequence[tuple[LabeledPoint, _Pixels | None]], tell: ShareDone
    ) -> Iterator[_Entry]:
        values, is_seen = self._read([pixels for _, pixels in batch if pixels is not None], tell)
        start = 0
        for point, pixels in batch:
            place: _Entry = {"id": point.id, "lon": point.lon, "lat": point.lat}
            if pixels is None:
                yield place | {"reason": TOO_LARGE}
                continue
            part = slice(start, start + len(pixels[0]))
            start = part.stop
            mine = values[part][is_seen[part]]
            if not len(mine):
                yield place | {"reason": NO_GEOMAD}
                continue
            row = SampleRow(
                point.id,
                point.lon,
                point.lat,
                point.date,
                str(tile),
                len(mine),
                point.label,
                np.median(mine, axis=0),
            )
            yield place | {"line": encode_row(row)}

    def _read(
        self, places: Sequence[_Pixels], tell: ShareDone
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Features ``(pixel, feature)`` of the pixels of places, and which of them have GeoMAD."""
        none = np.empty(0, np.int64)
        rows, columns = (
            np.concatenate([none, *(place[axis] for place in places)]) for axis in (0, 1)
        )
        edge = int(AFRICA_10.size) // self._site.resolution
        tiles = np.stack([columns // edge, AFRICA_10.rows - 1 - rows // edge])
        values = np.zeros((len(rows), len(self._names)), np.float32)
        is_seen = np.zeros(len(rows), np.bool_)
        done = 0

        def count(number: int) -> None:
            nonlocal done
            done += number
            tell(done / len(rows))

        for x, y in np.unique(tiles, axis=1).T:
            mine = np.flatnonzero((tiles[0] == x) & (tiles[1] == y))
            at = (rows[mine] % edge, columns[mine] % edge)
            read = self._read_tile(Tile(int(x), int(y)), at, count)
            if read is not None:
                values[mine], is_seen[mine] = read
        return values, is_seen

    def _read_tile(
        self, tile: Tile, pixels: _Pixels, count: Callable[[int], None]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """The same of one tile, with rows and columns of it; None if it has no GeoMAD."""
        options = self._site.read
        try:
            sources = find_sources(
                self._catalog,
                tile,
                self._period,
                self._ancillary,
                order=self._order,
                options=options,
            )
        except Rejected as error:
            if error.reason is not Reason.MISSING_GEOMAD:
                raise
            return None
        verify_files(sources.bands, sources.options, is_whole=False)
        values = np.zeros((len(pixels[0]), len(self._names)), np.float32)
        is_seen = np.zeros(len(pixels[0]), np.bool_)
        for window, mine in plan_windows(*pixels):
            at = (pixels[0][mine] - window.row, pixels[1][mine] - window.column)
            values[mine], is_seen[mine] = self._read_window(sources, window, at, count)
        return values, is_seen

    def _read_window(
        self, sources: Sources, window: Window, pixels: _Pixels, count: Callable[[int], None]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        self._check_stop()
        self.read.append(window)
        rows, columns = pixels
        values = np.zeros((len(rows), len(self._names)), np.float32)
        is_seen = np.zeros(len(rows), np.bool_)
        box = geobox(sources.tile, self._site.resolution)
        with open_layers(
            sources,
            box,
            boundary=tile_polygon(sources.tile),
            limits=self._limits,
            window=window,
            masks=False,
        ) as layers:
            for strip in layers.strips(max(1, min(window.rows, _STRIP_PIXELS // window.columns))):
                mine = np.flatnonzero((rows >= strip.row) & (rows < strip.row + strip.shape[0]))
                picked = _pick(strip, rows[mine] - strip.row, columns[mine])
                values[mine] = compute_features(self._names, picked)[:, 0].T
                is_seen[mine] = self._see(picked)[0]
                count(len(mine))
                self._check_stop()
            layers.check()
        return values, is_seen

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise CancelledError

    def _see(self, strip: Strip) -> NDArray[np.bool_]:
        first, second = observed(strip.first), observed(strip.second)
        return first & second if self._limits.require_both_halves else first | second


def _pick(strip: Strip, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Strip:
    """Some pixels of a strip, as one of a single row."""

    def pick(pixels: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(pixels[..., rows, columns][..., np.newaxis, :])

    first, second = (
        Half(pick(half.reflectance), pick(half.deviation)) for half in (strip.first, strip.second)
    )
    return Strip(strip.row, first, second, pick(strip.rain), pick(strip.slope))


def plan_windows(
    rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> Iterator[tuple[Window, NDArray[np.int64]]]:
    """Windows of a tile that hold all pixels, few and small, and which pixels each is read for.

    Pixels in one square of blocks are read together. Windows are joined where reading what lies
    between costs less than opening the rasters once more.
    """
    cells = np.stack([rows // _CELL, columns // _CELL])
    known, of_pixel = np.unique(cells, axis=1, return_inverse=True)
    spans = [_Span(int(y), int(x), int(y), int(x), (at,)) for at, (y, x) in enumerate(known.T)]
    for span in _join_spans(spans):
        mine = np.flatnonzero(np.isin(of_pixel.reshape(-1), span.members))
        top, left = int(rows[mine].min()), int(columns[mine].min())
        bottom, right = int(rows[mine].max()), int(columns[mine].max())
        yield Window(top, left, bottom - top + 1, right - left + 1), mine


@dataclass(frozen=True, slots=True)
class _Span:
    """A rectangle of squares, ends included, and the occupied ones that it is read for."""

    top: int
    left: int
    bottom: int
    right: int
    members: tuple[int, ...]

    @property
    def cells(self) -> int:
        return (self.bottom - self.top + 1) * (self.right - self.left + 1)

    def joined(self, other: _Span) -> _Span:
        return _Span(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
            (*self.members, *other.members),
        )


def _join_spans(spans: Sequence[_Span]) -> list[_Span]:
    """Join rectangles two by two, as long as it makes reading cheaper."""
    while True:
        joined: list[_Span] = []
        for span in spans:
            for at, other in enumerate(joined):
                both = span.joined(other)
                if both.cells <= min(_MAX_CELLS, span.cells + other.cells + _OPENING):
                    joined[at] = both
                    break
            else:
                joined.append(span)
        if len(joined) == len(spans):
            return joined
        spans = joined
