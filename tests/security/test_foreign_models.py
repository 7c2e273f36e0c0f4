"""Joblib files of attackers, and damaged ones: one line each, and nothing of them is ever run."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import pickletools
import random
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.pipeline import Pipeline

from cropmask.cli.models import models
from cropmask.contract import ExitCode
from cropmask.errors import Reason, Rejected
from cropmask.modelfile import ensembles, pickles
from cropmask.modelfile.forestarrays import check_forest
from cropmask.modelfile.importer import import_joblib
from cropmask.modelfile.model import check_probes
from tests.foreignmodels import (
    Described,
    State,
    as_counts,
    change_node,
    describe_forest,
    dump,
    dump_pickle,
    fitted,
    put,
)
from tests.shareddata import needs_shared, shared

WITNESS = "was-run"
"""A file that every attack makes where it succeeds."""
COMMAND = f"touch {WITNESS}"
SECONDS = 20
"""Longest that a refusal may take on a loaded machine; most take milliseconds."""
LIMITS = {"MAX_PICKLE_BYTES": 8 * 2**20, "MAX_INSTRUCTIONS": 100_000}
"""Limits of the reader for these tests: the real ones are kept the same way, but take seconds."""


def refused(path: Path) -> str:
    """Why a file is refused: in one line, soon, and nothing is run."""
    began = time.monotonic()
    with pytest.raises(Rejected) as caught:
        import_joblib(path)
    assert time.monotonic() - began < SECONDS
    assert not Path(WITNESS).exists()
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == ExitCode.REJECTED
    return message


@contextmanager
def little_memory(most: int) -> Iterator[None]:
    """What is within takes no more memory than that, beside what it keeps."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# Pickles by hand: an instruction each.


def name(module: str, word: str) -> bytes:
    return f"c{module}\n{word}\n".encode()


def text(word: str) -> bytes:
    data = word.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"I%d\n" % value


