"""GeoMAD that the user has loaded: xarray datasets in, strips of raw pixels out.

Parsed once into :class:`LoadedInputs`. Their arrays may be numpy's or lazy ones, such as dask's:
:class:`StripMaker` makes strips of the pixels of a block.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.crs import norm_crs_or_error
from odc.geo.geobox import GeoBox
from odc.geo.xr import spatial_dims

from cropmask.core.scaling import KEPT, LAYER, Kept, Scaling, is_as_kept
from cropmask.core.strips import DEVIATION, REFLECTANCE, Half, Strip
from cropmask.errors import Reason, Rejected, find_closest
from cropmask.product import HalfOrder
from cropmask.sources.bands import ALIASES

BANDS: Final = (*REFLECTANCE, *DEVIATION)
"""Order of the bands of a half-year, as in strips."""
LayerValues = xr.DataArray | float
"""Pixels of a layer beside GeoMAD on the grid of the bands, or one number for all of them."""

_NARROW: Final = ("B8A", "nir08", "nir_2")
"""Names of the narrow near infrared, which is not our ``nir``."""
_ALIGNED: Final = 0.01
"""Pixels that the corners of two grids may lie apart and count as the same."""
_PHYSICAL: Final = 2.0
"""No half-year's largest reflectance is as low as this where it is stored x 10 000, and none is as
high in its own unit; the same is so of ``edev``. The other deviations are shares of 1."""
_LARGEST: Final = np.iinfo(np.uint16).max


@dataclass(frozen=True, slots=True, eq=False)
class LoadedGrid:
    """Where pixels lie."""

    box: GeoBox
    dims: tuple[str, str]
    """Names of the axes, rows first."""
    coords: Mapping[Hashable, xr.DataArray]
    """Of the axes, as the user has them."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedInputs:
    """All inputs of a prediction on one grid."""

    grid: LoadedGrid
    bands: tuple[xr.Variable, ...]
    """Bands of the first half-year in the order of :data:`BANDS`, then those of the second."""
    layers: tuple[xr.Variable | float, xr.Variable | float, xr.Variable | float]
    """Rain of the first half-year, of the second (mm), slope (percent)."""

    @property
    def arrays(self) -> tuple[xr.Variable, ...]:
        """Everything that has pixels ``(y, x)``: bands, then layers that are no numbers."""
        return (*self.bands, *(layer for layer in self.layers if isinstance(layer, xr.Variable)))

    @property
    def strip_maker(self) -> StripMaker:
        """What makes strips of the pixels of :attr:`arrays`."""
        return StripMaker(
            tuple(_nodata_of(array.attrs) for array in self.arrays),
            tuple(None if isinstance(layer, xr.Variable) else layer for layer in self.layers),
        )


def parse_halves(
    first: xr.Dataset | xr.DataArray,
    second: xr.Dataset | xr.DataArray,
    order: HalfOrder | None = None,
) -> tuple[LoadedGrid, tuple[xr.Variable, ...]]:
    """Grid and bands of a model's half-years; ``order`` is that of the model, if it is known.

    Raises Rejected if a band is missing, is there twice or has a type that cannot be meant, if
    the half-years are not on one grid with a CRS, or if their times say that they are exchanged.
    """
    grid, bands = _parse_half(first, "first_half")
    other, later = _parse_half(second, "second_half")
    _check_same(other, grid, "second_half")
    _check_order(first, second, order)
    return grid, (*bands, *later)


def _check_order(
    first: xr.Dataset | xr.DataArray, second: xr.Dataset | xr.DataArray, order: HalfOrder | None
) -> None:
    """Refuse half-years whose times, where they have one each, say that they are exchanged."""
    moments = [moment for moment in map(_find_time, (first, second)) if moment is not None]
    if len(moments) != 2 or type(moments[0]) is not type(moments[1]):
        return
    said = f"first_half is of {moments[0]!s:.10}, second_half of {moments[1]!s:.10}"
    is_late, is_other_late = map(is_late_half, (first, second))
    is_turned = is_other_late and not is_late and moments[0] > moments[1]
    is_season = is_turned and moments[0] - moments[1] < np.timedelta64(365, "D")
    if is_season and order == "season":
        raise Rejected(
            f"{said}: the region's model has the half first with which a season begins: exchange "
            "them",
            reason=Reason.BAD_VALUE,
        )
    if moments[0] > moments[1] and not is_season:
        raise Rejected(
            f"{said}: give January to June first, then July to December of the same year",
            reason=Reason.BAD_VALUE,
        )
    if order == "calendar" and is_late and not is_other_late:
        raise Rejected(
            f"{said}: the region's model has January to June first, in seasons too: exchange them",
            reason=Reason.BAD_VALUE,
        )


