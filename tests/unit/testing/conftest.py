from pathlib import Path

import pytest

from cropmask.grid import Tile
from cropmask.testing.world.demoworld import make_world

TILES = (Tile(10, 20), Tile(11, 20))


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """Folder of a world of two neighboring tiles at 100 m."""
    folder = tmp_path_factory.mktemp("world")
    make_world(folder, tiles=TILES, resolution=100, grain=2)
    return folder
