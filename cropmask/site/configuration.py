"""The file of settings, ``cropmask.toml``: what neither an option nor a variable says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cropmask import contract
from cropmask.contract import ENV_CONFIG, ENV_PREFIX, ENVIRONMENT_VARIABLES
from cropmask.errors import Misconfigured, Reason, doubt_address, find_closest, write_command

FILE_NAME: Final = "cropmask.toml"
_MAX_CHARACTERS: Final = 20_000
"""Of a file: many more than there are settings, and few enough for any TOML to be parsed soon."""
_SCHEMES: Final = ("s3", "http", "https", "file")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file of settings says."""

    path: Path | None = None
    """None if there is none."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """By variable, as the variable would have it; places are absolute."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """By variable, counted from 1."""

    def place(self, variable: str) -> str:
        """Path and line of a setting."""
        line = self.lines.get(variable)
        return f"{self.path}, line {line}" if line else str(self.path)


def setting_name(variable: str) -> str:
    """Key in the file, and option if there is one: ``output`` for ``CROPMASK_OUTPUT``."""
    return variable.removeprefix(ENV_PREFIX).lower()


def find_config(named: object, environ: Mapping[str, str], *, search: bool = True) -> ConfigFile:
    """The file that an option names, else a variable, else the nearest from here upwards.

    An empty variable counts as not set; without ``search`` there is none where none is named.
    Raises Misconfigured if the file cannot be read, has a setting that does not exist, or a value
    of a wrong type.
    """
    place = named or environ.get(ENV_CONFIG)
    if place:
        return load_config(Path(str(place)), is_named=True)
    found = _find_upwards() if search else None
    return ConfigFile() if found is None else load_config(found, is_named=False)


def _find_upwards() -> Path | None:
    try:
        here = Path.cwd()
    except OSError:  # it was deleted
        return None
    for folder in (here, *here.parents):
        path = folder / FILE_NAME
        if os.path.isfile(path):  # noqa: PTH113 (never raises)
            return path
    return None


def load_config(path: Path, *, is_named: bool) -> ConfigFile:
    """Settings of a file, of which some count only if the user has named it.

    ``/dev/null`` is a file without settings. Raises Misconfigured as :func:`find_config`.
    """
    if str(path) == os.devnull:
        return ConfigFile()
    from cropmask.region.region import load_toml  # with what parses regions

    path = Path(os.path.realpath(path.parent)) / path.name
    text, document = load_toml(path, "the file of settings", _MAX_CHARACTERS)
    keys = _find_keys()
    texts, lines, problems = {}, {}, []
    for key, value in document.items():
        line = _find_line(text, key)
        said = _find_problem(key, value, keys, is_named=is_named)
        if said is not None:
            problems.append(f"line {line}: {said}" if line else said)
        else:
            variable = keys[key]
            texts[variable] = _encode(variable, value, path.parent) or ""
            lines[variable] = line or 0
    if problems:
        raise Misconfigured(f"{path}, {'; '.join(problems)}", reason=Reason.BAD_VALUE)
    return ConfigFile(path, texts, lines)


def _find_keys() -> dict[str, str]:
    """Variables by their keys in the file, which cannot name another file."""
    keys = {setting_name(variable): variable for variable in ENVIRONMENT_VARIABLES}
    del keys[setting_name(ENV_CONFIG)]
    return keys


def _find_problem(
    key: str, value: object, keys: Mapping[str, str], *, is_named: bool
) -> str | None:
    """What is wrong with a setting; None if nothing is."""
    variable = keys.get(key)
    if variable is None:
        return _say_unknown(key, keys)
    if variable in _NAMED_ONLY and not is_named:
        return f"'{key}' counts only in a file that is named: give --config, or set {ENV_CONFIG}"
    encoded = _encode(variable, value, Path())
    if encoded is None or not encoded.isprintable():
        return f"'{key}' must be {_KINDS.get(variable, _TEXT).words}"
    return None


def _encode(variable: str, value: object, folder: Path) -> str | None:
    return _KINDS.get(variable, _TEXT).encode(value, folder)


def _find_line(text: str, key: str) -> int | None:
    """Line of a key above all tables, or of the table that has its name."""
    found = re.search(rf"^[ \t]*(\[[ \t]*)?[\"']?{re.escape(key)}[\"']?[ \t]*[=.\]]", text, re.M)
    return text.count("\n", 0, found.start()) + 1 if found else None


def _say_unknown(key: str, keys: Mapping[str, str]) -> str:
    """That a setting does not exist, and which one may have been meant."""
    word = key.lower().replace("-", "_").removeprefix(ENV_PREFIX.lower())
    begins = (known for known in keys if word.startswith(known))
    close = word if word in keys else find_closest(word, keys) or next(begins, None)
    guess = (
        f"did you mean '{close}'?" if close else f"'{write_command('config')}' lists what there is"
    )
    return f"'{key}' is unknown: {guess}"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a value may be in the file."""

    words: str
    encode: Callable[[Any, Path], str | None]
    """From the value and the folder of the file to the text of the variable; None if wrong."""


