from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from cropmask.errors import Misconfigured
from cropmask.training.save import (
    check_writable,
    find_region_file,
    model_table,
    put_model_ref,
    set_model,
)

SHA, OTHER = "a" * 64, "b" * 64
HEAD = '# ours\nname = "valley"   # kept\n\n[limits]\nwater_frequency = 0.3\n'


def test_a_table_is_added_at_the_end() -> None:
    text = set_model(HEAD, "forest", "forest.cropmodel", SHA)
    assert text == f"{HEAD}\n{model_table('forest', 'forest.cropmodel', SHA)}"
    assert tomllib.loads(text)["models"]["forest"] == {"file": "forest.cropmodel", "sha256": SHA}


@pytest.mark.parametrize("recipe", ["forest", "boosted"])
def test_a_table_is_replaced_and_the_rest_is_kept(recipe: str) -> None:
    before = set_model(set_model(HEAD, "boosted", "x", SHA), "forest", "y", SHA)
    before += "\n# a remark\n[ancillary]\nslope = 's'\n"
    after = set_model(before, recipe, "new", OTHER)
    old = {"boosted": "x", "forest": "y"}[recipe]
    assert after == before.replace(model_table(recipe, old, SHA), model_table(recipe, "new", OTHER))
    assert set_model(after, recipe, old, SHA) == before


def test_a_file_without_a_last_newline() -> None:
    text = set_model(HEAD.rstrip(), "forest", "x", SHA)
    assert set_model(text.rstrip(), "forest", "y", OTHER) == set_model(HEAD, "forest", "y", OTHER)


@pytest.mark.parametrize(
    "text",
    [
        HEAD.replace("[limits]", f'models.forest = {{ file = "x", sha256 = "{SHA}" }}\n[limits]'),
        HEAD.replace("[limits]", "models = {}\n[limits]"),
        "name = ",
    ],
)
def test_models_written_in_another_way_are_left_alone(text: str) -> None:
    with pytest.raises(Misconfigured, match="cannot be edited"):
        set_model(text, "forest", "x", OTHER)


def test_put_model_ref(tmp_path: Path) -> None:
    assert not put_model_ref(tmp_path, "forest", "x", SHA)
    (tmp_path / "region.toml").write_text(HEAD)
    assert put_model_ref(tmp_path, "forest", "x", SHA)
    assert (tmp_path / "region.toml").read_text() == set_model(HEAD, "forest", "x", SHA)


def test_where_a_model_cannot_be_written(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder")
    installed = tmp_path / "site-packages" / "cropmask"
    installed.mkdir(parents=True)
    with pytest.raises(Misconfigured, match="belongs to the installed package"):
        check_writable(installed)
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="cannot be written to"):
        check_writable(tmp_path / "file" / "below")
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(Misconfigured, match="cannot be written to"):
            check_writable(tmp_path)


def test_find_region_file(tmp_path: Path) -> None:
    assert find_region_file("my/region.toml") == Path("my/region.toml")
    assert find_region_file("eastern", tmp_path) == tmp_path / "eastern" / "region.toml"
    assert find_region_file("eastern").is_file()
