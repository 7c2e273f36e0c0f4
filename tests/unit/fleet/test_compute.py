"""What a child says of an attempt, whatever the computation does."""

from __future__ import annotations

import errno
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from cropmask.contract import ExitCode
from cropmask.errors import Rejected
from cropmask.fleet import compute as module
from cropmask.fleet.attempt import ChildWork
from cropmask.fleet.compute import compute
from cropmask.fleet.outcome import Outcome
from tests.workers import make_order, make_site


class Listener:
    """In place of the parent."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def tell(self, message: Any) -> None:
        self.heard.append(message)


def said(monkeypatch: pytest.MonkeyPatch, folder: Path, run: Any) -> Outcome:
    monkeypatch.setattr(module, "_run", run)
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in ("TMPDIR", "CPL_TMPDIR"):
        monkeypatch.setenv(name, "")
    listener = Listener()
    compute(listener, ChildWork(make_order(), make_site(), folder, lambda: None))  # type: ignore[arg-type]
    outcome = listener.heard[-1]
    assert isinstance(outcome, Outcome)
    assert outcome.stages
    return outcome


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (Rejected("no", reason="no geomad"), ExitCode.REJECTED, "no geomad"),
        (MemoryError(), ExitCode.MEMORY, "out of memory"),
        (OSError(errno.ENOMEM, "no"), ExitCode.MEMORY, "out of memory"),
        (OSError(errno.ENOSPC, "no room"), ExitCode.FAILED, "disk full"),
        (RuntimeError("can't start new thread"), ExitCode.MEMORY, "out of memory"),
        (
            ImportError("a.so: failed to map segment from shared object"),
            ExitCode.MEMORY,
            "out of memory",
        ),
        (RuntimeError("oh"), ExitCode.FAILED, "fault"),
        (ImportError("no module named a"), ExitCode.FAILED, "fault"),
        (OSError(errno.EMFILE, "too many"), ExitCode.FAILED, "system"),
        (ZeroDivisionError("oh"), ExitCode.FAILED, "fault"),
    ],
)
def test_every_error_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, code: ExitCode, reason: str
) -> None:
    def fail(*_: object) -> Outcome:
        raise error

    outcome = said(monkeypatch, tmp_path, fail)
    assert outcome.exit_code is code
    assert outcome.error is not None
    assert outcome.error.reason == reason


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
def test_a_real_limit_of_address_space_is_out_of_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)

    def starve(*_: object) -> Outcome:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20), before[1]))
        try:
            bytearray(512 << 20)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        return Outcome()

    assert said(monkeypatch, tmp_path, starve).exit_code is ExitCode.MEMORY
