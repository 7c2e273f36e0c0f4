"""Labeled points counted: by domain, stratum, class of the map and class of the reference.

Every accuracy and area is a function of these shares, so points are looked at once, here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cropmask.assess.intervals import Reals
from cropmask.errors import Reason, Rejected, list_some
from cropmask.product import NODATA

Integers = NDArray[np.int64]
Sizes = ArrayLike | Mapping[Any, float] | Mapping[Any, Mapping[Any, float]]
"""Of strata, or of each domain's parts of strata: in order, or by name."""
Classes = Sequence[Any] | Mapping[Any, str]
"""Values that classes have in the order of all results, perhaps with their names."""

MAX_CLASSES: Final = 64
"""More classes than a map has: codes of something else were given."""
_MAX_CODE: Final = 2**53
"""Above it not every whole number is one in floating point."""
WHOLE: Final = "all"
"""Name of the only stratum, or of the only domain."""


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Counts of points and what they stand for; made by :func:`count_labels` or of a matrix.

    ``(...)`` are the domains, if there are any. Points of a plot depend on each other: then
    ``covariance`` is known and the plots are the ``units`` of the design.
    """

    classes: tuple[str, ...]
    strata: tuple[str, ...]
    domains: tuple[str, ...] | None
    counts: Integers
    """Points ``(..., stratum, map class, reference class)``."""
    pixels: Reals
    """What each stratum stands for, in pixels or any unit of area, ``(..., stratum)``."""
    points: Integers
    """Points of a stratum, ``(..., stratum)``: more than are counted if a domain's part of the
    stratum is not known."""
    units: Integers
    """Independent drawings of a stratum, ``(..., stratum)``: plots, or else points."""
    covariance: Reals | None
    """Of the estimated shares of a stratum, ``(..., stratum, cell, cell)``, by cells of the matrix
    row by row; None if each point was drawn by itself."""
    is_weighted: bool
    """False if points count alike whatever they stand for."""

    @property
    def weights(self) -> Reals:
        """Share of each stratum in the pixels, ``(..., stratum)``; 0 where there are none."""
        total = self.pixels.sum(-1, keepdims=True)
        return np.asarray(self.pixels / np.where(total > 0, total, 1.0))

    @property
    def shares(self) -> Reals:
        """Of each stratum's points, ``(..., stratum, map class, reference class)``."""
        return self.counts / np.maximum(self.points, 1)[..., None, None]

    @property
    def area_shares(self) -> Reals:
        """The confusion matrix in shares of the area, ``(..., map class, reference class)``."""
        matrix: Reals = (self.weights[..., None, None] * self.shares).sum(-3)
        return matrix

    @property
    def matrix(self) -> Integers:
        """The confusion matrix in points, ``(..., map class, reference class)``."""
        matrix: Integers = self.counts.sum(-3)
        return matrix

    @property
    def is_enough(self) -> NDArray[np.bool_]:
        """Whether every stratum that has pixels has two units, ``(...)``."""
        enough = ((self.units >= 2) | (self.pixels == 0)).all(-1)
        return np.asarray(enough & (self.counts.sum((-1, -2, -3)) > 0))


def count_labels(
    mapped: ArrayLike,
    reference: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    pixels: Sizes | None = None,
    domains: ArrayLike | None = None,
    plots: ArrayLike | None = None,
    classes: Classes | None = None,
) -> Confusion:
    """Count points by what the map says, what people say, and where they were drawn.

    Parameters
    ----------
    mapped, reference
        Class of each point on the map and of the reference, ``(point,)``: whole numbers or words,
        also columns of a frame.
    strata
        Stratum that each point was drawn in, ``(point,)``; without strata all points count alike.
    pixels
        Size of each stratum in pixels, or in any unit of area: by name, or in the order of the
        sorted strata. With ``domains`` it may be by domain and then stratum, ``(domain,
        stratum)``: each domain's part of each stratum, which makes its figures surer. A stratum
        of size 0 needs no points.
    domains
        Region or district of each point, ``(point,)``: all figures are then by domain. Domains
        that ``pixels`` names and that no point lies in are among them, without figures.
    plots
        Plot of each point, ``(point,)``, where several points were drawn together.
    classes
        Values of the classes in the order of all results, or their names by value; default the
        sorted values of both columns.

    Returns
    -------
    Confusion
        What :func:`cropmask.assess.assess_accuracy` and :func:`cropmask.assess.estimate_area` take.

    Raises
    ------
    Rejected
        If there is no point, a value is missing or unknown, lengths differ, sizes of strata are
        missing, a plot lies in two strata, or a stratum has pixels but fewer than two units.
    """
    given = {
        "mapped": mapped,
        "reference": reference,
        "strata": strata,
        "domains": domains,
        "plots": plots,
    }
    columns = _read_columns({name: value for name, value in given.items() if value is not None})
    if strata is None and pixels is not None:
        raise _bad("pixels are given without strata: give the stratum of each point")
    if strata is not None and pixels is None:
        raise _bad("strata are given without their sizes: give pixels, or leave the strata out")
    names, is_map, is_true = _code_classes(columns["mapped"], columns["reference"], classes)
    table = _read_sizes(pixels, columns)
    in_stratum = _code(columns, "strata", table.strata)
    in_domain = _code(columns, "domains", table.domains)
    shape = (len(table.domains), len(table.strata))
    cell = is_map * len(names) + is_true
    place = in_domain * shape[1] + in_stratum
    counts = _count(place * len(names) ** 2 + cell, (*shape, len(names), len(names)))
    points = counts.sum((-1, -2))
    if not table.is_nested:
        points = np.broadcast_to(points.sum(0), shape)
    units, covariance = points, None
    if plots is not None:
        plot = np.unique(columns["plots"], return_inverse=True)[1].reshape(-1)
        _check_plots(columns["plots"], plot, in_stratum)
        units, covariance = _cluster(plot, place, cell, counts, table.is_nested)
    found = Confusion(
        classes=names,
        strata=table.strata,
        domains=table.domains,
        counts=counts,
        pixels=np.broadcast_to(table.pixels, shape),
        points=points,
        units=units,
        covariance=covariance,
        is_weighted=pixels is not None,
    )
    if not table.is_nested:
        check_units(found)
    return found if domains is not None else _drop_domain(found)


