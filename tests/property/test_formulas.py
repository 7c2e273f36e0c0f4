"""Any list of expressions: the engine's ranks are those of plain numpy, its map scikit-learn's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from cropmask.core._packets import EDGE, rank_packets
from cropmask.core.features import FEATURES, observed
from cropmask.core.forest import Forest
from cropmask.core.formulas import MAX_LENGTH, NAMES, compute_features, parse_formula
from cropmask.core.mapper import StripClassifier
from cropmask.core.ranker import make_ranker
from cropmask.core.strips import Half, Strip
from cropmask.training.fit import convert

PAIRS = ("nd", "ratio", "difference", "maximum", "minimum")

names = st.sampled_from(NAMES)
inner = st.recursive(
    names,
    lambda deeper: st.one_of(
        st.tuples(st.sampled_from(PAIRS), st.tuples(deeper, deeper)),
        st.tuples(st.just("sum"), st.lists(deeper, min_size=2, max_size=4)),
    ).map(lambda found: f"{found[0]}({','.join(found[1])})"),
    max_leaves=6,
)
texts = st.one_of(
    st.sampled_from(FEATURES),
    inner.filter(lambda text: "(" in text),
    inner.map(lambda text: f"log({text})"),
).filter(lambda text: len(text) <= MAX_LENGTH)
lists = st.lists(texts, min_size=1, max_size=12, unique_by=parse_formula)

BAD = np.array([np.nan, np.inf, -np.inf, 0, -0.0, -1, 1e-45, 1.2e-38, 3.4e38], np.float32)


def draw_strip(seed: int, height: int = 19, width: int = 77) -> Strip:
    """Pixels of few colors, so that values are equal often, and everything odd among them."""
    rng = np.random.default_rng(seed)

    def layer(low: float, high: float, odd: float) -> NDArray[np.float32]:
        found = rng.lognormal(low, high, (height, width)).astype(np.float32)
        return np.where(rng.random(found.shape) < odd, rng.choice(BAD, found.shape), found)

    def half() -> Half:
        colors = rng.integers(1, 65536 if rng.random() < 0.2 else 6000, (9, 40))
        colors[rng.random(colors.shape) < 0.05] = 0
        colors[:, :2] = 0
        raw = colors[:, rng.integers(0, 40, (height, width))].astype(np.uint16)
        return Half(raw, np.stack([layer(-3, 2, 0.05), layer(6, 2, 0.05), layer(-6, 2, 0.05)]))

    rain = np.stack([layer(6, 1, 0.02), layer(5, 2, 0.02)])
    return Strip(0, half(), half(), rain, layer(1, 1, 0.1))


def make_cuts(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Cuts on values, right beside them, between them, and far from all."""
    on = rng.choice(values, int(rng.integers(1, 30)))
    some = [on, np.nextafter(on[:5], np.float32(np.inf)), np.nextafter(on[:5], -np.float32(np.inf))]
    some.append(rng.normal(0, 3, 5).astype(np.float32))
    cuts = np.unique(np.concatenate(some))
    return cuts[np.isfinite(cuts)]


def forest_of(names: tuple[str, ...], cuts: list[NDArray[np.float32]]) -> Forest:
    none = np.empty(0, np.int32)
    return Forest(
        features=names,
        kind="vote",
        baseline=0.0,
        cuts=np.concatenate(cuts).astype(np.float32),
        offsets=np.cumsum([0, *(c.size for c in cuts)]).astype(np.int32),
        roots=none,
        feature=none.astype(np.uint8),
        rank=none.astype(np.uint16),
        right=none,
        leaves=np.zeros(1),
        digest="",
    )


def ranks_of(forest: Forest, strip: Strip) -> NDArray[np.uint16]:
    """Ranks ``(feature, y, x)`` as the engine has them."""
    ranker = make_ranker(forest)
    tables = tuple(getattr(ranker, field.name) for field in fields(ranker))
    height, width = strip.shape
    across = -(-width // EDGE)
    out = np.empty((len(forest.features), height, width), np.uint16)
    for top in range(0, height, EDGE):
        packets = np.zeros((across, len(forest.features) + 1, 64), np.uint16)
        rank_packets(strip.arrays, tables, top, 0, packets, np.zeros(across, np.uint64))
        square = packets[:, 1:].reshape(across, -1, EDGE, EDGE).transpose(1, 2, 0, 3)
        rows = square.reshape(len(forest.features), EDGE, -1)
        out[:, top : top + EDGE] = rows[:, : height - top, :width]
    return out


@settings(max_examples=150)
@given(lists, st.integers(0, 2**32 - 1))
@example(["log(ratio(raw_bcdev_S1,raw_bcdev_S2))", "log(raw_edev_S1)", "edev_S1"], 1)
@example(["log(slope)", "sum(slope,slope)", "slope"], 2)
@example(["nd(nir_S1,red_S1)", "NDVI_S1", "sum(NDVI_S1,NDVI_S1)", "log(NDVI_S2)"], 3)
@example([f"difference({name},rain_S2)" for name in NAMES], 4)
@example(["ratio(nir_S1,maximum(slope,difference(red_S1,red_S1)))"], 5)
def test_ranks_are_those_of_plain_numpy(found, seed):
    strip = draw_strip(seed)
    rng = np.random.default_rng(seed + 1)
    with np.errstate(all="ignore"):
        x = compute_features(found, strip)
    cuts = [make_cuts(values.ravel(), rng) for values in x]
    if len(cuts) > 3:
        cuts[int(rng.integers(len(cuts)))] = np.empty(0, np.float32)  # no tree asks for it
    ranks = ranks_of(forest_of(tuple(found), cuts), strip)
    for text, own, values, rank in zip(found, cuts, x, ranks, strict=True):
        if own.size:
            assert_array_equal(rank, np.searchsorted(own, values), text)


@settings(max_examples=25)
@example(["blue_S1", "ratio(blue_S2,slope)"], 1)  # 67.5 percent, which rounds to even
@given(lists, st.integers(0, 2**32 - 1))
def test_maps_are_those_of_scikit_learn(found, seed):
    strip = draw_strip(seed)
    with np.errstate(all="ignore"):
        x = compute_features(found, strip).reshape(len(found), -1).T
    y = np.random.default_rng(seed).integers(0, 2, len(x))
    y[:2] = 0, 1
    seen = observed(strip.first) | observed(strip.second)
    for estimator in (
        RandomForestClassifier(7, random_state=1),
        HistGradientBoostingClassifier(max_iter=5, random_state=1),
    ):
        with np.errstate(all="ignore"):  # it adds values up to see whether they are finite
            estimator.fit(x[::2], y[::2])
            p = estimator.predict_proba(x)[:, 1].reshape(strip.shape)
        percent = np.rint(100 * p)
        percent = np.where(p > 0.5, np.maximum(percent, 51), np.minimum(percent, 50))
        classifier = StripClassifier(convert(estimator, found))
        with ThreadPoolExecutor(1) as pool:
            assert_array_equal(classifier.percent(strip, pool), np.where(seen, percent, 255))
