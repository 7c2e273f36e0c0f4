"""Classes of values, and agreement of labelers, against textbooks and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from cropmask.errors import Rejected
from cropmask.training.labels import (
    LabelRules,
    find_agreement,
    find_ceo_columns,
    fold_label,
    group_answers,
    take_majority,
)


def test_usual_values_have_classes() -> None:
    rules = LabelRules.of()
    assert [rules.class_of(word) for word in ("crop", " Crop", "1", "1.0", "YES", "true")] == [
        1
    ] * 6
    assert [rules.class_of(word) for word in ("non-crop", "Non  crop", "0", "0.00", "no")] == [
        0
    ] * 5
    assert [rules.class_of(word) for word in ("mixed", "", "2", "1.5", "unsure")] == [None] * 5


def test_values_that_are_said_take_the_place_of_the_usual() -> None:
    rules = LabelRules.of(["40", "41"], ["*"])
    assert [rules.class_of(word) for word in ("40", "41.0", "10", "crop", "")] == [1, 1, 0, 0, None]
    # Only what is crop is said: the usual words for the other class count, but not twice.
    only = LabelRules.of(["0"])
    assert [only.class_of(word) for word in ("0", "1", "no")] == [1, None, 0]
    other = LabelRules.of(other=["1"])
    assert [other.class_of(word) for word in ("1", "crop", "0")] == [0, 1, None]
    with pytest.raises(Rejected, match="'a' cannot be both"):
        LabelRules.of(["A"], ["a", "b"])


def test_values_are_compared_folded() -> None:
    assert [fold_label(word) for word in ("1.0", "-2.00", "1.50", " A  b ", "v1.0", "")] == [
        *("1", "-2", "1.50", "a b", "v1.0", "")
    ]


def test_majority_is_the_most_frequent_answer_and_a_tie_is_none() -> None:
    assert take_majority(["crop"]) == "crop"
    assert take_majority(["crop", "Crop ", "mixed"]) == "crop"
    assert take_majority(["crop", "mixed"]) is None
    assert take_majority(["a", "b", "c", "c", "b"]) is None
    assert take_majority(["a", "b", "c", "c"]) == "c"


@pytest.mark.parametrize("seed", range(5))
def test_kappa_of_two_is_cohens(seed: int) -> None:
    random = np.random.default_rng(seed)
    one = random.choice(["crop", "non-crop", "mixed"], 80, p=[0.5, 0.3, 0.2])
    other = np.where(random.random(80) < 0.7, one, random.choice(["crop", "unsure"], 80))
    answers = [{"a": str(x), "b": str(y)} for x, y in zip(one, other, strict=True)]
    found = find_agreement([*answers, {"a": "crop"}, {}])
    assert found is not None
    assert (found.kind, found.labelers, found.places) == ("Cohen", 2, 80)
    assert found.percent == pytest.approx(100 * np.mean(one == other))
    assert found.kappa == pytest.approx(cohen_kappa_score(one, other))


FLEISS = (
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
)
"""The usual example of Fleiss' kappa: 14 raters of 10 subjects in 5 categories, kappa .210."""


def test_kappa_of_many_is_that_of_fleiss() -> None:
    answers = [
        dict(enumerate(str(word) for word, count in enumerate(row) for _ in range(count)))
        for row in FLEISS
    ]
    named = [{f"l{key}": value for key, value in place.items()} for place in answers]
    found = find_agreement(named)
    assert found is not None
    assert (found.kind, found.labelers, found.places) == ("Fleiss", 14, 10)
    assert found.kappa == pytest.approx(0.210, abs=0.0005)
    assert found.percent == pytest.approx(37.8, abs=0.05)


def test_agreement_needs_two_labelers_of_a_place() -> None:
    assert find_agreement([{"a": "crop"}, {"b": "crop"}, {}]) is None
    same = find_agreement([{"a": "crop", "b": "crop"}] * 3)
    assert same is not None
    assert (same.percent, same.kappa) == (100, None)


QUESTION = "Is it crop?"
OLD = ("PLOT_ID", "SAMPLE_ID", "LON", "LAT", "FLAGGED", "ANALYSES", "USER_ID", "PL_CLASS", QUESTION)
NEW = ("plotid", "sampleid", "sample_internal_id", "lon", "lat", "email", "flagged", "confidence")


def test_exports_are_known_by_their_columns() -> None:
    old = find_ceo_columns(OLD)
    assert old is not None
    assert (old.plot, old.sample, old.labeler, old.flagged) == (
        *("PLOT_ID", "SAMPLE_ID", "USER_ID", "FLAGGED"),
    )
    assert old.questions == (QUESTION,)
    new = find_ceo_columns((*NEW, "sample_geom", "imagery_title", "smpl_class", QUESTION, "Other?"))
    assert new is not None
    assert new.questions == (QUESTION, "Other?")
    assert find_ceo_columns(("lon", "lat", "class", "email")) is None


def test_answers_are_grouped_by_sample_and_flags_are_no_answers() -> None:
    columns = find_ceo_columns(OLD)
    assert columns is not None
    rows = [
        {"PLOT_ID": "1", "SAMPLE_ID": "7", "USER_ID": who, "FLAGGED": flag, QUESTION: said}
        for who, flag, said in (("a", "false", "crop"), ("b", "TRUE", "crop"))
    ]
    assert group_answers(rows, columns, QUESTION) == {("1", "7"): {"a": (0, "crop"), "b": (1, "")}}
    with pytest.raises(Rejected, match="labeler 'a' has two answers for sample 7 of plot 1"):
        group_answers([*rows, rows[0]], columns, QUESTION)
