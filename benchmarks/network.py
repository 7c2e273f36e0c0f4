"""A tile whose rasters lie behind a network, beside the same job on local files in the same run.

    python -m benchmarks.network [--quick] [--full] [--rounds 3] [--output network.json]

Each line is a whole job as a process of its own. A server on loopback sends the demo world late and
no faster than told (:mod:`benchmarks.rangeserver`), to http and as a bucket of S3; a bucket of
moto's has the world at 100 m. Pixels must be equal everywhere. ``--full`` has every model and
latency; with several rounds, taken in turn, the fastest of each counts, as whatever disturbs only
makes slower.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rasterio

from benchmarks.inputs import ensure_inputs
from benchmarks.measure import (
    REPOSITORY,
    Result,
    Usage,
    make_parser,
    put_results,
    run_module,
    show,
    table,
)
from benchmarks.motobucket import BUCKET
from benchmarks.rangeserver import COUNTS
from cropmask.remote.fetch import EDGE_BYTES

MEGABYTES_PER_SECOND: Final = 200
MOTO_RESOLUTION: Final = 100
QUICK: Final[dict[str, Any]] = {"cases": (("boosted", 60, (0, 30)),), "resolution": 60}
FULL: Final = (
    ("forest", 10, (0, 30, 100)),
    ("boosted", 10, (0, 30, 100)),
    ("boosted", 60, (0, 30, 100)),
)
USUAL: Final = (("boosted", 10, (30,)), ("boosted", 60, (30,)))
"""Model, pixel size, and latencies in milliseconds."""
_THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job finds its inputs."""

    name: str
    base: str
    """Path or address of the world's folder."""
    counts: str | None = None
    """Address that tells what was asked for."""
    server: int | None = None
    """Process of the server."""
    environment: Mapping[str, str] | None = None

    def request(self, inputs: Result, recipe: str, resolution: int) -> Result:
        """What a job is told that finds the demo world here."""
        root = str(Path(inputs["catalog"]).parent)

        def moved(href: str | None) -> str | None:
            return href and href.replace(root, self.base)

        layers = {name: moved(href) for name, href in inputs["ancillary"].items()}
        asked = {"recipe": recipe, "resolution": resolution, "threads": _THREADS}
        moves = {"catalog": moved(inputs["catalog"]), "ancillary": layers}
        return {**inputs, **moves, **asked, "environment": dict(self.environment or {})}


def measure(
    cases: Sequence[tuple[str, int, Sequence[int]]] = USUAL,
    *,
    resolution: int = 10,
    rounds: int = 1,
    moto_resolution: int | None = MOTO_RESOLUTION,
) -> Result:
    """Every case over http at every latency, and at the last one from a bucket, too."""
    inputs = ensure_inputs(resolution)
    lines = []
    for recipe, pixel, latencies in cases:
        with _open_places(_root(inputs), latencies) as places:
            lines += _measure_case(inputs, recipe, pixel, places, rounds)
    if moto_resolution is not None:
        small = ensure_inputs(moto_resolution)
        with _serving("benchmarks.motobucket", str(_root(small))) as (url, process):
            bucket = Place("moto", f"s3://{BUCKET}", url, process, _bucket_of(url))
            near = Place("local", str(_root(small)))
            lines += _measure_case(small, "boosted", moto_resolution, [near, bucket], 1)
    return {"rate": MEGABYTES_PER_SECOND, "runs": lines}


def _root(inputs: Result) -> Path:
    return Path(inputs["catalog"]).parent


def _bucket_of(url: str) -> dict[str, str]:
    return {"CROPMASK_S3_ENDPOINT": url, "CROPMASK_S3_UNSIGNED": "1"}


@contextmanager
def _open_places(root: Path, latencies: Sequence[int]) -> Iterator[list[Place]]:
    """The local folder, and a server of it at each latency."""
    places = [Place("local", str(root))]
    with ExitStack() as stack:
        for latency in latencies:
            words = (str(root.parent), "--milliseconds", str(latency))
            rate = ("--megabytes-per-second", str(MEGABYTES_PER_SECOND))
            url, process = stack.enter_context(_serving("benchmarks.rangeserver", *words, *rate))
            places.append(Place(f"http, {latency} ms", f"{url}/{root.name}", url, process))
        bucket = f"s3, {latencies[-1]} ms"
        places.append(Place(bucket, f"s3://{root.name}", url, process, _bucket_of(url)))
        yield places