def words(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def call(func: bytes, *args: bytes) -> bytes:
    return func + words(*args) + b"R"


def entries(**values: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


DTYPE = call(name("numpy", "dtype"), text("f8"), b"\x89", b"\x88")
OBJECTS = call(name("numpy", "dtype"), text("O8"), b"\x89", b"\x88")
BYTES = b"C\x08" + bytes(8)


def wrapper(shape: bytes, dtype: bytes = DTYPE, **more: bytes) -> bytes:
    """An array whose bytes follow, as joblib describes it."""
    state = entries(shape=shape, dtype=dtype, order=text("C"), **more)
    return name("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81" + state + b"b"


def array(shape: bytes, dtype: bytes, data: bytes) -> bytes:
    made = call(
        name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), b")", BYTES
    )
    return made + words(number(1), shape, dtype, b"\x89", data) + b"b"


def from_buffer(data: bytes, dtype: bytes, shape: bytes) -> bytes:
    return call(name("numpy.core.numeric", "_frombuffer"), data, dtype, shape, text("C"))


def fields(count: int, offset: int = 0, size: int = 64) -> bytes:
    """A type with fields."""
    names = [text(f"f{i}") for i in range(count)]
    parts = b"}(" + b"".join(n + words(DTYPE, number(offset)) for n in names) + b"u"
    made = call(name("numpy", "dtype"), text(f"V{size}"), b"\x89", b"\x88")
    state = words(number(3), text("|"), b"N", words(*names), parts, number(size), number(1))
    return made + state + b"b"


FOREST = name("sklearn.ensemble._forest", "RandomForestClassifier")
RUN = {
    "os.system": call(name("os", "system"), text(COMMAND)),
    "posix.system": call(name("posix", "system"), text(COMMAND)),
    "eval": call(name("builtins", "eval"), text(f"__import__('os').mkdir('{WITNESS}')")),
    "exec": call(name("__builtin__", "exec"), text(f"__import__('os').mkdir('{WITNESS}')")),
    "mkdir": call(name("os", "mkdir"), text(WITNESS)),
    "open": call(name("io", "open"), text(WITNESS), text("w")),
    "getattr": call(name("builtins", "getattr"), name("builtins", "object"), text("__class__")),
    "import": call(name("builtins", "__import__"), text("os")),
    "subprocess": call(name("subprocess", "check_call"), words(text("touch"), text(WITNESS))),
    "runpy": call(name("runpy", "run_path"), text("x.py")),
    "pickle.loads": call(name("_pickle", "loads"), BYTES),
    "joblib.load": call(name("joblib", "load"), text("other.joblib")),
    "numpy.load": call(name("numpy", "load"), text("other.npy")),
    "numpy.fromfile": call(name("numpy", "fromfile"), text("/etc/passwd")),
    "numpy.memmap": call(name("numpy", "memmap"), text("/etc/passwd")),
    "numpy.f2py": call(name("numpy.f2py", "compile"), text("x")),
    "numpy.testing": call(name("numpy.testing._private.utils", "runstring"), text("x"), b"}"),
    "another package": call(name("torch", "load"), text("x")),
    "ctypes": call(name("ctypes", "CDLL"), text("libc.so.6")),
    "sklearn.utils": call(name("sklearn.utils", "murmurhash3_32"), text("x")),
    "sklearn.externals": call(name("sklearn.externals.os", "system"), text(COMMAND)),
    "sklearn, dotted word": call(name("sklearn.tree", "os.system"), text(COMMAND)),
    "sklearn, above": call(name("sklearn.tree.../os", "system"), text(COMMAND)),
    "a name by stack": text("os") + text("system") + b"\x93" + words(text(COMMAND)) + b"R",
    "a dotted name": text("builtins") + text("object.__subclasses__") + b"\x93)R",
    "NEWOBJ": name("subprocess", "Popen") + words(words(text("touch"), text(WITNESS))) + b"\x81",
    "NEWOBJ_EX": name("subprocess", "Popen") + words(text("x")) + b"}\x92",
    "INST": b"(" + text(COMMAND) + b"ios\nsystem\n",
    "OBJ": b"(" + name("os", "system") + text(COMMAND) + b"o",
    "EXT1": b"\x82\x01",
    "EXT4": b"\x84\x01\x00\x00\x00",
    "PERSID": b"Px\n",
    "BINPERSID": text("x") + b"Q",
    "NEXT_BUFFER": b"\x97",
    "READONLY_BUFFER": BYTES + b"\x98",
    "BUILD on a class": FOREST + entries(fit=text("x")) + b"b",
    "BUILD on numpy": name("numpy", "ndarray") + entries(shape=text("x")) + b"b",
    "BUILD twice": FOREST + b")\x81}b}b",
    "a call of a record": FOREST + b")\x81" + words() + b"R",
    "a call of a text": text("os.system") + words(text(COMMAND)) + b"R",
    "a call without a tuple": FOREST + text("x") + b"R",
    "object": call(name("copyreg", "_reconstructor"), name("os", "system"), text("x"), b"N"),
    "another base": call(
        name("copy_reg", "_reconstructor"), FOREST, name("numpy", "ndarray"), b"N"
    ),
    "codecs": call(name("_codecs", "encode"), text("x"), text("rot13")),
    "an instance of dtype": name("numpy", "dtype") + words(text("f8")) + b"\x81",
    "an instance of bytes": name("builtins", "bytes") + words(number(2**40)) + b"\x81",
    "many bytes": call(name("builtins", "bytes"), number(2**40)),
    "within an array": wrapper(words(number(1)), OBJECTS) + call(name("os", "system"), text("x")),
    "within two arrays": wrapper(words(number(1)), OBJECTS) + wrapper(words(number(1)), OBJECTS),
}
"""Ways to run something, or to reach what a model has no use for."""


@pytest.mark.parametrize("attack", RUN)
@pytest.mark.parametrize("place", ["alone", "within a forest"])
def test_nothing_is_run(tmp_path: Path, attack: str, place: str) -> None:
    body = RUN[attack]
    if place == "within a forest":
        body = FOREST + b")\x81" + entries(estimators_=b"]" + body + b"a") + b"b"
    assert "cannot be read as a model: it " in refused(put(tmp_path, b"\x80\x02" + body + b"."))


@pytest.mark.parametrize("attack", ["os.system", "eval", "mkdir", "subprocess", "INST", "OBJ"])
def test_the_attacks_are_real(tmp_path: Path, attack: str) -> None:
    """Python's own reader runs them."""
    pickle.loads(b"\x80\x02" + RUN[attack] + b".")
    assert Path(WITNESS).exists()


def repeat(body: bytes, count: int) -> bytes:
    return body * count


BOMBS = {
    "an endless text": b"\x8d" + struct.pack("<Q", 2**62) + b"x",
    "an endless value": b"\x8e" + struct.pack("<Q", 2**62) + b"x",
    "an endless array of bytes": b"\x96" + struct.pack("<Q", 2**40) + b"x",
    "a size below zero": b"\x8e" + b"\xff" * 8,
    "an endless frame": b"\x95" + struct.pack("<Q", 2**62) + b"N",
    "an endless number": b"\x8b" + struct.pack("<I", 2**31 - 1) + b"x",
    "a number below zero": b"\x8b" + b"\xff" * 4,
    "a number of many bytes": b"\x8b" + struct.pack("<I", 10**6) + b"x" * 10**6,
    "a number of many digits": b"L" + b"9" * 10**6 + b"L\n",
    "many instructions": repeat(b"N0", 60_000) + b"N",
    "many lists": repeat(b"]", 110_000),
    "deep lists": repeat(b"]", 49_000) + repeat(b"a", 48_999),
    "deep tuples": b")" + repeat(b"\x85", 99_000),
    "a deep tuple as a key": b"}" + b")" + repeat(b"\x85", 98_000) + b"Ns",
    "a deep tuple as a name": b")" + repeat(b"\x85", 98_000) + text("x") + b"\x93",
    "a tuple of tuples": b")" + repeat(b"\x94h\x00\x86", 5) + repeat(b"\x94h\x01\x86", 60),
    "a list within itself": b"]\x94h\x00a",
    "many marks": repeat(b"(", 99_000) + b"N",
    "text again and again": text("x" * 2**20)
    + b"\x94"
    + repeat(call(name("_codecs", "encode"), b"h\x00", text("latin1")), 20),
    "long words again and again": call(name("numpy", "dtype"), text("U9999"), b"\x89", b"\x88")
    + b"\x940"
    + b"B"
    + struct.pack("<I", 39996)
    + b"a\x00\x00\x00" * 9999
    + b"\x940"
    + repeat(call(name("numpy.core.multiarray", "scalar"), b"h\x00", b"h\x01"), 400),
    "types again and again": repeat(fields(2), 2100),
    "GET of nothing": b"h\x07",
    "nothing to pop": b"0",
    "nothing to put": b"q\x00",
    "nothing to append to": b"Na",
    "a tuple over a mark": b"N(\x86",
    "no mark": b"t",
    "an odd dictionary": b"}(NNNu",
    "a large dictionary": b"}(" + b"".join(number(i) + b"N" for i in range(1001)) + b"u",
    "entries one by one": b"}" + b"".join(number(i) + b"Ns" for i in range(1001)),
    "keys of one hash": b"}(" + b"".join(number(i * (2**61 - 1)) + b"N" for i in range(900)) + b"u",
    "a far place": b"Np" + b"9" * 50 + b"\n",
    "a place below zero": b"Np-1\n",
    "no stop": b"N",
    "two values": b"NN",
    "more behind the stop": b"N.N",
    "array: more than there is": wrapper(words(number(2**40))),
    "array: sizes that overflow": wrapper(words(*[number(2**29)] * 8)),
    "array: a size below zero": wrapper(words(number(-1))),
    "array: a size that is no number": wrapper(words(text("1"))),
    "array: a size that is true": wrapper(words(b"\x88")),
    "array: many axes": wrapper(words(*[number(1)] * 65)),
    "array: no shape": wrapper(b"N"),
    "array: no type": wrapper(words(number(1)), text("f8")),
    "array: padding beyond the file": wrapper(
        words(number(1)), numpy_array_alignment_bytes=number(16)
    )
    + b"\xff",
    "array: a pickle that is none": wrapper(words(number(1)), OBJECTS) + b"N.",
    "array: bytes too few": array(words(number(2)), DTYPE, BYTES),
    "array: bytes too many": array(words(number(0)), DTYPE, BYTES),
    "array: objects from bytes": array(words(number(1)), OBJECTS, BYTES),
    "array: numbers from a list": array(words(number(1)), DTYPE, b"]"),
    "array: a list too short": array(words(number(9)), OBJECTS, b"]"),
    "array: empty and endless": array(words(number(0), *[number(2**29)] * 7), DTYPE, b"C\x00"),
    "buffer: bytes too few": from_buffer(BYTES, DTYPE, words(number(2**60))),
    "buffer: no bytes": from_buffer(text("x"), DTYPE, words(number(1))),
    "buffer: too few words": call(name("numpy.core.numeric", "_frombuffer"), BYTES),
    "type: endless": call(name("numpy", "dtype"), text("V" + "9" * 20), b"\x89", b"\x88"),
    "type: long": call(name("numpy", "dtype"), text("f8," * 10**5 + "f8"), b"\x89", b"\x88"),
    "type: nested": call(name("numpy", "dtype"), text("(9,9)f8"), b"\x89", b"\x88"),
    "type: dates": call(name("numpy", "dtype"), text("M8[s]"), b"\x89", b"\x88"),
    "type: empty": call(name("numpy", "dtype"), text("V0"), b"\x89", b"\x88"),
    "type: many fields": fields(33, size=999),
    "type: a field beyond its record": fields(1, offset=60),
    "type: a field before its record": fields(1, offset=-1),
    "type: no state": DTYPE + words(number(3)) + b"b",
    "scalar: bytes too few": call(name("numpy.core.multiarray", "scalar"), DTYPE, b"C\x01x"),
    "scalar: an object": call(name("numpy.core.multiarray", "scalar"), OBJECTS, BYTES),
    "scalar: a record": call(
        name("numpy.core.multiarray", "scalar"), fields(2), b"C\x40" + b"x" * 64
    ),
}
"""Pickles that ask for more than there is, nest, repeat or refer to nothing."""


@pytest.mark.parametrize("bomb", BOMBS)
def test_sizes_nesting_and_repetition_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: str
) -> None:
    for limit, value in LIMITS.items():
        monkeypatch.setattr(pickles, limit, value)
    path = put(tmp_path, b"\x80\x04" + BOMBS[bomb] + b".")
    with little_memory(64 * 2**20):
        refused(path)


def big() -> bytes:
    return bytes(8 * 2**20)


@pytest.mark.parametrize(
    ("pack", "magic"),
    [
        (zlib.compress, b"\x78"),
        (gzip.compress, b"\x1f\x8b"),
        (bz2.compress, b"BZh"),
        (lzma.compress, b"\xfd7zXZ"),
        (lambda data: lzma.compress(data, lzma.FORMAT_ALONE), b"\x5d\x00"),
        (lz4.frame.compress, b"\x04\x22\x4d\x18"),
    ],
)
def test_decompression_ends_at_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes], magic: bytes
) -> None:
    packed = pack(big())
    assert packed.startswith(magic)
    assert len(packed) < 2**16
    monkeypatch.setattr(pickles, "MAX_PICKLE_BYTES", 2**20)
    path = put(tmp_path, packed)
    with little_memory(20 * 2**20):
        assert "unpacks to more than 1 MiB" in refused(path)


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_that_are_cut_or_go_on(tmp_path: Path, pack: Any) -> None:
    packed = pack(dump(fitted("forest")))
    for data in (packed[:-9], packed + b"more", packed[:9], packed[:40] + packed[41:]):
        assert "does not decompress" in refused(put(tmp_path, data))


