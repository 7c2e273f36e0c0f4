"""Confusion matrices of files, the published ones among them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cropmask.assess import assess_accuracy
from cropmask.assess.matrixfile import load_matrices
from cropmask.cli.assess import assess
from cropmask.errors import CropmaskError, Misconfigured, Rejected
from tests.shareddata import needs_shared, shared
from tests.unit.assess.test_accuracy import PUBLISHED, round_twice

HEAD = "region,reference_a_mapped_a,reference_a_mapped_b,reference_b_mapped_a,reference_b_mapped_b"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@needs_shared("validation/confusion_matrices.csv")
def test_published_figures_come_out_to_the_printed_digits() -> None:
    file = shared("validation/confusion_matrices.csv")
    found = CliRunner().invoke(assess, ["--matrix", str(file), "--json"])
    said = json.loads(found.stdout)
    assert set(said) == set(PUBLISHED)
    for region, published in PUBLISHED.items():
        figures = said[region]
        crop = figures["classes"].index("crop")
        overall = figures["overall"]["estimate"]
        producers, users, f1 = (
            figures[name]["estimate"][crop] for name in ("producers", "users", "f1")
        )
        percents = [round_twice(100 * each) for each in (overall, producers, users)]
        assert (*percents, f"{f1:.2f}".removeprefix("0")) == published
        for name in ("overall", "producers", "users", "f1"):
            values = (np.array(figures[name][key]) for key in ("low", "estimate", "high"))
            low, middle, high = values
            assert (low < middle).all()
            assert (middle < high).all()


def test_sizes_of_classes_weight_their_points(tmp_path: Path) -> None:
    sizes = "mapped_pixels_a,mapped_pixels_b"
    file = write(tmp_path / "m.csv", f"{HEAD},{sizes}\nhere,80,5,20,95,900,100\n")
    (found,) = load_matrices(file)
    assert (found.name, found.classes) == ("here", ("a", "b"))
    accuracy = assess_accuracy(found.confusion)
    assert float(accuracy.overall.estimate) == pytest.approx(0.9 * 0.8 + 0.1 * 0.95)
    assert found.confusion.is_weighted


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    names = HEAD.split(",")
    rows = [dict(zip(names, ("x", 1, 2, 3, 4), strict=True))]
    with (tmp_path / "m.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names[::-1])
        writer.writeheader()
        writer.writerows(rows)
    (found,) = load_matrices(tmp_path / "m.csv")
    counts = {
        (one, other): int(found.counts[found.classes.index(one), found.classes.index(other)])
        for one in "ab"
        for other in "ab"
    }
    assert counts == {("a", "a"): 1, ("b", "a"): 2, ("a", "b"): 3, ("b", "b"): 4}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "needs a header and a row"),
        (f"{HEAD}\n", "needs a header and a row"),
        (f"{HEAD}\nx,1,2,3\n", "row 1 has 4 values instead of 5"),
        (f"{HEAD}\nx,1,2,3,nan\n", "row 1 has a value that is no count"),
        (f"{HEAD}\nx,1,2,3,-4\n", "row 1 has a value that is no count"),
        (f"{HEAD}\nx,1,2,3,4.5\n", "row 1 has a value that is no count"),
        (f"{HEAD}\nx,1,2,3,inf\n", "row 1 has a value that is no count"),
        (f"{HEAD},mapped_pixels_a\nx,1,2,3,4,5\n", "lacks one"),
        ("a,b\n1,2\n", "no columns such as reference_crop_mapped_other"),
        (HEAD.replace("reference_b_mapped_a", "other") + "\nx,1,2,3,4\n", "'reference_b_mapped_a'"),
        (f"{HEAD},region\nx,1,2,3,4,y\n", "two columns of one name"),
        ('"', "no CSV"),
        (f"{HEAD}\nx,0,0,0,0\n", "all counts are 0"),
    ],
)
def test_what_is_no_matrix_is_refused_in_one_line(text: str, problem: str, tmp_path: Path) -> None:
    file = write(tmp_path / "m.csv", text)
    found = CliRunner().invoke(assess, ["--matrix", str(file)])
    assert isinstance(found.exception, CropmaskError), found.output
    assert problem in str(found.exception)
    assert "\n" not in str(found.exception)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_matrices(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(HEAD.encode() + b"\n\xe9,1,2,3,4\n")
    with pytest.raises(Rejected, match="UTF-8"):
        load_matrices(tmp_path / "latin.csv")
