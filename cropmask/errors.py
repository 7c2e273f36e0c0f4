"""The tree of errors: each tells one person one thing to do.

::

    CropmaskError
    ├── Rejected          the task is wrong: never retried                  exit 3
    ├── Misconfigured     configuration or credentials: stop everything     exit 13
    └── Interrupted       the world failed: a retry may help                exit 10
        ├── LeaseLost     another worker has the task now                   exit 10
        ├── Drained       SIGTERM arrived; the work was returned            exit 4
        ├── TimedOut      the time limit of the attempt was exceeded        exit 11
        └── OutOfMemory   the memory limit of the attempt was exceeded      exit 12

The message is one line: what is wrong, then what to do about it. The reason groups failures in
reports, and says what an operator can do about all of a kind.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import ClassVar, Final, Self

from cropmask.contract import ENV_LIMITS, ENV_TIME_LIMIT, ENV_TRUST_CATALOG, ExitCode

MAX_MESSAGE: Final = 800
"""Characters of a message; what is longer loses its middle."""

_SHARED: Final = True
"""Marks a reason that tiles do not have by themselves: if many in a row do, something that they
share is wrong, such as the catalog, the worker's rights or its version."""

_CATALOG: Final = "look at the item that the error names, and correct the catalog"
_CREDENTIALS: Final = "correct the credentials or the address; 'cropmask doctor' shows which"
_DAMAGED: Final = "a file is damaged or could not be read: check it if it goes on"
_FULL: Final = "free some space where the workers write"
_MEMORY: Final = "give the workers more memory, or fewer threads"
_MODEL: Final = "put the right model file there: 'cropmask models verify'"
_REGION: Final = "correct the region file or --models: 'cropmask doctor' shows what is missing"
_STOPPED: Final = "a process was stopped from outside and the tile given back: nothing to do"
_WORLD: Final = "the network or a server failed: look at it if it goes on"


OPTIONAL_PACKAGES: Final = {
    "jsonschema": "validating STAC documents",
    "kubernetes": "talking to a Kubernetes cluster",
    "lz4": "reading a joblib file that lz4 has compressed",
    "matplotlib": "drawing a figure",
    "pmtiles": "making a web map",
    "rustac": "building the catalog of results",
    "scikit-learn": "training or validating a model",
    "starlette": "serving results",
    "uvicorn": "serving results",
}
"""What is not installed with the package alone (the extras of ``pyproject.toml``), and what needs
it."""


_SCHEME: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<slashes>/?)|(?P<bare>s3|https?|file)//",
    re.IGNORECASE,
)
_ELSEWHERE: Final = frozenset({"gs", "gcs", "az", "abfs", "abfss", "adl", "wasb", "oss", "ftp"})
"""Schemes of places that are not offered, which need no slash to be recognized."""


