"""The notebooks of the documentation run, and print what they were saved with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.shareddata import SHARED, shared

NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))


def list_kept(path: Path) -> list[list[str]]:
    # Loading Jupyter takes seconds, which every process that collects tests would spend.
    import nbformat

    from docs.make_notebooks import list_printed

    return list_printed(nbformat.read(path, as_version=4))


def test_notebooks_were_saved_with_their_outputs() -> None:
    assert "hesbaye" in [path.stem for path in NOTEBOOKS]
    for path in NOTEBOOKS:
        assert any("a picture" in cell for cell in list_kept(path))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Jupyter's own programs
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_it_was_saved_with(
    path: Path, demo_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path.stem == "hesbaye":
        shared("hesbaye")
        monkeypatch.setenv("HESBAYE", str(SHARED / "hesbaye"))
    monkeypatch.setenv("CROPMASK_CACHE", str(demo_cache))
    monkeypatch.delenv("CROPMASK_SHARED_DATA", raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    from docs.make_notebooks import list_printed, run_notebook

    assert list_printed(run_notebook(path)) == list_kept(path)
