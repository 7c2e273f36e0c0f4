"""Small true worlds that many tests share."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.assessed import AssessedRun, ensure_run
from tests.demo_run import Results, ensure_results
from tests.shareddata import ABSENT, SHARED

if TYPE_CHECKING:
    from tests.years import YearlyMaps

REPOSITORY = Path(__file__).parents[1]

# Idle OpenMP threads of scikit-learn spin: beside other load, a fit of a second takes minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# No file of settings of whoever runs the tests is found, in processes that they start neither.
os.environ["CROPMASK_CONFIG"] = os.devnull


# How long an example takes says more about the load of a machine than about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

WARM_UP = "from cropmask.core.warmup import warm_kernels; warm_kernels()"
MAKE_WORLD = """
from pathlib import Path
from tempfile import TemporaryDirectory
from cropmask.testing.world.demoworld import DEMO_TILE, make_world
with TemporaryDirectory() as folder:
    make_world(Path(folder) / "world", tiles=[DEMO_TILE], resolution=100, grain=96)
"""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile kernels before the processes of a test run start, so that no test waits for them."""
    several = getattr(session.config.option, "numprocesses", None)
    if several and not hasattr(session.config, "workerinput"):
        # A test compares the best level of this processor with the plainest one.
        plainest = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
        programs: tuple[tuple[str, dict[str, str]], ...] = (
            (WARM_UP, {}),
            (WARM_UP, plainest),
            (MAKE_WORLD, {}),
        )
        started = [
            subprocess.Popen(
                [sys.executable, "-c", program], cwd=REPOSITORY, env={**os.environ, **level}
            )
            for program, level in programs
        ]
        assert [process.wait() for process in started] == [0, 0, 0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests begin first, so that no process is left alone with them."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])  # keeps the order within a file


def pytest_collection_finish() -> None:
    """Have collections of garbage pass over what stays for good: each would take half a second."""
    gc.collect()
    gc.freeze()
    newest, middle, _ = gc.get_threshold()
    gc.set_threshold(newest, middle, 50)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many hostile inputs were held off, and how many tests were skipped, and why."""
    hostile = [r for r in terminalreporter.getreports("passed") if "tests/security/" in r.nodeid]
    if hostile:
        terminalreporter.line(f"{len(hostile)} hostile inputs held off")
    skipped = Counter(_skip_reason(report) for report in terminalreporter.getreports("skipped"))
    if not skipped:
        return
    absent = sum(count for reason, count in skipped.items() if reason.startswith(ABSENT))
    terminalreporter.section(f"{skipped.total()} skipped, {absent} for want of shared data")
    if absent:
        terminalreporter.line(f"Shared data is looked for in {SHARED}; see CROPMASK_SHARED_DATA.")
    for reason, count in skipped.most_common():
        terminalreporter.line(f"{count:5} {reason}")


def _skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Reason of a skipped test or module as its author wrote it."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see no configuration of the machine that they run on."""
    for name in list(os.environ):
        if name.startswith("CROPMASK_") and name not in ("CROPMASK_SHARED_DATA", "CROPMASK_CONFIG"):
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


@pytest.fixture(scope="session")
def assessed(demo_cache: Path) -> AssessedRun:
    """Twelve tiles in two regions whose truth is known, made once; copy before you change them."""
    return ensure_run(demo_cache.with_name("assessed-run"))


@pytest.fixture(scope="session")
def yearly(demo_cache: Path) -> YearlyMaps:
    """Maps of six years and the series of them, made once; copy before you change them."""
    from tests.years import ensure_series  # few files need it

    return ensure_series(demo_cache.with_name("yearly-maps"))
