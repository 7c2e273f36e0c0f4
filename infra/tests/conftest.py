from __future__ import annotations

import pytest

from infra.settings import Settings, known_environments, load_settings
from infra.tests.synthesized import Synthesized, load


@pytest.fixture(params=known_environments())
def cloud(request: pytest.FixtureRequest) -> Synthesized:
    """Every environment in turn."""
    return load(request.param)


@pytest.fixture
def settings(cloud: Synthesized) -> Settings:
    return load_settings(cloud.environment)


@pytest.fixture
def dev() -> Synthesized:
    return load("dev")


@pytest.fixture
def prod() -> Synthesized:
    return load("prod")
