"""Print the pages of ``docs/reference/`` that are tables of the code: run ``make reference``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cropmask.contract import ENV_CONFIG, ENVIRONMENT_VARIABLES, ExitCode
from cropmask.errors import Reason
from cropmask.remote.limits import LIMIT_NAMES, USUAL_LIMITS
from cropmask.site.configuration import describe_kind, setting_name

FOLDER: Final = Path(__file__).parent / "reference"


def encode_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def encode_configuration() -> str:
    """Every setting: its key in the file, what it is there, its variable."""
    rows = (
        ("", "", f"`{name}`", meaning)
        if name == ENV_CONFIG
        else (f"`{setting_name(name)}`", describe_kind(name), f"`{name}`", meaning)
        for name, meaning in ENVIRONMENT_VARIABLES.items()
    )
    head = ("in the file", "what it is there", "variable", "meaning")
    return f"""# Configuration

A setting is said by an option, else by an environment variable, else by the file `cropmask.toml`,
else it has a default. How, and whom a file may be trusted from: [operate a
tile](../operate.md#configuration). `cropmask config` prints every setting and what says it.

{encode_table(head, rows)}
A variable whose name is nearly one of these is refused ("did you mean ...?"), since a run with a
default in its place might take the wrong inputs; other names that begin with `CROPMASK_` are named
in a warning and ignored, but for those that Kubernetes gives to containers beside a service.
"""


def encode_exit_codes() -> str:
    """Every exit code, what it means, and whether another try is worth it."""
    rows = ((str(int(code)), code.meaning, code.retry) for code in ExitCode)
    return f"""# Exit codes

Of `cropmask-job`, `cropmask` and the pods of a run.

{encode_table(("code", "meaning", "retry"), rows)}
What decides between 3 and 13: [who is to blame](../operate.md#exit-codes). What a worker's codes
mean: [signals and exit codes](../workers.md#signals-and-exit-codes).
"""


def encode_reasons() -> str:
    """Every reason with its advice; those that only their own message explains in a list."""
    known = [reason for reason in Reason if reason.advice is not None]
    rows = (
        (f"`{one}`", str(one.advice).replace("|", "\\|"), "yes" if one.is_shared else "")
        for one in known
    )
    others = ", ".join(f"`{reason}`" for reason in Reason if reason.advice is None)
    return f"""# Reasons

A reason groups failures in records, dead letters and reports: `cropmask status` and
`cropmask redrive` count by it. The third column says which reasons open the
[circuit breaker](../workers.md#the-circuit-breaker): the same on many different tiles in a row
stops a worker.

{encode_table(("reason", "what to do", "stops a worker"), rows)}
Of these, the message of the error says what to do: {others}.
"""


def encode_limits() -> str:
    """Every limit on what is read of others."""
    rows = (
        (f"`{name}`", f"{getattr(USUAL_LIMITS, name):,}", what)
        for name, what in LIMIT_NAMES.items()
    )
    return f"""# Limits

Most of everything that is read from others: catalogs, items, rasters, boundaries. An error names
the limit, its value, and how to raise it: `CROPMASK_LIMITS=pages=500,levels=80`. `submit` passes it
on to its workers.

{encode_table(("limit", "default", "what"), rows)}
Limits of the servers `browse` and `catalog serve` are in [who may ask](../look.md#who-may-ask).
"""


PAGES: Final = {
    "configuration.md": encode_configuration,
    "exit-codes.md": encode_exit_codes,
    "reasons.md": encode_reasons,
    "limits.md": encode_limits,
}
"""What is printed, by the name of its page."""


def main() -> None:
    """Write every page."""
    for name, encode in PAGES.items():
        (FOLDER / name).write_text(encode(), encoding="utf-8")


if __name__ == "__main__":
    main()
