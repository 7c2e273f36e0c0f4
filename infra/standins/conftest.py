from __future__ import annotations

import pytest

from tests.clouds import use_made_up_credentials
from tests.conftest import demo_cache  # noqa: F401 (a fixture)


@pytest.fixture(autouse=True)
def _no_real_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    use_made_up_credentials(monkeypatch, tmp_path_factory.mktemp("aws"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "af-south-1")
