"""What changes between years and what only flickers, on made-up years whose truth is known.

    python -m benchmarks.years [--quick] [--seeds 20] [--output years.json]
    python -m benchmarks.years --tile 10 [--threads 2]

Fields of about 1.3 ha lie as cells around random points; crop fields lie together. In each year a
field of other becomes crop, and one of crop other, at the rates of the world. The score of a pixel
is its class, plus errors that stay for all years (one of its field, one of smooth patches), errors
of a year (again by field and by patch) and one of the pixel; the percentage is the score's
logistic. Errors are so large that the first and the last yearly mask differ about as much more
than the truth as they do in real trials. In worlds with fallow, some crop fields lie fallow for a
year now and then, which is a change of the ground, and no change of the land's use.

Ways to tell what changed: the first mask against the last (naive); states given all years, with
the true rates and the true evidence of the percentages, each pixel by itself (plain); and with what
``cropmask series`` does (kinds, neighbors, rates and evidence learned without labels).

With ``--tile`` one whole tile of six made-up years is made instead, at a pixel size in meters, by
a process of its own whose CPU time and memory are measured.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from benchmarks.measure import Result, make_parser, put_results, run_module, show, table
from benchmarks.series import find_size, put_years
from cropmask.core.series import (
    GAIN,
    LEAST_EVIDENCE,
    LOSS,
    UNCERTAIN,
    SeriesModel,
    SmoothedYears,
    mix_neighbors,
    smooth_years,
)
from cropmask.core.seriesfit import FittedSeries, fit_series
from cropmask.task import Period

SEEDS: Final = 20
YEARS: Final = (3, 4, 5, 6, 8)
QUICK: Final[dict[str, Any]] = {"seeds": 4, "years": (3, 6)}
"""Arguments of :func:`measure` for a first look."""
EDGE: Final = 256
PLACES: Final = 8
"""Places along each edge: for the intervals of the rates, pixels of one are alike."""
FIELD: Final = 130
"""Pixels of a field."""
TILE_EDGE: Final = 1200
"""Pixels of made-up land that are repeated over a whole tile."""
WAYS: Final = ("naive", "plain", "series")


@dataclass(frozen=True, slots=True)
class World:
    """How a world is made."""

    share: float = 0.3
    """Of the fields that are crop in the first year."""
    gain: float = 0.012
    loss: float = 0.026
    fallow: float = 0.0
    """Share of a year's crop fields that lie fallow."""
    score: float = 1.5
    """Of crop; of other it is the same below 0."""
    repeating: tuple[float, float] = (0.6, 0.5)
    """Standard deviations of the errors of fields and of patches that stay."""
    yearly: tuple[float, float] = (0.5, 0.45)
    """The same of those that come anew each year."""
    pixel: float = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Years:
    """A made-up series."""

    use: NDArray[np.bool_]
    """``(year, y, x)``: crop land, fallow or not."""
    prob: NDArray[np.uint8]
    """``(year, y, x)``: percentages of the yearly maps."""


def _draw_patches(rng: np.random.Generator, edge: int, width: float) -> NDArray[np.float64]:
    field = gaussian_filter(rng.standard_normal((edge, edge)), width, mode="wrap")
    scaled: NDArray[np.float64] = field / field.std()
    return scaled


def draw_years(seed: int, world: World, years: int, edge: int = EDGE) -> Years:
    """Draw a world."""
    rng = np.random.default_rng(seed)
    fields = edge * edge // FIELD
    points = rng.uniform(0, edge, (fields, 2))
    places = np.stack(np.mgrid[:edge, :edge], -1).reshape(-1, 2) + 0.5
    field = cKDTree(points).query(places)[1].reshape(edge, edge)
    rows, columns = points.astype(int).T
    liking = _draw_patches(rng, edge, 25)[rows, columns] + 0.8 * rng.standard_normal(fields)
    use = np.empty((years, fields), bool)
    use[0] = liking > np.quantile(liking, 1 - world.share)
    for year in range(1, years):
        drawn = rng.random(fields)
        use[year] = np.where(use[year - 1], drawn >= world.loss, drawn < world.gain)
    seen = use & (rng.random(use.shape) >= world.fallow)
    stays = world.repeating[0] * rng.standard_normal(fields)[field]
    stays = stays + world.repeating[1] * _draw_patches(rng, edge, 12)
    prob = np.empty((years, edge, edge), np.uint8)
    for year in range(years):
        score = world.score * np.where(seen[year], 1, -1)[field] + stays
        score += world.yearly[0] * rng.standard_normal(fields)[field]
        score += world.yearly[1] * _draw_patches(rng, edge, 8)
        score += world.pixel * rng.standard_normal(score.shape)
        prob[year] = np.rint(100 / (1 + np.exp(-score)))
    return Years(use[:, field], prob)


