"""Styles of the bands for QGIS (QML) and for map servers (SLD), in the published colors."""

from __future__ import annotations

from typing import Final
from xml.etree import ElementTree as ET

from cropmask.product import FAMILY, SERIES_BANDS, SERIES_FAMILY, Band, Rgba, hex_color

STYLE_KINDS: Final = {"qml": "QGIS style", "sld": "SLD style"}
"""Kinds of style files, by the end of their names."""
_SLD: Final = "http://www.opengis.net/sld"
_DOCTYPE: Final = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def style_file(band: Band, kind: str) -> str:
    """Key of a style below the root of the catalog; ``kind`` is ``qml`` or ``sld``."""
    return f"styles/{_name(band)}.{kind}"


def _name(band: Band) -> str:
    family = SERIES_FAMILY if band in SERIES_BANDS else FAMILY
    return f"{family}_{band.name}"


def make_qml(band: Band) -> str:
    """QGIS layer style of a band; nodata comes from the file itself and is transparent."""
    root = ET.Element("qgis", version="3.22.0", styleCategories="Symbology")
    pipe = ET.SubElement(root, "pipe")
    renderer = ET.SubElement(
        pipe,
        "rasterrenderer",
        type="paletted" if band.classes else "singlebandpseudocolor",
        band="1",
        opacity="1",
        alphaBand="-1",
        nodataColor="",
    )
    ET.SubElement(renderer, "rasterTransparency")
    if band.classes:
        palette = ET.SubElement(renderer, "colorPalette")
        for found in band.classes:
            ET.SubElement(palette, "paletteEntry", _entry(found.value, found.color, found.title))
    else:
        _add_ramp(renderer, band)
    ET.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    ET.SubElement(pipe, "huesaturation", saturation="0", colorizeOn="0", grayscaleMode="0")
    ET.SubElement(pipe, "rasterresampler", maxOversampling="2")
    ET.SubElement(root, "blendMode").text = "0"
    return _DOCTYPE + _text(root)


def _add_ramp(renderer: ET.Element, band: Band) -> None:
    low, high = (str(band.ramp[i][0]) for i in (0, -1))
    renderer.set("classificationMin", low)
    renderer.set("classificationMax", high)
    shader = ET.SubElement(
        ET.SubElement(renderer, "rastershader"),
        "colorrampshader",
        colorRampType="INTERPOLATED",
        classificationMode="1",
        clip="0",
        minimumValue=low,
        maximumValue=high,
    )
    for value, color in band.ramp:
        ET.SubElement(shader, "item", _entry(value, color, str(value)))


def _entry(value: int, color: Rgba, label: str) -> dict[str, str]:
    return {
        "value": str(value),
        "color": hex_color(color).lower(),
        "alpha": str(color[3]),
        "label": label,
    }


def make_sld(band: Band) -> str:
    """Styled layer descriptor 1.0.0 of a band, for GeoServer, MapServer and QGIS."""
    root = ET.Element("StyledLayerDescriptor", xmlns=_SLD, version="1.0.0")
    layer = ET.SubElement(root, "NamedLayer")
    ET.SubElement(layer, "Name").text = _name(band)
    style = ET.SubElement(layer, "UserStyle")
    ET.SubElement(style, "Name").text = _name(band)
    ET.SubElement(style, "Title").text = band.title
    rule = ET.SubElement(ET.SubElement(style, "FeatureTypeStyle"), "Rule")
    symbolizer = ET.SubElement(rule, "RasterSymbolizer")
    ET.SubElement(symbolizer, "Opacity").text = "1.0"
    colors = ET.SubElement(symbolizer, "ColorMap", type="values" if band.classes else "ramp")
    entries = [(found.value, found.color, found.title) for found in band.classes]
    for value, color, label in entries or [(v, c, str(v)) for v, c in band.ramp]:
        ET.SubElement(
            colors,
            "ColorMapEntry",
            color=hex_color(color),
            quantity=str(value),
            opacity=str(color[3] // 255),
            label=label,
        )
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _text(root)


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
