"""VRT files: a raster that borrows pixels of others and puts them in a place of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

_BLOCK: Final = "512"


@dataclass(frozen=True, slots=True)
class Piece:
    """A window of another raster's only band, at its own pixel size."""

    file: str
    """Path from the VRT file."""
    column: int
    row: int
    columns: int
    rows: int
    to_column: int
    to_row: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Pixels of a north-up raster."""

    crs: str
    left: float
    top: float
    step: float
    columns: int
    rows: int


def encode_vrt(
    grid: Grid,
    data_type: str,
    nodata: str | None,
    pieces: Sequence[Piece],
    metadata: Mapping[str, str],
) -> bytes:
    """XML of a VRT of one band.

    Parameters
    ----------
    grid
        Pixels of the raster.
    data_type
        GDAL's name of the type, such as ``UInt16``.
    nodata
        Value of pixels that no piece covers, and that count as unknown.
    pieces
        What is borrowed.
    metadata
        Names and values that GDAL shows.
    """
    root = ET.Element("VRTDataset", rasterXSize=str(grid.columns), rasterYSize=str(grid.rows))
    ET.SubElement(root, "SRS").text = grid.crs
    transform = (grid.left, grid.step, 0, grid.top, 0, -grid.step)
    ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, map(float, transform)))
    about = ET.SubElement(root, "Metadata")
    for key, value in metadata.items():
        ET.SubElement(about, "MDI", key=key).text = value
    band = ET.SubElement(
        root,
        "VRTRasterBand",
        dataType=data_type,
        band="1",
        blockXSize=_BLOCK,
        blockYSize=_BLOCK,
    )
    if nodata is not None:
        ET.SubElement(band, "NoDataValue").text = nodata
    for piece in pieces:
        source = ET.SubElement(band, "SimpleSource")
        ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = piece.file
        ET.SubElement(source, "SourceBand").text = "1"
        size = {"xSize": str(piece.columns), "ySize": str(piece.rows)}
        at = {"xOff": str(piece.column), "yOff": str(piece.row)}
        ET.SubElement(source, "SrcRect", {**at, **size})
        to = {"xOff": str(piece.to_column), "yOff": str(piece.to_row)}
        ET.SubElement(source, "DstRect", {**to, **size})
    ET.indent(root, " ")
    return ET.tostring(root) + b"\n"
