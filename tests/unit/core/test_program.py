"""Programs of expressions: what is shared, what is left out, and how much memory they take."""

from __future__ import annotations

from collections import Counter

import pytest

from cropmask.core.features import FEATURES
from cropmask.core.formulas import parse_formula
from cropmask.core.program import BAND, DIFFERENCE, LAI, ND, RANK, SUM, Program, make_program
from cropmask.errors import Reason, Rejected


def program_of(*texts: str) -> Program:
    return make_program([(at, parse_formula(text)) for at, text in enumerate(texts)])


def operations(program: Program) -> dict[int, int]:
    return dict(Counter(program.steps[:, 0].tolist()))


def test_what_features_have_in_common_is_computed_once() -> None:
    found = program_of(
        "nd(nir_S1,red_S1)",
        "difference(nd(nir_S1, red_S1),nd(nir_S2, red_S2))",
        "difference(NDVI_S2,NDVI_S1)",
        "log(nd(nir_S1,red_S1))",
    )
    assert operations(found) == {BAND: 4, ND: 2, DIFFERENCE: 2, RANK: 4}


def test_sums_share_their_beginnings_and_two_terms_may_change_places() -> None:
    found = program_of("sum(nir_S1,red_S1,blue_S1)", "ratio(slope,sum(red_S1,nir_S1))")
    assert operations(found)[SUM] == 2
    other = program_of("sum(nir_S1,red_S1,blue_S1)", "sum(nir_S1,blue_S1,red_S1)")
    assert operations(other)[SUM] == 4  # not the same arithmetic


def test_indices_are_those_of_the_published_features() -> None:
    assert operations(program_of("sum(LAI_S1,MNDWI_S1)")) == {
        BAND: 5,
        LAI: 1,
        ND: 1,
        SUM: 1,
        RANK: 1,
    }


def test_work_rows_are_used_again() -> None:
    one = program_of("nd(nir_S1,red_S1)")
    assert one.rows <= 3
    many = program_of(*(f"nd({name},slope)" for name in FEATURES[:9]))
    assert many.rows <= 4  # the slope stays
    assert many.steps.shape == (28, 5)


def test_every_step_finds_what_it_needs() -> None:
    """Values are followed by their names through the work rows."""
    texts = ("ratio(sum(nir_S1,red_S1),nd(nir_S1,red_S1))", "maximum(nd(nir_S1,red_S1),red_S1)")
    held: dict[int, str] = {}
    ranked = {}
    for operation, target, a, b, _ in program_of(*texts).steps.tolist():
        if operation == RANK:
            ranked[target] = held[a]
        elif operation == BAND:
            held[target] = FEATURES[16 * a + b]
        else:
            held[target] = f"{operation}({held[a]},{held[b]})"
    total, pair = "7(red_S1,nir_S1)", "5(nir_S1,red_S1)"
    sums = {total, "7(nir_S1,red_S1)"}
    assert ranked[0] in {f"6({one},{pair})" for one in sums}
    assert ranked[1] == f"9({pair},red_S1)"


def test_nothing_is_a_program_too() -> None:
    found = make_program([])
    assert (found.steps.shape, found.rows) == ((0, 5), 0)


def test_a_program_has_an_end() -> None:
    stems = [name for name in FEATURES if "dev" not in name]
    pairs = [f"ratio({a},{b})" for a in stems for b in stems]
    texts = [
        f"difference(nd({a},{b}),sum({a},{b},{c},{d}))"
        for (a, b), (c, d) in zip(
            [pair[6:-1].split(",") for pair in pairs],
            [pair[6:-1].split(",") for pair in reversed(pairs)],
            strict=True,
        )
    ]
    with pytest.raises(Rejected, match="too large together") as caught:
        program_of(*texts, *[f"maximum({pairs[at]},{pairs[-at]})" for at in range(700)])
    assert caught.value.reason is Reason.BAD_MODEL
