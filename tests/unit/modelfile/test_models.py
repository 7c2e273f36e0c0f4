from __future__ import annotations

import json
import pickle
import zlib
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cropmask.core.applicability import Applicability
from cropmask.core.forest import LEAF, Forest
from cropmask.errors import CropmaskError, Misconfigured, Rejected
from cropmask.modelfile import container as modelfile
from cropmask.modelfile.container import MAGIC, Content, encode_content, parse_content
from cropmask.modelfile.forestarrays import check_forest, decode_cuts, encode_cuts, right_children
from cropmask.modelfile.model import ModelManifest, Probes, load_forest, read_model, write_model

MANIFEST = ModelManifest(
    region="valley",
    recipe="forest",
    estimator="RandomForestClassifier",
    hyperparameters={"n_estimators": 2, "max_features": None},
    software={"scikit-learn": "1.9.1"},
    training=None,
)


def make_forest() -> Forest:
    """Two trees: ``NDVI_S1 <= 1 ? 0 : (slope <= -2 ? 1 : 0)`` and a bare leaf."""
    return Forest(
        features=("NDVI_S1", "slope"),
        kind="vote",
        baseline=0.0,
        cuts=np.array([1, -2, 5], np.float32),
        offsets=np.array([0, 1, 3], np.int32),
        roots=np.array([0, 5], np.int32),
        feature=np.array([0, LEAF, 1, LEAF, LEAF, LEAF], np.uint8),
        rank=np.array([0, 0, 0, 1, 0, 1], np.uint16),
        right=np.array([2, 0, 4, 0, 0, 0], np.int32),
        leaves=np.array([0.0, 1.0]),
        digest="",
    )


def make_probes() -> Probes:
    x = np.array([[0, 0], [2, -3], [2, 0]], np.float32)
    return Probes(x, np.array([0.5, 1.0, 0.5]))