def test_a_dictionary_beyond_memory_is_not_made(tmp_path: Path) -> None:
    """The head of an lzma file may ask for 2 GiB."""
    data = b"\x5d" + struct.pack("<I", 2**31) + b"\xff" * 8 + bytes(9)
    assert "does not decompress" in refused(put(tmp_path, data))


def cyclic(tree: State) -> State:
    """Two nodes that are each other's children, beside a leaf at the root."""
    nodes = tree["nodes"][:3].copy()
    nodes["left_child"], nodes["right_child"] = [-1, 2, 1], [-1, 2, 1]
    return {"nodes": nodes, "values": tree["values"][:3]}


def chain(tree: State) -> State:
    """A tree of 30 001 levels, each a right child."""
    size = 60_001
    nodes = np.zeros(size, tree["nodes"].dtype)
    nodes["left_child"], nodes["right_child"] = -1, -1
    inner = np.arange(0, size - 1, 2)
    nodes["left_child"][inner], nodes["right_child"][inner] = inner + 1, inner + 2
    nodes["threshold"] = -1e9
    return {"nodes": nodes, "values": np.full((size, 1, 2), 0.5)}


def with_values(make: Callable[[Any], Any]) -> Callable[[State], State]:
    return lambda tree: {**tree, "values": make(tree["values"])}


