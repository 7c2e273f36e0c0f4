"""Pages in a headless Chromium: their DOM after scripts ran, and what they look like."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --hide-scrollbars --force-device-scale-factor=1"
).split()
SECONDS = 120


def find_chromium() -> str | None:
    """Path of the browser; None if there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


needs_chromium = pytest.mark.skipif(
    find_chromium() is None, reason="chromium is not installed: apt-get install chromium"
)


def browse(
    url: str,
    screenshot: Path | None = None,
    *,
    size: tuple[int, int] = (1280, 900),
    dark: bool = False,
    wait_ms: int = 0,
    flags: tuple[str, ...] = (),
) -> str:
    """Open a page in a browser of its own; the DOM as it is then.

    Parameters
    ----------
    url
        Address, ``file://`` ones included.
    screenshot
        PNG to write.
    size
        Width and height of the window, pixels.
    dark
        Whether the person prefers dark colors.
    wait_ms
        How much (virtual) time the page's scripts get after loading.
    flags
        Further flags, such as those for WebGL.
    """
    program = find_chromium()
    assert program is not None, "chromium is not installed"
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = [
            program,
            *FLAGS,
            *flags,
            f"--user-data-dir={profile}",
            f"--window-size={size[0]},{size[1]}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            *([f"--virtual-time-budget={wait_ms}"] if wait_ms else []),
            *([f"--screenshot={screenshot}"] if screenshot else []),
            "--dump-dom",
            url,
        ]
        return _run(command)


def print_pdf(url: str, path: Path) -> int:
    """Print a page as a person would who chooses A4 and no head lines; the number of its sheets."""
    program = find_chromium()
    assert program is not None, "chromium is not installed"
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        printing = (f"--user-data-dir={profile}", "--no-pdf-header-footer")
        _run([program, *FLAGS, *printing, f"--print-to-pdf={path}", url])
    return len(re.findall(rb"/Type\s*/Page\b", path.read_bytes()))


def _run(command: list[str]) -> str:
    """Output of a process; the group that it leads does not outlive a failure."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0, err
    return out
