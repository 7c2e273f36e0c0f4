"""The queue and the records of runs stand among the results; nothing takes them for a product."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropmask.contract import RUNS
from cropmask.errors import Misconfigured
from cropmask.fleet.recordfiles import find_runs, put_attempt
from cropmask.fleet.records import AttemptRecord, State
from cropmask.queue.protocol import Message
from cropmask.region.region import load_region
from cropmask.results.finder import find_datasets
from cropmask.results.itemcache import load_items
from cropmask.site.site import QUEUE_FOLDER, open_site
from cropmask.store.doors import open_store

PRODUCT = load_region("eastern").product


def test_queue_and_runs_are_no_products(tmp_path: Path):
    site = open_site({}, {"output": tmp_path})
    queue, store = site.queue(), open_store(str(tmp_path))
    queue.send([Message("x215y075"), Message("b"), Message("c")])
    for _ in range(2):
        lease = queue.lease(seconds=60)
        assert lease is not None
    queue.park(lease, "r", "e")
    record = AttemptRecord(
        tile="x215y075",
        region="eastern",
        period="2019--P1Y",
        product=PRODUCT.name,
        run="run-1",
        attempt="ab",
        state=State.SUCCEEDED,
        started="2026-01-01T00:00:00.000000+00:00",
    )
    put_attempt(store, record)
    assert {path.name for path in tmp_path.iterdir()} == {QUEUE_FOLDER, RUNS}
    assert find_datasets(store, PRODUCT) == ()
    assert load_items(store).products == {}
    assert find_runs(store, PRODUCT.name, "2019--P1Y") == ()
    assert list(store.list("crop_mask_")) == []


@pytest.mark.parametrize("name", [QUEUE_FOLDER, RUNS, "_anything"])
def test_no_region_is_named_like_them(tmp_path: Path, name: str):
    (tmp_path / "boundary.geojson").touch()
    path = tmp_path / "region.toml"
    path.write_text(
        f'name = "{name}"\ntitle = "t"\nversion = "1.0.0"\nboundary = "boundary.geojson"\n'
    )
    with pytest.raises(Misconfigured, match="'name'"):
        load_region(str(path))