def with_nodes(make: Callable[[Any], Any]) -> Callable[[State], State]:
    return lambda tree: {**tree, "nodes": make(tree["nodes"])}


def set_to(value: float) -> Callable[[Any], Any]:
    def change(values: Any) -> Any:
        changed = values.copy()
        changed[:] = value
        return changed

    return change


def leave_out(word: str) -> Callable[[State], State]:
    return lambda tree: {key: value for key, value in tree.items() if key != word}


TREES: dict[str, Callable[[State], State]] = {
    "its own parent": change_node(0, left_child=0),
    "a child before its parent that is another's": change_node(2, right_child=1),
    "a child beyond the tree": change_node(0, right_child=10**6),
    "a child far beyond": change_node(0, right_child=2**62),
    "a child below zero": change_node(0, right_child=-7),
    "one child": change_node(0, right_child=-1),
    "a leaf at the root": change_node(0, left_child=-1, right_child=-1),
    "a circle": cyclic,
    "a chain": chain,
    "a feature that is not there": change_node(0, feature=33),
    "a feature far away": change_node(0, feature=2**62),
    "a feature below zero": change_node(0, feature=-3),
    "a threshold that is none": change_node(0, threshold=np.nan),
    "a threshold below all": change_node(0, threshold=-np.inf),
    "a threshold beyond its range": change_node(0, threshold=1e30, feature=0),
    "values that are none": with_values(set_to(np.nan)),
    "endless values": with_values(set_to(np.inf)),
    "values below zero": with_values(lambda values: -values * np.array([3, 1])),
    "values of three classes": with_values(lambda values: np.repeat(values, 2, axis=2)[:, :, :3]),
    "values of two outputs": with_values(lambda values: np.repeat(values, 2, axis=1)),
    "flat values": with_values(np.ravel),
    "too few values": with_values(lambda values: values[:-1]),
    "values as text": with_values(lambda values: values.astype("U9")),
    "values as objects": with_values(lambda values: values.astype(object)),
    "no values": leave_out("values"),
    "no nodes": leave_out("nodes"),
    "empty nodes": with_nodes(lambda nodes: nodes[:0]),
    "nodes in two axes": with_nodes(lambda nodes: nodes[:, np.newaxis]),
    "nodes without fields": with_nodes(lambda nodes: nodes["threshold"]),
    "nodes without children": with_nodes(lambda nodes: nodes[["feature", "threshold"]].copy()),
    "children as fractions": with_nodes(
        lambda nodes: nodes.astype([(n, "f8") for n in nodes.dtype.names])
    ),
    "thresholds as numbers": with_nodes(
        lambda nodes: nodes.astype([(n, "i8") for n in nodes.dtype.names])
    ),
    "a list of nodes": with_nodes(list),
    "nodes as text": with_nodes(lambda nodes: "nodes"),
    "too many nodes": with_nodes(lambda nodes: np.zeros(70_000, nodes.dtype)),
    "too many values": with_values(lambda values: np.zeros((70_000, 1, 2))),
}
"""Trees that are none."""


