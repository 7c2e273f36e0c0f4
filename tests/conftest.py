"""Small true worlds that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.demo_run import Results, ensure_results

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see no configuration of the machine that they run on."""
    for name in list(os.environ):
        if name.startswith("CROPMASK_") and name != "CROPMASK_SHARED_DATA":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def demo_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache of the demo world, one for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return shared / "demo-cache"


@pytest.fixture(scope="session")
def results(demo_cache: Path) -> Results:
    """Three tiles in two regions with their catalog, made once; copy before you change them."""
    return ensure_results(demo_cache.with_name("demo-results"))
