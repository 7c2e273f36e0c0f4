"""The maps of a report as SVG: the crop mask as a picture, districts by their share of crop."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from cropmask.assess.language import Language
from cropmask.assess.report import DistrictLine
from cropmask.product import Band, hex_color
from cropmask.results.cog import write_picture
from cropmask.results.figure import GroundSize, measure, round_length_down
from cropmask.results.html import Html, join, tag
from cropmask.results.outline import outline_path

LONGEST: Final = 1000
"""Units of a drawing's longer edge, and about its pixels."""
_COARSENESS: Final = 1 / 1200
"""Of outlines, as a share of the map's longer edge."""
STEPS: Final = (0.05, 0.1, 0.2, 0.4)
"""Shares of crop at which the color of districts changes."""
COLORS: Final = ("#ffffcc", "#d9f0a3", "#addd8e", "#41ab5d", "#006837")
_BAR: Final = 220
"""Most units of the scale bar."""
_FOOT: Final = 60
"""Units below a map, for its scale."""


@dataclass(frozen=True, slots=True, eq=False)
class ReportMap:
    """What is drawn of a region."""

    box: GeoBox
    """Pixel grid of the picture, EPSG:6933."""
    pixels: NDArray[np.uint8]
    """Classes of the map, ``(y, x)``, nodata 255."""
    band: Band
    outline: shapely.Geometry | None
    """Boundary of the region, EPSG:6933."""
    districts: Sequence[shapely.Geometry]
    """In the order of the report's districts."""


def draw_map(found: ReportMap, language: Language, region: str) -> Html:
    """The crop mask with outlines, scale and north, as an SVG that needs no other file."""
    frame = _Frame.of(found.box)
    href = f"data:image/png;base64,{b64encode(_encode_png(found)).decode()}"
    picture = tag(
        "image", href=href, width=frame.width, height=frame.height, preserveAspectRatio="none"
    )
    borders = join(frame.path(shape, "border") for shape in found.districts)
    outline = frame.path(found.outline, "shore") if found.outline is not None else Html()
    return frame.draw(language, language.say("map.alt", region=region), picture, borders, outline)


def draw_districts(found: ReportMap, lines: Sequence[DistrictLine], language: Language) -> Html:
    """Districts in the color of their share of crop; hatched where there is no figure."""
    frame = _Frame.of(found.box)
    shapes = []
    for line, shape in zip(lines, found.districts, strict=True):
        known = line.share.is_known
        value = (
            language.percent(line.share.estimate) if known else language.say("districts.too_few")
        )
        kind = f"share{np.searchsorted(STEPS, line.share.estimate, 'right')}" if known else "few"
        title = tag("title", f"{line.name}: {value}")
        shapes.append(tag("g", title, frame.path(shape, f"border {kind}")))
    outline = frame.path(found.outline, "shore") if found.outline is not None else Html()
    return frame.draw(language, language.say("districts.alt"), *shapes, outline)


def district_legend(language: Language) -> Html:
    """Colors of :func:`draw_districts` in words."""
    ends = (0.0, *STEPS, 1.0)
    words = [
        language.say(
            "number.interval", low=language.number(100 * low), high=language.percent(high, 0)
        )
        for low, high in pairwise(ends)
    ]
    keys = [(f"share{step}", word) for step, word in enumerate(words)]
    return draw_legend([*keys, ("few", language.say("districts.too_few"))])


def draw_legend(keys: Sequence[tuple[str, str]]) -> Html:
    """Squares of a class of the page's style, each with its word."""
    return tag(
        "p",
        *(
            tag(
                "span",
                tag(
                    "svg",
                    tag("rect", class_=kind, x=".5", y=".5", width="11", height="11"),
                    class_="key",
                    viewBox="0 0 12 12",
                    aria_hidden="true",
                ),
                word,
            )
            for kind, word in keys
        ),
        class_="legend",
    )


def class_style(band: Band) -> str:
    """Rules of the page's style for the colors of the maps."""
    palette = band.opaque_palette
    classes = "".join(f"svg .class{v} {{ fill: {hex_color(c)} }}\n" for v, c in palette.items())
    return classes + "".join(f"svg .share{n} {{ fill: {c} }}\n" for n, c in enumerate(COLORS))


@dataclass(frozen=True, slots=True)
class _Frame:
    """Units of a drawing, in true proportions of the ground at its center."""

    left: float
    top: float
    scale: tuple[float, float]
    """Units a meter of EPSG:6933."""
    width: int
    height: int
    ground: GroundSize

    @classmethod
    def of(cls, box: GeoBox) -> _Frame:
        ground = measure(box)
        height, width = ground.shape(LONGEST)
        left, bottom, right, top = box.boundingbox.bbox
        return cls(
            left, top, (width / (right - left), height / (top - bottom)), width, height, ground
        )

    def path(self, shape: shapely.Geometry, kind: str) -> Html:
        """Polygons as coarse as they are drawn."""
        meters = LONGEST / max(self.scale) * _COARSENESS
        coarse = shapely.simplify(shape, meters)
        d = outline_path(coarse, self.left, self.top, self.scale)
        return tag("path", class_=kind, fill_rule="evenodd", d=d)

    def draw(self, language: Language, alt: str, *content: Html) -> Html:
        """A drawing with its scale below it."""
        return tag(
            "svg",
            *content,
            self._draw_scale(language),
            class_="map",
            role="img",
            aria_label=alt,
            viewBox=f"-4 -4 {self.width + 8} {self.height + _FOOT + 8}",
        )

    def _draw_scale(self, language: Language) -> Html:
        per_unit = self.ground.width / self.width
        length = round_length_down(per_unit * _BAR)
        units, y = length / per_unit, self.height + 20
        words = language.say("map.scale", length=language.number(length / 1000))
        return join(
            (
                tag("rect", class_="bar", x=0, y=y, width=f"{units:.1f}", height=8),
                tag("text", words, x=f"{units + 10:.1f}", y=y + 12, class_="word"),
                tag("path", class_="arrow", d=f"M{self.width - 20} {y + 24}v-30m-7 10l7-12l7 12"),
                tag("text", language.say("map.north"), x=self.width - 48, y=y + 16, class_="word"),
            )
        )


def _encode_png(found: ReportMap) -> bytes:
    with TemporaryDirectory(prefix="cropmask-") as folder:
        path = Path(folder) / "map.png"
        write_picture(path, found.pixels, found.band)
        return path.read_bytes()