@pytest.mark.parametrize("doctored", TREES)
@pytest.mark.parametrize("write", [dump, dump_pickle])
def test_trees_that_are_none(tmp_path: Path, doctored: str, write: Any) -> None:
    message = refused(put(tmp_path, write(describe_forest(fitted("forest"), TREES[doctored]))))
    assert "lacks what a fitted one has" not in message or "no" in doctored or "as" in doctored


def nested(depth: int) -> Any:
    found = fitted("forest")
    for _ in range(depth):
        found = Pipeline([("model", found)])
    return found


def deep() -> Any:
    found: Any = ()
    for _ in range(200):
        found = (found, found)
    return found


def objects(values: list[Any]) -> Any:
    found = np.empty(len(values), object)
    for at, value in enumerate(values):
        found[at] = value
    return found


def boosted(kind: str, **changes: Any) -> Described:
    estimator = fitted(kind)
    return Described(type(estimator), {**estimator.__getstate__(), **changes})


def forest(**changes: Any) -> Described:
    return describe_forest(fitted("forest"), **changes)


MODELS: dict[str, Callable[[], Any]] = {
    "no trees": lambda: forest(estimators_=[]),
    "trees as text": lambda: forest(estimators_="trees"),
    "trees that are numbers": lambda: forest(estimators_=[1, 2]),
    "too many trees": lambda: forest(estimators_=[1] * 5001),
    "no number of features": lambda: forest(n_features_in_=None),
    "features as text": lambda: forest(n_features_in_="33"),
    "many features": lambda: forest(n_features_in_=10**60),
    "features below zero": lambda: forest(n_features_in_=-1),
    "many names of features": lambda: forest(
        feature_names_in_=np.array(["x"] * 10**5, object), n_features_in_=10**5
    ),
    "names with signs": lambda: forest(feature_names_in_=np.array(["\x1b[2J\n"] * 33, object)),
    "no classes": lambda: forest(classes_=None),
    "many classes": lambda: forest(classes_=np.arange(10**6)),
    "nested classes": lambda: forest(classes_=objects([deep(), deep()])),
    "equal classes": lambda: forest(classes_=np.array([1, 1])),
    "several outputs": lambda: forest(n_outputs_=2),
    "six pipelines": lambda: nested(6),
    "a pipeline without steps": lambda: Described(Pipeline, {"steps": []}),
    "a pipeline of numbers": lambda: Described(Pipeline, {"steps": [1]}),
    "a pipeline without a list": lambda: Described(Pipeline),
    "a pipeline that changes": lambda: Described(Pipeline, {"steps": [("a", 1), ("b", 2)]}),
    "boosting without stages": lambda: boosted("histogram", _predictors=[]),
    "stages of two trees": lambda: boosted(
        "histogram", _predictors=[fitted("histogram")._predictors[0] * 2]
    ),
    "stages of nothing": lambda: boosted("histogram", _predictors=[[None]]),
    "a baseline that is none": lambda: boosted("histogram", _baseline_prediction=np.nan),
    "a baseline as text": lambda: boosted("histogram", _baseline_prediction="x"),
    "a nested baseline": lambda: boosted("histogram", _baseline_prediction=deep()),
    "an unknown loss": lambda: boosted("gradient", loss="squared_error"),
    "a nested loss": lambda: boosted("gradient", loss=deep()),
    "a rate beyond numbers": lambda: boosted("gradient", learning_rate=1e308),
    "a rate that is none": lambda: boosted("gradient", learning_rate=float("nan")),
    "a nested rate": lambda: boosted("gradient", learning_rate=deep()),
    "a start that is none": lambda: boosted("gradient", init_=None),
    "a start without numbers": lambda: boosted("gradient", init_=Described(Pipeline)),
}
"""Models that are none."""