def is_late_half(half: xr.Dataset | xr.DataArray) -> bool:
    """Whether the time of a half-year, if it has one, is in July to December."""
    moment = _find_time(half)
    if not isinstance(moment, np.datetime64):
        return False
    return bool(moment.astype("datetime64[M]").astype(int) % 12 > 5)


def _find_time(half: xr.Dataset | xr.DataArray) -> Any:  # noqa: ANN401 (any kind of time)
    time = half.coords.get("time")
    return time.values.reshape(-1)[0] if time is not None and time.size == 1 else None


def parse_layer(layer: LayerValues, name: str, grid: LoadedGrid) -> xr.Variable | float:
    """A layer beside GeoMAD; Rejected if it is no number and no array on the grid."""
    if isinstance(layer, xr.DataArray) and layer.ndim:
        found = _locate(layer, name)
        _check_same(found, grid, name)
        _check_type(layer, name, LAYER)
        return _flatten(layer, name, found.dims)
    try:
        number = float(layer)
    except (TypeError, ValueError):
        raise _wrong_kind(
            layer, name, "a number, or an xarray.DataArray on the bands' grid"
        ) from None
    if not np.isfinite(number):
        raise Rejected(f"{name} is {number}: give a finite number", reason=Reason.BAD_VALUE)
    return number


def _wrong_kind(value: object, name: str, wanted: str) -> Rejected:
    kind = type(value)
    return Rejected(
        f"{name} is a {kind.__module__}.{kind.__qualname__}: give {wanted}",
        reason=Reason.BAD_VALUE,
    )


def _parse_half(
    half: xr.Dataset | xr.DataArray, which: str
) -> tuple[LoadedGrid, tuple[xr.Variable, ...]]:
    if isinstance(half, xr.DataArray) and "band" in half.dims and "band" in half.coords:
        half = half.to_dataset(dim="band")
    if not isinstance(half, xr.Dataset):
        raise _wrong_kind(half, which, "an xarray.Dataset of the 12 bands")
    names = _find_names(half, which)
    arrays = [half[name] for name in names.values()]
    grid = _locate(arrays[0], which)
    for band, array in zip(names, arrays, strict=True):
        _check_type(array, f"band '{band}' of {which}", KEPT[band])
    return grid, tuple(
        _flatten(array, f"band '{band}' of {which}", grid.dims)
        for band, array in zip(names, arrays, strict=True)
    )


def _find_names(half: xr.Dataset, which: str) -> dict[str, Hashable]:
    """Variables of the bands, by our names."""
    found = {
        band: [name for name in (band, *ALIASES[band]) if name in half.data_vars] for band in BANDS
    }
    for band, names in found.items():
        if len(names) > 1:
            raise Rejected(
                f"{which} has band '{band}' {len(names)} times, as {' and '.join(names)}: drop all "
                "but one",
                reason=Reason.DOUBLED_BAND,
            )
    missing = [band for band, names in found.items() if not names]
    if missing:
        known = set(chain.from_iterable(found.values()))
        others = [name for name in half.data_vars if name not in known]
        raise Rejected(
            f"{which} has no {_list_bands(missing)}: {_guess(missing, others, half)}",
            reason=Reason.MISSING_BAND,
        )
    return {band: names[0] for band, names in found.items()}


def _list_bands(missing: Sequence[str]) -> str:
    named = [f"'{band}' ({ALIASES[band][0]})" for band in missing]
    return f"band {named[0]}" if len(named) == 1 else f"bands {', '.join(named)}"


def _guess(missing: Sequence[str], others: Sequence[Hashable], half: xr.Dataset) -> str:
    """What may be meant by other variables, else what there is."""
    words = [str(name) for name in others if name not in _NARROW]
    if words and all(map(str.isdecimal, words)):
        return "its bands are numbered: give them their names with .rename()"
    near: dict[str, str] = {}
    for band in missing:
        close = (find_closest(name, words, 0.7) for name in (band, *ALIASES[band]))
        word = next(filter(None, close), None)
        if word is not None:
            near.setdefault(word, band)
    if near:
        return f"did you mean {' and '.join(map(repr, near))}? .rename({near})"
    narrow = [str(name) for name in others if name in _NARROW]
    if "nir" in missing and narrow:
        return f"'{narrow[0]}' is the narrow near infrared, another band: load B08"
    return f"its variables are {', '.join(map(str, half.data_vars)) or 'none'}"


