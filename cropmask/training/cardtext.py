"""The card of a region's models as text for people, from its JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import sqrt
from typing import Any, Final

from cropmask.errors import write_command
from cropmask.region import REGION_FILE, SAMPLES

CardPart = dict[str, Any]
"""A part of a ``card.json`` document."""

KINDS: Final = {
    "random": "random rows held out",
    "grouped": "rain clusters held out",
    "spatial": "place clusters held out",
}
SCORE_NAMES: Final = ("balanced_accuracy", "f1", "auc", "brier")
HEAD: Final = ("recipe", "kind", "folds", "balanced accuracy", "F1", "ROC AUC", "Brier")


def print_card(card: CardPart) -> str:
    """Markdown of a ``card.json`` document."""
    lines = [
        f"# Crop mask models of {card['title']}",
        "",
        f"License {card['license']}, {_credit(card)} [method]({card['method_url']}). "
        f"The default is `{card['default']}`, the published method; changing it is the decision "
        "of the map's owner.",
        "",
        "## Models",
        "",
        *_models(card["models"]),
        "",
        *_samples(card["models"]),
        "",
        "## Cross-validation",
        "",
        *_validation(card["models"]),
        *_coordinates(card["models"]),
        "",
        "## Published figures",
        "",
        *_published(card["published"]),
        "",
        "## Use",
        "",
        *_bullets(card["uses"]),
        "",
        "## Limits",
        "",
        *_bullets(card["limits"]),
    ]
    return "\n".join(lines) + "\n"


def _credit(card: CardPart) -> str:
    name, address = card["credit"], card["credit_url"]
    if not name:
        return "credit: not stated; published"
    named = f"[{name}]({address})" if address else name
    return f"credit: {named}, who made the training samples and the"


def score_rows(recipe: str, validation: CardPart) -> Iterator[tuple[str, ...]]:
    """Rows of a table of cross-validations: recipe, kind, folds, then the metrics."""
    for kind, words in KINDS.items():
        scores = validation[kind]
        if scores is not None:
            groups = f" of {scores['groups']} clusters" if scores["groups"] else ""
            folds = f"{scores['folds']}{groups}"
            yield (recipe, words, folds, *(_figure(scores[name]) for name in SCORE_NAMES))


def published_rows(published: CardPart) -> Iterator[tuple[str, ...]]:
    """Rows of a table of published cross-validations."""
    for found in published["cross_validations"]:
        yield (
            "published",
            f"{found['kind']}, {found['design']}",
            "",
            *(f"{found[name]:.3g}" for name in SCORE_NAMES[:3]),
            "",
        )


def independent_text(published: CardPart) -> str:
    """One sentence on the validation with independent points."""
    found = published["independent"]
    low, high = wilson_percent(found["overall_percent"], found["points"])
    return (
        f"Independent validation of the published `{found['band']}` with {found['points']} points: "
        f"overall {found['overall_percent']} % (95 % interval {low:.1f} to {high:.1f}, if the "
        "points were a simple random sample), producer's accuracy of crop "
        f"{found['producer_percent']} %, user's {found['user_percent']} %, F1 {found['f1']}."
    )


def wilson_percent(percent: float, count: int) -> tuple[float, float]:
    """95 % interval of a share seen in ``count`` independent draws (Wilson 1927), in percent."""
    z, share = 1.959964, percent / 100
    center = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    spread = z / (1 + z**2 / count) * sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return 100 * (center - spread), 100 * (center + spread)


def coordinates_text(found: CardPart) -> str:
    """One sentence that warns of what random folds give away."""
    return (
        "Warning: a 5-nearest-neighbor that sees only coordinates scores "
        f"{_figure(found['accuracy'])} accuracy ({_figure(found['balanced_accuracy'])} balanced) "
        "on the random folds: they measure nearness of samples as much as the model."
    )


def _models(models: CardPart) -> Iterator[str]:
    head = ("recipe", "estimator", "trees", "nodes", "kB", "hyperparameters", "SHA-256")
    yield from _table(
        head,
        (
            (
                f"`{recipe}`",
                model["estimator"],
                str(model["trees"]),
                str(model["nodes"]),
                f"{model['size'] / 1000:.0f}",
                ", ".join(f"{key}={value}" for key, value in model["hyperparameters"].items()),
                f"`{model['sha256']}`",
            )
            for recipe, model in ((key, entry["model"]) for key, entry in models.items())
        ),
    )


def _samples(models: CardPart) -> Iterator[str]:
    for recipe, entry in models.items():
        samples, source = entry["samples"], entry["model"].get("source")
        software = ", ".join(f"{name} {v}" for name, v in entry["model"]["software"].items())
        if source is not None:
            yield (
                f"- `{recipe}` was imported from `{source['file']}` ({source['contents']}, "
                f"{source['size']} bytes, SHA-256 `{source['sha256']}`) without running it; order "
                f"of features: {source['order']}; software: {software}. What it "
                "was fitted on, the file does not say."
            )
            continue
        yield (
            f"- `{recipe}` was fitted on all {samples['rows']} samples, {samples['crop_percent']} "
            f"% of them crop (file SHA-256 `{samples['sha256']}`), by {software}."
        )


def _validation(models: CardPart) -> Iterator[str]:
    rows = [
        row
        for recipe, entry in models.items()
        if entry["validation"] is not None
        for row in score_rows(f"`{recipe}`", entry["validation"])
    ]
    if rows:
        yield (
            "Mean ± standard deviation over the folds, which is no confidence interval. "
            "Compare only rows of the same kind."
        )
        yield ""
        yield from _table(HEAD, rows)
    missing = [recipe for recipe, entry in models.items() if entry["validation"] is None]
    for recipe in missing:
        if models[recipe]["model"].get("source"):
            yield f"`{recipe}` was imported: cross-validating needs its samples."
            continue
        # Relative: what is published names no folder of a machine.
        words = ("--recipe", recipe, "--region", REGION_FILE, "--samples", SAMPLES)
        yield (
            f"`{recipe}` was not validated yet: run `{write_command('validate', *words)}` in the "
            "folder of the region's file."
        )


def _coordinates(models: CardPart) -> Iterator[str]:
    for entry in models.values():
        found = (entry["validation"] or {}).get("coordinates_only")
        if found is not None:
            yield ""
            yield coordinates_text(found)
            return


def _published(published: CardPart | None) -> Iterator[str]:
    if published is None:
        yield "None."
        return
    yield from _table(("", "kind", "", *HEAD[3:]), published_rows(published))
    yield ""
    yield independent_text(published)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _bullets(sentences: Iterable[str]) -> Iterator[str]:
    return (f"- {sentence}" for sentence in sentences)


def _figure(found: CardPart) -> str:
    return f"{found['mean']:.3f} ± {found['sd']:.3f}"
