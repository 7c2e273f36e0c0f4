"""SIGKILL at every write of a real job, then the job again: the dataset of an undisturbed run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cropmask.store.doors import open_store
from tests.faults.jobs import KILLED, Jobs, check_unfinished, contents

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]


@pytest.mark.slow
def test_in_a_folder(jobs: Jobs, tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    assert jobs.run(str(undisturbed)) == 0, jobs.said
    steps = jobs.steps
    whole = contents(open_store(str(undisturbed)))
    assert sum(step.startswith("os.link") for step in steps) == 4, "probe, two catalogs, item"
    assert sum(step.startswith("os.rename") for step in steps) == 7, "files of a dataset"
    for kill in range(1, len(steps) + 2):
        output = tmp_path / f"killed-{kill}"
        store = open_store(str(output))
        code = jobs.run(str(output), kill=kill)
        assert code == (KILLED if kill <= len(steps) else 0), (kill, jobs.said)
        if output.exists():
            check_unfinished(store, whole)
        assert jobs.run(str(output)) == 0, (kill, jobs.said)
        assert contents(store) == whole, (kill, steps[kill - 2 : kill])
        shutil.rmtree(output)


def test_in_the_middle_of_a_file(jobs: Jobs, tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    assert jobs.run(str(undisturbed)) == 0, jobs.said
    whole = contents(open_store(str(undisturbed)))
    copies = [number for number, step in enumerate(jobs.steps, 1) if step == "copy"]
    assert len(copies) == 7
    for kill in copies:
        output = tmp_path / f"killed-{kill}"
        store = open_store(str(output))
        assert jobs.run(str(output), kill=kill, half=True) == KILLED, jobs.said
        parts = [path for path in output.rglob("*.cropmask-part") if path.stat().st_size > 0]
        assert len(parts) == 1, "half a file lies there"
        check_unfinished(store, whole)
        assert jobs.run(str(output)) == 0, jobs.said
        assert contents(store) == whole
        shutil.rmtree(output)
