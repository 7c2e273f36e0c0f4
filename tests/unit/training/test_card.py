from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cropmask.errors import Misconfigured
from cropmask.modelfile.model import read_model
from cropmask.region.region import load_region, region_names
from cropmask.training.card import CARD_JSON, CARD_MD, Card, load_card, make_card, put_card
from cropmask.training.cardtext import print_card, wilson_percent
from cropmask.training.figures import (
    Bin,
    Coordinates,
    Figure,
    Reliability,
    Scores,
    Validation,
    load_published,
)
from cropmask.training.fit import fit, hyperparameters
from cropmask.training.save import save, save_validation
from tests.unit.training.tables import make_region_folder, make_samples

NAMES = region_names()


def make_validation(mean: float = 0.75) -> Validation:
    figure = Figure(mean=mean, sd=0.05)
    scores = dict.fromkeys(("balanced_accuracy", "f1", "auc", "brier"), figure)
    only = Coordinates(accuracy=figure, balanced_accuracy=figure)
    return Validation(
        random=Scores(kind="random", folds=3, groups=None, coordinates_only=only, **scores),
        grouped=Scores(kind="grouped", folds=3, groups=40, by="place", km=100, **scores),
    )


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    region = load_region(str(make_region_folder(tmp_path)))
    samples = make_samples(120)
    saved = save(tmp_path, region, fit(region, samples, "forest"))
    found = load_card(tmp_path)
    assert found == saved.card
    assert found is not None
    entry = found.models["forest"]
    assert entry.model.sha256 == read_model(saved.file).forest.digest
    assert entry.model.size == saved.file.stat().st_size
    assert (entry.samples.rows, entry.samples.sha256) == (120, samples.sha256)
    assert found.published is None
    assert (found.license, found.credit) == ("other", "")
    assert "credit: not stated" in (tmp_path / CARD_MD).read_text()


def test_a_card_and_a_model_credit_whom_the_region_file_names(tmp_path: Path) -> None:
    path = make_region_folder(tmp_path)
    providers = '[[providers]]\nname = "An Agency"\nurl = "https://agency.example.org"\n'
    path.write_text(f'license = "ODbL-1.0"\n{path.read_text()}{providers}')
    region = load_region(str(path))
    saved = save(tmp_path, region, fit(region, make_samples(120), "boosted"))
    manifest = read_model(saved.file).manifest
    for found in (manifest, saved.card):
        said = (found.license, found.credit, found.credit_url)
        assert said == ("ODbL-1.0", "An Agency", "https://agency.example.org")
    assert "credit: [An Agency](https://agency.example.org)" in (tmp_path / CARD_MD).read_text()


def test_training_again_keeps_what_is_still_true(tmp_path: Path) -> None:
    region = load_region(str(make_region_folder(tmp_path)))
    samples = make_samples(120)
    save(tmp_path, region, fit(region, samples, "forest"))
    save_validation(tmp_path, region, samples, "forest", make_validation())
    save(tmp_path, region, fit(region, samples, "boosted"))
    again = save(tmp_path, region, fit(region, samples, "forest")).card
    assert list(again.models) == ["forest", "boosted"]
    assert again.models["forest"].validation == make_validation()
    assert again.models["boosted"].validation is None
    other = save(tmp_path, region, fit(region, make_samples(120, seed=5), "forest")).card
    assert other.models["forest"].validation is None
    assert set(load_region(str(tmp_path / "region.toml")).models) == {"forest", "boosted"}


def test_a_validation_goes_only_to_the_same_fit(tmp_path: Path) -> None:
    region = load_region(str(make_region_folder(tmp_path)))
    samples, found = make_samples(120), make_validation()
    assert (
        save_validation(tmp_path, region, samples, "forest", found)[1] == "it has no forest model"
    )
    save(tmp_path, region, fit(region, samples, "forest"))
    other = make_samples(120, seed=5)
    assert "other samples" in str(save_validation(tmp_path, region, other, "forest", found)[1])
    changed = region.training.model_copy(update={"trees": 13})
    changed_region = region.model_copy(update={"training": changed})
    reason = save_validation(tmp_path, changed_region, samples, "forest", found)[1]
    assert "other hyperparameters" in str(reason)
    card, reason = save_validation(tmp_path, region, samples, "forest", found)
    assert reason is None
    assert load_card(tmp_path) == card
    assert card.models["forest"].validation == found
    assert "0.750 ± 0.050" in (tmp_path / CARD_MD).read_text()