class Reason(StrEnum):
    """Why something failed, in a word or two: written into records, dead letters and reports.

    Each member carries what an operator does about tiles that failed for it, or None where only
    the command that raises it ever says it: its message then holds the advice. ``is_shared`` says
    whether the same on many different tiles in a row stops their run. That is not so of what a tile
    may well have by itself (no GeoMAD, outside the region), of what is wrong with a message, and of
    what passes (a server that is down, a worker that is stopped).
    """

    advice: str | None
    is_shared: bool

    def __new__(cls, word: str, advice: str | None, is_shared: bool = False) -> Self:
        """A member from its word, its advice, and whether it is no tile's own."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.advice = advice
        member.is_shared = is_shared
        return member

    @classmethod
    def of(cls, word: str) -> Self | None:
        """The member of a word in a record; None for a word of another version."""
        return next((member for member in cls if member == word), None)

    # What every error of a class says that names no reason of its own.
    REJECTED = "rejected", None
    MISCONFIGURED = "misconfigured", _CREDENTIALS
    INTERRUPTED = "interrupted", _WORLD

    # An attempt and its worker.
    LEASE_LOST = "lease lost", "another worker had the tile meanwhile: nothing to do"
    DRAINED = "drained", "a worker was stopped and gave the tile back: nothing to do"
    TIMED_OUT = (
        "timed out",
        f"raise {ENV_TIME_LIMIT}, or see where the time goes: 'cropmask logs TILE'",
        _SHARED,
    )
    OUT_OF_MEMORY = "out of memory", _MEMORY, _SHARED
    TOO_LITTLE_MEMORY = "too little memory", _MEMORY, _SHARED
    CRASHED = "crashed", "see where it ended: 'cropmask logs TILE'", _SHARED
    KILLED = "killed", _STOPPED
    WORKER_LOST = (
        "worker lost",
        "a worker or its node died with the tile, which comes back by itself: look at the nodes "
        "and their memory if it goes on",
    )
    SYSTEM = (
        "system",
        "the system of a worker refuses what it needs: see 'cropmask logs TILE'",
        _SHARED,
    )
    FAULT = (
        "fault",
        "a fault of the program: please report it with what 'cropmask logs TILE' shows",
        _SHARED,
    )
    RECEIVES_USED_UP = "receives used up", "see why its attempts failed: 'cropmask logs TILE'"
    UNKNOWN = "unknown", "see what the error says"

    # Messages, tasks and records.
    BAD_MESSAGE = "bad message", "a message that is no task: discard it, and look who sends it"
    BAD_TILE = "bad tile", "correct the name of the tile where the task was made"
    BAD_PERIOD = "bad period", "correct the period where the task was made"
    BAD_REGION = "bad region", "correct the name of the region where the task was made"
    BAD_RUN = "bad run", "correct the name of the run where the task was made"
    UNKNOWN_REGION = (
        "unknown region",
        "name its folder or file to the workers, with --models or --region-file",
        _SHARED,
    )
    OUTSIDE_REGION = "outside region", "the tile is not the region's, so there is nothing to map"
    BAD_RECORD = "bad record", "a document of a run is damaged: see what the error says"
    BAD_PLAN = "bad plan", None
    UNKNOWN_RUN = "unknown run", None
    SENT_ALREADY = "sent already", None
    NO_TASK_FILE = "no task file", None
    NO_TASK_INDEX = "no task index", None
    NO_TILES = "no tiles", None

    # Runs that do not go on.
    RUN_PAUSED = "run paused", "somebody paused the run: the command 'run resume' goes on"
    RUN_CANCELED = "run canceled", "somebody canceled the run: submit what is still wanted"
    OVER_BUDGET = (
        "over budget",
        "the run has cost what it may: the command 'run resume' goes on with more --max-cost",
    )
    TOO_MANY_TILES = (
        "too many tiles",
        "the run has as many tiles as it may: 'run resume' goes on with more --max-tiles",
    )

    # Inputs.
    NO_CATALOG = "no catalog", _CREDENTIALS
    SEARCH_REFUSED = "search refused", _CREDENTIALS, _SHARED
    MISSING_GEOMAD = (
        "missing geomad",
        "add GeoMAD of this tile and year to the catalog: without it there can be no map",
    )
    DOUBLED_GEOMAD = "doubled geomad", _CATALOG, _SHARED
    DOUBLED_LAYER = "doubled layer", _CATALOG, _SHARED
    MISSING_BAND = "missing band", _CATALOG, _SHARED
    DOUBLED_BAND = "doubled band", _CATALOG, _SHARED
    WRONG_CRS = "wrong crs", _CATALOG, _SHARED
    WRONG_RASTER = "wrong raster", _CATALOG, _SHARED
    BAD_DOCUMENT = "bad document", _CATALOG, _SHARED
    BAD_ADDRESS = "bad address", _CATALOG, _SHARED
    OUTSIDE_ZONE = (
        "outside zone",
        "look at the item that the error names: it points to where its catalog must not lead; "
        f"{ENV_TRUST_CATALOG}=1 allows it",
        _SHARED,
    )
    OVER_LIMIT = (
        "over limit",
        f"look at what the error names; {ENV_LIMITS} raises the limit",
        _SHARED,
    )
    NO_LAYER = "no layer", _REGION, _SHARED
    BAD_BOUNDARY = "bad boundary", _REGION
    PARTIAL_COVERAGE = (
        "partial coverage",
        "GeoMAD covers too little of the tile: complete it, or lower "
        "limits.min_coverage_percent in the region file",
    )
    NO_RASTER = (
        "no raster",
        "a file is no raster: put the right one there, or correct the item",
        _SHARED,
    )
    CORRUPT_INPUT = (
        "corrupt input",
        "a file is not what its item declares: mend the file or item",
        _SHARED,
    )
    TRUNCATED_INPUT = "truncated input", _DAMAGED, _SHARED
    REPLACED_INPUT = (
        "replaced input",
        "a file was replaced while it was read: nothing to do, unless it goes on",
    )
    UNREADABLE_RASTER = "unreadable raster", _DAMAGED, _SHARED
    UNREADABLE_FILE = "unreadable file", _DAMAGED, _SHARED

    # Models.
    NO_MODEL = "no model", _REGION, _SHARED
    BAD_MODEL = "bad model", _MODEL, _SHARED
    MODEL_DIGEST_DIFFERS = "model digest differs", _MODEL, _SHARED
    PROBES_DIFFER = "probes differ", _MODEL, _SHARED
    NO_APPLICABILITY = (
        "no applicability",
        "submit without the band 'dissimilarity', or train a model that has it",
        _SHARED,
    )
    NO_SERIES = (
        "no series",
        "fit the rates of change of the region once, with the command 'series fit'",
        _SHARED,
    )
    TOO_FEW_YEARS = (
        "too few years",
        "map more years of the tile: a series needs five; until then there is nothing to do",
    )
    NO_COLORS = (
        "no colors",
        "fit the colors that tiles share, with the command 'colors fit', or submit with --per-tile",
        _SHARED,
    )
    BAD_ESTIMATOR = "bad estimator", None
    BAD_JOBLIB = "bad joblib", None
    BAD_SAMPLES = "bad samples", None

    # Places: stores, queues, servers, disks.
    ABSENT = (
        "absent",
        "a file that is named does not exist: correct its address, or put it there",
        _SHARED,
    )
    ACCESS_DENIED = "access denied", _CREDENTIALS, _SHARED
    UNREACHABLE = "unreachable", _WORLD
    DISK = "disk", "a disk could not be written or read: look at it if it goes on"
    DISK_FULL = "disk full", _FULL
    ENCODING = "encoding", "a map could not be encoded: look at the space where the workers write"
    QUEUE_REFUSED = "queue refused", None
    NO_QUEUE = "no queue", None
    NO_DEAD_LETTERS = "no dead letters", None

    # Results.
    CHANGED = (
        "changed",
        "another result is there: 'cropmask explain TILE' says how it differs; "
        "submit with --overwrite to replace it",
        _SHARED,
    )
    BAD_ITEM = "bad item", "remove what is in the item's place, or submit with --overwrite", _SHARED
    BAD_CATALOG = "bad catalog", None
    NO_RESULTS = "no results", None

    # The cluster, and programs beside ours.
    NO_CLUSTER = "no cluster", None
    NO_JOB = "no job", None
    NO_IMAGE = "no image", None
    BAD_MANIFEST = "bad manifest", None
    LOCAL_PLACE = "local place", None
    NOT_INSTALLED = "not installed", None
    NO_DATACUBE = "no datacube", None
    NOT_INDEXED = "not indexed", None
    NO_BROWSER = "no browser", None
    NO_PORT = "no port", None

    # What was typed.
    USAGE = "usage", None
    BAD_VALUE = "bad value", None
    BAD_QUERY = "bad query", None


def write_command(command: str, *words: str) -> str:
    """A command line that a message tells people to type; ``job`` is the program for one tile."""
    program = ["cropmask-job"] if command == "job" else ["cropmask", *command.split()]
    return shlex.join([*program, *words])


class CropmaskError(Exception):
    """Base of every error that a user may see.

    Parameters
    ----------
    message
        What is wrong, then what to do about it.
    reason
        Groups failures in reports; default what the class stands for.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    usual: ClassVar[Reason] = Reason.FAULT

    def __init__(self, message: str, *, reason: Reason | None = None) -> None:
        super().__init__(one_line(message))
        self.reason = reason or self.usual