def count_matrix(
    matrix: ArrayLike, pixels: ArrayLike | None = None, classes: Sequence[str] | None = None
) -> Confusion:
    """Take a confusion matrix that is known already.

    Parameters
    ----------
    matrix
        Points ``(..., map class, reference class)``; many matrices are many domains.
    pixels
        Pixels, or any unit of area, that the map has of each class, ``(..., class)``: the points of
        each class of the map are then a random sample of it. Without them, all points count alike.
    classes
        Names of the classes; default their numbers.

    Returns
    -------
    Confusion
        What :func:`cropmask.assess.assess_accuracy` and :func:`cropmask.assess.estimate_area` take.

    Raises
    ------
    Rejected
        If the matrix is not square, empty, or holds what is no count; if sizes do not fit, or a
        class has pixels but fewer than two points.
    """
    counts = _read_matrix(matrix)
    count = counts.shape[-1]
    names = tuple(map(str, classes if classes is not None else range(count)))
    if len(names) != count:
        raise _bad(f"{len(names)} classes are named, but the matrix has {count}")
    strata: tuple[str, ...] = (WHOLE,)
    sizes: Reals = np.ones((*counts.shape[:-2], 1))
    by_stratum = counts[..., None, :, :]
    if pixels is not None:
        strata = names
        sizes = _read_numbers(pixels, "pixels")
        if sizes.shape[-1:] != (count,):
            raise _bad(f"pixels must be those of the map's {count} classes, not {sizes.shape}")
        by_stratum = by_stratum * np.eye(count, dtype=np.int64)[:, :, None]
    points = by_stratum.sum((-1, -2))
    found = Confusion(
        classes=names,
        strata=strata,
        domains=None,
        counts=by_stratum,
        pixels=np.broadcast_to(sizes, points.shape),
        points=points,
        units=points,
        covariance=None,
        is_weighted=pixels is not None,
    )
    check_units(found)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _SizeTable:
    """Names of domains and strata, and what the strata stand for."""

    strata: tuple[str, ...]
    domains: tuple[str, ...]
    pixels: Reals
    """``(stratum,)``, or ``(domain, stratum)`` if nested."""

    @property
    def is_nested(self) -> bool:
        """Whether the parts of strata are known by domain."""
        return self.pixels.ndim == 2


def _bad(message: str) -> Rejected:
    return Rejected(message, reason=Reason.BAD_VALUE)


