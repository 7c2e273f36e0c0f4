"""The notebooks of the documentation run, and print what they were saved with."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from docs.make_notebooks import FOLDER, list_printed, run_notebook
from tests.shareddata import SHARED, shared

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_notebooks_were_saved_with_their_outputs() -> None:
    assert "hesbaye" in [path.stem for path in NOTEBOOKS]
    for path in NOTEBOOKS:
        printed = list_printed(nbformat.read(path, as_version=4))
        assert any("a picture" in cell for cell in printed)


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
    kept = list_printed(nbformat.read(path, as_version=4))
    assert list_printed(run_notebook(path)) == kept
