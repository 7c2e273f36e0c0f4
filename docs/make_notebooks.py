"""Run the notebooks of ``docs/notebooks/`` and keep what they print.

``python docs/make_notebooks.py [NAME ...]``; ``HESBAYE`` names the folder of the real scene.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER: Final = Path(__file__).parent / "notebooks"


def run_notebook(path: Path, seconds: int = 120) -> NotebookNode:
    """The notebook after all its cells ran, in a folder of its own, without what differs by run."""
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            km=AsyncKernelManager(transport="ipc", ip=f"{folder}/kernel"),  # no port is opened
            timeout=seconds,
            record_timing=False,
            resources={"metadata": {"path": folder}},
        )
        client.owns_km = True  # the kernel ends with the last cell
        client.execute()
    notebook.metadata.language_info = NotebookNode(name="python")
    return notebook


def list_printed(notebook: NotebookNode) -> list[list[str]]:
    """What each cell of code printed: texts as they are, of pictures that there is one."""
    return [
        [_say(output) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def _say(output: NotebookNode) -> str:
    if output.output_type == "stream":
        return str(output.text)
    if "image/png" in output.data:
        return "a picture"
    return str(output.data["text/plain"])


def main() -> None:
    """Run the notebooks that are named, or all."""
    for name in sys.argv[1:] or [path.stem for path in sorted(FOLDER.glob("*.ipynb"))]:
        path = FOLDER / f"{name}.ipynb"
        nbformat.write(run_notebook(path), path)
        sys.stdout.write(f"{path}: {path.stat().st_size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main()
