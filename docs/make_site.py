"""Make the documentation a site in ``build/site``, offline: run ``make docs``.

Pages, figures and notebooks are gathered in ``build/docs``, with links as they must be there: what
is no page leads to the repository. A link that leads nowhere fails, and any warning of the builder.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from os.path import normpath, relpath
from pathlib import Path
from typing import Final

from nbconvert import MarkdownExporter

ROOT: Final = Path(__file__).parents[1]
STAGE: Final = ROOT / "build" / "docs"
ELSEWHERE: Final = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "jobs/README.md": "manifests.md",
}
"""Pages outside of ``docs/``, and their names on the site."""
LINK: Final = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)")
FENCE: Final = re.compile(r"^( *)(```|~~~).*?^\1\2$", re.MULTILINE | re.DOTALL)


def home() -> str:
    """Address of the repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Source"])


def find_pages() -> dict[Path, Path]:
    """What becomes a page or a picture of the site: place in the repository, and in the stage."""
    docs = ROOT / "docs"
    found = {ROOT / source: STAGE / name for source, name in ELSEWHERE.items()}
    for path in sorted(docs.rglob("*")):
        place = STAGE / path.relative_to(docs)
        if path.suffix in (".md", ".png", ".css"):
            found[path] = place
        elif path.suffix == ".ipynb":
            found[path] = place.with_suffix(".md")
    return found


def lead(target: str, source: Path, pages: dict[Path, Path]) -> str:
    """Where a link of a page leads on the site; raises ValueError if it leads nowhere."""
    path = Path(normpath(source.parent / target))
    if path in pages:
        return relpath(pages[path], pages[source].parent)
    if not path.exists() or not path.is_relative_to(ROOT):
        raise ValueError(f"{source.relative_to(ROOT)} has a link that leads nowhere: {target}")
    return f"{home()}/{'tree' if path.is_dir() else 'blob'}/main/{path.relative_to(ROOT)}"


def rewrite(text: str, source: Path, pages: dict[Path, Path]) -> str:
    """A page with links as they must be on the site; blocks of code stay as they are."""

    def replaced(prose: str) -> str:
        return LINK.sub(lambda link: lead(link[1], source, pages), prose)

    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [replaced(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, replaced(text[end:])])


def convert_notebook(source: Path, page: Path) -> str:
    """A notebook with the outputs that it was saved with, as a page; its pictures beside it."""
    name = f"{source.stem}-files"
    text, resources = MarkdownExporter().from_filename(
        str(source), resources={"output_files_dir": name, "unique_key": source.stem}
    )
    for picture, content in resources["outputs"].items():
        path = page.parent / picture
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(text)


def stage() -> None:
    """Gather everything that the site is built from."""
    shutil.rmtree(STAGE, ignore_errors=True)
    pages = find_pages()
    for source, page in pages.items():
        page.parent.mkdir(parents=True, exist_ok=True)
        if page.suffix != ".md":
            shutil.copyfile(source, page)
        elif source.suffix == ".ipynb":
            page.write_text(convert_notebook(source, page), encoding="utf-8")
        else:
            text = source.read_text(encoding="utf-8")
            page.write_text(rewrite(text, source, pages), encoding="utf-8")


def main() -> None:
    """Gather, then build; the exit code is that of the builder."""
    try:
        stage()
    except ValueError as error:
        sys.exit(f"error: {error}")
    zensical = Path(sys.executable).with_name("zensical")
    command = [str(zensical), "build", "--clean", "--strict"]
    sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
