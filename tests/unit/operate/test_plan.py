from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cropmask.errors import Misconfigured, Rejected
from cropmask.fleet.recordfiles import put_attempt
from cropmask.fleet.records import AttemptRecord, State
from cropmask.grid import Tile
from cropmask.operate.estimate import DEFAULT_THREADS, DEFAULTS, estimate
from cropmask.operate.plan import find_results, make_plan
from cropmask.operate.planfile import Need, Plan
from cropmask.product import Product, Recipe
from cropmask.region.region import load_region
from cropmask.site.site import Site, open_site
from cropmask.store.folder import FolderStore
from cropmask.task import Period, Task
from cropmask.testing.store import MemoryStore
from cropmask.tile.job import find_same, prepare
from cropmask.tile.runkey import ChangeCause
from tests.regions import NAME, YEAR, RegionWorld, block, make_region, put_result

NOW = datetime(2026, 7, 4, 8, 15, tzinfo=UTC)
TILES = block(2, 2)


@pytest.fixture
def world(tmp_path: Path) -> RegionWorld:
    return make_region(tmp_path / "world", TILES)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def site_of(world: RegionWorld, out: Path, **options: object) -> Site:
    return open_site({}, {"catalog": str(world.catalog), "output": str(out), **options})


def plan_of(
    world: RegionWorld,
    out: Path,
    *,
    recipe: Recipe = "forest",
    only: set[Tile] | None = None,
    **options: object,
) -> Plan:
    site = site_of(world, out, **options)
    return make_plan(str(world.region), YEAR, site, now=NOW, recipe=recipe, only=only)


def finish(world: RegionWorld, out: Path, *tiles: Tile) -> None:
    """Results as a worker leaves them, by the worker's own preparation."""
    site = site_of(world, out)
    for tile in tiles:
        put_result(site.store(), prepare(Task(tile, str(world.region), YEAR), site))


def needs(plan: Plan) -> dict[Need, int]:
    return {need: count for need, count in plan.counts.items() if count}


def test_without_results_everything_is_new(world: RegionWorld, out: Path) -> None:
    plan = plan_of(world, out)
    assert [planned.tile for planned in plan.tiles] == list(TILES)
    assert needs(plan) == {Need.NEW: 4}
    assert plan.has_work
    assert plan.whole_region
    assert not out.exists(), "planning writes nothing"


def test_run_keys_are_those_of_the_worker(world: RegionWorld, out: Path) -> None:
    site = site_of(world, out)
    for planned in plan_of(world, out).tiles:
        job = prepare(Task(planned.tile, str(world.region), YEAR), site)
        assert planned.run_key == str(job.run_key)


def test_results_with_the_same_run_key_are_unchanged(world: RegionWorld, out: Path) -> None:
    finish(world, out, *TILES[:3])
    assert needs(plan_of(world, out)) == {Need.NEW: 1, Need.UNCHANGED: 3}
    finish(world, out, TILES[3])
    done = plan_of(world, out)
    assert needs(done) == {Need.UNCHANGED: 4}
    assert not done.has_work
    assert done.estimate.tiles == 0


def change_limits(world: RegionWorld) -> None:
    world.edit("slope_percent = 50.0", "slope_percent = 40.0")


def change_boundary(world: RegionWorld) -> None:
    path = world.folder / "boundary.geojson"
    document = json.loads(path.read_text())
    ring = document["coordinates"][0][0]
    ring[0] = ring[-1] = [ring[0][0] + 1, ring[0][1]]
    path.write_text(json.dumps(document))


def change_model(world: RegionWorld) -> None:
    world.edit(load_region("eastern").model().sha256, "00" * 32)


def change_layer(world: RegionWorld) -> None:
    (world.ancillary / "slope.tif").write_text("other pixels")


def change_geomad(world: RegionWorld) -> None:
    for tile in TILES:
        path = world.item_file(tile, 1)
        document = json.loads(path.read_text())
        document["assets"]["nir"]["file:checksum"] = "1220" + "00" * 32
        path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "cause", "part"),
    [
        (change_limits, ChangeCause.CONFIGURATION, "limits"),
        (change_boundary, ChangeCause.CONFIGURATION, "boundary"),
        (change_model, ChangeCause.MODEL, "model"),
        (change_layer, ChangeCause.INPUTS, "ancillary"),
        (change_geomad, ChangeCause.INPUTS, "geomad"),
    ],
)
def test_a_change_is_named(
    world: RegionWorld, out: Path, change: object, cause: ChangeCause, part: str
) -> None:
    finish(world, out, TILES[0])
    change(world)  # type: ignore[operator]
    first, *others = plan_of(world, out).tiles
    assert first.need is Need.CHANGED
    assert [(found.cause, found.part) for found in first.changes] == [(cause, part)]
    assert {planned.need for planned in others} == {Need.NEW}


