"""STAC Browser, built once from npm with a lock file and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Final

from cropmask.catalog.npm import NpmPackage, fetch_package, keep, run_npm
from cropmask.grid import CRS
from cropmask.machine.stages import Progress, tell_nobody

_PACKAGE: Final = NpmPackage(
    "@radiantearth/stac-browser@4.0.1",
    "053c8a9849e835d848f6a50f50e905c23e882509c8e4c4b820cbe629d783b955",
    "browser archive",
    "STAC Browser",
)
PREFIX: Final = "/browser/"
"""Where the browser is served."""
CONFIG: Final = "config.js"
_LOCKED: Final = Path(__file__).parent / "stac_browser"
_FILES: Final = ("package.json", "package-lock.json")
_BUILD: Final = (
    *("npx", "--no-install", "vue-cli-service", "build", "--noSourceMaps"),
    *(f"--pathPrefix={PREFIX}", "--historyMode=hash"),
)
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
    "img-src 'self' data: blob: https:; connect-src 'self' https:; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of STAC Browser: it runs its own scripts only, whatever a link says, and
reads catalogs, pictures and maps of others."""
_EQUAL_AREA: Final = (
    "+proj=cea +lat_ts=30 +lon_0=0 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs +type=crs"
)


def browser_folder(cache: Path) -> Path:
    """Where the built browser is kept: another lock file has another folder."""
    locked = b"".join((_LOCKED / name).read_bytes() for name in _FILES)
    return cache / f"stac-browser-4.0.1-{hashlib.sha256(locked).hexdigest()[:8]}"


def is_built(cache: Path) -> bool:
    """Whether the browser is in the cache."""
    return (browser_folder(cache) / "index.html").is_file()


def ensure_browser(cache: Path, progress: Progress = tell_nobody) -> Path:
    """Folder of the built STAC Browser; built on first use, which takes some minutes."""
    folder = browser_folder(cache)
    if is_built(cache):
        return folder
    return keep(folder, _PACKAGE.title, partial(_build, progress))


def _build(progress: Progress, work: Path) -> Path:
    source = fetch_package(_PACKAGE, work, progress)
    for name in _FILES:
        shutil.copyfile(_LOCKED / name, source / name)
    install = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    run_npm("browser packages", install, source, progress, _PACKAGE.title)
    run_npm("browser build", _BUILD, source, progress, _PACKAGE.title)
    page = source / "dist" / "index.html"
    text = page.read_text(encoding="utf-8")
    script = f'<head><script src="{PREFIX}{CONFIG}"></script>'
    page.write_text(text.replace("<head>", script, 1), encoding="utf-8")
    return source / "dist"


def make_config(catalog: str, title: str) -> str:
    """The script that tells the browser the address and title of the catalog, of its own origin."""
    settings = {
        "catalogUrl": catalog,
        "catalogTitle": title,
        # Else a relative link that goes up, as from a map to its model, counts as external.
        "allowExternalAccess": True,
        "displayGeoTiffByDefault": True,
        "cardViewMode": "cards",
        "crs": {CRS: _EQUAL_AREA},
        "socialSharing": [],
        # A local map needs nobody's translation.
        "locale": "en",
        "detectLocaleFromBrowser": False,
    }
    return f"window.STAC_BROWSER_CONFIG = {json.dumps(settings)};\n"
