"""Joblib files of all versions and kinds become model files, exactly, without scikit-learn."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from cropmask.core.engine import predict
from cropmask.core.features import FEATURES
from cropmask.errors import Misconfigured, Reason, Rejected
from cropmask.modelfile import pickles
from cropmask.modelfile.importer import POSSIBLE, USUAL, find_doubts, import_joblib
from cropmask.modelfile.model import Fitted, check_probes
from tests.foreignmodels import (
    ESTIMATORS,
    UNSEEN,
    Described,
    X,
    Y,
    as_counts,
    as_old,
    describe_forest,
    dump,
    dump_pickle,
    expected,
    fitted,
    put,
)
from tests.shareddata import needs_shared, shared

REAL = {"central_ml_model_20220225": "central", "indian_ocean_ml_model_20220309": "indian_ocean"}
"""The agency's files, and whose samples give their golden rows."""


def read(folder: Path, data: bytes, **options: Any) -> Fitted:
    found = import_joblib(put(folder, data), **options)
    assert found.forest.features == FEATURES
    check_probes(found.forest, found.probes, folder / "new.cropmodel")
    return found


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("write", [dump, dump_pickle])
def test_every_kind_is_exact(tmp_path: Path, name: str, write: Any) -> None:
    found = read(tmp_path, write(fitted(name)), region="central")
    np.testing.assert_array_equal(predict(found.forest, UNSEEN), expected(name))
    assert found.manifest.estimator == type(fitted(name)).__name__
    is_forest = name in ("forest", "weighted", "extra")
    assert found.manifest.recipe == ("forest" if is_forest else "boosted")
    assert found.probes.probability.std() > 0.02


@pytest.mark.parametrize("compress", ["zlib", "gzip", "bz2", "lzma", "xz", "lz4"])
def test_compressed_files(tmp_path: Path, compress: str) -> None:
    found = read(tmp_path, dump(fitted("forest"), compress=(compress, 3)))
    np.testing.assert_array_equal(predict(found.forest, UNSEEN), expected("forest"))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["forest", "gradient", "histogram"])
def test_all_protocols(tmp_path: Path, name: str, protocol: int) -> None:
    for data in (dump_pickle(fitted(name), protocol), dump(fitted(name), protocol=protocol)):
        found = read(tmp_path, data)
        np.testing.assert_array_equal(predict(found.forest, UNSEEN), expected(name))


def test_arrays_without_alignment_and_from_mapped_memory(tmp_path: Path) -> None:
    path = put(tmp_path, dump(fitted("forest")))
    mapped = joblib.load(path, mmap_mode="r")
    for data in (dump(mapped), _without_alignment(dump, mapped)):
        found = read(tmp_path, data)
        np.testing.assert_array_equal(predict(found.forest, UNSEEN), expected("forest"))


def _without_alignment(write: Any, estimator: Any) -> bytes:
    """As joblib before 1.2 wrote it: array bytes follow their description at once."""
    wrapper = joblib.numpy_pickle.NumpyArrayWrapper
    make = wrapper.__init__

    def make_old(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, **{**options, "numpy_array_alignment_bytes": None})
        del self.numpy_array_alignment_bytes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wrapper, "__init__", make_old)
        return bytes(write(estimator))


@pytest.mark.parametrize("name", ["forest", "weighted", "extra"])
@pytest.mark.parametrize("version", ["0.22.2.post1", "0.24.1", "1.0", "1.2.2"])
def test_layouts_of_old_versions(tmp_path: Path, name: str, version: str) -> None:
    old = describe_forest(fitted(name), as_old, _sklearn_version=version)
    found = read(tmp_path, dump(old))
    # Counts over their sum are today's shares but for the last bit.
    np.testing.assert_allclose(predict(found.forest, UNSEEN), expected(name), rtol=0, atol=1e-15)
    assert found.manifest.software["scikit-learn"] == version


