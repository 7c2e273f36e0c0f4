"""STAC Browser is built once, and whoever waits for it is told; with programs in place of npm's."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cropmask.catalog import browser
from cropmask.catalog.browser import browser_folder, ensure_browser
from cropmask.cli.catalog import browse
from cropmask.errors import Interrupted

NODE = "#!/bin/sh\necho v20.1.0\n"
NPM = """#!/bin/sh
case "$1" in
  pack) cp "$ARCHIVE" stac-browser.tgz ;;
  ci) sleep 1.3; test -z "$NPM_FAILS" || { echo "no network" >&2; exit 1; } ;;
esac
"""
NPX = "#!/bin/sh\nmkdir dist && echo '<html><head></head></html>' > dist/index.html\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without STAC Browser, and programs that build one of a page."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"node": NODE, "npm": NPM, "npx": NPX}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    archive = tmp_path / "archive.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        entry = tarfile.TarInfo("package/README.md")
        entry.size = 2
        packed.addfile(entry, io.BytesIO(b"hi"))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ARCHIVE", str(archive))
    digest = sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(browser, "_PACKAGE", replace(browser._PACKAGE, sha256=digest))
    monkeypatch.setenv("CROPMASK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build() -> Result:
    return CliRunner().invoke(browse, ["--build-only"], catch_exceptions=False)


def test_building_says_what_it_does_and_how_long(cache: Path) -> None:
    done = build()
    folder = browser_folder(cache)
    assert done.stdout == f"{folder}\n"
    assert "config.js" in (folder / "index.html").read_text()
    first, *steps, last = done.stderr.splitlines()
    assert first == f"Building STAC Browser in {folder}: once, in 2 to 3 minutes."
    assert [line.split(" s  ")[1] for line in steps] == [
        "fetching STAC Browser from npm",
        "fetching the packages it needs",
        "compiling STAC Browser",
    ]
    assert last.startswith("Built in ")
    again = build()
    assert (again.stdout, again.stderr) == (f"{folder}\n", "")


def test_progress_grows_while_a_step_goes_on(cache: Path) -> None:
    told: list[tuple[str, float]] = []
    ensure_browser(cache, lambda stage, share: told.append((stage, share)))
    shares = [share for stage, share in told if stage == "browser packages"]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert 0 < shares[1] < 0.1, "told while npm was at work"


def test_a_step_that_fails_says_which_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPM_FAILS", "1")
    with pytest.raises(Interrupted, match=r"npm ci of STAC Browser failed: no network: npm must"):
        build()
    assert not browser_folder(cache).exists()
    assert list(cache.iterdir()) == []