def put(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "m.cropmodel"
    write_model(path, replace(make_forest(), **changes), MANIFEST, make_probes())
    return path


def content(tmp_path: Path) -> Content:
    path = put(tmp_path)
    return parse_content(path.read_bytes(), path.name)


def refusal(path: Path) -> str:
    with pytest.raises(Rejected) as caught:
        load_forest(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "m.cropmodel"
    digest = write_model(path, make_forest(), MANIFEST, make_probes())
    model = read_model(path, digest)
    assert digest == sha256(path.read_bytes()).hexdigest() == model.forest.digest
    assert model.manifest == MANIFEST
    assert model.size == path.stat().st_size
    np.testing.assert_array_equal(model.probes.x, make_probes().x)
    for name in ("cuts", "offsets", "roots", "feature", "rank", "right", "leaves"):
        before, after = getattr(make_forest(), name), getattr(model.forest, name)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
        with pytest.raises(ValueError, match="read-only"):
            after[0] = 1


def test_a_threshold_and_a_calibration_travel_with_the_model(tmp_path: Path) -> None:
    path, table = tmp_path / "m.cropmodel", np.minimum(np.arange(101) // 2 + 10, 55).astype("u1")
    forest = replace(make_forest(), threshold=0.375)
    write_model(path, forest, MANIFEST, make_probes(), table)
    model = read_model(path)
    assert model.forest.threshold == 0.375
    assert model.calibration is not None
    np.testing.assert_array_equal(model.calibration, table)
    with pytest.raises(ValueError, match="read-only"):
        model.calibration[0] = 1
    plain = read_model(put(tmp_path))
    assert (plain.forest.threshold, plain.calibration) == (0.5, None)


@pytest.mark.parametrize(
    "table",
    [
        np.zeros(100, np.uint8),
        np.full(101, 101, np.uint8),
        np.arange(101, dtype=np.uint8)[::-1].copy(),
        np.zeros(101, np.uint16),
        np.zeros((1, 101), np.uint8),
    ],
)
def test_a_calibration_that_is_none_is_refused(tmp_path: Path, table: NDArray[Any]) -> None:
    path = tmp_path / "m.cropmodel"
    with pytest.raises(Rejected, match="cannot be stored: its calibration is not"):
        write_model(path, make_forest(), MANIFEST, make_probes(), table)
    whole = content(tmp_path)
    path.write_bytes(encode_content(Content(whole.manifest, whole.arrays | {"calibration": table})))
    refusal(path)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, 0.999])
def test_a_threshold_leaves_percentages_on_both_sides(tmp_path: Path, threshold: float) -> None:
    with pytest.raises(Rejected, match="its threshold is not from"):
        put(tmp_path, threshold=threshold)
    whole = content(tmp_path)
    changed = whole.manifest | {"forest": whole.manifest["forest"] | {"threshold": threshold}}
    path = tmp_path / "m.cropmodel"
    path.write_bytes(encode_content(Content(changed, whole.arrays)))
    refusal(path)


def make_known(**changes: Any) -> Applicability:
    known = Applicability(
        features=("slope",),
        center=np.array([0.5]),
        factor=np.array([2.0]),
        samples=np.array([[1.0], [2.5], [-3.0]], np.float32),
        mean_distance=4.25,
        threshold=0.75,
    )
    return replace(known, **changes)


def test_what_a_model_knows_travels_with_it(tmp_path: Path) -> None:
    path = tmp_path / "m.cropmodel"
    write_model(path, make_forest(), MANIFEST, make_probes(), applicability=make_known())
    found = read_model(path).applicability
    assert found is not None
    assert (found.features, found.mean_distance, found.threshold) == (("slope",), 4.25, 0.75)
    for name in ("center", "factor", "samples"):
        before, after = getattr(make_known(), name), getattr(found, name)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
    assert read_model(put(tmp_path)).applicability is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"features": ("c",)}, "features of its applicability"),
        ({"features": ()}, "features of its applicability"),
        ({"features": ("slope", "slope")}, "features of its applicability"),
        ({"center": np.zeros(2)}, "do not fit its features"),
        ({"samples": np.zeros((0, 1), np.float32)}, "do not fit its features"),
        ({"samples": np.zeros(1, np.float32)}, "do not fit its features"),
        ({"samples": np.full((2, 1), np.nan, np.float32)}, "not numbers in their range"),
        ({"factor": np.zeros(1)}, "not numbers in their range"),
        ({"center": np.array([np.inf])}, "not numbers in their range"),
        ({"mean_distance": 0.0}, "not numbers over 0"),
        ({"threshold": -1.0}, "not numbers over 0"),
    ],
)
def test_what_a_model_cannot_know_is_refused(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "m.cropmodel"
    known = make_known(**changes)
    with pytest.raises(Rejected, match=problem):
        write_model(path, make_forest(), MANIFEST, make_probes(), applicability=known)
    write_model(path, make_forest(), MANIFEST, make_probes(), applicability=make_known())
    whole = parse_content(path.read_bytes(), path.name)
    numbers = {"features", "mean_distance", "threshold"}
    said = {key: value for key, value in changes.items() if key in numbers}
    manifest = whole.manifest | {"applicability": whole.manifest["applicability"] | said}
    arrays = {f"known_{key}": value for key, value in changes.items() if key not in numbers}
    path.write_bytes(encode_content(Content(manifest, whole.arrays | arrays)))
    assert "damaged" in refusal(path)


def test_arrays_without_what_they_mean_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.cropmodel"
    write_model(path, make_forest(), MANIFEST, make_probes(), applicability=make_known())
    whole = parse_content(path.read_bytes(), path.name)
    bare = {key: value for key, value in whole.manifest.items() if key != "applicability"}
    path.write_bytes(encode_content(Content(bare, whole.arrays)))
    assert "damaged" in refusal(path)
    few = {key: value for key, value in whole.arrays.items() if key != "known_factor"}
    path.write_bytes(encode_content(Content(whole.manifest, few)))
    assert "damaged" in refusal(path)


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    first = put(tmp_path).read_bytes()
    turned = MANIFEST.model_copy(
        update={"hyperparameters": {"max_features": None, "n_estimators": 2}}
    )
    write_model(tmp_path / "n.cropmodel", make_forest(), turned, make_probes())
    assert (tmp_path / "n.cropmodel").read_bytes() == first


def test_another_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="model digest differs: m"):
        load_forest(put(tmp_path), "0" * 64)


