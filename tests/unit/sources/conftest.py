"""A world of few pixels, made once for each file of tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds import World, make_world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("made") / "world", size=(8, 8))


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    return made.copied(tmp_path / "world")