def one_line(message: str) -> str:
    """A message that fits a line and a terminal, whatever the documents that it quotes hold."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in " ".join(message.split()))
    if len(plain) <= MAX_MESSAGE:
        return plain
    half = MAX_MESSAGE // 2
    return f"{plain[:half]} ... {plain[-half:]}"


def advise_install(*packages: str) -> str:
    """What to type to get packages; never our own name, which is somebody else's on PyPI."""
    them = "it" if len(packages) == 1 else "them"
    return (
        f"'make setup' in a clone of cropmask brings {them}, elsewhere 'pip install "
        f"{' '.join(packages)}'"
    )


def not_installed(*packages: str) -> Misconfigured:
    """The error where optional packages are missing, which together serve one purpose."""
    word = "package" if len(packages) == 1 else "packages"
    return Misconfigured(
        f"{OPTIONAL_PACKAGES[packages[0]]} needs the {word} {' and '.join(packages)}: "
        f"{advise_install(*packages)}",
        reason=Reason.NOT_INSTALLED,
    )


def find_closest(word: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The known word that a user may have meant by another one; None if nothing is so like it."""
    from difflib import get_close_matches  # loaded where something is wrong

    spelled = {each.casefold(): each for each in known}
    close = get_close_matches(word.casefold()[:100], spelled, 1, likeness)
    return spelled[close[0]] if close else None


def list_some(names: Sequence[str], most: int) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The same as the end of a message: ``: did you mean 'x'?``, or nothing."""
    close = find_closest(word, known)
    return f": did you mean '{close}'?" if close else ""


def doubt_address(place: str, offered: Collection[str]) -> str:
    """What is wrong with the scheme of a place, as the end of a message; empty if nothing is.

    ``offered`` are the schemes that it may have, in small letters, beside none. A path that looks
    like an address can be written with ``./`` before it.
    """
    match = _SCHEME.match(place)
    if match is None:
        return ""
    scheme, rest = match["scheme"] or match["bare"], place[match.end() :].lstrip("/")
    near = find_closest(scheme, offered)
    is_meant = bool(match["bare"] or match["slashes"]) or scheme.lower() in (*offered, *_ELSEWHERE)
    if not is_meant:
        return ""
    if near is None:
        return f": {scheme.lower()}:// is not offered"
    right = f"{near}:{'///' if near == 'file' else '//'}{rest}"
    is_right = place.startswith(f"{near}://") and (near == "file" or place == right)
    return "" if is_right else f": did you mean '{right}'?"


class Rejected(CropmaskError):
    """The task can never succeed as it is: recorded with its reason, not retried."""

    exit_code = ExitCode.REJECTED
    usual = Reason.REJECTED


class Misconfigured(CropmaskError):
    """The configuration or the credentials are wrong: no task of this job can succeed."""

    exit_code = ExitCode.MISCONFIGURED
    usual = Reason.MISCONFIGURED


@contextmanager
def blame_configuration() -> Iterator[None]:
    """What is wrong with something that the configuration names is not the fault of a task.

    Raises Misconfigured in place of Rejected.
    """
    try:
        yield
    except Rejected as error:
        raise Misconfigured(str(error), reason=error.reason) from error


class Interrupted(CropmaskError):
    """The world failed, not the task: another attempt may succeed."""

    exit_code = ExitCode.FAILED
    usual = Reason.INTERRUPTED


class LeaseLost(Interrupted):
    """The lease of the message has ended: another worker may have the task now."""

    usual = Reason.LEASE_LOST


class Drained(Interrupted):
    """SIGTERM arrived before the task was done."""

    exit_code = ExitCode.DRAINED
    usual = Reason.DRAINED


class TimedOut(Interrupted):
    """The attempt took longer than it may."""

    exit_code = ExitCode.TIMED_OUT
    usual = Reason.TIMED_OUT


class OutOfMemory(Interrupted):
    """The attempt needed more memory than it may use."""

    exit_code = ExitCode.MEMORY
    usual = Reason.OUT_OF_MEMORY
