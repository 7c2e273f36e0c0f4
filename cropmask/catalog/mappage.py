"""The page of a web map: MapLibre and a reader of archives from npm, and a program of our own.

All of its code is within the page, so that its content security policy names it by digest: nothing
else runs, wherever the page lies. Browsers refuse modules and workers in files of their own to a
page that is opened from a disk; what is within the page they take.
"""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from cropmask.catalog.npm import NpmPackage, fetch_package, keep
from cropmask.machine.stages import Progress, tell_nobody
from cropmask.results.html import Html, make_page, make_policy, tag
from cropmask.stac.facts import Document

MAP_MARK: Final = tag("meta", name="generator", content="cropmask web")
"""Stands in every page, and so tells it from files of others."""
_NO_ICON: Final = tag("link", rel="icon", href="data:,")
"""Keeps browsers from asking for an icon, which the policy would refuse."""
CONFIG_FILE: Final = "map.json"
"""What the page shows, beside it."""
_MAPLIBRE: Final = NpmPackage(
    "maplibre-gl@5.24.1",
    "b84d7fdf7fba5922fd3fff9a92733936c7a03b99165afc6c84f41c311bdbfa9d",
    "map archive",
    "MapLibre",
)
_PMTILES: Final = NpmPackage(
    "pmtiles@4.5.0",
    "23ae7c575578ad24cd579377d69c46550631da219e6f179997ec2cf3b8c937e5",
    "map archive",
    "PMTiles",
)
_FILES: Final = {
    _MAPLIBRE: ("dist/maplibre-gl.js", "dist/maplibre-gl.css", "dist/LICENSE.txt"),
    _PMTILES: ("dist/pmtiles.js",),
}
LICENSES: Final = "licenses.txt"
"""Licenses of the code in the page, beside it."""
_OWN: Final = Path(__file__).parent
_MORE_POLICY: Final = "connect-src 'self'; worker-src blob:"
"""Tiles from where the page is; MapLibre's worker is made of the page's own code."""
_PICTURES: Final = "data: blob:"


def map_library_folder(cache: Path) -> Path:
    """Where the code of others is kept: other packages have another folder."""
    digests = "".join(package.sha256 for package in _FILES)
    return cache / f"map-{sha256(digests.encode()).hexdigest()[:12]}"


def ensure_map_library(cache: Path, progress: Progress = tell_nobody) -> Path:
    """Folder of MapLibre and the reader of archives; fetched on first use.

    Raises as :func:`~cropmask.catalog.npm.keep`.
    """
    folder = map_library_folder(cache)
    if folder.is_dir():
        return folder
    return keep(folder, _MAPLIBRE.title, partial(_gather, progress))


def _gather(progress: Progress, work: Path) -> Path:
    """Fetch the packages, and put what is needed of them into one folder."""
    whole = work / "whole"
    whole.mkdir()
    for package, files in _FILES.items():
        unpacked = work / package.title
        unpacked.mkdir()
        source = fetch_package(package, unpacked, progress)
        for file in files:
            shutil.copyfile(source / file, whole / Path(file).name)
    return whole


def make_map_page(
    config: Document, library: Path, archives: Mapping[str, bytes] | None = None
) -> str:
    """HTML of a map, given what :data:`CONFIG_FILE` says and :func:`ensure_map_library`'s folder.

    ``archives`` of tiles are held within the page, by name; without them they lie beside it.
    """
    inlined = [
        tag(
            "script",
            b64encode(data).decode(),
            type="application/octet-stream",
            id=f"archive-{name}",
        )
        for name, data in sorted((archives or {}).items())
    ]
    return make_page(
        str(config["title"]),
        _style(library),
        Html((_OWN / "webmap.html").read_text(encoding="utf-8")),
        _data(config),
        *inlined,
        heading=Html(MAP_MARK + _NO_ICON),
        script=_script(library),
        pictures=_PICTURES,
        more=_MORE_POLICY,
    )


def make_map_policy(library: Path) -> str:
    """Content security policy of such a page, for a server that cannot know what a page says."""
    return make_policy(_style(library), _script(library), _PICTURES, _MORE_POLICY)


def make_licenses(library: Path) -> str:
    """Text of the licenses of the code of others."""
    maplibre = (library / "LICENSE.txt").read_text(encoding="utf-8")
    return f"{_MAPLIBRE.name}\n\n{maplibre}\n\n{_PMTILES.name}: BSD-3-Clause, Protomaps LLC\n"


def _data(config: Document) -> Html:
    """A block of JSON, in which no text of others ends the block."""
    text = json.dumps(config, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    return tag("script", Html(text), type="application/json", id="config")


def _style(library: Path) -> str:
    return _join(library / "maplibre-gl.css", _OWN / "webmap.css")


def _script(library: Path) -> str:
    return _join(library / "maplibre-gl.js", library / "pmtiles.js", _OWN / "webmap.js")


def _join(*files: Path) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