def _locate(array: xr.DataArray, what: str) -> LoadedGrid:
    """Grid of an array; Rejected if it has none that is regular, or no CRS."""
    dims = spatial_dims(array)
    if dims is None or not all(dim in array.coords for dim in dims):
        raise Rejected(
            f"{what} has no axes y and x with coordinates (its dimensions are "
            f"{', '.join(map(str, array.dims)) or 'none'}): load it with odc-stac, stackstac or "
            "rioxarray",
            reason=Reason.WRONG_RASTER,
        )
    box, crs = array.odc.geobox, array.odc.crs or _find_epsg(array)
    if crs is None:
        raise Rejected(
            f"{what} has no CRS: give it one, such as .odc.assign_crs('EPSG:6933')",
            reason=Reason.WRONG_CRS,
        )
    if not isinstance(box, GeoBox):
        raise Rejected(
            f"{what} is on no regular grid, or is one pixel wide: load it on a grid of its CRS",
            reason=Reason.WRONG_RASTER,
        )
    box = GeoBox(box.shape, box.transform, crs)
    return LoadedGrid(box, dims, {dim: array.coords[dim].reset_coords(drop=True) for dim in dims})


def _find_epsg(array: xr.DataArray) -> str | None:
    """CRS of a coordinate without an axis, as stackstac writes it."""
    code = array.coords.get("epsg")
    if code is None or code.ndim or code.dtype.kind not in "iu":
        return None
    return f"EPSG:{int(code)}"


def _check_same(found: LoadedGrid, wanted: LoadedGrid, what: str) -> None:
    """Raise Rejected if what is found is not on the wanted grid, and say how it differs."""
    differs = _find_difference(found, wanted)
    if differs:
        raise Rejected(
            f"{what} is on another grid than first_half: {differs}; load both on one grid, or "
            "bring it there with .odc.reproject(first_half.odc.geobox)",
            reason=Reason.WRONG_RASTER,
        )


def _find_difference(found: LoadedGrid, wanted: LoadedGrid) -> str:
    mine, other = found.box, wanted.box
    if mine.crs != other.crs:
        return f"its CRS is {_name_crs(mine)}, not {_name_crs(other)}"
    if found.dims != wanted.dims:
        return f"its axes are {', '.join(found.dims)}, not {', '.join(wanted.dims)}"
    if mine.shape != other.shape:
        return f"it has {' x '.join(map(str, mine.shape))} pixels (rows x columns), not " + (
            " x ".join(map(str, other.shape))
        )
    to_pixels = ~other.transform @ mine.transform
    rows, columns = mine.shape
    column, row = to_pixels @ (0, 0)
    last_column, last_row = to_pixels @ (columns, rows)
    apart = max(map(abs, (column, row, last_column - columns, last_row - rows)))
    if apart <= _ALIGNED:
        return ""
    half = 0.4 < max(abs(column), abs(row)) < 0.6
    hint = " (stackstac names corners of pixels unless xy_coords='center')" if half else ""
    return f"its corners lie up to {apart:.3g} pixels away{hint}"


def _name_crs(box: GeoBox) -> str:
    crs = norm_crs_or_error(box.crs)
    return f"EPSG:{crs.epsg}" if crs.epsg else str(crs.proj.name)


def _check_type(array: xr.DataArray, what: str, kept: Kept) -> None:
    """Raise Rejected if numbers of this type, or so scaled, cannot be what is meant."""
    kind = array.dtype
    if kept is LAYER:
        problem = None if kind.kind in "uif" else "where numbers are needed"
    elif kept.is_distance:
        problem = (
            None
            if kind.kind == "f"
            else (
                "where deviations are fractions: load it as float32, such as with dtype='float32'"
            )
        )
    else:
        good = kind.kind in "uif" and kind.itemsize > 1
        problem = None if good else "which cannot hold reflectances x 10 000: load it as uint16"
    if problem:
        raise Rejected(f"{what} holds {kind}, {problem}", reason=Reason.WRONG_RASTER)
    scaling = Scaling(
        _number_of(array.attrs, "scale_factor", 1.0), _number_of(array.attrs, "add_offset", 0.0)
    )
    if not is_as_kept(scaling, kept):
        raise Rejected(
            f"{what} has {scaling}, which are not applied: give it as GeoMAD stores it "
            f"(value x {kept.times:,.0f}), without these attributes",
            reason=Reason.WRONG_RASTER,
        )


def _flatten(array: xr.DataArray, what: str, dims: tuple[str, str]) -> xr.Variable:
    """Pixels ``(y, x)`` of an array whose other axes have one place each."""
    others = [dim for dim in array.dims if dim not in dims]
    for dim in others:
        if array.sizes[dim] != 1:
            raise Rejected(
                f"{what} has {array.sizes[dim]} places along '{dim}', where one is needed: choose "
                f"one with .isel({dim}=0)",
                reason=Reason.WRONG_RASTER,
            )
    return array.isel(dict.fromkeys(others, 0)).variable.transpose(*dims)


