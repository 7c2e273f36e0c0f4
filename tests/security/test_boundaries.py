"""Hostile boundaries and areas of interest: refused before there is much work."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import shapely

from cropmask.contract import ExitCode
from cropmask.errors import Misconfigured, Reason
from cropmask.remote.limits import ReadLimits
from cropmask.sources.boundary import load_boundary

SECONDS: Final = 10
"""Longest CPU time of a refusal; with the limits lifted, most of these take minutes."""
Points = list[list[float]]


def ring_of(points: Points) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[*points, points[0]]]}


def star(spikes: int, inner: float) -> dict[str, Any]:
    """Spikes around a center; the nearer to it they begin, the more they lie over each other."""
    angles = [math.pi * i / spikes for i in range(2 * spikes)]
    reach = [10.0 if i % 2 else inner for i in range(2 * spikes)]
    points = zip(angles, reach, strict=True)
    return ring_of([[30 + r * math.cos(a), r * math.sin(a)] for a, r in points])


def comb(teeth: int, height: float) -> dict[str, Any]:
    width = 20 / teeth
    points = [[10 + width * (i + side / 2), height * side] for i in range(teeth) for side in (0, 1)]
    return ring_of([*points, [30, -1], [10, -1]])


def scribble(points: int) -> dict[str, Any]:
    """A ring that crosses itself all the time."""
    return ring_of(
        [
            [10 + 20 * (i * 7919 % points) / points, -5 + 10 * (i * 104_729 % points) / points]
            for i in range(points)
        ]
    )


def square(west: float, south: float, size: float) -> Points:
    east, north = west + size, south + size
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def several(squares: Iterator[Points] | list[Points]) -> dict[str, Any]:
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in squares]}


def lattice(bars: int) -> dict[str, Any]:
    """Bars across bars: few corners, and a crossing of each with each."""
    gap = 10 / bars
    upright = ([[x, 0], [x + gap / 2, 0], [x + gap / 2, 10], [x, 10], [x, 0]] for x in steps(bars))
    lying = ([[0, y], [10, y], [10, y + gap / 2], [0, y + gap / 2], [0, y]] for y in steps(bars))
    return several([*upright, *lying])


def steps(count: int) -> list[float]:
    return [10 * i / count for i in range(count)]


def with_holes(count: int) -> dict[str, Any]:
    side = math.isqrt(count)
    holes = [square(10 + 0.05 * x, 0.05 * y, 0.02) for x in range(side) for y in range(side)]
    return {"type": "Polygon", "coordinates": [square(9, -1, 40), *holes]}


def crs(name: object) -> dict[str, Any]:
    return {"crs": {"type": "name", "properties": {"name": name}}}


def text_of(document: object) -> str:
    return document if isinstance(document, str) else json.dumps(document)


TOO_MUCH: Final[dict[str, tuple[Callable[[], object], str]]] = {
    "10 000 spikes": (lambda: star(10_000, 1), "boundary_"),
    "10 000 teeth": (lambda: comb(10_000, 10), "boundary_vertices"),
    "a million corners": (lambda: comb(250_000, 0.001) | {"x": "y"}, "boundary_vertices"),
    "a scribble": (lambda: scribble(1500), "boundary_overlaps"),
    "a large scribble": (lambda: scribble(100_000), "boundary_vertices"),
    "a lattice": (lambda: lattice(500), "boundary_overlaps"),
    "one square many times": (lambda: several([square(10, 0, 0.1)] * 29_000), "boundary_overlaps"),
    "many islands": (
        lambda: several([square(10 + i % 200 / 50, i // 200 / 50, 0.01) for i in range(31_000)]),
        "boundary_rings",
    ),
    "many holes": (lambda: with_holes(31_000), "boundary_rings"),
    "long edges in meters": (
        lambda: several([square(i, i, 1e12) for i in range(20)]) | crs("EPSG:6933"),
        "boundary_vertices",
    ),
    "edges without an end": (
        lambda: ring_of([[0, 0], [1e300, 0], [1e300, 1e300]]) | crs("EPSG:6933"),
        "boundary_vertices",
    ),
    "many bytes": (lambda: " " * 32_000_001 + "{}", "boundary_bytes"),
    "many bytes of properties": (
        lambda: {"type": "Feature", "properties": "x" * 32_000_001, "geometry": None},
        "boundary_bytes",
    ),
    "deep lists": (lambda: "[" * 100_000, "nesting"),
    "deep collections": (
        lambda: '{"type": "GeometryCollection", "geometries": [' * 5000 + "1" + "]}" * 5000,
        "nesting",
    ),
    "deep coordinates": (
        lambda: '{"type": "Polygon", "coordinates": ' + "[" * 900 + "]" * 900 + "}",
        "nesting",
    ),
}

ODD: Final[dict[str, object]] = {
    "a number that is none": '{"type": "Polygon", "coordinates": [[[NaN, 0], [1, 1], [0, 1]]]}',
    "a number of 5000 digits": '{"type": "Polygon", "coordinates": [[[%s, 0]]]}' % ("1" * 5000),
    "a number of 400 digits": '{"type": "Polygon", "coordinates": [[[%s, 0], [1, 1], [0, 1]]]}'
    % ("1" * 400),
    "coordinates of objects": {"type": "Polygon", "coordinates": [[{"a": 1}] * 4]},
    "coordinates of truth": {"type": "Polygon", "coordinates": [[[True, None]] * 4]},
    "coordinates that are one": {"type": "Polygon", "coordinates": 1},
    "rings that are texts": {"type": "MultiPolygon", "coordinates": ["abc"]},
    "a feature of lists": {"type": "Feature", "geometry": []},
    "features in features": {"type": "FeatureCollection", "features": {"type": "Feature"}},
    "a file of the machine": ring_of([[0, 0], [1, 0], [1, 1]])
    | crs("+proj=longlat +nadgrids=/etc/passwd"),
    "a pipeline": ring_of([[0, 0], [1, 0], [1, 1]])
    | crs("+proj=pipeline +step +proj=cart +step +proj=affine"),
    "a system in many words": ring_of([[0, 0], [1, 0], [1, 1]]) | crs("PROJCS[" * 50_000),
    "a system of parameters": ring_of([[0, 0], [1, 0], [1, 1]])
    | {"crs": {"proj": "longlat", "nadgrids": "/etc/passwd"}},
    "a system on a server": ring_of([[0, 0], [1, 0], [1, 1]])
    | crs("http://169.254.169.254/latest"),
    "half a pair of signs": b"\xed\xa0\x80{}".decode("latin-1"),
    "zeros": "\0" * 1000,
}


@pytest.fixture
def put(tmp_path: Path) -> Callable[[object], Path]:
    def to_file(document: object) -> Path:
        path = tmp_path / "area.geojson"
        path.write_text(text_of(document), encoding="utf-8")
        return path

    return to_file


def assert_refused(path: Path) -> Misconfigured:
    start = time.process_time()
    with pytest.raises(Misconfigured) as raised:
        load_boundary(path)
    assert time.process_time() - start < SECONDS
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)
    return raised.value


@pytest.mark.parametrize("name", TOO_MUCH)
def test_polygons_of_too_much_work(put: Callable[[object], Path], name: str) -> None:
    make, limit = TOO_MUCH[name]
    error = assert_refused(put(make()))
    assert error.reason is Reason.OVER_LIMIT
    assert f"exceeds the limit {limit}" in str(error)


@pytest.mark.parametrize("name", ODD)
def test_polygons_that_are_none(put: Callable[[object], Path], name: str) -> None:
    assert_refused(put(ODD[name]))


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.geojson")
    for path in (tmp_path / "pipe.geojson", Path("/dev/zero"), Path("/dev/stdin"), tmp_path):
        assert_refused(path)
    with (tmp_path / "sparse.geojson").open("wb") as file:
        file.truncate(40_000_000_000)
    tracemalloc.start()
    assert "boundary_bytes" in str(assert_refused(tmp_path / "sparse.geojson"))
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()


HONEST: Final[dict[str, tuple[Callable[[], object], int]]] = {
    "a gear of 10 000 teeth": (lambda: star(10_000, 9.98), 1),
    "100 000 corners": (lambda: comb(50_000, 0.01), 1),
    "10 000 islands": (
        lambda: several(
            [square(10 + 0.2 * (i % 100), 0.2 * (i // 100), 0.1) for i in range(10**4)]
        ),
        10_000,
    ),
    "10 000 neighbors": (
        lambda: several([square(i % 100 / 8, i // 100 / 8, 1 / 8) for i in range(10**4)]),
        1,
    ),
    "squares in squares": (
        lambda: several([square(10 + x / 9, x / 9, 2 - x / 6) for x in steps(1000)]),
        1,
    ),
    "2 500 holes": (lambda: with_holes(2500), 1),
    "a bow tie": (lambda: ring_of([[0, 0], [1, 1], [1, 0], [0, 1]]), 2),
}


@pytest.mark.parametrize("name", HONEST)
def test_large_polygons_that_mean_well(put: Callable[[object], Path], name: str) -> None:
    make, parts = HONEST[name]
    path = put(make())
    start = time.process_time()
    boundary = load_boundary(path)
    assert time.process_time() - start < SECONDS
    assert boundary.is_valid
    assert shapely.get_num_geometries(boundary) == parts


def test_limits_are_lifted_by_name(put: Callable[[object], Path]) -> None:
    path = put(comb(1000, 0.5))
    with pytest.raises(Misconfigured, match="boundary_vertices=1999"):
        load_boundary(path, ReadLimits(boundary_vertices=1999))
    assert load_boundary(path, ReadLimits(boundary_vertices=20_000)).area > 0


@pytest.mark.parametrize(
    "command",
    [
        ("tiles", "--region", "eastern", "--aoi", "{}"),
        ("tiles", "--region", "eastern", "--boundary", "{}"),
        ("plan", "--region", "eastern", "--aoi", "{}"),
        ("submit", "--region", "eastern", "--aoi", "{}", "--dry-run"),
        ("demo", "--region", "eastern", "--boundary", "{}", "--output", "x"),
    ],
)
def test_commands_have_the_same_limits(
    put: Callable[[object], Path], tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = put(comb(1000, 0.5))
    words = [str(path) if word == "{}" else word for word in command]
    environ = {**os.environ, "CROPMASK_LIMITS": "boundary_vertices=1000", "HOME": str(tmp_path)}
    run = [sys.executable, "-c", "from cropmask.cli.main import main; main()", *words]
    done = subprocess.run(
        run, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == ExitCode.MISCONFIGURED, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert "exceeds the limit boundary_vertices=1000" in lines[0]
