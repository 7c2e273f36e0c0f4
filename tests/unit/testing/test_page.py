"""The page on testing and the examples of the fakes run as they stand."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cropmask.testing import cluster, metrics, queue, store
from tests.conftest import REPOSITORY


def test_the_page_runs_block_by_block(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "testing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 6
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the store is read-only" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 ['worker-1']"


@pytest.mark.parametrize("module", [cluster, metrics, queue, store], ids=lambda m: m.__name__)
def test_the_example_of_each_fake_says_what_it_does(module: ModuleType) -> None:
    tested = doctest.testmod(module)
    assert tested.attempted > 0
    assert tested.failed == 0
