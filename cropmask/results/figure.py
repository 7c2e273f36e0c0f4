"""Maps as figures for people: panels with title, legend, scale bar and north, drawn by matplotlib.

Sizes are in inches and panels are whole pixels, so that no class is resampled once more. Panels
have the proportions of the ground at their center, where a scale bar is true in all directions:
EPSG:6933 keeps areas, not shapes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from math import floor, inf, log10
from textwrap import fill, wrap
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from cropmask.errors import Reason, Rejected, not_installed, one_line
from cropmask.product import GROUND, NODATA_TITLE, Band, Mark, Rgba, hex_color
from cropmask.results.cog import make_pale, paint_classes
from cropmask.stac.facts import format_place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FigureKind = Literal["png", "pdf", "svg"]
FIGURE_KINDS: Final[tuple[FigureKind, ...]] = get_args(FigureKind)
GENERATOR: Final = "cropmask figure"
"""What every figure says of who wrote it."""
PANEL_PIXELS: Final = 630
"""Longest edge of one of several panels."""
MAP_PIXELS: Final = 1500
"""Longest edge of a panel that is alone."""
_DPI: Final = 150
_LEAST_INCHES: Final = 3.0
"""Shorter edge of a cell, however narrow the panel in it: a legend fits."""
_MARGIN, _GAP, _HEAD, _FOOT, _NAME = 0.2, 0.2, 0.56, 0.5, 0.28
"""Inches around all, between cells, of the title, of the credit, and of the name of a panel: whole
pixels all of them."""
_ENTRY, _RAMP, _SCALE, _FACT = 0.22, 0.7, 0.65, 0.17
"""Inches in the legend of a color, of a ramp, of scale and north, and of a line."""
_BAR_INCHES: Final = 1.6
"""Longest scale bar."""
_WIDE_DEGREES: Final = 2.0
"""Degrees of latitude from which a scale is said to be that of the center."""
_STRETCH: Final = (1, 99)
"""Percentiles of reflectance that are drawn black and white."""
_FIXED: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "svg.hashsalt": GENERATOR,
    "text.parse_math": False,  # titles come from documents of others
}


_HATCH: Final = 9
"""Pixels from one line to the next."""
_HATCH_COLOR: Final = (60, 60, 60)


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a figure."""

    title: str
    pixels: NDArray[np.uint8]
    """Red, green, blue and opacity, ``(y, x, 4)``."""
    band: Band | None = None
    """Band whose colors the legend explains."""


@dataclass(frozen=True, slots=True)
class GroundSize:
    """What a pixel grid covers on the ground, measured at its center."""

    width: float
    """Meters."""
    height: float
    longitude: float
    """Of the center, degrees."""
    latitude: float
    span: float
    """Degrees of latitude."""

    def shape(self, longest: int) -> tuple[int, int]:
        """Rows and columns of a picture in true proportions."""
        scale = longest / max(self.width, self.height)
        return max(1, round(self.height * scale)), max(1, round(self.width * scale))


def measure(box: GeoBox) -> GroundSize:
    """Size of a pixel grid on the ground; Rejected if it lies beyond the world."""
    to_degrees = Transformer.from_crs(str(box.crs), 4326, always_xy=True)
    left, bottom, right, top = box.boundingbox
    x, y = (left + right) / 2, (bottom + top) / 2
    # A short way through the center: the whole one would leave the parallel.
    part = 1e-3
    ends = (x - part * (right - left), x + part * (right - left), x, x)
    sides = (y, y, y - part * (top - bottom), y + part * (top - bottom))
    longitudes, latitudes = to_degrees.transform(ends, sides)
    _, _, (width, height) = Geod(ellps="WGS84").inv(
        longitudes[::2], latitudes[::2], longitudes[1::2], latitudes[1::2]
    )
    (longitude, _, _), (latitude, south, north) = to_degrees.transform((x, x, x), (y, bottom, top))
    if not (0 < width < inf and 0 < height < inf):
        raise Rejected(f"pixels at {x:g}, {y:g} m lie beyond the world", reason=Reason.WRONG_RASTER)
    return GroundSize(width / part / 2, height / part / 2, longitude, latitude, north - south)