def test_a_table_that_helps_goes_into_the_model_file(tmp_path: Path) -> None:
    region = load_region(str(make_region_folder(tmp_path)))
    samples = make_samples(120)
    fitted = fit(region, samples, "forest")
    assert read_model(save(tmp_path, region, fitted).file).calibration is None
    table = tuple(min(100, value // 2 + 20) for value in range(101))
    measured = Reliability(
        method="beta", used=True, groupings=3, folds=15, samples=120,
        ece=0.08, ece_calibrated=0.03, worst=0.2, worst_calibrated=0.17,
        brier=0.2, brier_calibrated=0.19,
        bins=(Bin(prob=10, calibrated=25, crop=24),), table=table,
    )  # fmt: skip
    found = make_validation().model_copy(update={"calibration": measured})
    save_validation(tmp_path, region, samples, "forest", found)
    again = save(tmp_path, region, fitted)
    stored = read_model(again.file)
    assert stored.calibration is not None
    assert stored.calibration.tolist() == list(table)
    assert again.card.models["forest"].validation == found
    text = (tmp_path / CARD_MD).read_text()
    assert "misses the share of crop by 8.0 percentage points" in text
    assert "in the worst fold by 17.0" in text
    assert "| 10.0 | 25.0 | 24.0 |" in text
    assert save(tmp_path, region, fitted).sha256 == again.sha256


def test_a_card_from_before_groups_of_places_is_read() -> None:
    document = make_validation().model_dump(mode="json")
    for key in ("buffered", "calibration", "doubt"):
        del document[key]
    only = document["random"].pop("coordinates_only")
    for key in ("by", "km"):
        del document["grouped"][key]
    found = Validation.model_validate({**document, "coordinates_only": only})
    assert found.random == make_validation().random
    assert found.grouped.by == "rain"


def test_a_broken_card_is_one_line(tmp_path: Path) -> None:
    assert load_card(tmp_path) is None
    (tmp_path / CARD_JSON).write_text("{")
    with pytest.raises(Misconfigured, match="is not a model card"):
        load_card(tmp_path)


def test_text_says_what_is_missing(tmp_path: Path) -> None:
    region = load_region(str(make_region_folder(tmp_path)))
    put_card(tmp_path, make_card(region))
    text = (tmp_path / CARD_MD).read_text()
    assert "## Published figures\n\nNone." in text
    save(tmp_path, region, fit(region, make_samples(120), "boosted"))
    assert "cropmask validate --recipe boosted" in (tmp_path / CARD_MD).read_text()


def test_interval_of_a_share() -> None:
    # 90 of 100: Newcombe 1998, score method without continuity correction.
    assert wilson_percent(90.0, 100) == pytest.approx((82.6, 94.5), abs=0.05)
    assert wilson_percent(0.0, 20)[0] == pytest.approx(0)


def test_published_figures_are_of_the_eight_regions() -> None:
    assert set(load_published()) == set(NAMES)


SHA256 = load_region("eastern").models["forest"].sha256


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "eastern"', 'name = "valley"'),
        ('title = "Eastern Africa"', 'title = "Eastern Africa (made up)"'),
        ('version = "1.1.0"', 'version = "2.0.0"'),
        (SHA256, "0" * 64),
    ],
)
def test_published_figures_are_not_those_of_a_copy(tmp_path: Path, old: str, new: str) -> None:
    shipped = load_region("eastern")
    folder = tmp_path / "copy"
    shutil.copytree(shipped.boundary.parent, folder)
    file = folder / "region.toml"
    samples = make_samples(120)

    def validate() -> Card:
        return save_validation(
            folder, load_region(str(file)), samples, "forest", make_validation()
        )[0]

    assert make_card(shipped).published == validate().published == load_published()["eastern"]
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    assert make_card(load_region(str(file))).published is validate().published is None


@pytest.mark.parametrize("name", NAMES)
def test_committed_cards_and_models_hold_together(name: str) -> None:
    region = load_region(name)
    folder = region.boundary.parent
    text = (folder / CARD_JSON).read_text()
    card = Card.model_validate_json(text)
    assert (folder / CARD_MD).read_text() == print_card(json.loads(text))
    assert (card.region, card.title) == (region.name, region.title)
    assert card.published == load_published()[name]
    assert card.default == "forest"
    assert {"forest", "boosted"} <= region.models.keys()
    for recipe in region.models:
        ref, entry = region.model(recipe), card.models[recipe]
        model = read_model(ref.file, ref.sha256)
        assert entry.model.sha256 == ref.sha256
        if recipe != "robust":  # whose own are chosen
            assert entry.model.hyperparameters == hyperparameters(recipe, region.training)
        assert entry.model.hyperparameters == model.manifest.hyperparameters
        assert model.manifest.training is not None
        assert entry.samples.sha256 == model.manifest.training.sha256
        assert entry.samples.rows == model.manifest.training.rows
        assert (model.manifest.credit, model.manifest.license) == (card.credit, card.license)
        assert len(model.probes.probability) == 32
        assert model.size <= 2_000_000
        assert entry.validation is not None
        table = entry.validation.calibration and entry.validation.calibration.table
        stored = model.calibration
        assert (None if stored is None else stored.tolist()) == (table and list(table))
        spatial = region.training.cluster_km is not None
        assert (entry.validation.spatial is not None) == spatial
