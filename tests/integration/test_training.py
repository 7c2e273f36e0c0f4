"""From samples to a model that is named, verified and validated, by the commands alone."""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV

from cropmask.cli.models import models
from cropmask.cli.train import train, validate
from cropmask.core.engine import predict
from cropmask.core.features import FEATURES
from cropmask.errors import Misconfigured, Rejected
from cropmask.modelfile.model import load_forest
from cropmask.region.region import load_region
from cropmask.training.samples import load_samples
from tests.foreignmodels import X, Y, dump, fitted, put
from tests.unit.training.tables import make_region_folder, make_samples, put_samples, walk


@click.group()
def cropmask() -> None:
    pass


for command in (models, train, validate):
    cropmask.add_command(command)


def run(*words: object) -> Result:
    return CliRunner().invoke(cropmask, [str(word) for word in words])


def output(*words: object) -> str:
    result = run(*words)
    assert result.exception is None, result.output
    return result.output


@pytest.fixture
def region(tmp_path: Path) -> Path:
    return make_region_folder(tmp_path / "valley")


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    return put_samples(tmp_path / "samples.txt", make_samples(200))


def test_train_names_a_model_that_verifies(region: Path, samples: Path) -> None:
    before = region.read_text()
    text = output("train", "--region", region, "--samples", samples, "--jobs", 1)
    assert "named it in" in text
    assert "land of like rain and slope held out" in text
    assert "On held-out groups `prob` misses" in text
    assert region.read_text().startswith(before)
    ref = load_region(str(region)).model("forest")
    forest = load_forest(ref.file, ref.sha256)
    x = load_samples(samples).features
    estimator = RandomForestClassifier(12, criterion="entropy", random_state=1)
    expected = estimator.fit(x, load_samples(samples).labels).predict_proba(x)[:, 1]
    assert abs(predict(forest, x) - expected).max() <= 1e-6
    assert abs(walk(forest, x[:20]) - expected[:20]).max() <= 1e-12
    assert "ok      valley forest: 32 probes reproduced" in output("models", "verify", region)
    assert "valley" in output("models", "list", "--models", region.parent.parent)


def test_both_recipes_validate_and_show(region: Path, samples: Path, tmp_path: Path) -> None:
    places = tmp_path / "places.txt"
    places.write_text("".join(f"{1e5 * (row % 9)} {row}\n" for row in range(200)))
    for recipe in ("forest", "boosted"):
        words = ("--region", region, "--samples", samples, "--recipe", recipe, "--jobs", 1)
        output("train", *words, "--no-validate")
        text = output("validate", *words, "--coordinates", places)
        assert "places of 50 km held out, the published distance" in text
        assert '"places alone" is the balanced accuracy' in text
        assert "no figures were published of this region" in text
        assert f"card of {region.parent} updated" in text
    shown = json.loads(output("models", "show", region, "--json"))
    assert [document["recipe"] for document in shown] == ["forest", "boosted"]
    assert all(document["validation"]["spatial"]["groups"] == 9 for document in shown)
    text = output("models", "show", region.parent / "boosted.cropmodel")
    assert "HistGradientBoostingClassifier" in text
    assert "places of 50 km held out, the published distance" in text


def test_output_elsewhere_prints_the_lines_to_add(
    region: Path, samples: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    words = ("--region", region, "--samples", samples, "--no-validate", "--output", folder)
    text = output("train", *words, "--jobs", 1)
    assert "[models.forest]" in text
    assert "models" not in region.read_text()
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json",
        "card.md",
        "forest.cropmodel",
    ]


def test_a_changed_file_fails_verify(region: Path, samples: Path) -> None:
    output("train", "--region", region, "--samples", samples, "--no-validate", "--jobs", 1)
    file = region.parent / "forest.cropmodel"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    result = run("models", "verify", region)
    assert "FAILED  valley forest: model digest differs" in result.output
    assert isinstance(result.exception, Rejected)
    assert "1 of 1 models failed" in str(result.exception)
    assert "is damaged" in run("models", "verify", file).output