def paint_band(values: NDArray[Any], band: Band) -> NDArray[np.uint8]:
    """A band ``(y, x)``, of bytes or two, in its colors ``(y, x, 4)``; nodata is transparent."""
    return np.moveaxis(paint_classes(values, band.opaque_palette), 0, -1)


def mark_unlike(pixels: NDArray[np.uint8], unlike: NDArray[np.bool_], how: Mark) -> None:
    """Draw some land ``(y, x)`` of a picture ``(y, x, 4)`` pale or hatched, in place.

    ``unlike`` is where; nodata stays transparent.
    """
    where = unlike & (pixels[..., 3] > 0)
    if how == "hatched":
        y, x = np.ogrid[: unlike.shape[0], : unlike.shape[1]]
        pixels[where & ((x + y) % _HATCH < _HATCH // 3), :3] = _HATCH_COLOR
    else:
        pixels[where, :3] = make_pale(pixels[where, :3])


def paint_natural(halves: Sequence[NDArray[np.uint16]]) -> list[NDArray[np.uint8]]:
    """Natural color ``(y, x, 4)`` of red, green and blue, uint16 ``(3, y, x)``, nodata 0.

    All halves and colors have the same stretch, so that they can be compared, and soil is brown.
    """
    known = [np.asarray((half > 0).all(axis=0), np.bool_) for half in halves]
    seen = np.concatenate([half[:, where] for half, where in zip(halves, known, strict=True)], 1)
    if not seen.size:
        return [np.zeros((*half.shape[1:], 4), np.uint8) for half in halves]
    low, high = np.percentile(seen, _STRETCH)
    painted = []
    for half, where in zip(halves, known, strict=True):
        shown = ((half - low) / max(high - low, 1) * 255).clip(0, 255)
        pixels = np.concatenate([shown, where[np.newaxis] * 255.0]).round().astype(np.uint8)
        painted.append(np.moveaxis(pixels, 0, -1))
    return painted


def make_figure(
    panels: Sequence[Panel],
    box: GeoBox,
    title: str,
    *,
    facts: Sequence[str] = (),
    credit: str = "",
    place: tuple[float, float] | None = None,
) -> Figure:
    """Draw panels of any shape that show the same ground, all of them over ``box``.

    The title says what they are, where and when; ``facts`` are lines beside the legend, ``credit``
    whom they are owed to, ``place`` longitude and latitude of a mark. Raises Misconfigured if
    matplotlib is not installed.
    """
    ground = measure(box)
    alone = len(panels) == 1
    rows, columns = ground.shape(MAP_PIXELS if alone else PANEL_PIXELS)
    width, height = columns / _DPI, rows / _DPI
    room = max(width, _LEAST_INCHES)
    legend = _measure_legend(panels, room, facts, place)
    cell = (room, max(height, _LEAST_INCHES, legend) + _NAME)
    across = 1 if alone else -(-(len(panels) + 1) // 2)
    down = 1 if alone else 2
    whole = (
        across * (cell[0] + _GAP) + (_LEAST_INCHES if alone else -_GAP) + 2 * _MARGIN,
        down * (cell[1] + _GAP) - _GAP + _HEAD + _FOOT,
    )
    with _drawing() as figures:
        # A trace more than whole pixels: matplotlib cuts off what is a trace less.
        size = [(round(side * _DPI) + 1e-9) / _DPI for side in whole]
        figure: Figure = figures.Figure(figsize=size, dpi=_DPI, facecolor="white")
        canvas = _Canvas(figure, (size[0], size[1]))
        room = whole[0] - 2 * _MARGIN
        canvas.write(_MARGIN, whole[1] - 0.3, one_line(title), room, size=13, weight="bold")
        for number, panel in enumerate(panels):
            x = _MARGIN + number % across * (cell[0] + _GAP)
            y = whole[1] - _HEAD - number // across * (cell[1] + _GAP) - cell[1]
            top = y + cell[1] - _NAME
            canvas.write(x, top + 0.08, panel.title, cell[0])
            _draw_panel(canvas.axes(x, top - height, width, height), panel, ground, box, place)
        corner = (_MARGIN + (across if alone else across - 1) * (cell[0] + _GAP), _FOOT)
        free = (_LEAST_INCHES if alone else cell[0], cell[1])
        _draw_legend(canvas, corner, free, panels, ground, width, facts, place)
        text = fill(one_line(credit), round(whole[0] * 17), max_lines=3, placeholder=" ...")
        canvas.write(_MARGIN, 0.08, text, room, size=7, color="#555555", va="bottom")
    return figure


def encode_figure(figure: Figure, kind: FigureKind, title: str) -> bytes:
    """File of a figure; equal figures are equal bytes."""
    named = {"Title": one_line(title)}
    metadata: Any = {
        "png": {"Software": GENERATOR, **named},
        "pdf": {"Creator": GENERATOR, "CreationDate": None, **named},
        "svg": {"Creator": GENERATOR, "Date": None, **named},
    }[kind]
    content = BytesIO()
    with _drawing():
        figure.savefig(content, format=kind, dpi=_DPI, metadata=metadata)
    return content.getvalue()


def has_matplotlib() -> bool:
    """Whether figures can be drawn."""
    return find_spec("matplotlib") is not None


@contextmanager
def _drawing() -> Iterator[Any]:
    """Matplotlib with settings of ours, whatever the user's are."""
    try:
        import matplotlib
        from matplotlib import figure
    except ImportError:
        raise not_installed("matplotlib") from None
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # it draws a box instead
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_FIXED)
        yield figure


@dataclass(frozen=True, slots=True)
class _Canvas:
    """A figure on which places are inches from its lower left corner."""

    figure: Figure
    inches: tuple[float, float]

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        across, up = self.inches
        return self.figure.add_axes((x / across, y / up, width / across, height / up))

    def write(self, x: float, y: float, text: str, room: float, **style: Any) -> None:  # noqa: ANN401
        """Write a line, in smaller letters if it needs more room."""
        written = self.figure.text(x / self.inches[0], y / self.inches[1], text, **style)
        width = written.get_window_extent().width / self.figure.dpi
        if width > room:
            written.set_fontsize(float(written.get_fontsize()) * 0.95 * room / width)


def _draw_panel(
    axes: Axes, panel: Panel, ground: GroundSize, box: GeoBox, place: tuple[float, float] | None
) -> None:
    extent = (0, ground.width, 0, ground.height)
    axes.imshow(panel.pixels, extent=extent, interpolation="none", aspect="auto")
    axes.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
    for spine in axes.spines.values():
        spine.set(edgecolor="#999999", linewidth=0.5)
    if place is not None:
        x, y = Transformer.from_crs(4326, str(box.crs), always_xy=True).transform(*place)
        left, bottom, right, top = box.boundingbox
        share = (x - left) / (right - left), (y - bottom) / (top - bottom)
        at = (share[0] * ground.width, share[1] * ground.height)
        axes.plot(*at, marker="+", color="white", markersize=13, markeredgewidth=3)
        axes.plot(*at, marker="+", color="black", markersize=11, markeredgewidth=1.2)


def _draw_legend(
    canvas: _Canvas,
    corner: tuple[float, float],
    cell: tuple[float, float],
    panels: Sequence[Panel],
    ground: GroundSize,
    width: float,
    facts: Sequence[str],
    place: tuple[float, float] | None,
) -> None:
    """What colors mean, how large things are, and where north is; down from the top of a cell."""
    x, y = corner[0] + 0.1, corner[1] + cell[1] - _NAME
    room = cell[0] - 0.2
    bands = [panel.band for panel in panels if panel.band is not None]
    entries = _find_entries(bands)
    _draw_entries(canvas, x, y, entries, place)
    y -= _ENTRY * (len(entries) + (place is not None)) + 0.25
    for band in bands:
        if band.ramp:
            _draw_ramp(canvas.axes(x, y - 0.15, 2.0, 0.15), band)
            y -= _RAMP
    _draw_scale(canvas, x, y, ground, width)
    y -= _SCALE
    for line in _wrap_facts(facts, room):
        canvas.write(x, y, line, room, size=8, color="#333333")
        y -= _FACT


def _measure_legend(
    panels: Sequence[Panel],
    width: float,
    facts: Sequence[str],
    place: tuple[float, float] | None,
) -> float:
    """Inches that the legend needs in a cell of a width, down from its top."""
    bands = [panel.band for panel in panels if panel.band is not None]
    colors = len(_find_entries(bands)) + (place is not None)
    ramps = sum(1 for band in bands if band.ramp)
    lines = len(_wrap_facts(facts, width - 0.2))
    return _ENTRY * colors + 0.25 + _RAMP * ramps + _SCALE + _FACT * lines


def _wrap_facts(facts: Sequence[str], room: float) -> list[str]:
    return [line for fact in facts for line in wrap(one_line(fact), round(room * 15))]


def _find_entries(bands: Sequence[Band]) -> list[tuple[Rgba | None, str]]:
    """Colors and words of classes; those without a color of their own once for all bands."""
    several = sum(1 for band in bands if band.classes) > 1
    own = [
        (found.color, f"{found.title} ({band.name})" if several else found.title)
        for band in bands
        for found in band.classes
        if found.color[3]
    ]
    other = {found.title for band in bands for found in band.classes if not found.color[3]}
    return [*own, *((GROUND, title) for title in sorted(other)), (None, NODATA_TITLE)]


def _draw_entries(
    canvas: _Canvas,
    x: float,
    y: float,
    entries: Sequence[tuple[Rgba | None, str]],
    place: tuple[float, float] | None,
) -> None:
    from matplotlib.artist import Artist
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Artist] = [
        Patch(facecolor=hex_color(color) if color else "white", edgecolor="#777777", label=words)
        for color, words in entries
    ]
    if place is not None:
        words = format_place(*place, digits=4)
        handles.append(Line2D([], [], marker="+", color="black", linestyle="none", label=words))
    axes = canvas.axes(x, y - 2, 2.6, 2)
    axes.set_axis_off()
    axes.legend(handles=handles, loc="upper left", frameon=False, borderpad=0, borderaxespad=0)


def _draw_ramp(axes: Axes, band: Band) -> None:
    (low, _), *_, (high, _) = band.ramp
    values = np.arange(low, high + 1, dtype=band.dtype)[np.newaxis]
    axes.imshow(
        paint_band(values, band), extent=(low, high, 0, 1), aspect="auto", interpolation="none"
    )
    axes.set(yticks=[], xticks=[low, (low + high) // 2, high])
    axes.set_xlabel(f"{band.title} ({band.unit})", labelpad=2)
    axes.tick_params(length=2, pad=2, labelsize=8)


def _draw_scale(canvas: _Canvas, x: float, y: float, ground: GroundSize, width: float) -> None:
    """A bar of a round length in black and white, and an arrow to the north."""
    per_inch = ground.width / width
    length = round_length_down(per_inch * _BAR_INCHES)
    inches = length / per_inch
    axes = canvas.axes(x, y - 0.15, inches, 0.07)
    axes.barh([0, 0], [length / 2] * 2, left=[0, length / 2], color=["black", "white"])
    axes.set(xlim=(0, length), xticks=[], yticks=[])
    words = f"{length / 1000:,g} km" if length >= 1000 else f"{length:g} m"
    if ground.span > _WIDE_DEGREES:
        words += f" at {format_place(0, ground.latitude, digits=0).partition(', ')[2]}"
    canvas.write(x, y - 0.36, words, _BAR_INCHES)
    arrow = canvas.axes(x + _BAR_INCHES + 0.3, y - 0.4, 0.2, 0.4)
    arrow.set_axis_off()
    arrow.set(xlim=(0, 1), ylim=(0, 1))
    arrow.annotate("", (0.5, 0.65), (0.5, 0), arrowprops={"arrowstyle": "-|>", "color": "black"})
    arrow.text(0.5, 0.85, "N", ha="center", va="center")


def round_length_down(meters: float) -> float:
    """The longest of 1, 2 and 5 times a power of ten that is not longer."""
    power = 10.0 ** floor(log10(meters))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= meters)