def test_counts_are_divided_as_old_versions_divided_them(tmp_path: Path) -> None:
    old = describe_forest(fitted("weighted"), as_old, _sklearn_version="1.0")
    found = read(tmp_path, dump(old))
    scores = np.zeros(len(UNSEEN))
    for member in fitted("weighted").estimators_:
        counts = as_counts(member.tree_.__getstate__())["values"][member.apply(UNSEEN), 0]
        scores += counts[:, 1] / counts.sum(axis=1)
    np.testing.assert_array_equal(predict(found.forest, UNSEEN), scores / 7)


def _recode(tree: dict[str, Any], order: str, values: str = "C") -> dict[str, Any]:
    kind = tree["nodes"].dtype.newbyteorder(order)
    return {
        **tree,
        "nodes": tree["nodes"].astype(kind),
        "values": np.asarray(tree["values"].astype(f"{order}f8"), order=values),
    }


def _narrow(tree: dict[str, Any]) -> dict[str, Any]:
    parts = [
        (name, "<i4" if kind[0].kind == "i" else kind[0])
        for name, kind in (tree["nodes"].dtype.fields or {}).items()
    ]
    return {**tree, "nodes": tree["nodes"].astype(parts)}


@pytest.mark.parametrize(
    "change",
    [
        as_counts,
        _narrow,
        partial(_recode, order=">"),
        partial(_recode, order="<", values="F"),
    ],
)
@pytest.mark.parametrize("write", [dump, dump_pickle])
def test_layouts_of_other_machines(tmp_path: Path, change: Any, write: Any) -> None:
    found = read(tmp_path, write(describe_forest(fitted("forest"), change)))
    np.testing.assert_array_equal(predict(found.forest, UNSEEN), expected("forest"))