def test_another_recipe_resolution_or_software_is_a_change(
    world: RegionWorld, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(world, out, TILES[0])
    (change,) = plan_of(world, out, recipe="boosted").tiles[0].changes
    assert change.cause is ChangeCause.MODEL
    assert str(change.old).startswith("forest ")
    assert str(change.new).startswith("boosted ")
    (change,) = plan_of(world, out, resolution=20).tiles[0].changes
    assert (change.part, change.old, change.new) == ("resolution", "10", "20")
    monkeypatch.setattr("cropmask.tile.job.VERSION", "9.9.9")
    (change,) = plan_of(world, out).tiles[0].changes
    assert (change.cause, change.old, change.new) == (ChangeCause.SOFTWARE, "0.1.0", "9.9.9")


def test_another_version_is_another_place(world: RegionWorld, out: Path) -> None:
    finish(world, out, *TILES)
    world.edit('version = "1.0.0"', 'version = "1.1.0"')
    assert needs(plan_of(world, out)) == {Need.NEW: 4}


def test_a_tile_without_geomad_has_no_input(tmp_path: Path, out: Path) -> None:
    world = make_region(tmp_path / "w", TILES, without=TILES[:1], years=(2018, 2019))
    lost = plan_of(world, out).tiles[0]
    assert (lost.need, lost.reason, lost.run_key) == (Need.NO_INPUT, "missing geomad", None)
    half = world.item_file(TILES[1], 0)
    half.write_text(half.read_text().replace("2019-01-01", "2017-01-01"))
    other = plan_of(world, out).tiles[1]
    assert other.need is Need.NO_INPUT
    assert "2018-01--P6M, 2018-07--P6M" in str(other.detail), "says what the tile has"


def test_inputs_that_cannot_be_used_are_invalid(world: RegionWorld, out: Path) -> None:
    path = world.item_file(TILES[0], 0)
    document = json.loads(path.read_text())
    del document["assets"]["nir"]
    path.write_text(json.dumps(document))
    world.item_file(TILES[1], 0).write_text("{")
    first, second, *others = plan_of(world, out).tiles
    assert (first.need, first.reason) == (Need.INVALID, "missing band")
    assert (second.need, second.reason) == (Need.INVALID, "bad document")
    assert {planned.need for planned in others} == {Need.NEW}


def test_a_result_outside_the_region_is_an_orphan(tmp_path: Path, out: Path) -> None:
    large = make_region(tmp_path / "large", block(3, 2))
    finish(large, out, *block(3, 2))
    small = make_region(tmp_path / "small", TILES)
    plan = plan_of(small, out)
    assert plan.counts[Need.ORPHAN] == 2
    assert [planned.tile.x for planned in plan.of(Need.ORPHAN)] == [202, 202]
    part = plan_of(small, out, only={TILES[0]})
    assert part.counts[Need.ORPHAN] == 0, "of a part of a region nobody knows"
    assert not part.whole_region


def test_only_some_tiles(world: RegionWorld, out: Path) -> None:
    plan = plan_of(world, out, only={TILES[2]})
    assert [planned.tile for planned in plan.tiles] == [TILES[2]]
    with pytest.raises(Rejected, match=r"not in region .*x000y000"):
        plan_of(world, out, only={TILES[2], Tile(0, 0)})


def test_what_is_no_item_of_ours_is_changed(world: RegionWorld, out: Path) -> None:
    finish(world, out, *TILES)
    next(out.rglob("*x200y070*.stac-item.json")).write_text('{"type": "Feature"}')
    first, *others = plan_of(world, out).tiles
    assert first.need is Need.CHANGED
    assert "not an item of ours" in str(first.detail)
    assert {planned.need for planned in others} == {Need.UNCHANGED}


def test_a_layer_that_the_model_needs_stops_everything(world: RegionWorld, out: Path) -> None:
    (world.ancillary / "slope.tif").unlink()
    with pytest.raises(Misconfigured, match="slope"):
        plan_of(world, out)


def test_the_document_comes_back_as_it_was(tmp_path: Path, out: Path) -> None:
    world = make_region(tmp_path / "w", TILES, without=TILES[:1])
    finish(world, out, TILES[1])
    change_limits(world)
    plan = plan_of(world, out)
    assert Plan.from_json(plan.to_json()) == plan
    assert json.loads(plan.to_json())["counts"]["new"] == 2


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"plan": 2}', '{"plan": 1, "counts": {}}', "[" * 100_000],
)
def test_what_is_no_plan_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(Rejected, match="no plan of this version"):
        Plan.from_json(text)


