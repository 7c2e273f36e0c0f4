"""Figures of fifty random designs as R's package "survey" computes them (tests/golden/survey)."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from cropmask.assess import assess_accuracy, count_labels, estimate_area

HERE = Path(__file__).with_name("survey")
COUNT = 50


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


RESULTS = (HERE / "results.csv").read_text(encoding="utf-8")


@cache
def designs() -> dict[str, list[dict[str, str]]]:
    found = defaultdict(list)
    for row in rows_of((HERE / "designs.csv").read_text(encoding="utf-8")):
        found[row["design"]].append(row)
    return found


def compute(design: str) -> dict[tuple[str, str], tuple[float, float]]:
    rows = designs()[design]
    column = {name: [row[name] for row in rows] for name in rows[0]}
    sizes = {row["stratum"]: float(row["pixels"]) for row in rows}
    counted = count_labels(
        column["mapped"],
        column["reference"],
        strata=column["stratum"],
        pixels=sizes,
        plots=column["plot"] if len(set(column["plot"])) < len(rows) else None,
    )
    accuracy = assess_accuracy(counted, method="normal")
    area = estimate_area(counted, 0.09, method="normal")
    found = {("overall", ""): accuracy.overall}
    for number, name in enumerate(counted.classes):
        found |= {
            ("share", name): area.shares.at(number),
            ("users", name): accuracy.users.at(number),
            ("producers", name): accuracy.producers.at(number),
            ("f1", name): accuracy.f1.at(number),
        }
    return {key: (float(one.estimate), float(one.standard_error)) for key, one in found.items()}


def test_figures_are_those_of_an_independent_computation() -> None:
    known = defaultdict(dict)
    for row in rows_of(RESULTS):
        known[row["design"]][row["figure"], row["class"]] = row
    assert len(known) == COUNT
    for design, figures in known.items():
        ours = compute(design)
        for key, row in figures.items():
            theirs = (float(row["estimate"]), float(row["standard_error"]))
            assert ours[key] == pytest.approx(theirs, abs=1e-9, rel=1e-9), (design, key)
        # What R has no ratio for is a class that is nowhere.
        missing = {key for key, (estimate, _) in ours.items() if estimate != estimate}
        assert missing == ours.keys() - figures.keys()


def test_the_stored_figures_are_what_r_prints() -> None:
    script = shutil.which("Rscript")
    if (
        script is None
        or b"FALSE"
        in subprocess.run(
            [script, "-e", 'requireNamespace("survey", quietly = TRUE)'], capture_output=True
        ).stdout
    ):
        pytest.skip("R's package survey is not installed: apt-get install r-cran-survey")
    again = subprocess.run(
        [script, str(HERE / "compute.R")], capture_output=True, text=True, check=True
    ).stdout
    for ours, stored in zip(rows_of(again), rows_of(RESULTS), strict=True):
        assert {k: ours[k] for k in ("design", "figure", "class")} == {
            k: stored[k] for k in ("design", "figure", "class")
        }
        for name in ("estimate", "standard_error"):
            assert float(ours[name]) == pytest.approx(float(stored[name]), abs=1e-12)