def test_a_flipped_bit_anywhere_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path)
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        refusal(path)


def test_a_file_cut_short_or_with_a_tail_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        refusal(path)
    path.write_bytes(data + b"\0")
    assert "damaged" in refusal(path)


class Trap:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.witness,))


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    witness, path = tmp_path / "ran", tmp_path / "m.cropmodel"
    body = pickle.dumps(Trap(witness))
    path.write_bytes(body)
    assert "is not a model file" in refusal(path)
    signed = len(body).to_bytes(4, "little") + body
    path.write_bytes(MAGIC + (1).to_bytes(4, "little") + sha256(signed).digest() + signed)
    assert "its head" in refusal(path)
    assert not witness.exists()
    pickle.loads(body)
    assert witness.exists()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_forest(tmp_path / "none.cropmodel")
    assert "is not a file" in refusal(tmp_path)
    if Path("/dev/zero").exists():
        assert "is not a file" in refusal(Path("/dev/zero"))


def test_an_empty_or_huge_file(tmp_path: Path) -> None:
    path = tmp_path / "m.cropmodel"
    path.write_bytes(b"")
    assert "is not a model file" in refusal(path)
    with path.open("wb") as file:
        file.truncate(modelfile.MAX_FILE_BYTES + 1)
    assert "too large" in refusal(path)


def test_another_format_names_it(tmp_path: Path) -> None:
    path = put(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(MAGIC)] = 7
    path.write_bytes(data)
    assert "format 7" in refusal(path)


def sign(head: bytes, streams: bytes = b"") -> bytes:
    body = len(head).to_bytes(4, "little") + head + streams
    return MAGIC + (1).to_bytes(4, "little") + sha256(body).digest() + body


def array(**changes: object) -> dict[str, object]:
    stream = {"name": "feature", "dtype": "u1", "shape": [3], "stored": 11, "raw": 3}
    return stream | changes


STREAM = zlib.compress(b"abc", 9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"shape": [4]}, "another size than its shape"),
        ({"shape": [2**60]}, "less than or equal"),
        ({"shape": [-3]}, "greater than or equal"),
        ({"shape": [2**27], "raw": 2**27}, "another length than declared"),
        ({"shape": [3.5]}, "integer"),
        ({"shape": ["3"]}, "integer"),
        ({"shape": [True]}, "integer"),
        ({"shape": []}, "at least 1"),
        ({"dtype": "O"}, "Input should be"),
        ({"dtype": "u2"}, "another size than its shape"),
        ({"stored": 10}, "do not end where"),
        ({"stored": 12}, "do not end where"),
        ({"raw": 2, "shape": [2]}, "another length"),
        ({"name": "../../x"}, "match pattern"),
        ({"extra": 1}, "Extra inputs"),
    ],
)
def test_declared_sizes_are_checked(changes: dict[str, object], words: str | None) -> None:
    head = json.dumps({"arrays": [array(**changes)], "manifest": {}}).encode()
    data = sign(head, STREAM)
    if words is None:
        assert parse_content(data, "m").arrays["feature"].tobytes() == b"abc"
        return
    with pytest.raises(Rejected, match="is damaged") as caught:
        parse_content(data, "m")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"arrays": []}',
        b'{"arrays": [], "manifest": NaN}',
        b'{"arrays": [], "manifest": {"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}}",
        b"\xff" * 50,
        b" " * 300_000,
    ],
)
def test_a_signed_head_that_is_none(head: bytes) -> None:
    with pytest.raises(Rejected, match="is damaged"):
        parse_content(sign(head), "m")


def test_a_bomb_is_not_unpacked() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    head = {"arrays": [array(stored=len(bomb), raw=3)], "manifest": {}}
    with pytest.raises(Rejected, match="another length"):
        parse_content(sign(json.dumps(head).encode(), bomb), "m")