def run_series(prob: NDArray[np.uint8]) -> tuple[SmoothedYears, FittedSeries, NDArray[np.uint8]]:
    """What ``cropmask series`` does with the years of an area, and the evidence it takes."""
    edge = prob.shape[1]
    none = prob[0, :0]
    evidence = np.stack([mix_neighbors(year, none, none) for year in prob])
    row, column = np.mgrid[:edge, :edge] * PLACES // edge
    place = row * PLACES + column
    every = (slice(None, None, 2), slice(None, None, 2))
    fitted = fit_series(evidence[:, *every].reshape(len(prob), -1), place[every].ravel())
    return smooth_years(prob, fitted.model, evidence=evidence), fitted, evidence


def run_plain(prob: NDArray[np.uint8], known: Years, world: World) -> SmoothedYears:
    """States given all years with the true rates, and with evidence counted in another world."""
    counts = [np.bincount(known.prob[known.use == state], minlength=101) for state in (0, 1)]
    evidence = np.array([np.maximum(n / n.sum(), LEAST_EVIDENCE) for n in counts])[None]
    start = np.array([[1 - world.share, world.share]])
    return smooth_years(prob, SeriesModel(evidence, start, world.gain, world.loss))


def compare(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> Result:
    """Precision, recall and F1 of a change, and its share of the pixels."""
    both = int((said & true).sum())
    said_count, true_count = int(said.sum()), int(true.sum())
    return {
        "precision": both / max(1, said_count),
        "recall": both / max(1, true_count),
        "F1": 2 * both / max(1, said_count + true_count),
        "share": float(said.mean()),
    }


def try_world(seed: int, world: World, years: int, edge: int = EDGE) -> Result:
    """What every way says of one world."""
    made = draw_years(seed, world, years, edge)
    changed = made.use[0] != made.use[-1]
    masks = made.prob > 50
    began = time.process_time()
    found, fitted, _ = run_series(made.prob)
    seconds = time.process_time() - began
    plain = run_plain(made.prob, draw_years(1000 + seed, world, years, edge), world)
    said = {
        "naive": masks[0] != masks[-1],
        "plain": np.isin(plain.kind, (GAIN, LOSS)),
        "series": np.isin(found.kind, (GAIN, LOSS)),
    }
    rates = {
        name: [getattr(rate, part) for part in ("value", "low", "high")]
        for name, rate in (("gain", fitted.gain), ("loss", fitted.loss))
    }
    return {
        "true": float(changed.mean()),
        "accuracy": float((masks == made.use).mean()),
        "ways": {name: compare(mask, changed) for name, mask in said.items()},
        "uncertain": float((found.kind == UNCERTAIN).mean()),
        "flickers": float((found.flickers > 0).mean()),
        "smoothed": float(((found.crop > 50) == made.use).mean()),
        "rates": rates,
        "seconds": seconds,
    }


def measure(
    seeds: int = SEEDS, years: tuple[int, ...] = YEARS, *, edge: int = EDGE, fallow: float = 0.15
) -> Result:
    """Every number of years without fallow, and the most with it; each over all seeds."""
    cases = [(World(), count) for count in years] + [(World(fallow=fallow), years[-1])]
    runs = [
        {
            "years": count,
            "fallow": world.fallow,
            "rates": [world.gain, world.loss],
            "seeds": [try_world(seed, world, count, edge) for seed in range(seeds)],
        }
        for world, count in cases
    ]
    return {"runs": runs}


def measure_tile(resolution: int = 10, threads: int = 2) -> Result:
    """What a whole tile of six years takes, in a process of its own; and what fitting takes."""
    period = Period.parse("2019--P6Y")
    with TemporaryDirectory(prefix="cropmask-bench-") as folder:
        put_years(Path(folder), period, resolution, draw_years(0, World(), 6, TILE_EDGE).prob)
        request = {
            "folder": folder,
            "period": str(period),
            "resolution": resolution,
            "threads": threads,
        }
        fit = run_module("benchmarks.series", {**request, "fit": True})
        tile = run_module("benchmarks.series", {**request, "fit": False})
    return {
        "pixels": find_size(resolution) ** 2,
        "fit": {"cpu": fit.cpu, "wall": fit.wall, "peak": fit.peak},
        "tile": {"cpu": tile.cpu, "wall": tile.wall, "peak": tile.peak, **tile.answer},
    }


def report_tile(found: Result) -> str:
    """Table in Markdown."""
    head = ("six years", "CPU s", "wall s", "peak GB")
    rows = [
        (name, f"{one['cpu']:.1f}", f"{one['wall']:.1f}", f"{one['peak'] / 1e9:.2f}")
        for name, one in (("fitting", found["fit"]), ("one tile", found["tile"]))
    ]
    stages = found["tile"]["stages"].items()
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages)
    size = f"{found['pixels'] / 1e6:.2f} Mpx"
    return f"{table(head, rows)}\n\nStages of the tile of {size}, CPU s: {parts}."


