"""The card of a region's models as text for people, from its JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import sqrt
from typing import Any, Final, get_args

from cropmask.core.features import FEATURES
from cropmask.errors import write_command
from cropmask.region.region import REGION_FILE, SAMPLES
from cropmask.training.figures import Kind

CardPart = dict[str, Any]
"""A part of a ``card.json`` document."""

KINDS: Final = get_args(Kind)
PLACES_ALONE: Final = (
    '"places alone" is the balanced accuracy, on the same folds, of the vote of the 5 nearest '
    "samples, which knows coordinates and nothing of the land itself."
)
DRAWN_UP: Final = (
    "The candidates themselves were drawn up after some 75 trials by hand on the published samples "
    "of several regions, so figures on groupings that were looked at then are a bit too good."
)
"""How many recipes were tried before the candidates of the robust one stood."""
_HELD_OUT: Final = {
    "terrain": "land of like rain and slope held out",
    "rain": "land of like rain held out",
}
SCORE_NAMES: Final = ("balanced_accuracy", "f1", "auc", "brier")
HEAD: Final = (
    *("recipe", "kind", "folds", "balanced accuracy", "F1", "ROC AUC", "Brier"),
    "places alone",
)


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
        "",
        "## Calibration",
        "",
        *_calibration(card["models"]),
        "",
        "## What is known of places held out",
        "",
        *_doubt(card["models"]),
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
    """Rows of a table of cross-validations: recipe, kind, folds, the metrics, the baseline."""
    for scores in _all_scores(validation):
        groups = f" of {scores['groups']} groups" if scores["groups"] else ""
        only = scores["coordinates_only"]
        yield (
            recipe,
            kind_text(scores),
            f"{scores['folds']}{groups}",
            *(_figure(scores[name]) for name in SCORE_NAMES),
            _figure(only["balanced_accuracy"]) if only else "",
        )


def kind_text(scores: CardPart) -> str:
    """What the folds of a cross-validation hold out."""
    if scores["kind"] == "random":
        return "random rows held out"
    if scores["by"] != "place":
        return _HELD_OUT[scores["by"]]
    km = f" of {scores['km']:g} km" if scores["km"] else ""
    if scores["buffer_km"]:
        return f"places{km} held out, {scores['buffer_km']:g} km around them left out"
    published = ", the published distance" if scores["kind"] == "spatial" else ""
    return f"places{km} held out{published}"


def published_rows(published: CardPart) -> Iterator[tuple[str, ...]]:
    """Rows of a table of published cross-validations."""
    for found in published["cross_validations"]:
        yield (
            "published",
            f"{found['kind']}, {found['design']}",
            "",
            *(f"{found[name]:.3g}" for name in SCORE_NAMES[:3]),
            "",
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


def coordinates_text(validation: CardPart) -> str | None:
    """What the baseline that knows only places says of the model; None without coordinates."""
    verdict = compare_places(validation)
    return verdict and f"{PLACES_ALONE} {verdict}"


def compare_places(validation: CardPart) -> str | None:
    """Where the baseline is as good as the model; None without coordinates."""
    known = [scores for scores in _all_scores(validation) if scores["coordinates_only"]]
    if not known:
        return None
    beaten = [
        kind_text(scores)
        for scores in known
        if scores["coordinates_only"]["balanced_accuracy"]["mean"]
        >= scores["balanced_accuracy"]["mean"]
    ]
    if not beaten:
        return "The model is better than places alone on every kind of fold."
    return (
        f"Places alone are as good as the model, or better, with: {'; '.join(beaten)}. There, "
        "samples of the neighborhood tell as much as satellite and model do: the figures say how "
        "near samples lie to each other, and little of land far from any."
    )


def groups_text(validation: CardPart) -> str | None:
    """A warning if what was held out are no places."""
    if validation["grouped"]["by"] != "terrain":
        return None
    return (
        "The samples have no coordinates that could be used: land of like rain and slope stands "
        "for places. "
        "Such groups may touch, so what is trained on may lie near to what is held out: these "
        "figures flatter more than those of places would."
    )


def calibration_text(found: CardPart | None) -> str:
    """Whether ``prob`` is a frequency on held-out groups, in a few sentences."""
    if found is None:
        return "Not measured: there are too few groups to hold out."
    raw, mended = 100 * found["ece"], 100 * found["ece_calibrated"]
    text = (
        f"On held-out groups `prob` misses the share of crop by {raw:.1f} percentage points on "
        f"average (ECE, {found['folds']} folds in {found['groupings']} groupings), in the worst "
        f"fold by {100 * found['worst']:.1f}. A table ({found['method']}), chosen and fitted on "
        f"the other folds, misses it by {mended:.1f}, in the worst fold by "
        f"{100 * found['worst_calibrated']:.1f}; Brier score {found['brier']:.3f} without it, "
        f"{found['brier_calibrated']:.3f} with it. "
    )
    if found["used"]:
        text += (
            "So the model file that is trained with this has the table, for the band "
            "`calibrated`; `mask` is unchanged."
        )
    elif raw - mended < 2:
        text += (
            "That is no gain of 2 percentage points: the raw `prob` is as good, without a table."
        )
    else:
        text += "But the Brier score is worse with it: the raw `prob` is as good, without a table."
    return f"{text} Calibration does not travel: a district may be as far off as the worst fold."


def doubt_text(found: CardPart) -> str:
    """How much is known of held-out groups, in a few sentences."""
    margin = found["margin_auc"]
    closeness = (
        f" The closeness of the vote finds wrongly classified samples with a ROC AUC of "
        f"{_figure(margin)} (.5 is chance)."
        if margin
        else ""
    )
    return (
        f"Sets of classes made to hold the right one for {100 * found['level']:.0f} % of samples "
        f"(split-conformal, limits from other groups) hold it for "
        f"{_percent(found['coverage'])}, in the worst fold for "
        f"{100 * found['worst_coverage']:.0f} %; they are a single class for "
        f"{_percent(found['single'])} of the samples, and for the others the model cannot tell at "
        f"that level.{closeness}"
    )


def choice_text(chosen: CardPart) -> str:
    """What the hyperparameters of a robust model say of how it was chosen."""
    return (
        f"Chosen among {chosen['candidates']} candidates on {chosen['chosen_on']}: "
        f"{chosen['learner']} on {chosen['features']}. Crop is what is over "
        f"{chosen['threshold']:g} ({chosen['threshold_by']}): {chosen['held_out_crop_percent']} % "
        f"of held-out samples, where one half makes {chosen['held_out_crop_percent_at_half']} % "
        "crop, so the mapped area is another one too; `--threshold 0.5` at training keeps one "
        f"half. {DRAWN_UP}"
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
        if recipe == "robust":
            yield f"  {choice_text(entry['model']['hyperparameters'])}"
        names = entry["model"]["features"]
        if names != list(FEATURES):
            yield f"  Its {len(names)} features: {', '.join(f'`{name}`' for name in names)}."


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
            "Compare only rows of the same kind. Brier is that of the model's own vote."
        )
        yield ""
        yield from _table(HEAD, rows)
        yield from _remarks(models)
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


def _remarks(models: CardPart) -> Iterator[str]:
    found = {recipe: entry["validation"] for recipe, entry in models.items() if entry["validation"]}
    if any(compare_places(validation) for validation in found.values()):
        yield ""
        yield PLACES_ALONE
    for recipe, validation in found.items():
        if text := compare_places(validation):
            yield ""
            yield f"`{recipe}`: {text}"
    warnings = dict.fromkeys(filter(None, map(groups_text, found.values())))
    for text in warnings:
        yield ""
        yield text


def _all_scores(validation: CardPart) -> Iterator[CardPart]:
    return (validation[kind] for kind in KINDS if validation[kind] is not None)


def _calibration(models: CardPart) -> Iterator[str]:
    found = [(recipe, entry["validation"]) for recipe, entry in models.items()]
    measured = [(recipe, v["calibration"]) for recipe, v in found if v and v["calibration"]]
    if not measured:
        yield "Not measured."
        return
    for index, (recipe, calibration) in enumerate(measured):
        if index:
            yield ""
        yield f"`{recipe}`: {calibration_text(calibration)}"
        yield ""
        rows = (
            (f"{each['prob']:.1f}", f"{each['calibrated']:.1f}", f"{each['crop']:.1f}")
            for each in calibration["bins"]
        )
        yield from _table(("`prob` of a bin, %", "by the table, %", "crop, %"), rows)
    yield ""
    yield (
        "Each row is a fifteenth of the held-out samples, by rising `prob`: where the map says the "
        "first number, the last is the share that is crop among these samples, which are more "
        "often crop than the land is."
    )


def _doubt(models: CardPart) -> Iterator[str]:
    found = [(recipe, entry["validation"]) for recipe, entry in models.items()]
    measured = [(recipe, v["doubt"]) for recipe, v in found if v and v["doubt"]]
    if not measured:
        yield "Not measured."
    for recipe, doubt in measured:
        yield f"- `{recipe}`: {doubt_text(doubt)}"


def _published(published: CardPart | None) -> Iterator[str]:
    if published is None:
        yield "None."
        return
    yield from _table(("", "kind", "", *HEAD[3:-1]), (r[:-1] for r in published_rows(published)))
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


def _percent(found: CardPart) -> str:
    return f"{100 * found['mean']:.0f} ± {100 * found['sd']:.0f} %"
