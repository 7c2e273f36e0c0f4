"""Answers of people turned into classes: values of a column, and what several labelers say.

Exports of Collect Earth Online are understood as they are: the question is the header of a column,
and each labeler of a place has a row.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from cropmask.errors import Reason, Rejected

CROP_VALUES: Final = ("crop", "cropland", "1", "yes", "true")
OTHER_VALUES: Final = (
    *("non-crop", "non_crop", "noncrop", "non crop", "not crop", "non-cropland", "noncropland"),
    *("no crop", "no-crop", "no_crop", "nocrop", "not cropland", "other"),
    *("0", "no", "false"),
)
EVERYTHING: Final = "*"
"""As a value that is not crop: whatever is no value of crop."""

_PLOTS: Final = ("plot_id", "plotid")
_SAMPLES: Final = ("sample_id", "sampleid")
_LABELERS: Final = ("email", "user_id", "userid")
_CEO: Final = frozenset(
    {
        *_PLOTS,
        *_SAMPLES,
        *_LABELERS,
        *("lon", "lat", "flagged", "flagged_reason", "confidence", "confidence_comment"),
        *("analyses", "collection_time", "analysis_duration", "sample_internal_id"),
        *("common_securewatch_date", "total_securewatch_dates"),
    }
)
"""Columns that Collect Earth Online writes beside the questions."""
_CEO_STARTS: Final = ("pl_", "smpl_", "imagery_", "sample_geom", "plot_", "sample_")


@dataclass(frozen=True, slots=True)
class LabelRules:
    """Which values are crop and which are not; any other one is unknown."""

    crop: frozenset[str]
    other: frozenset[str]

    @classmethod
    def of(cls, crop: Iterable[str] = (), other: Iterable[str] = ()) -> LabelRules:
        """Rules of values as users write them; default the usual ones.

        Raises Rejected if a value is both.
        """
        said_crop, said_other = (frozenset(map(fold_label, said)) for said in (crop, other))
        both = said_crop & said_other
        if both:
            raise Rejected(
                f"the value '{min(both)}' cannot be both crop and not", reason=Reason.BAD_VALUE
            )
        found_crop = said_crop or frozenset(CROP_VALUES) - said_other
        return cls(found_crop, (said_other or frozenset(OTHER_VALUES)) - found_crop)

    def class_of(self, value: str) -> int | None:
        """1 for crop, 0 for anything else, None where it is not known."""
        word = fold_label(value)
        if word in self.crop:
            return 1
        is_other = word in self.other or (EVERYTHING in self.other and word != "")
        return 0 if is_other else None


def fold_label(value: str) -> str:
    """A value as it is compared: small letters, one space, whole numbers without a point."""
    word = " ".join(value.split()).casefold()
    head, point, rest = word.partition(".")
    return head if point and head.lstrip("-").isdecimal() and not rest.strip("0") else word


@dataclass(frozen=True, slots=True)
class CeoColumns:
    """Columns of an export of Collect Earth Online."""

    plot: str
    sample: str
    labeler: str
    flagged: str | None
    questions: tuple[str, ...]


def find_ceo_columns(columns: Sequence[str]) -> CeoColumns | None:
    """Columns of an export of Collect Earth Online; None for any other table."""
    known = {name.lower(): name for name in columns}
    plot, sample, labeler = (
        next((known[name] for name in names if name in known), None)
        for names in (_PLOTS, _SAMPLES, _LABELERS)
    )
    if plot is None or sample is None or labeler is None:
        return None
    questions = tuple(
        name for low, name in known.items() if low not in _CEO and not low.startswith(_CEO_STARTS)
    )
    return CeoColumns(plot, sample, labeler, known.get("flagged"), questions)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far several labelers of the same places agree."""

    labelers: int
    places: int
    """Places that at least two of them have labeled."""
    percent: float
    """Share of pairs of answers for one place that are the same."""
    kappa: float | None
    """Agreement beyond chance, over the answers as given; None if all answers are the same."""
    kind: str
    """``Cohen`` for two labelers, else ``Fleiss``."""


def find_agreement(answers: Sequence[Mapping[str, str]]) -> Agreement | None:
    """Agreement over places, each with the answer of each labeler; None without two of any place.

    Kappa of two labelers is Cohen's (1960). Of more it is that of Fleiss (1971), where places may
    have different numbers of labelers: chance agreement is that of all answers together.
    """
    several = [[*map(fold_label, place.values())] for place in answers if len(place) > 1]
    if not several:
        return None
    labelers = sorted({name for place in answers if len(place) > 1 for name in place})
    same = pairs = 0
    shares = []
    for place in several:
        equal = sum(one == other for one, other in combinations(place, 2))
        count = len(place) * (len(place) - 1) // 2
        same, pairs = same + equal, pairs + count
        shares.append(equal / count)
    observed = sum(shares) / len(shares)
    if len(labelers) == 2:
        columns = [
            [fold_label(place[name]) for place in answers if len(place) > 1] for name in labelers
        ]
        kind, chance = "Cohen", _chance(columns)
    else:
        everything = [answer for place in several for answer in place]
        kind, chance = "Fleiss", _chance([everything, everything])
    kappa = None if chance >= 1 else (observed - chance) / (1 - chance)
    return Agreement(len(labelers), len(several), 100 * same / pairs, kappa, kind)


def _chance(columns: Sequence[Sequence[str]]) -> float:
    """Probability that two answers are the same which are drawn from two lists."""
    one, other = map(Counter, columns)
    return sum(one[word] * other[word] for word in one) / (len(columns[0]) * len(columns[1]))


def take_majority(answers: Collection[str]) -> str | None:
    """The most frequent answer, compared as :func:`fold_label` says; None for a tie."""
    counts = Counter(map(fold_label, answers)).most_common(2)
    if len(counts) > 1 and counts[0][1] == counts[1][1]:
        return None
    return counts[0][0]


def group_answers(
    rows: Sequence[Mapping[str, str]], columns: CeoColumns, question: str
) -> dict[tuple[str, str], dict[str, tuple[int, str]]]:
    """Row and answer of each labeler, by plot and sample; what is flagged has no answer.

    Raises Rejected if a labeler has two answers for one sample.
    """
    found: dict[tuple[str, str], dict[str, tuple[int, str]]] = defaultdict(dict)
    for number, row in enumerate(rows):
        key = row[columns.plot], row[columns.sample]
        labeler = row[columns.labeler]
        if labeler in found[key]:
            raise Rejected(
                f"labeler '{labeler}' has two answers for sample {key[1]} of plot {key[0]}: "
                "remove one of them",
                reason=Reason.BAD_SAMPLES,
            )
        is_flagged = columns.flagged is not None and row[columns.flagged].lower() == "true"
        found[key][labeler] = (number, "" if is_flagged else row[question])
    return dict(found)
