"""Expressions of a model as one small program over rows of pixels.

What several features have in common is computed once, only what the used features need is computed
at all, and work rows are used again as soon as nobody needs what they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cropmask.core.formulas import INDEX_BANDS, LOG, Formula, split_name
from cropmask.core.strips import DEVIATION, REFLECTANCE
from cropmask.errors import Reason, Rejected

BAND, DISTANCE, SCALED, RAIN, SLOPE = range(5)
"""Loads of a row: reflectance, deviation, deviation divided by 10 000, rain, slope. Their two
arguments are the half-year and the place of the band."""
ND, RATIO, SUM, DIFFERENCE, MAXIMUM, MINIMUM, LAI = range(5, 12)
"""Operations on work rows; those of :data:`LAI` are blue, red and nir."""
RANK: Final = 12
"""Ranks of a feature, whose number is the target, from a work row."""

MAX_STEPS: Final = 4096
MAX_ROWS: Final = 512
"""Work rows: a thread has 4 kB for each."""

_OPERATIONS: Final = {
    "nd": ND,
    "ratio": RATIO,
    "sum": SUM,
    "difference": DIFFERENCE,
    "maximum": MAXIMUM,
    "minimum": MINIMUM,
}

_Node = tuple[int, int, int, int]
"""Operation, and its arguments: numbers of nodes, or what a load loads."""


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Steps that fill work rows and rank them."""

    steps: NDArray[np.int64]
    """``(step, 5)``: operation, target (work row, or feature of :data:`RANK`), and arguments."""
    rows: int
    """Number of work rows."""


def make_program(formulas: Sequence[tuple[int, Formula]]) -> Program:
    """Program of numbered features; Rejected if it is too large.

    The outermost logarithm is left out: the cuts are moved to what it is of.
    """
    nodes: dict[_Node, int] = {}
    ranked: list[list[int]] = []
    for feature, formula in formulas:
        inner = formula.arguments[0] if formula.head == LOG else formula
        root = _number(inner, nodes)
        ranked += [[] for _ in range(len(nodes) - len(ranked))]
        ranked[root].append(feature)
    if len(nodes) + len(formulas) > MAX_STEPS:
        raise _too_large()
    return _allocate(list(nodes), ranked)


def _number(formula: Formula, nodes: dict[_Node, int]) -> int:
    """Number of the node of a formula, which is added if it is new."""
    if not formula.arguments:
        return _number_name(formula.head, nodes)
    operation = _OPERATIONS[formula.head]
    number = _number(formula.arguments[0], nodes)
    for argument in formula.arguments[1:]:
        other = _number(argument, nodes)
        # Sums go from left to right; two terms alone may change places.
        first, last = number, other
        if operation == SUM and first > last:
            first, last = last, first
        number = nodes.setdefault((operation, first, last, 0), len(nodes))
    return number


def _number_name(name: str, nodes: dict[_Node, int]) -> int:
    if name == "slope":
        return nodes.setdefault((SLOPE, 0, 0, 0), len(nodes))
    stem, late = split_name(name)
    if stem in INDEX_BANDS:
        bands = [_load(BAND, late, REFLECTANCE.index(b), nodes) for b in INDEX_BANDS[stem]]
        if stem == "LAI":
            return nodes.setdefault((LAI, bands[0], bands[1], bands[2]), len(nodes))
        # The published indices are normalized differences, bit by bit: NDVI of nir and red.
        first, last = (bands[1], bands[0]) if stem == "NDVI" else bands
        return nodes.setdefault((ND, first, last, 0), len(nodes))
    if stem == "rain":
        return _load(RAIN, late, 0, nodes)
    if stem in REFLECTANCE:
        return _load(BAND, late, REFLECTANCE.index(stem), nodes)
    band = stem.removeprefix("raw_")
    return _load(SCALED if band == "edev" else DISTANCE, late, DEVIATION.index(band), nodes)


def _load(kind: int, late: int, place: int, nodes: dict[_Node, int]) -> int:
    return nodes.setdefault((kind, late, place, 0), len(nodes))


def _needs(node: _Node) -> tuple[int, ...]:
    """Nodes that a node is computed of."""
    if node[0] < ND:
        return ()
    return node[1:] if node[0] == LAI else node[1:3]


def _allocate(nodes: list[_Node], ranked: list[list[int]]) -> Program:
    last = list(range(len(nodes)))
    for number, node in enumerate(nodes):
        for other in _needs(node):
            last[other] = number
    steps: list[tuple[int, ...]] = []
    row_of: dict[int, int] = {}
    free: list[int] = []
    rows = 0
    for number, node in enumerate(nodes):
        if not free:
            free.append(rows)
            rows += 1
        row_of[number] = target = free.pop()
        needed = _needs(node)
        places = [row_of[other] for other in needed] if needed else list(node[1:])
        steps.append((node[0], target, *places, *[0] * (3 - len(places))))
        steps += [(RANK, feature, target, 0, 0) for feature in ranked[number]]
        free += [row_of.pop(other) for other in {*needed, number} if last[other] == number]
    if rows > MAX_ROWS:
        raise _too_large()
    return Program(np.array(steps, np.int64).reshape(-1, 5), rows)


def _too_large() -> Rejected:
    return Rejected(
        "the expressions of the model's features are too large together", reason=Reason.BAD_MODEL
    )
