"""Model files of any forest: they come back as they were, or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cropmask.core.features import FEATURES
from cropmask.core.forest import LEAF, Forest
from cropmask.errors import Rejected
from cropmask.modelfile.container import Content, encode_content, parse_content
from cropmask.modelfile.forestarrays import check_forest
from cropmask.modelfile.model import ModelManifest, Probes, load_forest, read_model, write_model

MANIFEST = ModelManifest(
    region=None, recipe="forest", estimator="x", hyperparameters={}, software={}, training=None
)
QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
CUTS = st.lists(
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda v: v + 0.0),
    min_size=1,
    max_size=6,
    unique=True,
)
TREES = st.lists(
    st.recursive(st.none(), lambda tree: st.tuples(tree, tree), max_leaves=12),
    min_size=1,
    max_size=5,
)


@st.composite
def forests(draw: st.DrawFn) -> Forest:
    cuts = draw(st.lists(CUTS, min_size=1, max_size=4))
    leaves = sorted(draw(st.lists(st.floats(0, 1).map(abs), min_size=1, max_size=5, unique=True)))
    feature: list[int] = []
    rank: list[int] = []
    right: list[int] = []

    def grow(tree: tuple | None) -> None:
        here = len(feature)
        index = LEAF if tree is None else draw(st.integers(0, len(cuts) - 1))
        choices = leaves if tree is None else cuts[index]
        feature.append(index)
        rank.append(draw(st.integers(0, len(choices) - 1)))
        right.append(0)
        if tree is not None:
            grow(tree[0])
            right[here] = len(feature)
            grow(tree[1])

    roots = []
    for tree in draw(TREES):
        roots.append(len(feature))
        grow(tree)
    return Forest(
        features=FEATURES[: len(cuts)],
        kind="vote",
        baseline=0.0,
        cuts=np.concatenate([np.sort(np.array(c, np.float32)) for c in cuts]),
        offsets=np.cumsum([0, *map(len, cuts)]).astype(np.int32),
        roots=np.array(roots, np.int32),
        feature=np.array(feature, np.uint8),
        rank=np.array(rank, np.uint16),
        right=np.array(right, np.int32),
        leaves=np.array(leaves),
        digest="",
    )


def put(folder: Path, forest: Forest) -> Path:
    path = folder / "m.cropmodel"
    probes = Probes(np.zeros((1, len(forest.features)), np.float32), np.zeros(1))
    write_model(path, forest, MANIFEST, probes)
    return path


@QUICK
@given(forest=forests())
def test_every_forest_comes_back(tmp_path: Path, forest: Forest) -> None:
    found = read_model(put(tmp_path, forest)).forest
    assert (found.features, found.kind, found.baseline) == (forest.features, "vote", 0.0)
    for name in ("cuts", "offsets", "roots", "feature", "rank", "right", "leaves"):
        np.testing.assert_array_equal(getattr(found, name), getattr(forest, name))


@QUICK
@given(forest=forests(), data=st.data())
def test_every_flipped_bit_is_refused(tmp_path: Path, forest: Forest, data: st.DataObject) -> None:
    path = put(tmp_path, forest)
    raw = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)
    with pytest.raises(Rejected):
        load_forest(path)


@QUICK
@given(forest=forests(), data=st.data())
def test_signed_nonsense_is_refused_or_a_lawful_forest(
    tmp_path: Path, forest: Forest, data: st.DataObject
) -> None:
    path = put(tmp_path, forest)
    content = parse_content(path.read_bytes(), "m")
    arrays = {name: array.copy() for name, array in content.arrays.items()}
    name = data.draw(st.sampled_from(sorted(arrays)))
    raw = arrays[name].view(np.uint8).reshape(-1)
    for _ in range(data.draw(st.integers(1, 3))):
        if len(raw):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(encode_content(Content(content.manifest, arrays)))
    try:
        found = load_forest(path)
    except Rejected:
        return
    assert check_forest(found) is None


@QUICK
@given(data=st.binary(max_size=400))
def test_any_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.cropmodel"
    path.write_bytes(data)
    with pytest.raises(Rejected):
        load_forest(path)