def _nodata_of(attrs: Mapping[Any, Any]) -> float:
    """Nodata as the attributes say it; NaN if they do not."""
    return _number_of(attrs, "nodata", _number_of(attrs, "_FillValue", math.nan))


def _number_of(attrs: Mapping[Any, Any], key: str, usual: float) -> float:
    try:
        return float(attrs.get(key, usual))
    except (TypeError, ValueError):
        return usual


@dataclass(frozen=True, slots=True, eq=False)
class StripMaker:
    """Makes strips of the pixels of all arrays of :class:`LoadedInputs`, or of a block of each."""

    nodata: tuple[float, ...]
    """Of each array, NaN where nothing says one; in any case, NaN is nodata."""
    numbers: tuple[float | None, ...]
    """Layers that are one number: rain of the first half-year, of the second, slope."""

    def strips(self, arrays: Sequence[NDArray[Any]], rows: int) -> Iterator[Strip]:
        """Strips of at most ``rows`` rows of arrays ``(y, x)``, from the first row on.

        Raises Rejected if the numbers are not in the unit that GeoMAD stores.
        """
        for row in range(0, arrays[0].shape[0], rows):
            yield self._make(row, [array[row : row + rows] for array in arrays])

    def _make(self, row: int, arrays: Sequence[NDArray[Any]]) -> Strip:
        pairs = [*zip(arrays, self.nodata, strict=True)]
        count = len(BANDS)
        first, second = (
            _make_half(pairs[start : start + count], which)
            for start, which in ((0, "first_half"), (count, "second_half"))
        )
        given = iter(pairs[2 * count :])
        layers = np.empty((len(self.numbers), *arrays[0].shape), np.float32)
        for number, out in zip(self.numbers, layers, strict=True):
            if number is None:
                _keep_float(*next(given), out)
            else:
                out[:] = number
        return Strip(row, first, second, layers[:2], layers[2])


def _make_half(pairs: Sequence[tuple[NDArray[Any], float]], which: str) -> Half:
    shape = pairs[0][0].shape
    reflectance = np.empty((len(REFLECTANCE), *shape), np.uint16)
    deviation = np.empty((len(DEVIATION), *shape), np.float32)
    largest = [
        _keep_reflectance(*pair, out, f"band '{name}' of {which}")
        for name, pair, out in zip(REFLECTANCE, pairs, reflectance, strict=False)
    ]
    if 0 < max(largest) <= _PHYSICAL:
        raise Rejected(
            f"reflectances of {which} reach {max(largest):.3g}, so they are shares of 1: give them "
            "as GeoMAD stores them, x 10 000; stackstac does so with rescale=False",
            reason=Reason.WRONG_RASTER,
        )
    for name, pair, out in zip(DEVIATION, pairs[len(REFLECTANCE) :], deviation, strict=True):
        _keep_float(*pair, out)
        _check_deviation(name, out, which)
    return Half(reflectance, deviation)


def _keep_reflectance(
    values: NDArray[Any], nodata: float, out: NDArray[np.uint16], what: str
) -> float:
    """Fill ``out`` with stored reflectances, 0 where nodata; the largest as it came."""
    if values.dtype == np.uint16 and (np.isnan(nodata) or nodata == 0):
        out[:] = values
        return float(out.max(initial=0))
    known = np.isfinite(values) & (values != nodata)
    held = np.where(known, values, 0)
    least, largest = float(held.min(initial=0)), float(held.max(initial=0))
    if least < 0 or largest > _LARGEST:
        raise Rejected(
            f"{what} has the value {least if least < 0 else largest:g}, which is no reflectance "
            f"x 10 000: nodata must be 0, NaN or what .attrs['nodata'] says",
            reason=Reason.WRONG_RASTER,
        )
    out[:] = np.rint(held)
    return largest


def _keep_float(values: NDArray[Any], nodata: float, out: NDArray[np.float32]) -> None:
    """Fill ``out`` with values of a deviation or layer, NaN where nodata."""
    out[:] = values
    if not np.isnan(nodata):
        out[values == nodata] = np.nan


def _check_deviation(name: str, values: NDArray[np.float32], which: str) -> None:
    """Raise Rejected if deviations are scaled otherwise, or are logarithms already."""
    largest = float(values[np.isfinite(values)].max(initial=0))
    if KEPT[name].times > 1:
        wrong = 0 < largest <= _PHYSICAL
        unit = "the distance of stored reflectances, x 10 000"
    else:
        wrong = largest > _PHYSICAL
        unit = "a share of 1"
    if wrong:
        raise Rejected(
            f"band '{name}' of {which} reaches {largest:.3g}: give it as GeoMAD stores it, {unit}, "
            "and not its logarithm",
            reason=Reason.WRONG_RASTER,
        )