def test_many_arrays_do_not_add_up_to_more_than_the_limit() -> None:
    arrays = [array(name=name, raw=2**27, shape=[2**27], stored=0) for name in ("a", "b")]
    head = json.dumps({"arrays": arrays, "manifest": {}}).encode()
    with pytest.raises(Rejected, match="too large"):
        parse_content(sign(head), "m")


def test_an_array_named_twice() -> None:
    head = json.dumps({"arrays": [array(), array()], "manifest": {}}).encode()
    with pytest.raises(Rejected, match="occurs twice"):
        parse_content(sign(head, STREAM * 2), "m")


def u(code: str, *values: float) -> np.ndarray:
    return np.array(values, code)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("feature", u("u1", 0, 255, 1, 255, 255), "not whole trees"),
        ("feature", u("u1", 0, 255, 1, 255, 1, 255), "not whole trees"),
        ("feature", u("u1", 255, 255, 255, 255, 255, 255), "not whole trees"),
        ("feature", u("u1"), "does not fit its nodes"),
        ("feature", u("u1", 2, 255, 1, 255, 255, 255), "feature that is not there"),
        ("rank", u("u2", 0, 2), "cut that is not there"),
        ("rank", u("u2", 1, 0), "cut that is not there"),
        ("rank", u("u2", 0), "ranks are not those"),
        ("leaf", u("u2", 0, 1, 0, 2), "value that is not there"),
        ("leaf", u("u2", 0, 1), "ranks are not those"),
        ("counts", u("u4", 1, 3), "number of its cuts"),
        ("counts", u("u4", 2**32 - 1, 4), "too many cuts"),
        ("counts", u("u4", 3), "not those of its features"),
        ("cuts", u("u4", 2**31, 2**31, 0), "do not ascend"),
        ("cuts", u("u4", 2**31, 2**32 - 1, 2**32 - 1), "not numbers"),
        ("cuts", u("u4", 2**32 - 1, 2**31, 1), "not all numbers"),
        ("leaves", u("f8", 0, np.nan), "not ascending"),
        ("leaves", u("f8", 1, 0), "not ascending"),
        ("leaves", u("f8", 0, 2), "not shares"),
        ("leaves", u("f8"), "value that is not there"),
        ("leaves", u("f4", 0, 1), "not those of a model"),
        ("probe_x", np.zeros((3, 3), "f4"), "do not fit"),
        ("probe_x", np.full((3, 2), np.inf, "f4"), "not numbers in their range"),
        ("probe_probability", u("f8", 0, 1, np.nan), "not numbers in their range"),
        ("probe_probability", u("f8", 0, 1), "not numbers in their range"),
    ],
)
def test_signed_arrays_that_are_no_forest(
    tmp_path: Path, name: str, value: np.ndarray, words: str
) -> None:
    good = content(tmp_path)
    path = tmp_path / "bad.cropmodel"
    path.write_bytes(encode_content(Content(good.manifest, good.arrays | {name: value})))
    assert words in refusal(path)


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("forest", {"trees": 10**9}, "less than or equal"),
        ("forest", {"trees": 3}, "not whole trees"),
        ("forest", {"trees": 0}, "greater than or equal"),
        ("forest", {"features": ["slope", "slope"]}, "'slope' and 'slope' are the same"),
        (
            "forest",
            {"features": ["nd(nir_S1,red_S1)", "nd(nir_S1, red_S1)"]},
            "'nd(nir_S1,red_S1)' and 'nd(nir_S1, red_S1)' are the same",
        ),
        ("forest", {"features": ["slope", "moon"]}, "'moon' is no feature"),
        ("forest", {"features": ["slope", "__import__('os')"]}, "only names, commas"),
        ("forest", {"features": ["slope", "sum(" * 10 + "slope"]}, "more than 8 operations"),
        ("forest", {"features": ["slope", "raw_bcdev_S1"]}, "stands in operations only"),
        ("forest", {"features": ["slope", "a" * 401]}, "at most 400"),
        ("forest", {"features": ["slope", 5]}, "valid string"),
        ("forest", {"features": [f"f{i}" for i in range(300)]}, "at most 254"),
        ("forest", {"kind": "eval"}, "Input should be"),
        ("forest", {"baseline": 1.0}, "not shares"),
        ("provenance", {"recipe": "other"}, "Input should be"),
        ("provenance", {"code": "1"}, "Extra inputs"),
    ],
)
def test_signed_manifests_that_are_none(
    tmp_path: Path, part: str, changes: dict[str, object], words: str
) -> None:
    good = content(tmp_path)
    path = tmp_path / "bad.cropmodel"
    manifest = good.manifest | {part: good.manifest[part] | changes}
    path.write_bytes(encode_content(Content(manifest, good.arrays)))
    assert words in refusal(path)


