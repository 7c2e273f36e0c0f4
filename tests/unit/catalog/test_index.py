"""What was really indexed is counted from the index, before and after, not from exit codes."""

from __future__ import annotations

import json
import subprocess

from cropmask.catalog.index import compare_index, tool_settings
from cropmask.grid import Tile
from cropmask.results.itemcache import load_items
from cropmask.store.doors import open_store
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import StoreOptions
from cropmask.testing.store import MemoryStore
from tests.demo_run import put_item


def test_each_item_is_counted_once_by_its_run():
    store = MemoryStore()
    keys = [put_item(store, Tile(220 + number, 75)) for number in range(5)]
    items = [json.loads(store.get(key)) for key in keys]
    _added, updated, same, old, absent = (item["id"] for item in items)
    runs = {item["id"]: item["properties"]["cropmask:run_key"] for item in items}
    before = {updated: "an old run", same: runs[same], old: "an old run", "another": "a run"}
    after = {**runs, old: "an old run", "another": "a run"}
    del after[absent]
    found = compare_index(load_items(store), before, after, "nothing")
    assert (found.expected, found.added, found.updated, found.unchanged) == (5, 1, 1, 1)
    assert (found.outdated, found.missing) == ((keys[3],), (keys[4],))


def test_programs_reach_the_same_object_store_whatever_gdal_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_S3_ENDPOINT", "127.0.0.1:9000")
    store = open_store("s3://bucket/maps", StoreOptions(endpoint_url="http://127.0.0.1:9000"))
    done = subprocess.run(
        [*tool_settings(store), "env"], capture_output=True, text=True, check=True
    )
    seen = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9000"
    assert "AWS_S3_ENDPOINT" not in seen
    assert tool_settings(FolderStore(tmp_path)) == []