@pytest.mark.parametrize("name", ["forest", "histogram", "gradient"])
def test_classes_in_the_other_order(tmp_path: Path, name: str) -> None:
    state = {**fitted(name).__getstate__(), "classes_": np.array([1, 0])}
    found = read(tmp_path, dump(Described(type(fitted(name)), state)))
    np.testing.assert_allclose(
        predict(found.forest, UNSEEN), 1 - expected(name), rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("labels", [Y.astype(bool), Y.astype(float), Y.astype(str)])
def test_classes_as_other_words(tmp_path: Path, labels: Any) -> None:
    estimator = RandomForestClassifier(5, random_state=1).fit(X, labels)
    found = read(tmp_path, dump(estimator))
    np.testing.assert_array_equal(
        predict(found.forest, UNSEEN), estimator.predict_proba(UNSEEN)[:, 1]
    )


def _older_histogram() -> Any:
    """Histogram boosting as 0.22 wrote it: other names, a number as baseline."""
    estimator = fitted("histogram")
    stages = []
    for (predictor,) in estimator._predictors:
        nodes, fields = predictor.nodes, predictor.nodes.dtype.fields
        names = [name for name in fields if name not in ("is_categorical", "bitset_idx")]
        older = {name: name.replace("num_threshold", "threshold") for name in names}
        old = np.zeros(len(nodes), [(older[name], fields[name][0]) for name in names])
        for name in names:
            old[older[name]] = nodes[name]
        stages.append([Described(type(predictor), {"nodes": old})])
    state = {
        **estimator.__getstate__(),
        "_predictors": stages,
        "_baseline_prediction": float(estimator._baseline_prediction.ravel()[0]),
        "n_features_": len(FEATURES),
    }
    del state["n_features_in_"], state["_n_features"], state["is_categorical_"]
    return Described(type(estimator), state)


def test_categories_are_refused(tmp_path: Path) -> None:
    estimator = fitted("histogram")
    (first,) = estimator._predictors[0]
    nodes = first.nodes.copy()
    nodes["is_categorical"] = 1
    stages = [[Described(type(first), {"nodes": nodes})], *estimator._predictors[1:]]
    for changes in ({"is_categorical_": np.eye(33, dtype=bool)[0]}, {"_predictors": stages}):
        other = Described(type(estimator), {**estimator.__getstate__(), **changes})
        with pytest.raises(Rejected, match="has categorical features"):
            read(tmp_path, dump(other))


def test_histogram_boosting_of_old_versions(tmp_path: Path) -> None:
    found = read(tmp_path, dump(_older_histogram()))
    np.testing.assert_array_equal(predict(found.forest, UNSEEN), expected("histogram"))


GRID = {"n_estimators": [3, 5], "class_weight": [None, {0: 1, 1: 2}]}


@pytest.mark.parametrize(
    ("wrapped", "contents"),
    [
        (Pipeline([("model", RandomForestClassifier(5, random_state=1))]), "Pipeline > "),
        (
            Pipeline([("none", "passthrough"), ("m", RandomForestClassifier(5, random_state=1))]),
            "Pipeline > ",
        ),
        (
            GridSearchCV(
                RandomForestClassifier(random_state=1),
                GRID,
                cv=KFold(2, shuffle=True, random_state=0),
                scoring="balanced_accuracy",
            ),
            "GridSearchCV > ",
        ),
        (
            RandomizedSearchCV(
                Pipeline([("m", RandomForestClassifier(random_state=1))]),
                {"m__n_estimators": [3, 5]},
                n_iter=2,
                cv=2,
                random_state=np.random.RandomState(0),
            ),
            "RandomizedSearchCV > Pipeline > ",
        ),
    ],
)
def test_pipelines_and_searches_say_what_is_inside(
    tmp_path: Path, wrapped: Any, contents: str
) -> None:
    wrapped.fit(X, Y)
    found = read(tmp_path, dump(wrapped))
    np.testing.assert_array_equal(
        predict(found.forest, UNSEEN), wrapped.predict_proba(UNSEEN)[:, 1]
    )
    assert found.manifest.source is not None
    assert found.manifest.source.contents == f"{contents}RandomForestClassifier"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (make_pipeline(StandardScaler(), RandomForestClassifier(2)), "by a StandardScaler before"),
        (Pipeline([("m", DecisionTreeClassifier())]), "a Pipeline > DecisionTreeClassifier is not"),
        (DecisionTreeClassifier(), "a DecisionTreeClassifier is not a model"),
        (RandomForestRegressor(2), "a RandomForestRegressor is not a model"),
        (GradientBoostingRegressor(n_estimators=2), "a GradientBoostingRegressor is not"),
        (HistGradientBoostingRegressor(max_iter=2), "a HistGradientBoostingRegressor is not"),
        (LogisticRegression(max_iter=9000), "names sklearn.linear_model._logistic.Logistic"),
        (
            GradientBoostingClassifier(n_estimators=2, init=DummyClassifier(strategy="uniform")),
            "starts from another estimator",
        ),
        (
            GridSearchCV(RandomForestClassifier(), {"n_estimators": [2]}, cv=2, refit=False),
            "holds no fitted estimator",
        ),
    ],
)
def test_what_the_engine_cannot_hold_is_refused(tmp_path: Path, other: Any, words: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(tmp_path, dump(other.fit(X[:, 3:9], Y)))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"a": 1}, "a dict is not a model"),
        ([RandomForestClassifier()], "a list is not a model"),
        (RandomForestClassifier(), "not fitted"),
        (RandomForestClassifier(2).fit(X, np.arange(150) % 3), "the classes [0, 1, 2]"),
        (RandomForestClassifier(2).fit(X, Y + 1), "the classes [1, 2]"),
        (RandomForestClassifier(2).fit(X, np.stack([Y, Y], 1)), "several outputs"),
        (GridSearchCV(RandomForestClassifier(), {"n_estimators": [2]}), "no fitted estimator"),
    ],
)
def test_what_is_no_fitted_model_of_two_classes(tmp_path: Path, found: Any, words: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(tmp_path, dump(found))
    assert words in str(caught.value)


def test_features_in_another_order_and_fewer_of_them(tmp_path: Path) -> None:
    names = tuple(reversed(FEATURES))[:20]
    columns = [FEATURES.index(name) for name in names]
    estimator = RandomForestClassifier(7, random_state=1).fit(X[:, columns], Y)
    found = read(tmp_path, dump(estimator), names=names)
    np.testing.assert_array_equal(
        predict(found.forest, UNSEEN), estimator.predict_proba(UNSEEN[:, columns])[:, 1]
    )


def named(names: tuple[str, ...]) -> Any:
    columns = [FEATURES.index(name) for name in names]
    estimator = RandomForestClassifier(5, random_state=1).fit(X[:, columns], Y)
    estimator.feature_names_in_ = np.array(names, object)
    return estimator


def test_names_that_the_estimator_knows_are_used(tmp_path: Path) -> None:
    names = tuple(reversed(FEATURES))
    estimator = named(names)
    for options, order in (({}, "the file"), ({"names": names}, "--features")):
        found = read(tmp_path, dump(estimator), **options)
        assert found.manifest.source is not None
        assert found.manifest.source.order == order
        del estimator.feature_names_in_
        want = estimator.predict_proba(UNSEEN[:, ::-1])[:, 1]
        estimator.feature_names_in_ = np.array(names, object)
        np.testing.assert_array_equal(predict(found.forest, UNSEEN), want)


def renamed(names: list[str]) -> Any:
    estimator = named(FEATURES)
    estimator.feature_names_in_ = np.array(names, object)
    return estimator


@pytest.mark.parametrize(
    ("estimator", "names", "words"),
    [
        (fitted("forest"), FEATURES[:5], "33 features instead of 5"),
        (fitted("forest"), (*FEATURES[:-1], "height"), "unknown feature 'height'"),
        (fitted("forest"), (*FEATURES[:-1], FEATURES[0]), "named twice"),
        (named(tuple(reversed(FEATURES))), FEATURES, "another order than the estimator itself"),
        (renamed([f"b{i}" for i in range(33)]), None, "calls its 33 features b0, b1"),
        (RandomForestClassifier(2).fit(X[:, :7], Y), None, "has 7 features instead of 33"),
    ],
)
def test_wrong_names(tmp_path: Path, estimator: Any, names: Any, words: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(tmp_path, dump(estimator), names=names)
    assert words in str(caught.value)


def test_other_names_are_mapped_with_names_in_order(tmp_path: Path) -> None:
    found = read(tmp_path, dump(renamed([f"b{i}" for i in range(33)])), names=FEATURES)
    same = read(tmp_path, dump(named(FEATURES)))
    np.testing.assert_array_equal(predict(found.forest, UNSEEN), predict(same.forest, UNSEEN))


def test_an_order_that_cannot_be_right_is_refused(tmp_path: Path) -> None:
    """Half-years interleaved, as a table may have them: rain lies where an index should."""
    columns = [i + 16 * half for i in range(16) for half in (0, 1)] + [32]
    estimator = RandomForestClassifier(7, random_state=1).fit(X[:, columns], Y)
    with pytest.raises(Rejected, match=r"MNDWI_S2 at \d.*another order or other units"):
        read(tmp_path, dump(estimator))
    names = tuple(FEATURES[i] for i in columns)
    found = read(tmp_path, dump(estimator), names=names)
    assert find_doubts(found.forest) == []


def test_other_units_are_refused(tmp_path: Path) -> None:
    x = X.copy()
    x[:, :9] *= 10_000
    with pytest.raises(Rejected, match="possible are 0 to 6"):
        read(tmp_path, dump(RandomForestClassifier(7, random_state=1).fit(x, Y)))


def test_an_unlikely_order_is_doubted(tmp_path: Path) -> None:
    swapped = list(range(33))
    bcdev, sdev = FEATURES.index("bcdev_S1"), FEATURES.index("sdev_S1")
    swapped[bcdev], swapped[sdev] = sdev, bcdev
    labels = (X[:, sdev] > 7).astype(int)
    estimator = RandomForestClassifier(20, max_features=3, random_state=1)
    found = read(tmp_path, dump(estimator.fit(X[:, swapped], labels)))
    assert any(doubt.startswith("bcdev_S1 is cut around") for doubt in find_doubts(found.forest))


def test_ranges_are_of_all_features() -> None:
    bands = {name.removesuffix("_S1").removesuffix("_S2") for name in FEATURES}
    assert set(POSSIBLE) == set(USUAL) == bands
    for band in bands:
        (least, most), (low, high) = POSSIBLE[band], USUAL[band]
        assert least <= low < high <= most


def test_where_a_model_comes_from_is_in_its_file(tmp_path: Path) -> None:
    data = dump(fitted("weighted"))
    manifest = read(tmp_path, data, region="central").manifest
    assert manifest.source is not None
    assert (manifest.source.file, manifest.source.size) == ("old.joblib", len(data))
    assert manifest.source.sha256 == sha256(data).hexdigest()
    assert (manifest.region, manifest.training, manifest.credit) == ("central", None, "")
    assert manifest.source.order == "the published order"
    assert manifest.hyperparameters["min_samples_leaf"] == 4
    assert manifest.hyperparameters["class_weight"] == "0: 1, 1: 2"
    assert "n_jobs" not in manifest.hyperparameters


def test_what_is_no_joblib(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="No such file"):
        import_joblib(tmp_path / "none.joblib")
    with pytest.raises(Rejected, match="is not a file"):
        import_joblib(tmp_path)
    whole = dump_pickle(fitted("forest"))
    for data in (b"", b"text", whole[: len(whole) // 2], b"\x1f\x8bxx", whole + b"more"):
        with pytest.raises(Rejected, match="cannot be read as a model: it ") as caught:
            import_joblib(put(tmp_path, data))
        assert caught.value.reason == Reason.BAD_JOBLIB
    with pytest.raises(Rejected, match="file already"):
        import_joblib(put(tmp_path, b"\x89CROPMDL"))


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, dump(fitted("forest")))
    monkeypatch.setattr("cropmask.modelfile.importer.MAX_PICKLE_BYTES", 2**20 // 2**10)
    with pytest.raises(Rejected, match="is too large"):
        import_joblib(path)


def test_lz4_that_is_not_installed_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, dump(fitted("forest"), compress=("lz4", 3)))
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    with pytest.raises(Misconfigured, match="pip install lz4") as caught:
        import_joblib(path)
    assert caught.value.reason == Reason.NOT_INSTALLED


def test_neither_scikit_learn_nor_joblib_is_needed(tmp_path: Path) -> None:
    path = put(tmp_path, dump(fitted("forest"), compress=3))
    code = (
        "import sys\n"
        "for name in ('sklearn', 'joblib', 'scipy', 'threadpoolctl'): sys.modules[name] = None\n"
        "from cropmask.cli.models import models\n"
        "models(['import', sys.argv[1]], standalone_mode=False)\n"
        "models(['verify', sys.argv[2]], standalone_mode=False)\n"
        "models(['show', sys.argv[2], '--json'], standalone_mode=False)\n"
    )
    new = path.with_suffix(".cropmodel")
    done = subprocess.run(
        [sys.executable, "-c", code, path, new], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    assert "9 trees, 32 probes reproduced, largest difference 0" in done.stdout
    shown = json.loads(done.stdout[done.stdout.index("\n[{") :])[0]
    assert shown["source"]["sha256"] == sha256(path.read_bytes()).hexdigest()


@needs_shared("joblib")
@pytest.mark.parametrize("name", REAL)
def test_the_agencys_own_models_are_exact_on_their_golden_rows(name: str) -> None:
    found = import_joblib(shared(f"joblib/{name}.joblib"))
    table = np.loadtxt(shared(f"training/{REAL[name]}.txt"))
    want = np.loadtxt(shared(f"joblib/{name}.probabilities.txt"))
    got = predict(found.forest, table[:, 1:].astype(np.float32))
    assert len(got) == {"central": 3509, "indian_ocean": 1777}[REAL[name]]
    assert np.abs(got - want).max() == 0.0
    assert find_doubts(found.forest) == []
    assert found.manifest.software["scikit-learn"] == "1.0"
    np.testing.assert_array_equal(predict(found.forest, found.probes.x), found.probes.probability)


def test_limits_have_room_for_the_largest_model() -> None:
    assert pickles.MAX_VALUE_BYTES > 64 * 65_536 * 8