def test_import_verifies_and_says_where_the_model_comes_from(region: Path, samples: Path) -> None:
    output("train", "--region", region, "--samples", samples, "--no-validate", "--jobs", 1)
    trained = (region.parent / "card.json").read_text()
    search = GridSearchCV(RandomForestClassifier(random_state=1), {"n_estimators": [3, 5]}, cv=2)
    old, new = put(region.parent, dump(search.fit(X, Y))), region.parent / "own.cropmodel"
    digest = sha256(old.read_bytes()).hexdigest()
    text = output("models", "import", old, "--region", "valley", "--output", new)
    assert f"GridSearchCV > RandomForestClassifier, SHA-256 {digest}" in text
    assert "32 probes reproduced, largest difference 0" in text
    assert "warning" not in text
    # The lines that are printed go into a region file; its card is found, and no other is touched.
    lines = text[text.index("[models.forest]") :]
    region.write_text(region.read_text().partition("[models")[0] + lines)
    assert (region.parent / "card.json").read_text() == trained
    verified = output("models", "verify", region)
    assert "ok      valley forest: 32 probes reproduced" in verified
    assert "no card" not in verified
    card = (region.parent / "own.card.md").read_text()
    assert "imported from `old.joblib` (GridSearchCV > RandomForestClassifier, " in card
    assert digest in card
    assert "None" not in card.partition("## Published")[0].partition("Cross-validation")[2]
    shown = output("models", "show", region)
    assert "training: unknown" in shown
    assert digest in shown
    assert "unknown" in output("models", "list", "--models", region.parent.parent)


def test_what_cannot_be_imported_leaves_nothing(tmp_path: Path) -> None:
    old = put(tmp_path, dump(fitted("forest"))[:-40])
    result = run("models", "import", old)
    assert isinstance(result.exception, Rejected)
    assert "is cut or damaged" in str(result.exception)
    assert "does not end with .cropmodel" in run("models", "import", old, "--output", "x").output
    assert list(tmp_path.iterdir()) == [old]


def test_an_unusual_order_is_warned_of(tmp_path: Path) -> None:
    x = X.copy()
    x[:, FEATURES.index("bcdev_S1")] += 5
    estimator = RandomForestClassifier(20, max_features=3, random_state=1)
    text = output("models", "import", put(tmp_path, dump(estimator.fit(x, Y))))
    assert "warning: are its features in this order? bcdev_S1 is cut around" in text


def test_all_committed_models_verify() -> None:
    lines = output("models", "verify").splitlines()
    assert len(lines) == 3 * 8
    assert all(line.startswith("ok ") for line in lines)
    assert not any("no card" in line for line in lines)


def test_without_scikit_learn_there_is_one_line(
    region: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("fit", "save", "validate"):
        monkeypatch.delitem(sys.modules, f"cropmask.training.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    words = ("--region", region, "--samples", samples)
    for command in (("train", *words), ("validate", *words)):
        result = run(*command)
        assert isinstance(result.exception, Misconfigured)
        assert "pip install scikit-learn" in str(result.exception)
    assert "no model" not in output("models", "list")


def test_mistakes_are_found_before_fitting(region: Path, samples: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for words, kind, problem in (
        (("atlantis", "--samples", samples), Rejected, "unknown region"),
        ((region, "--samples", tmp_path / "none"), Misconfigured, "cannot be read"),
        ((region, "--samples", region), Rejected, "column"),
        ((region, "--samples", samples, "--coordinates", samples), Rejected, "values"),
        ((region, "--samples", samples, "--output", tmp_path / "file"), Misconfigured, "written"),
    ):
        result = run("train", "--region", *words)
        assert isinstance(result.exception, kind)
        assert problem in str(result.exception)
        assert "models" not in region.read_text()