@contextmanager
def _serving(module: str, *words: str) -> Iterator[tuple[str, int]]:
    """Address of a server in a process of its own, and the process."""
    program = [sys.executable, "-m", module, *words]
    with subprocess.Popen(program, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.terminate()


def _measure_case(
    inputs: Result, recipe: str, resolution: int, places: Sequence[Place], rounds: int
) -> list[Result]:
    """A line for each place; they take turns."""
    needed = find_needed(inputs, resolution)
    lines: dict[str, Result] = {}
    run_module("benchmarks.job", {**places[0].request(inputs, recipe, resolution), "threads": 1})
    for _ in range(rounds):
        for place in places:
            before = _find_cpu_seconds(place.server)
            _take_counts(place)
            used = run_module("benchmarks.job", place.request(inputs, recipe, resolution))
            served = _find_cpu_seconds(place.server) - before
            line = _line(place, recipe, resolution, used, served, _take_counts(place), needed)
            known = lines.get(place.name)
            lines[place.name] = min(known or line, line, key=lambda each: each["seconds"])
    for line in lines.values():
        assert line["pixels"] == lines["local"]["pixels"], f"{line['place']} has other pixels"
    return list(lines.values())


def _line(
    place: Place,
    recipe: str,
    resolution: int,
    used: Usage,
    served: float,
    counts: Mapping[str, Sequence[int]],
    needed: Mapping[str, int],
) -> Result:
    bands = {name: counts[path] for path in counts if (name := Path(path).name) in needed}
    rasters = [counts[path] for path in counts if path.endswith(".tif")]
    return {
        "place": place.name,
        "recipe": recipe,
        "resolution": resolution,
        "wall": used.wall,
        "cpu": used.cpu,
        "peak": used.peak,
        "server_cpu": served,
        "requests": sum(number for number, _ in rasters),
        "bytes": sum(size for _, size in rasters),
        "band_requests": max((number for number, _ in bands.values()), default=0),
        "band_bytes": sum(size for _, size in bands.values()),
        "needed": sum(needed.values()),
        **used.answer,
    }


def find_needed(inputs: Result, resolution: int) -> dict[str, int]:
    """Bytes of each band's file that a job needs, by its name.

    All of it at its own pixel size, as its checksum is compared; else its head, and the blocks of
    the coarsest overview that is fine enough.
    """
    found = {}
    for path in sorted((_root(inputs) / "gm_s2_semiannual").rglob("*.tif")):
        with rasterio.open(path) as raster:
            shrink = resolution / raster.transform.a
            fine = [n for n, factor in enumerate(raster.overviews(1)) if factor <= shrink]
        size = path.stat().st_size
        if shrink > 1:
            with rasterio.open(path, **({"overview_level": fine[-1]} if fine else {})) as raster:
                size = min(size, EDGE_BYTES + _blocks_size(raster))
        found[path.name] = size
    return found


def _blocks_size(raster: Any) -> int:  # noqa: ANN401 (rasterio is untyped)
    (height, width), *_ = raster.block_shapes
    return sum(
        int(raster.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=1) or 0)
        for y in range(-(-raster.height // height))
        for x in range(-(-raster.width // width))
    )


def _take_counts(place: Place) -> dict[str, list[int]]:
    if place.counts is None:
        return {}
    with urllib.request.urlopen(place.counts + COUNTS) as answer:
        found: dict[str, list[int]] = json.load(answer)
    return found


def _find_cpu_seconds(process: int | None) -> float:
    """CPU seconds that a process took so far; 0 where the system does not tell."""
    try:
        fields = (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        )
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(found: Result) -> str:
    """The table."""
    local = {
        (run["recipe"], run["resolution"]): run["seconds"]
        for run in found["runs"]
        if run["place"] == "local"
    }
    rows = [
        (
            f"{run['recipe']}, {run['resolution']} m, {run['place']}",
            f"{run['seconds']:.1f}",
            f"{run['seconds'] / local[run['recipe'], run['resolution']]:.2f}",
            f"{run['cpu']:.1f}",
            f"{run['server_cpu']:.1f}" if run["requests"] else "",
            f"{run['peak'] / 1e9:.2f}",
            run["requests"] or "",
            run["band_requests"] or "",
            f"{run['bytes'] / 1e6:.1f}" if run["requests"] else "",
            f"{run['band_bytes'] / run['needed']:.3f}" if run["requests"] else "",
        )
        for run in found["runs"]
    ]
    head = (
        "Job, 2 threads",
        "wall s",
        "times local",
        "CPU s",
        "CPU s of the server",
        "peak GB",
        "requests",
        "most of a band",
        "MB",
        "MB of bands / needed",
    )
    return (
        f"A server on the same processors shares {found['rate']} MB/s among all answers. Requests "
        "and bytes are of rasters; needed are whole files where checksums are compared, else the "
        "head and the overview that is read.\n\n" + table(head, rows)
    )


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--full", action="store_true", help="all models and latencies")
    parser.add_argument("--rounds", type=int, default=1, help="rounds, of which the fastest counts")
    parser.add_argument("--resolution", type=int, help="meters of the world; default 10")
    options = parser.parse_args()
    words: dict[str, Any] = {"rounds": options.rounds, **({"cases": FULL} if options.full else {})}
    words |= QUICK if options.quick else {}
    if options.resolution is not None:
        words["resolution"] = options.resolution
        words["cases"] = (("boosted", options.resolution, (0, 30)),)
    found = show("Network", lambda: measure(**words), report)
    put_results(options.output, {"network": found})


if __name__ == "__main__":
    main()
