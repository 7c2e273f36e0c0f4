"""A tile as a whole process: CPU, wall time, memory, and what that costs.

    python -m benchmarks.tile [--quick] [--edges 1200,9600] [--threads 1,2] [--output tile.json]

Each line is a process of its own that reads the 24 COGs of the demo world and the layers beside
them, maps, and writes three COGs. Parts of the tile lie in its middle, at the same resolution. The
world is made before, and every kernel is compiled before.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.inputs import ensure_inputs, find_resolution
from benchmarks.measure import (
    Result,
    Usage,
    make_parser,
    numbers,
    put_results,
    run_module,
    show,
    table,
    threads_text,
)
from benchmarks.models import MEASURED
from cropmask.product import Recipe
from cropmask.region.region import load_region

EDGES: Final = (1200, 2400, 4800, 9600)
TILE_MPX: Final = 92.16
TILES: Final = {"Eastern, 390 tiles": 390, "continent, 3855 tiles": 3855}


@dataclass(frozen=True, slots=True)
class Price:
    """What a machine costs; jobs share it whole."""

    usd_per_hour: float = 1.20
    cpus: int = 64
    memory_gb: float = 512.0

    def jobs(self, cpus: int, memory_gb: float) -> int:
        """Jobs that fit a machine, by CPU and by memory."""
        return max(1, min(int(self.cpus // cpus), int(self.memory_gb // memory_gb)))

    def per_tile(self, cpus: int, memory_gb: float, seconds: float) -> float:
        """US dollars of one job."""
        return self.usd_per_hour * seconds / 3600 / self.jobs(cpus, memory_gb)


ORIGINAL: Final = {"cpus": 12, "memory_gb": 120.0, "seconds": 2400.0}
"""What the published pipeline reserves for a tile, and takes at most."""


def measure(
    edges: Sequence[int] = EDGES,
    threads: Sequence[int] = (1, 2),
    recipes: Sequence[Recipe] = MEASURED,
    *,
    resolution: int = 10,
    price: Price | None = None,
) -> Result:
    """Usage of every size, model and number of threads."""
    request = ensure_inputs(resolution)
    region = load_region("eastern")
    runs = []
    for recipe in recipes:
        model = str(region.model(recipe).file)
        run_module("benchmarks.part", {**request, "model": model, "edge": 64, "threads": 1})
        for edge in edges:
            for count in threads:
                asked = {**request, "model": model, "edge": edge, "threads": count}
                used = run_module("benchmarks.part", asked)
                runs.append(_line(recipe, edge, count, used))
    return {"resolution": resolution, "price": asdict(price or Price()), "runs": runs}


def _line(recipe: Recipe, edge: int, threads: int, used: Usage) -> Result:
    return {
        "recipe": recipe,
        "edge": edge,
        "threads": threads,
        "mpx": edge * edge / 1e6,
        "cpu": used.cpu,
        "wall": used.wall,
        "peak": used.peak,
        **used.answer,
    }


def report(found: Result) -> str:
    """The growth table and the arithmetic of the cost."""
    return f"{_growth(found)}\n\n{_stages(found)}\n\n{_costs(found)}"


def _growth(found: Result) -> str:
    one = {(run["recipe"], run["edge"]): run for run in found["runs"] if run["threads"] == 1}
    rows = []
    for run in found["runs"]:
        single = one.get((run["recipe"], run["edge"]))
        rows.append(
            (
                run["recipe"],
                run["edge"],
                run["threads"],
                f"{run['cpu']:.1f}",
                f"{run['wall']:.1f}",
                f"{run['peak'] / 1e9:.2f}",
                f"{run['cpu'] / run['mpx']:.2f}",
                f"{single['wall'] / run['wall']:.2f}" if single else "",
                f"{run['first_strip']:.1f}",
            )
        )
    head = (
        "Model",
        "edge, px",
        "threads",
        "CPU s",
        "wall s",
        "peak GB",
        "CPU s/Mpx",
        "times 1 thread",
        "s to first block",
    )
    return (
        f"Parts of the demo tile at {found['resolution']} m, whole processes with as many CPUs as "
        "computing threads.\n\n" + table(head, rows)
    )


def _stages(found: Result) -> str:
    names = list(dict.fromkeys(stage for run in found["runs"] for stage in run["stages"]))
    rows = [
        (
            run["recipe"],
            run["edge"],
            run["threads"],
            *(f"{run['stages'].get(name, 0.0):.1f}" for name in names),
        )
        for run in found["runs"]
    ]
    return (
        "CPU seconds by stage; `classify` includes reading, `start` the imports; stages that "
        "overlap count where the later one ends.\n\n"
        + table(("Model", "edge, px", "threads", *names), rows)
    )


def _costs(found: Result) -> str:
    price = Price(**found["price"])
    largest = max(run["edge"] for run in found["runs"])
    rows = [_cost("published, as reserved", price, ORIGINAL)]
    for run in found["runs"]:
        if run["edge"] == largest:
            scale = TILE_MPX / run["mpx"]
            name = f"{run['recipe']}, {threads_text(run['threads'])}"
            if scale != 1:
                name += f", {run['edge']} px x {scale:.2f}"
            used = {
                "cpus": run["threads"],
                "memory_gb": run["peak"] / 1e9,
                "seconds": run["wall"] * scale,
            }
            rows.append(_cost(name, price, used))
    head = ("Cost", "arithmetic", "cents a tile", *(f"USD, {name}" for name in TILES))
    note = (
        f"A machine of {price.cpus} CPUs and {price.memory_gb:g} GB at {price.usd_per_hour:.2f} "
        "USD/h holds as many jobs as CPUs and memory allow; a job costs price x wall time / jobs. "
        "Times are those of this machine, with nothing else running."
    )
    if largest * largest / 1e6 < TILE_MPX:
        note += (
            " Parts are scaled by their pixels, start-up included, their memory is not: a rough "
            "figure."
        )
    return f"{note}\n\n{table(head, rows)}"


def _cost(name: str, price: Price, used: dict[str, Any]) -> tuple[str, ...]:
    jobs = price.jobs(used["cpus"], used["memory_gb"])
    usd = price.per_tile(**used)
    return (
        name,
        f"min({price.cpus} / {used['cpus']}, {price.memory_gb:g} / {used['memory_gb']:.2f}) = "
        f"{jobs} jobs; {price.usd_per_hour:.2f} x {used['seconds']:.0f} / 3600 / {jobs}",
        f"{100 * usd:.3f}",
        *(f"{usd * tiles:.2f}" for tiles in TILES.values()),
    )


def add_price(parser: argparse.ArgumentParser) -> None:
    """Options of the price model."""
    default = Price()
    parser.add_argument("--usd-per-hour", type=float, default=default.usd_per_hour)
    parser.add_argument("--node-cpus", type=int, default=default.cpus)
    parser.add_argument("--node-memory-gb", type=float, default=default.memory_gb)


def find_price(options: argparse.Namespace) -> Price:
    """Price model of the options."""
    return Price(options.usd_per_hour, options.node_cpus, options.node_memory_gb)


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--edges", type=numbers, help="edges of parts in pixels")
    parser.add_argument("--threads", type=numbers, default=(1, 2))
    parser.add_argument("--models", default=",".join(MEASURED), help="forest, boosted or both")
    parser.add_argument("--resolution", type=int, help="meters; default 10")
    add_price(parser)
    options = parser.parse_args()
    resolution = find_resolution(options.resolution, quick=options.quick)
    edges = options.edges or ((600, 1200) if options.quick else EDGES)
    recipes: Any = options.models.split(",")
    price = find_price(options)
    found = show(
        "Tile",
        lambda: measure(edges, options.threads, recipes, resolution=resolution, price=price),
        report,
    )
    put_results(options.output, {"tile": found})


if __name__ == "__main__":
    main()
