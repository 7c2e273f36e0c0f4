"""Samples, schemas and scenes that are no part of the project; tests that need them skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(
    os.environ.get("CROPMASK_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data"
)
ABSENT = "no shared data"
"""How every reason begins that a test gives when it skips for want of these files."""


def reason(path: str) -> str:
    """Reason of a test that needs something of the shared data: it names the top folder."""
    return f"{ABSENT}: {Path(path).parts[0]}"


def shared(path: str) -> Path:
    """A file or folder of the shared data; skips the test without it."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(reason(path))
    return found


def needs_shared(path: str) -> pytest.MarkDecorator:
    """Mark of tests that need a file or folder of the shared data."""
    return pytest.mark.skipif(not (SHARED / path).exists(), reason=reason(path))