@pytest.mark.parametrize("doctored", MODELS)
def test_models_that_are_none(tmp_path: Path, doctored: str) -> None:
    refused(put(tmp_path, dump(MODELS[doctored]())))


def test_a_tree_named_again_and_again_counts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = describe_forest(fitted("forest"), chain).state["estimators_"][0]
    monkeypatch.setattr(ensembles, "MAX_NODES", 250_000)
    message = refused(put(tmp_path, dump_pickle(forest(estimators_=[one] * 5000))))
    assert "more than 250000 nodes" in message


def test_a_search_within_itself(tmp_path: Path) -> None:
    search = name("sklearn.model_selection._search", "GridSearchCV") + b")\x81\x94"
    body = search + entries(best_estimator_=b"h\x00") + b"b"
    assert "pipelines and searches in a row" in refused(put(tmp_path, b"\x80\x04" + body + b"."))


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"class_weight": {f"k{i}": i for i in range(900)}},
        {"class_weight": {"x" * 10**6: 1}},
        {"criterion": "\ud800", "max_depth": 10**70, "alpha": float("nan")},
        {"criterion": "x\n" * 10**6, "min_samples_leaf": float("-inf")},
        {f"p{i}": "x" * 150 for i in range(900)},
        {"x" * 500: 1, "a b": 2, "base": deep(), "names": np.zeros(10**5)},
        {"feature_names_in_": objects([deep()] * 33)},
        {"_sklearn_version": "9" * 10**6},
        {"_sklearn_version": deep()},
        {"criterion": "<script>x</script>", "_sklearn_version": "[1.0](javascript:x)"},
    ],
)
def test_odd_hyperparameters_do_no_harm(tmp_path: Path, hyperparameters: State) -> None:
    """They change no probability, so they are cut or left out: what is written can be read."""
    path = put(tmp_path, dump_pickle(describe_forest(fitted("forest"), **hyperparameters)))
    done = CliRunner().invoke(models, ["import", str(path)], catch_exceptions=False)
    assert done.exit_code == 0
    done = CliRunner().invoke(models, ["show", str(path.with_suffix(".cropmodel"))])
    assert done.exception is None
    assert len(done.output) < 20_000
    assert "script" not in done.output