def _read_columns(given: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    """Columns of whole numbers or words, of one length; whatever is missing is said."""
    columns = {name: _read_column(name, value) for name, value in given.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise _bad(f"every point needs a value in each column, but lengths differ: {said}")
    if not lengths["mapped"]:
        raise _bad("there is no point: nothing can be said of a map without a sample")
    return columns


def _read_column(name: str, value: ArrayLike) -> NDArray[Any]:
    """One column: whole numbers as int64, words as str."""
    column: Any = np.ma.asarray(value)
    if column.ndim != 1:
        raise _bad(f"{name} must have a value for each point, not the shape {column.shape}")
    missing = np.ma.getmaskarray(column) | _find_missing(column.data)
    if missing.any():
        raise _bad(
            f"{name} has no value at {int(missing.sum())} of {len(column)} points, the first is "
            f"number {int(missing.argmax())}: leave these points out, and say how many they were"
        )
    values = column.data
    if values.dtype == object and all(isinstance(each, int | float | np.number) for each in values):
        values = values.astype(np.float64)
    if values.dtype.kind in "biuf":
        if (np.abs(values.astype(np.float64)) > _MAX_CODE).any():
            raise _bad(f"{name} holds numbers over {_MAX_CODE}, which are no classes or names")
        whole = np.asarray(values.astype(np.int64))
        if (whole != values).any():
            raise _bad(f"{name} holds {values[whole != values][0]}, which is no class or name")
        return whole
    return np.asarray(values.astype(str))


def _find_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.asarray(~np.isfinite(values))
    if values.dtype == object:
        odd = (str(each) == "<NA>" or each is None or each != each for each in values)
        return np.fromiter(odd, np.bool_, len(values))
    if values.dtype.kind == "U":
        return np.asarray(np.char.strip(values) == "")
    return np.zeros(len(values), np.bool_)


def _code_classes(
    mapped: NDArray[Any], reference: NDArray[Any], classes: Classes | None
) -> tuple[tuple[str, ...], Integers, Integers]:
    """Names of the classes, and the number of each point's class on the map and in truth."""
    if mapped.dtype.kind != reference.dtype.kind:
        raise _bad(
            f"the map's classes are like {mapped[0]!s} and those of the reference like "
            f"{reference[0]!s}: give numbers in both, or words in both"
        )
    values = np.union1d(mapped, reference)
    if classes is None and values.dtype.kind == "i" and NODATA in values:
        raise _bad(
            f"{int((mapped == NODATA).sum())} points lie where the map has no data "
            f"({NODATA}): leave them out, and say how many they were"
        )
    known = tuple(map(str, classes if classes is not None else values))
    if len(set(known)) != len(known):
        raise _bad(f"a class is named twice: {list_some(known, 8)}")
    if len(known) > MAX_CLASSES:
        raise _bad(f"{len(known)} classes are more than a map has: {list_some(known, 3)}")
    columns = {"mapped": mapped, "reference": reference}
    codes = [_code(columns, name, known) for name in columns]
    names = tuple(map(str, classes.values())) if isinstance(classes, Mapping) else known
    return names, codes[0], codes[1]


def _code(columns: Mapping[str, NDArray[Any]], name: str, known: Sequence[str]) -> Integers:
    """Numbers of names in a column; all 0 if there is no such column."""
    if name not in columns:
        return np.zeros(len(columns["mapped"]), np.int64)
    values, inverse = np.unique(columns[name], return_inverse=True)
    order = {word: number for number, word in enumerate(known)}
    words = [str(value) for value in values]
    strange = [word for word in words if word not in order]
    if strange:
        raise _bad(
            f"{name} holds {list_some(strange, 3)}, but what is known is {list_some(known, 8)}"
        )
    return np.array([order[word] for word in words], np.int64)[inverse.reshape(-1)]


def _read_sizes(pixels: Sizes | None, columns: Mapping[str, NDArray[Any]]) -> _SizeTable:
    """Sizes in the order of their names; names are those of sizes, else those of the points."""
    strata, domains = (_names_of(columns.get(name)) for name in ("strata", "domains"))
    if pixels is None:
        return _SizeTable(strata, domains, np.ones(1))
    has_domains = "domains" in columns
    if not isinstance(pixels, Mapping):
        sizes = _read_numbers(pixels, "pixels")
        if sizes.shape not in ((len(strata),), (len(domains), len(strata))):
            raise _bad(
                f"pixels are {sizes.shape}, but the points have {len(strata)} strata"
                + (f" and {len(domains)} domains" if has_domains else "")
            )
        return _SizeTable(strata, domains, sizes if sizes.ndim == 1 or has_domains else sizes[0])
    rows: list[Any] = list(pixels.values())
    if not any(isinstance(row, Mapping) for row in rows):
        return _SizeTable(tuple(map(str, pixels)), domains, _read_numbers(rows, "pixels"))
    if not has_domains or not all(isinstance(row, Mapping) for row in rows):
        raise _bad("pixels are by domain and stratum, but points have no domains: give them")
    strata = tuple(dict.fromkeys(str(name) for row in rows for name in row))
    tables = [{str(name): size for name, size in row.items()} for row in rows]
    sizes = _read_numbers([[row.get(name, 0) for name in strata] for row in tables], "pixels")
    return _SizeTable(strata, tuple(map(str, pixels)), sizes)


def _names_of(column: NDArray[Any] | None) -> tuple[str, ...]:
    return (WHOLE,) if column is None else tuple(map(str, np.unique(column)))


def _read_numbers(values: ArrayLike | Iterable[Any], name: str) -> Reals:
    """Finite numbers, none of them negative, and not all of them 0."""
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise _bad(f"{name} must be numbers") from error
    if not np.isfinite(numbers).all() or (numbers < 0).any():
        raise _bad(
            f"{name} must be finite and not negative, but one is "
            f"{numbers[~(np.isfinite(numbers) & (numbers >= 0))].flat[0]}"
        )
    if not numbers.any():
        raise _bad(f"all {name} are 0: there is no area to speak of")
    return numbers


def _read_matrix(matrix: ArrayLike) -> Integers:
    numbers = _read_numbers(matrix, "counts")
    if numbers.ndim < 2 or numbers.shape[-1] != numbers.shape[-2]:
        raise _bad(f"a confusion matrix is square, one row a class of the map: not {numbers.shape}")
    if (numbers != np.rint(numbers)).any():
        raise _bad("a confusion matrix holds counts of points, not shares: give the counts")
    return numbers.astype(np.int64)


def _count(places: Integers, shape: tuple[int, ...]) -> Integers:
    size = int(np.prod(shape))
    return np.bincount(places, minlength=size).reshape(shape).astype(np.int64)


def _check_plots(names: NDArray[Any], plot: Integers, in_stratum: Integers) -> None:
    """A plot is drawn once, so all of its points are of the stratum that it was drawn in."""
    first = np.full(int(plot.max()) + 1, -1, np.int64)
    first[plot[::-1]] = in_stratum[::-1]
    strange = first[plot] != in_stratum
    if strange.any():
        raise _bad(
            f"plot {names[strange.argmax()]} lies in two strata: give each point the stratum that "
            "its plot was drawn in"
        )


def _cluster(
    plot: Integers, place: Integers, cell: Integers, counts: Integers, is_nested: bool
) -> tuple[Integers, Reals]:
    """Plots by place, and the covariance of shares between plots.

    A share is a ratio of sums over plots; its variance is that of the plots' residuals, as in
    Cochran 1977, section 11.8.
    """
    domains, strata, cells = *counts.shape[:2], counts.shape[2] * counts.shape[3]
    wide = domains * strata
    rows, row = np.unique(plot * wide + place, return_inverse=True)
    table = _count(row.reshape(-1) * cells + cell, (len(rows), cells)).astype(np.float64)
    at, owner = rows % wide, rows // wide
    group = at if is_nested else at % strata
    # A plot's size: its points in the domain where this is known, else all of them.
    sizes = table.sum(-1)
    if not is_nested:
        sizes = np.bincount(owner, sizes)[owner]
    lead = np.unique(owner * wide + group, return_index=True)[1]
    groups = wide if is_nested else strata

    def gather(values: Reals) -> Reals:
        found = np.bincount(group[lead], values[lead], groups)
        return np.broadcast_to(found.reshape(-1, strata), (domains, strata))

    units, points, squares = gather(np.ones(len(rows))), gather(sizes), gather(sizes**2)
    products = np.zeros((wide, cells, cells))
    crossed = np.zeros((wide, cells))
    order = np.argsort(at, kind="stable")
    places, starts = np.unique(at[order], return_index=True)
    for here, chosen in zip(places, np.split(order, starts[1:]), strict=True):
        products[here] = table[chosen].T @ table[chosen]
        crossed[here] = sizes[chosen] @ table[chosen]
    share = counts.reshape(domains, strata, cells) / np.maximum(points, 1)[..., None]
    mixed = crossed.reshape(domains, strata, cells)[..., :, None] * share[..., None, :]
    total = products.reshape(domains, strata, cells, cells) - mixed - np.swapaxes(mixed, -1, -2)
    total += squares[..., None, None] * share[..., :, None] * share[..., None, :]
    scale = units / np.maximum(units - 1, 1) / np.maximum(points, 1) ** 2
    return units.astype(np.int64), total * scale[..., None, None]


def _drop_domain(found: Confusion) -> Confusion:
    """The only domain as no domain at all."""
    return replace(
        found,
        domains=None,
        counts=found.counts[0],
        pixels=found.pixels[0],
        points=found.points[0],
        units=found.units[0],
        covariance=None if found.covariance is None else found.covariance[0],
    )


def check_units(found: Confusion) -> None:
    """Reject a stratum whose error cannot be known: one that has pixels, but not two units."""
    thin = np.asarray((found.units < 2) & (found.pixels > 0))
    thin = np.atleast_1d(thin.reshape(-1, len(found.strata)).any(0))
    if not thin.any():
        return
    names = list_some(
        [name for name, is_thin in zip(found.strata, thin, strict=True) if is_thin], 5
    )
    unit = "points" if found.covariance is None else "plots"
    raise _bad(
        f"fewer than two {unit} in a stratum say nothing of its error: {names}: label more "
        f"{unit} there, or draw with a minimum for each stratum"
    )