def test_a_plan_with_another_tile_state_is_refused(world: RegionWorld, out: Path) -> None:
    document = json.loads(plan_of(world, out).to_json())
    document["tiles"][0]["need"] = "urgent"
    with pytest.raises(Rejected, match="no plan of this version"):
        Plan.from_json(json.dumps(document))


def test_results_are_found_by_one_listing_and_by_their_whole_name() -> None:
    class Counting(MemoryStore):
        listed = 0

        def list(self, prefix: str = ""):
            self.listed += 1
            return super().list(prefix)

    store, product = Counting(), Product("eastern", "1.1.0")
    for tile in ("x001y002", "x003y004"):
        folder = product.dataset_folder(tile, "2019--P1Y")
        store.put(f"{folder}/{product.item_name(tile, '2019--P1Y')}", b"", "")
        store.put(f"{folder}/{product.file_name(tile, '2019--P1Y', '_mask.tif')}", b"", "")
    store.put(f"{product.folder}/x9/{product.item_name('x009y009', '2019--P1Y')}", b"", "")
    store.put(f"{product.folder}/{product.item_name('x001y001', '2018--P1Y')}", b"", "")
    assert find_results(store, product, YEAR) == {Tile(1, 2), Tile(3, 4)}
    assert store.listed == 1


def record(started: str, **words: object) -> AttemptRecord:
    known = {
        "tile": "x001y002",
        "region": "eastern",
        "period": "2019--P1Y",
        "product": "crop_mask_eastern",
        "run": "run-1",
        "attempt": "ab",
        "state": State.SUCCEEDED,
        "seconds": 100.0,
        "threads": 2,
        "recipe": "forest",
        "resolution": 10,
        "peak_memory": 1_000_000_000,
    }
    return AttemptRecord(**{**known, "started": started, **words})  # type: ignore[arg-type]


def test_estimates_rest_on_like_records_of_the_region() -> None:
    store = MemoryStore()
    for minute in range(4):
        put_attempt(store, record(f"2026-07-04T08:{minute:02d}:00Z", seconds=100.0 + 20 * minute))
    put_attempt(store, record("2026-07-04T09:00:00Z", resolution=60, seconds=5.0))
    put_attempt(store, record("2026-07-04T09:01:00Z", recipe="boosted", seconds=50.0))
    put_attempt(store, record("2026-07-04T09:02:00Z", state=State.FAILED, seconds=900.0))
    put_attempt(store, record("2026-07-04T09:03:00Z", product="crop_mask_western", seconds=1.0))
    guess = estimate(store, "crop_mask_eastern", "forest", 10, 390)
    assert (guess.records, guess.seconds_per_tile) == (4, 130.0)
    assert guess.cpu_seconds_per_tile == 260.0
    assert guess.memory == 1_000_000_000
    assert "4 earlier tiles of crop_mask_eastern" in guess.basis
    assert guess.cpu_seconds == pytest.approx(390 * 260)
    assert guess.seconds_with(8) == 49 * 130.0
    assert guess.worker_seconds == 390 * 130.0


def test_estimates_fall_back_to_other_regions_then_to_the_default() -> None:
    store = MemoryStore()
    put_attempt(store, record("2026-07-04T09:03:00Z", product="crop_mask_western", seconds=1.0))
    guess = estimate(store, "crop_mask_eastern", "forest", 10, 1)
    assert (guess.seconds_per_tile, guess.records) == (1.0, 1)
    assert "other regions" in guess.basis
    guess = estimate(store, "crop_mask_eastern", "boosted", 10, 1)
    assert guess.records == 0
    assert guess.seconds_per_tile == DEFAULTS["boosted", 10][0]
    assert guess.cpu_seconds_per_tile == DEFAULT_THREADS * guess.seconds_per_tile
    assert "no earlier tile" in guess.basis


def test_the_worker_refuses_with_the_same_words(world: RegionWorld, out: Path) -> None:
    finish(world, out, TILES[0])
    change_limits(world)
    site = site_of(world, out)
    job = prepare(Task(TILES[0], str(world.region), YEAR), site)
    with pytest.raises(Rejected, match="is there with other limits: use --overwrite"):
        find_same(FolderStore(out), job)


def test_the_region_is_named_by_its_file(world: RegionWorld, out: Path) -> None:
    plan = plan_of(world, out)
    assert (plan.region, plan.name, plan.version) == (str(world.region), NAME, "1.0.0")
    assert plan.product == Product(NAME, "1.0.0")
    assert plan.period == Period.parse("2019")