# Damage of any kind: refused, or without effect on what a forest must be.

CODES = bytes(ord(opcode.code) for opcode in pickletools.opcodes)


@cache
def whole(kind: str) -> bytes:
    estimator = fitted(kind.partition(" ")[0])
    if kind.endswith("packed"):
        return dump(estimator, compress=("zlib", 3))
    if kind.endswith("pickled"):
        return dump_pickle(estimator, 2)
    if kind.endswith("old"):
        return dump(describe_forest(estimator, as_counts, _sklearn_version="0.22"))
    return dump(estimator)


KINDS = ("forest", "forest old", "forest pickled", "forest packed", "histogram", "gradient")


def flip(data: bytearray, at: int, draw: random.Random) -> None:
    data[at] ^= 1 << draw.randrange(8)


def cut(data: bytearray, at: int, _: random.Random) -> None:
    del data[at:]


def replace_code(data: bytearray, at: int, draw: random.Random) -> None:
    data[at] = draw.choice(CODES)


def insert_code(data: bytearray, at: int, draw: random.Random) -> None:
    data[at:at] = bytes([draw.choice(CODES)])


def enlarge(data: bytearray, at: int, draw: random.Random) -> None:
    size = draw.choice((2, 4, 8))
    data[at : at + size] = b"\xff" * size


def double(data: bytearray, at: int, draw: random.Random) -> None:
    data[at:at] = data[at : at + draw.randrange(1, 200)]


def remove(data: bytearray, at: int, draw: random.Random) -> None:
    del data[at : at + draw.randrange(1, 20)]


def swap(data: bytearray, at: int, draw: random.Random) -> None:
    other = draw.randrange(len(data))
    data[at], data[other] = data[other], data[at]


DAMAGES = (flip, cut, replace_code, insert_code, enlarge, double, remove, swap)


def damaged(data: bytes, seed: int) -> bytes:
    """The bytes with one damage, mostly in the half of them that says what the rest is."""
    draw = random.Random(seed)
    found = bytearray(data)
    at = draw.randrange(min(len(found), 3000) if draw.random() < 0.7 else len(found))
    DAMAGES[seed % len(DAMAGES)](found, at, draw)
    return bytes(found)


def refused_or_a_forest(path: Path) -> str | None:
    """Why a damaged file is refused; None if it gives a forest that keeps every law."""
    try:
        found = import_joblib(path)
    except Rejected as error:
        problem = error
    else:
        problem = None
    if problem is not None:
        assert "\n" not in str(problem)
        assert problem.reason in (Reason.BAD_JOBLIB, Reason.BAD_ESTIMATOR, Reason.REJECTED)
        return str(problem)
    assert check_forest(found.forest) is None
    check_probes(found.forest, found.probes, path)
    return None


@pytest.mark.parametrize("seed", range(640))
def test_fuzzed_files(tmp_path: Path, seed: int) -> None:
    kind = KINDS[seed // len(DAMAGES) % len(KINDS)]
    refused_or_a_forest(put(tmp_path, damaged(whole(kind), seed)))


def test_fuzz_reaches_all_layers(tmp_path: Path) -> None:
    """Enough of it is refused, for many reasons, by the reader of pickles and by that of models."""
    found = [
        refused_or_a_forest(put(tmp_path, damaged(whole(KINDS[seed % 6]), seed)))
        for seed in range(1000, 1160)
    ]
    reasons = [message for message in found if message is not None]
    assert len(reasons) > 80
    assert sum("cannot be read as a model" in message for message in reasons) > 40
    assert sum("cannot be read as a model" not in message for message in reasons) > 5


REAL = ("central_ml_model_20220225", "indian_ocean_ml_model_20220309")


@needs_shared("joblib")
@pytest.mark.parametrize("seed", range(40))
def test_fuzzed_files_of_the_agency(tmp_path: Path, seed: int) -> None:
    data = shared(f"joblib/{REAL[seed // len(DAMAGES) % 2]}.joblib").read_bytes()
    refused_or_a_forest(put(tmp_path, damaged(data, seed)))


def test_the_command_ends_in_one_line(tmp_path: Path) -> None:
    path = put(tmp_path, b"\x80\x02" + RUN["os.system"] + b".")
    result = CliRunner().invoke(models, ["import", str(path)])
    assert isinstance(result.exception, Rejected)
    assert "names os.system, which no model needs (nothing of it was run)" in str(result.exception)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.joblib"]