def summarize(values: list[float]) -> tuple[float, float, float]:
    """Mean over seeds, and its interval of 95 % (normal)."""
    found = np.array(values)
    error = 1.96 * float(found.std(ddof=1)) / np.sqrt(len(found)) if len(found) > 1 else 0.0
    mean = float(found.mean())
    return mean, mean - error, mean + error


def report(found: Result) -> str:
    """Tables in Markdown."""
    rows = []
    for run in found["runs"]:
        case = _name_case(run)
        for way in WAYS:
            figures = [[seed["ways"][way][name] for seed in run["seeds"]] for name in _FIGURES]
            rows.append((f"{case}, {way}", *map(_range_text, figures)))
        rows.append((f"{case}, truth", "", "", "", _range_text([s["true"] for s in run["seeds"]])))
    head = ("years, way", *_FIGURES[:3], "share changed")
    more = []
    for run in found["runs"]:
        seeds, case = run["seeds"], _name_case(run)
        held = [
            [s["rates"][name][1] <= true <= s["rates"][name][2] for s in seeds]
            for name, true in zip(("gain", "loss"), run["rates"], strict=True)
        ]
        names = ("accuracy", "smoothed", "uncertain", "flickers")
        figures = [_range_text([seed[name] for seed in seeds]) for name in names]
        found_rates = [_range_text([s["rates"][n][0] for s in seeds]) for n in ("gain", "loss")]
        hits = f"{sum(held[0])} and {sum(held[1])} of {len(seeds)}"
        more.append((case, *figures, *found_rates, hits))
    second = ("years", "yearly masks right", "smoothed years right", "uncertain", "with flickers")
    second += ("gain", "loss", "intervals that hold the rates")
    return f"{table(head, rows)}\n\n{table(second, more)}"


_FIGURES: Final = ("precision", "recall", "F1", "share")


def _name_case(run: Result) -> str:
    return f"{run['years']}{', fallow' if run['fallow'] else ''}"


def _range_text(values: list[float]) -> str:
    mean, low, high = (f"{value:.3f}" for value in summarize(values))
    return f"{mean} ({low} to {high})"


def main() -> None:
    """Measure what is asked for and print it."""
    parser = make_parser(__doc__)
    parser.add_argument("--seeds", type=int, help=f"worlds of each kind; default {SEEDS}")
    parser.add_argument("--tile", type=int, help="one whole tile at so many meters instead")
    parser.add_argument("--threads", type=int, default=2, help="of the tile; default 2")
    options = parser.parse_args()
    if options.tile:
        run = partial(measure_tile, options.tile, options.threads)
        put_results(options.output, {"tile": show("A tile of years", run, report_tile)})
        return
    sizes = dict(QUICK) if options.quick else {}
    if options.seeds:
        sizes["seeds"] = options.seeds
    put_results(options.output, {"years": show("Years", lambda: measure(**sizes), report)})


if __name__ == "__main__":
    main()
