"""The segmentation against a slow one, written step by step from the published description."""

import itertools

import numpy as np
import pytest
import rasterio

from cropmask.core.segment import segment
from cropmask.core.stretch import NODATA_NDVI, stretch
from tests.shareddata import SHARED, needs_shared

SIDES = ((-1, 0), (0, -1), (0, 1), (1, 0))


def slow_segment(colors, valid, *, min_pixels, max_distance, clusters):
    """Dictionaries of pixels, scanned again and again; no table, no union-find, no histogram."""
    labels = np.zeros(valid.shape, np.int32)
    pixels = [tuple(map(int, at)) for at in np.argwhere(valid)]
    if not pixels:
        return labels
    color = {at: tuple(int(band[at]) for band in colors) for at in pixels}
    cluster = slow_clusters(color, pixels, clusters)
    segments, of = slow_clumps(cluster, pixels)
    if min_pixels > 1:
        slow_single_pixels(color, segments, of)
        segments = {number: segments[old] for number, old in enumerate(sorted(segments), 1)}
        of = {at: label for label, members in segments.items() for at in members}
        slow_steps(color, segments, of, min_pixels, max_distance)
    ordered = sorted(segments.values(), key=min)
    for number, members in enumerate(ordered, 1):
        for at in members:
            labels[at] = number
    return labels


