"""The documentation as a site: strict, whole, and without a request to anywhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SOURCES = ("docs", "jobs", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", "zensical.toml")
LINKED = ("catalogs", "cropmask", "infra", "models", "tests", "README.md", "LICENSE")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the site is made from, in a folder of its own; the rest is linked."""
    for name in SOURCES:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copyfile
        copy(REPOSITORY / name, tmp_path / name)
    for name in LINKED:
        (tmp_path / name).symlink_to(REPOSITORY / name)
    return tmp_path


def make_site(clone: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(clone / "docs" / "make_site.py")],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )


class Fetched(HTMLParser):
    """Addresses that a browser fetches by itself for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "link" and named.get("rel") in ("canonical", "next", "prev", "alternate"):
            return
        key = "href" if tag == "link" else "src"
        self.found.append(named.get(key) or "")


def test_the_site_is_whole_and_fetches_nothing_from_elsewhere(clone: Path) -> None:
    done = make_site(clone)
    assert done.returncode == 0, done.stdout + done.stderr
    site = clone / "build" / "site"
    pages = sorted(site.rglob("*.html"))
    names = {str(page.relative_to(site)) for page in pages}
    assert {"index.html", "tutorial.html", "reference/cli.html", "notebooks/hesbaye.html"} <= names
    for page in pages:
        fetched = Fetched()
        fetched.feed(page.read_text(encoding="utf-8"))
        assert [one for one in fetched.found if re.match(r"(https?:)?//", one)] == [], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text()), style
    text = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    assert all(f">cropmask {name}<" in text for name in ("plan", "status", "catalog build"))
    text = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert 'id="cropmask.map_tile"' in text
    assert ":class:" not in text


@pytest.mark.parametrize(
    ("link", "said"), [("nowhere.md", "leads nowhere"), ("operate.md#nowhere", "anchor")]
)
def test_a_link_that_leads_nowhere_fails(clone: Path, link: str, said: str) -> None:
    with (clone / "docs" / "glossary.md").open("a", encoding="utf-8") as page:
        page.write(f"\nSee [there]({link}).\n")
    done = make_site(clone)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
