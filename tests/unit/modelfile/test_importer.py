from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from cropmask.training.importer import import_joblib
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from cropmask.core.features import FEATURES
from cropmask.errors import Misconfigured, Rejected
from cropmask.training import importer
from tests.unit.training.tables import make_samples, walk

SAMPLES = make_samples(150)


def forest() -> Any:
    return RandomForestClassifier(7, random_state=1).fit(SAMPLES.features, SAMPLES.labels)


def dump(tmp_path: Path, estimator: object, **options: Any) -> Path:
    path = tmp_path / "old.joblib"
    joblib.dump(estimator, path, **options)
    return path


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("lzma", 3)])
def test_a_forest_is_imported_exactly(tmp_path: Path, compress: Any) -> None:
    estimator = forest()
    found = import_joblib(dump(tmp_path, estimator, compress=compress), region="eastern")
    x = SAMPLES.features[:40]
    np.testing.assert_allclose(
        walk(found.forest, x), estimator.predict_proba(x)[:, 1], rtol=0, atol=1e-12
    )
    assert (found.manifest.recipe, found.manifest.region) == ("forest", "eastern")
    assert found.manifest.training is None
    np.testing.assert_allclose(
        walk(found.forest, found.probes.x), found.probes.probability, rtol=0, atol=1e-12
    )
    assert found.probes.probability.std() > 0.1


def test_boosted_trees_are_imported(tmp_path: Path) -> None:
    estimator = HistGradientBoostingClassifier(max_iter=5, random_state=1)
    estimator.fit(SAMPLES.features, SAMPLES.labels)
    found = import_joblib(dump(tmp_path, estimator))
    assert found.manifest.recipe == "boosted"
    assert found.manifest.estimator == "HistGradientBoostingClassifier"


def test_features_in_another_order_and_fewer_of_them(tmp_path: Path) -> None:
    names = tuple(reversed(FEATURES))[:20]
    columns = [FEATURES.index(name) for name in names]
    x = SAMPLES.features[:, columns]
    estimator = RandomForestClassifier(7, random_state=1).fit(x, SAMPLES.labels)
    found = import_joblib(dump(tmp_path, estimator), names)
    assert found.forest.features == FEATURES
    expected = estimator.predict_proba(x)[:, 1]
    np.testing.assert_allclose(walk(found.forest, SAMPLES.features), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        walk(found.forest, found.probes.x), found.probes.probability, rtol=0, atol=1e-12
    )


def test_names_that_the_estimator_knows_are_used(tmp_path: Path, recwarn: Any) -> None:
    names = tuple(reversed(FEATURES))
    x = np.ascontiguousarray(SAMPLES.features[:, ::-1])
    estimator = RandomForestClassifier(7, random_state=1).fit(x, SAMPLES.labels)
    expected = estimator.predict_proba(x)[:, 1]
    estimator.feature_names_in_ = np.array(names, object)
    found = import_joblib(dump(tmp_path, estimator))
    np.testing.assert_allclose(walk(found.forest, SAMPLES.features), expected, rtol=0, atol=1e-12)
    assert not [w for w in recwarn if "feature names" in str(w.message)]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (FEATURES[:5], "33 features instead of 5"),
        ((*FEATURES[:-1], "height"), "unknown feature 'height'"),
        ((*FEATURES[:-1], FEATURES[0]), "named twice"),
    ],
)
def test_wrong_names(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(Rejected) as caught:
        import_joblib(dump(tmp_path, forest()), names)
    assert words in str(caught.value)


def other_version(tmp_path: Path, version: str, **options: Any) -> Path:
    """The file that another version of scikit-learn would have written."""
    estimator = forest()
    state = {**estimator.__getstate__(), "_sklearn_version": version}
    path = tmp_path / "old.joblib"

    class Old:
        def __reduce__(self) -> tuple[Any, ...]:
            return (RandomForestClassifier, (), state)

    joblib.dump(Old(), path, **options)
    return path


def test_another_version_is_named_with_what_to_install(tmp_path: Path) -> None:
    path = other_version(tmp_path, "1.7.1")
    with pytest.raises(Rejected, match=r"written by scikit-learn 1\.7\.1") as caught:
        import_joblib(path)
    assert "pip install 'scikit-learn==1.7.1'" in str(caught.value)


def test_a_version_that_is_too_old_to_install_says_train_anew(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=r"written by scikit-learn 0\.24\.2") as caught:
        import_joblib(other_version(tmp_path, "0.24.2"))
    assert "pip install" not in str(caught.value)
    assert "cropmask train" in str(caught.value)


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("lzma", 3)])
def test_the_version_is_found_where_loading_fails(tmp_path: Path, compress: Any) -> None:
    state = {"estimators": [], "_sklearn_version": "0.22.1"}

    class Gone:
        def __reduce__(self) -> tuple[Any, ...]:
            return (int, ("not a number",), state)

    path = dump(tmp_path, Gone(), compress=compress)
    with pytest.raises(Rejected, match=r"written by scikit-learn 0\.22\.1"):
        import_joblib(path)


def test_what_is_no_joblib(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no such file"):
        import_joblib(tmp_path / "none.joblib")
    path = tmp_path / "x.joblib"
    whole = pickle.dumps(forest())
    for data in (b"", b"text", whole[: len(whole) // 2], b"\x1f\x8bxx", b"\x80\x05cos\nno\n."):
        path.write_bytes(data)
        with pytest.raises(Rejected, match=r"cannot be loaded|written by") as caught:
            import_joblib(path)
        assert "\n" not in str(caught.value)


def test_other_estimators_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="a dict is not a model"):
        import_joblib(dump(tmp_path, {"a": 1}))
    several = RandomForestClassifier(2).fit(SAMPLES.features, np.arange(150) % 3)
    with pytest.raises(Rejected, match="the classes"):
        import_joblib(dump(tmp_path, several))


def test_nothing_is_loaded_to_find_a_version(tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (witness,))

    assert importer._find_version(dump(tmp_path, Trap())) is None
    assert not witness.exists()