def _encode_text(value: object, _folder: Path) -> str | None:
    return value if isinstance(value, str) else None


def _encode_whole(value: object, _folder: Path) -> str | None:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _encode_number(value: object, _folder: Path) -> str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else None


def _encode_price(value: object, folder: Path) -> str | None:
    return value if isinstance(value, str) else _encode_number(value, folder)


def _encode_flag(value: object, _folder: Path) -> str | None:
    return str(int(value)) if isinstance(value, bool) else None


def _encode_verify(value: object, folder: Path) -> str | None:
    return "all" if value == "all" else _encode_flag(value, folder)


def _encode_size(value: object, folder: Path) -> str | None:
    return value if isinstance(value, str) else _encode_whole(value, folder)


def _encode_place(value: object, folder: Path) -> str | None:
    """A path from the folder of the file, or an address as it is."""
    if not isinstance(value, str) or not value:
        return _encode_text(value, folder)
    # What is wrong with an address says whoever opens it.
    if "://" in value or doubt_address(value, _SCHEMES):
        return value
    return _encode_path(value, folder)


def _encode_path(value: object, folder: Path) -> str | None:
    if not isinstance(value, str) or not value:
        return _encode_text(value, folder)
    return str(folder / os.path.expanduser(value))  # noqa: PTH111 (never raises)


def _encode_paths(value: object, folder: Path) -> str | None:
    paths = [_encode_path(one, folder) for one in value] if isinstance(value, list) else [None]
    return None if None in paths else os.pathsep.join(filter(None, paths))


def _encode_limits(value: object, folder: Path) -> str | None:
    if not isinstance(value, dict):
        return _encode_text(value, folder)
    numbers = {name: _encode_number(number, folder) for name, number in value.items()}
    if None in numbers.values():
        return None
    return ",".join(f"{name}={number}" for name, number in numbers.items())


_TEXT: Final = _Kind("a text in quotes", _encode_text)
_WHOLE: Final = _Kind("a whole number", _encode_whole)
_NUMBER: Final = _Kind("a number", _encode_number)
_FLAG: Final = _Kind("true or false", _encode_flag)
_PLACE: Final = _Kind("a path or an address in quotes", _encode_place)
_PATH: Final = _Kind("a path in quotes", _encode_path)
_KINDS: Final[Mapping[str, _Kind]] = {
    contract.ENV_CATALOG: _PLACE,
    contract.ENV_OUTPUT: _PLACE,
    contract.ENV_QUEUE: _PLACE,
    contract.ENV_TASKS: _PLACE,
    contract.ENV_MODELS: _PATH,
    contract.ENV_REGION_FILES: _Kind("a list of paths in [ ]", _encode_paths),
    contract.ENV_CACHE: _PATH,
    contract.ENV_HEARTBEAT: _PATH,
    contract.ENV_RESOLUTION: _WHOLE,
    contract.ENV_THREADS: _WHOLE,
    contract.ENV_MEMORY: _Kind("a text such as '4GB'", _encode_size),
    contract.ENV_MAX_TASKS: _WHOLE,
    contract.ENV_MAX_MINUTES: _NUMBER,
    contract.ENV_IDLE_EXIT: _NUMBER,
    contract.ENV_TIME_LIMIT: _NUMBER,
    contract.ENV_BREAKER: _WHOLE,
    contract.ENV_CPU_HOUR_PRICE: _Kind(
        "a number, or a text such as '0.034, 2026-11-20, spot c7i in af-south-1'", _encode_price
    ),
    contract.ENV_VERIFY_INPUTS: _Kind("true, false or 'all'", _encode_verify),
    contract.ENV_SEAMLESS: _FLAG,
    contract.ENV_STRICT_INPUTS: _FLAG,
    contract.ENV_TRUST_CATALOG: _FLAG,
    contract.ENV_LIMITS: _Kind("a table of numbers, such as {pages = 500}", _encode_limits),
    contract.ENV_S3_UNSIGNED: _FLAG,
    contract.ENV_S3_REQUESTER_PAYS: _FLAG,
}
"""What is not any text."""

_NAMED_ONLY: Final = frozenset(
    {
        contract.ENV_CACHE,  # pages in it are shown in a browser
        contract.ENV_HEARTBEAT,  # the file is replaced
        contract.ENV_IMAGE,  # it runs in the cluster
        contract.ENV_TRUST_CATALOG,  # then items may name any file of the machine
    }
)
"""What a file that just lies in a folder, such as one that was downloaded, must not say."""


def describe_kind(variable: str) -> str:
    """What a setting must be in the file, and whether the file must be named for it."""
    words = _KINDS.get(variable, _TEXT).words
    return f"{words}; only where the file is named" if variable in _NAMED_ONLY else words
