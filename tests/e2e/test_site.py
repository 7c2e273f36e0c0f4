"""The documentation as a site: strict, whole, and without a request to anywhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.browser import needs_chromium
from tests.conftest import REPOSITORY
from tests.devtools import open_page
from tests.servers import serve_files

SOURCES = ("docs", "jobs", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", "zensical.toml")
LINKED = ("catalogs", "cropmask", "infra", "models", "tests", "README.md", "LICENSE")


def clone(folder: Path) -> Path:
    """What the site is made from, in a folder of its own; the rest is linked."""
    for name in SOURCES:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copyfile
        copy(REPOSITORY / name, folder / name)
    for name in LINKED:
        (folder / name).symlink_to(REPOSITORY / name)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is built."""
    folder = clone(tmp_path_factory.mktemp("clone"))
    done = make_site(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build" / "site"


def make_site(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(folder / "docs" / "make_site.py")],
        cwd=folder,
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


def test_the_site_is_whole_and_fetches_nothing_from_elsewhere(site: Path) -> None:
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


@needs_chromium
def test_a_browser_searches_and_asks_nobody_else(site: Path) -> None:
    with serve_files(site) as server, open_page() as page:
        page.open(f"{server.url}/index.html")
        page.wait("!!document.querySelector('.md-search__button')")
        found = "document.activeElement.shadowRoot"  # the search is a component of its own
        opened = f"{found}?.activeElement?.tagName == 'INPUT'"
        # Until the page has loaded its scripts, a click is lost.
        page.wait(f"{opened} || (document.querySelector('.md-search__button').click(), false)")
        page.send("Input.insertText", text="circuit breaker")
        page.wait(f"{found}.textContent.includes('Run workers')")
        names = page.value("performance.getEntriesByType('resource').map(r => r.name)")
        assert len(names) >= 5
        assert [name for name in names if not name.startswith(server.url)] == []
        assert page.errors == []


@pytest.mark.parametrize(
    ("link", "said"), [("nowhere.md", "leads nowhere"), ("operate.md#nowhere", "anchor")]
)
def test_a_link_that_leads_nowhere_fails(tmp_path: Path, link: str, said: str) -> None:
    folder = clone(tmp_path)
    with (folder / "docs" / "glossary.md").open("a", encoding="utf-8") as page:
        page.write(f"\nSee [there]({link}).\n")
    done = make_site(folder)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
