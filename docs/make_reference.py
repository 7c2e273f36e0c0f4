"""Print the pages of ``docs/reference/`` that are tables of the code: run ``make reference``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from cropmask.contract import ENV_CONFIG, ENVIRONMENT_VARIABLES, ExitCode
from cropmask.errors import Reason
from cropmask.product import RECIPES
from cropmask.region.region import load_region, region_names
from cropmask.remote.limits import LIMIT_NAMES, USUAL_LIMITS
from cropmask.site.configuration import describe_kind, setting_name
from cropmask.training.card import load_card
from cropmask.training.cardtext import kind_text

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
stops their run.

{encode_table(("reason", "what to do", "stops a run"), rows)}
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


def encode_models() -> str:
    """What the recipes of every region are worth on the same folds, from the cards."""
    head = ("region", "held out", "folds", "forest", "boosted", "robust", "robust - forest")
    return f"""# What models are worth

Balanced accuracy on samples that are held out, mean over the folds, which are the same for the
three recipes: `forest` is the published method. The last column is the gain of `robust`
over it. More stands in the card of each region, `models/REGION/card.md`: other figures, deviations
over the folds, what places alone are worth, calibration. How the folds are made:
[validate](../train.md#4-validate).

{encode_table(head, _model_rows())}
Random rows flatter every model, and most those that remember places: their neighbors are trained
on. Land of like rain and slope is held out where the samples have no coordinates; it is no place,
and a weaker test.
"""


def _model_rows() -> Iterator[tuple[str, ...]]:
    for name in region_names():
        card = load_card(load_region(name).boundary.parent)
        found = {} if card is None else card.models
        shown = [found[recipe].validation for recipe in RECIPES if recipe in found]
        for scores in zip(*(one.scores for one in shown if one is not None), strict=True):
            means = [one.balanced_accuracy.mean for one in scores]
            yield (
                name,
                kind_text(scores[0].model_dump(mode="json")),
                str(scores[0].folds),
                *(f"{mean:.3f}" for mean in means),
                f"{means[-1] - means[0]:+.3f}",
            )


PAGES: Final = {
    "configuration.md": encode_configuration,
    "exit-codes.md": encode_exit_codes,
    "reasons.md": encode_reasons,
    "limits.md": encode_limits,
    "models.md": encode_models,
}
"""What is printed, by the name of its page."""


def main() -> None:
    """Write every page."""
    for name, encode in PAGES.items():
        (FOLDER / name).write_text(encode(), encoding="utf-8")


if __name__ == "__main__":
    main()