def slow_clusters(color, pixels, clusters):
    every = 100 if len(pixels) >= 1_000_000 else max(1, len(pixels) // 10_000)
    sample = np.array([color[at] for at in pixels[::every]], dtype=np.int64)
    low, high = sample.min(axis=0), sample.max(axis=0)
    centers = [low + (k + 1) * ((high - low) / (clusters + 1)) for k in range(clusters)]
    centers = np.array(centers, dtype=np.float64)

    def nearest(points):
        difference = points[:, None, :].astype(np.float64) - centers[None, :, :]
        return (difference[..., 0] ** 2 + difference[..., 1] ** 2).argmin(axis=1)

    before = None
    for _ in range(300):
        chosen = nearest(sample)
        if before is not None and (chosen == before).all():
            break
        before = chosen
        for k in range(clusters):
            members = sample[chosen == k]
            if len(members):
                centers[k] = [int(total) / len(members) for total in members.sum(axis=0)]
    return dict(zip(pixels, nearest(np.array([color[at] for at in pixels])), strict=True))


def neighbors(at, among):
    return [other for dy, dx in SIDES if (other := (at[0] + dy, at[1] + dx)) in among]


def slow_clumps(cluster, pixels):
    of, segments = {}, {}
    for first in pixels:
        if first in of:
            continue
        label = len(segments) + 1
        of[first], members, todo = label, [], [first]
        while todo:
            at = todo.pop()
            members.append(at)
            for other in neighbors(at, cluster):
                if other not in of and cluster[other] == cluster[at]:
                    of[other] = label
                    todo.append(other)
        segments[label] = members
    return segments, of


def slow_single_pixels(color, segments, of):
    while True:
        choice = {}
        for label, members in segments.items():
            if len(members) > 1:
                continue
            at = members[0]
            options = [other for other in neighbors(at, of) if len(segments[of[other]]) > 1]
            if options:
                choice[label] = min(
                    options,
                    key=lambda other: sum(
                        (a - b) ** 2 for a, b in zip(color[at], color[other], strict=True)
                    ),
                )
        if not choice:
            return
        moves = [(label, of[other]) for label, other in choice.items()]
        for label, target in moves:
            slow_merge(segments, of, label, target)


def slow_merge(segments, of, label, target):
    for at in segments.pop(label):
        of[at] = target
        segments[target].append(at)


def slow_mean(color, members):
    count = np.float32(len(members))
    return [np.float32(sum(color[at][band] for at in members)) / count for band in (0, 1)]


def slow_nearest(color, segments, of, label, larger_than):
    around = {of[other] for at in segments[label] for other in neighbors(at, of)} - {label}
    mine = slow_mean(color, segments[label])
    found = []
    for other in around:
        if len(segments[other]) > larger_than:
            mean = slow_mean(color, segments[other])
            first, second = mine[0] - mean[0], mine[1] - mean[1]
            found.append((first * first + second * second, other))
    return min(found, default=None)


def slow_steps(color, segments, of, min_pixels, max_distance):
    """How many segments merged in a first pass of a step, in a later one, and in none."""
    first = later = none = 0
    for step in range(1, min_pixels):
        for number in range(10):
            moves = []
            tried = [label for label, members in segments.items() if len(members) == step]
            for label in tried:
                nearest = slow_nearest(color, segments, of, label, step)
                if nearest is not None and nearest[0] <= np.float32(max_distance) ** 2:
                    moves.append((label, nearest[1]))
            for label, target in moves:
                slow_merge(segments, of, label, target)
            if not moves:
                break
            first, later = (first, later + len(moves)) if number else (len(moves) + first, later)
        none += sum(len(members) == step for members in segments.values())
    return first, later, none


def noise(rng, shape):
    return rng.integers(0, 256, (2, *shape))


def few_colors(rng, shape):
    return rng.choice([0, 60, 61, 128, 200, 255], (2, *shape))


def staircase(rng, shape):
    """Strips of like size beside a field: each is turned down until the one beside it is taken."""
    y, x = np.indices(shape)
    shade = np.minimum((x + y * rng.integers(0, 2)) // 2, shape[1] // 2) * rng.integers(3, 12)
    return np.stack([shade % 256, (shade // 2 + rng.integers(0, 90)) % 256])


def chessboard(rng, shape):
    y, x = np.indices(shape)
    return np.stack([(x + y) % 2 * 90 + 50, (x + y) % 2 * rng.integers(1, 150)])


def parcels(rng, shape):
    y, x = np.indices(shape)
    angle = rng.uniform(0, np.pi)
    row = ((np.cos(angle) * y + np.sin(angle) * x + 99) // rng.uniform(3, 9)).astype(int)
    along = np.cos(angle) * x - np.sin(angle) * y + 99 + 5 * (row % 3)
    parcel = (row * 31 + (along // rng.uniform(4, 12)).astype(int)) % 400
    base = rng.integers(20, 236, (2, 400))
    return np.clip(base[:, parcel] + rng.normal(0, rng.uniform(0, 12), (2, *shape)), 0, 255)


def some_nodata(rng, shape):
    valid = np.ones(shape, bool)
    kind = rng.integers(4)
    if kind == 1:
        valid = rng.random(shape) > 0.1
    elif kind == 2:
        valid[shape[0] // 2], valid[:, shape[1] // 3] = False, False
    elif kind == 3:
        valid[2:9, 3:7] = False
    return valid


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("scene", [noise, few_colors, staircase, chessboard, parcels])
def test_equals_the_slow_one(scene, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 34, 2))
    colors = scene(rng, shape).astype(np.uint8)
    valid = some_nodata(rng, shape)
    kinds = ((100, 100.0), (25, np.inf), (3, 40.0), (1, 100.0))
    for min_pixels, max_distance in kinds if seed < 12 else kinds[:1]:
        settings = {
            "min_pixels": min_pixels,
            "max_distance": max_distance,
            "clusters": int(rng.choice([1, 5, 60])),
        }
        fast = segment(colors, valid, **settings)
        np.testing.assert_array_equal(fast, slow_segment(colors, valid, **settings), str(settings))


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_slow_one_where_sampled(seed):
    """From 20 000 valid pixels on, k-means does not see all of them."""
    rng = np.random.default_rng(seed)
    shape = (170, 180)
    colors = parcels(rng, shape).astype(np.uint8)
    valid = rng.random(shape) > 0.02
    settings = {"min_pixels": 30, "max_distance": 60.0, "clusters": 20}
    fast = segment(colors, valid, **settings)
    np.testing.assert_array_equal(fast, slow_segment(colors, valid, **settings))
    assert fast.max() > 50


@needs_shared("hesbaye")
@pytest.mark.parametrize("full", [True, False])
def test_equals_the_slow_one_on_real_fields(full):
    ndvi = []
    for period in ("2021-01--P6M", "2021-07--P6M"):
        folder = SHARED / "hesbaye/x186/y136" / period
        bands = []
        for name in ("B08", "B04"):
            with rasterio.open(folder / f"gm_s2_semiannual_x186y136_{period}_{name}.tif") as file:
                bands.append(file.read(1).astype(np.float64))
        nir, red = bands
        with np.errstate(invalid="ignore", divide="ignore"):
            index = (nir - red) / (nir + red)
        ndvi.append(np.where((nir > 0) & (red > 0), np.rint(10_000 * index), NODATA_NDVI))
    both = np.array(ndvi).astype(np.int16)
    valid = (both != NODATA_NDVI).all(axis=0)
    if not full:
        valid &= np.add.outer(np.arange(valid.shape[0]), np.arange(valid.shape[1])) % 41 > 3
    both[:, ~valid] = NODATA_NDVI
    settings = {"min_pixels": 100, "max_distance": 100.0, "clusters": 60}
    fast = segment(stretch(both), valid, **settings)
    np.testing.assert_array_equal(fast, slow_segment(stretch(both), valid, **settings))
    assert fast.max() > 20


def test_scenes_reach_every_branch():
    """The comparison means something: on these scenes all the steps have work to do."""
    seen = set()
    for scene, seed in itertools.product((noise, staircase, chessboard, parcels), range(4)):
        rng = np.random.default_rng(seed)
        colors = scene(rng, (30, 30)).astype(np.uint8)
        pixels = [(y, x) for y in range(30) for x in range(30)]
        color = {at: tuple(int(band[at]) for band in colors) for at in pixels}
        segments, of = slow_clumps(slow_clusters(color, pixels, 60), pixels)
        before = len(segments)
        slow_single_pixels(color, segments, of)
        seen |= {"singles"} if len(segments) < before else {"no singles"}
        first, later, none = slow_steps(color, segments, of, 100, 100.0)
        seen |= {"first pass"} if first else set()
        seen |= {"later pass"} if later else set()
        seen |= {"stays"} if none else set()
    assert seen >= {"singles", "no singles", "first pass", "later pass", "stays"}
