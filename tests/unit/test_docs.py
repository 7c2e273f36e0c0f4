"""Pages that are printed are what the code says; what PyPI shows leads somewhere."""

from __future__ import annotations

import re
import tomllib
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
from hatchling.build import prepare_metadata_for_build_wheel

import cropmask
from cropmask.errors import Reason
from docs.make_reference import FOLDER, PAGES
from tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HOME = PROJECT["urls"]["Source"]
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("name", PAGES)
def test_printed_pages_are_what_is_printed(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "run 'make reference'"


def test_every_reason_is_in_its_page() -> None:
    page = (FOLDER / "reasons.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`([^`]+)`", page)) >= set(Reason)


def test_every_name_of_the_front_door_is_in_its_page() -> None:
    page = (FOLDER / "python.md").read_text(encoding="utf-8")
    shown = {name.rpartition(".")[2] for name in re.findall(r"^::: (cropmask[\w.]+)$", page, re.M)}
    assert shown >= set(cropmask.__all__)


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Message:
    """What a wheel says of itself, as PyPI reads it."""
    folder = tmp_path_factory.mktemp("metadata")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        made = prepare_metadata_for_build_wheel(str(folder))
    return message_from_string((folder / made / "METADATA").read_text(encoding="utf-8"))


def test_no_link_of_the_long_description_is_relative(metadata: Message) -> None:
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = str(metadata.get_payload())
    links = LINK.findall(text)
    assert len(links) > 30
    assert [link for link in links if not link.startswith("https://")] == []
    assert not re.search(r"<(a|img)\b", text)
    ours = [link for link in links if link.startswith(HOME)]
    assert len(ours) == sum(
        not link.startswith("https://")
        for link in LINK.findall((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    )
    for link in ours:
        kind, path = re.match(r"/(raw|blob)/main/([^#]+)", link.removeprefix(HOME)).groups()  # type: ignore[union-attr]
        assert (REPOSITORY / path).exists(), link
        assert (kind == "raw") == path.endswith(".png")


def test_pypi_is_told_everything(metadata: Message) -> None:
    urls = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", []))
    assert set(urls) >= {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    assert urls["Homepage"] == HOME
    for name in ("Documentation", "Issues", "Changelog"):
        assert urls[name].startswith(f"{HOME}/")
    assert any("Development Status" in one for one in metadata.get_all("Classifier", []))


def test_one_address_is_the_home_of_everything() -> None:
    """Whoever moves the repository changes that address everywhere, or this fails."""
    for name in ("pyproject.toml", "infra/environments/dev.py", "infra/environments/prod.py"):
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        homes = set(re.findall(r"https://github\.com/[\w.-]+/cropmask", text))
        assert homes == {HOME}, name


def test_every_page_is_in_the_navigation() -> None:
    text = (REPOSITORY / "zensical.toml").read_text(encoding="utf-8")
    there = set(re.findall(r'"([\w/-]+\.md)"', text))
    docs = REPOSITORY / "docs"
    pages = {str(path.relative_to(docs)) for path in docs.rglob("*.md")}
    notebooks = {str(path.relative_to(docs).with_suffix(".md")) for path in docs.rglob("*.ipynb")}
    assert there >= pages | notebooks


def relative_links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [link for link in LINK.findall(text) if not link.startswith(("http", "#"))]


@pytest.mark.parametrize(
    "page",
    [
        *sorted(REPOSITORY.glob("docs/**/*.md")),
        *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "jobs/README.md")),
    ],
    ids=lambda page: str(page.relative_to(REPOSITORY)),
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in relative_links(page):
        assert (page.parent / link.partition("#")[0]).exists(), link