def test_trees_too_deep_are_refused() -> None:
    depth = 2000
    feature = np.array([0] * depth + [LEAF] * (depth + 1), np.uint8)
    with pytest.raises(ValueError, match="too deep"):
        right_children(feature, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"right": u("i4", 0, 0, 4, 0, 0, 0)}, "child"),
        ({"right": u("i4", 2, 0, 2, 0, 0, 0)}, "child"),
        ({"right": u("i4", 2, 0, 99, 0, 0, 0)}, "child"),
        ({"roots": u("i4", 0, 4)}, "child"),
        ({"rank": u("i8", 0, 0, 0, 1, 0, 1)}, "not a row of uint16"),
        ({"rank": u("u2", 0)}, "not all"),
        ({"cuts": u("f4", 1, -2, np.nan)}, "not all numbers"),
        ({"offsets": u("i4", 0, 1, 9)}, "not those of its features"),
        ({"offsets": u("i4", 0, 4, 3)}, "too many cuts"),
        ({"baseline": np.nan}, "baseline"),
    ],
)
def test_a_forest_that_breaks_a_law_is_not_written(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(Rejected, match="cannot be stored") as caught:
        put(tmp_path, **changes)
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_right_children_of_a_known_tree() -> None:
    feature = np.array([0, 1, LEAF, LEAF, 2, LEAF, LEAF, LEAF], np.uint8)
    right, roots = right_children(feature, 2)
    assert right.tolist() == [4, 3, 0, 0, 6, 0, 0, 0]
    assert roots.tolist() == [0, 7]


def test_cuts_of_every_sign_and_size() -> None:
    limits = np.finfo(np.float32)
    values = [
        limits.min,
        -1,
        -limits.smallest_subnormal,
        0,
        limits.smallest_subnormal,
        3,
        limits.max,
    ]
    cuts = np.array([*values, -7, 7], np.float32)
    offsets = np.array([0, 0, 7, 7, 9, 9], np.int32)
    steps = encode_cuts(cuts, offsets)
    found, found_offsets = decode_cuts(steps, np.diff(offsets).astype(np.uint32))
    np.testing.assert_array_equal(found, cuts)
    np.testing.assert_array_equal(found_offsets, offsets)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = put(tmp_path)
    before = path.read_bytes()
    with pytest.raises(CropmaskError):
        put(tmp_path, baseline=np.nan)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.cropmodel"]
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="cannot be written"):
        write_model(tmp_path / "file" / "m.cropmodel", make_forest(), MANIFEST, make_probes())


def test_check_forest_accepts_a_good_one() -> None:
    assert check_forest(make_forest()) is None


def test_trees_too_large_for_the_engine_are_refused() -> None:
    def bushy(leaves: int) -> list[int]:
        """A complete tree in pre-order; ``leaves`` is any number of at least 1."""
        if leaves == 1:
            return [LEAF]
        return [0, *bushy(leaves // 2), *bushy(leaves - leaves // 2)]

    largest = np.array(bushy(1 << 15), np.uint8)
    right_children(largest, 1)
    larger = np.array(bushy((1 << 15) + 1), np.uint8)
    with pytest.raises(ValueError, match="more than 32768 leaves"):
        right_children(np.concatenate([largest, larger]), 2)
