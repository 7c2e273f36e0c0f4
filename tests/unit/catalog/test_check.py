"""Every broken promise of a catalog is found and named; a whole one has none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cropmask.catalog.check import Checked, Depth, verify_catalog
from cropmask.catalog.publish import publish_catalog
from cropmask.errors import Misconfigured
from cropmask.remote.fetch import ReadOptions
from cropmask.store.folder import FolderStore
from tests.demo_run import Results
from tests.servers import serve_files
from tests.stac_validation import offline_schemas


@pytest.fixture
def copy(results: Results, tmp_path: Path) -> Results:
    return results.copied(tmp_path / "results")


def check(root: object, **depth: bool) -> Checked:
    return verify_catalog(str(root), ReadOptions(retries=0), offline_schemas(), Depth(**depth))


def first_item(copy: Results) -> Path:
    return copy.items()[0]


def edit(path: Path, **changes: object) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, **changes}))


def test_a_whole_catalog_has_no_problem(copy):
    found = check(copy.folder / "catalog.json")
    assert found.problems == []
    # Root, two products, models, three maps, four models.
    assert (found.documents, found.rasters) == (13, 12)
    assert found.files >= 12


def harm_band(copy: Results) -> None:
    path = next(first_item(copy).parent.glob("*_mask.tif"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def harm_kind(copy: Results) -> None:
    """A plain TIFF with a true checksum is no cloud-optimized one."""
    import hashlib

    import rasterio

    item = first_item(copy)
    document = json.loads(item.read_text())
    asset = document["assets"]["mask"]
    path = item.parent / asset["href"]
    with rasterio.open(path) as raster:
        pixels, profile = raster.read(), raster.profile
    profile.update(driver="GTiff", tiled=False)
    for name in ("blockxsize", "blockysize", "interleave"):
        profile.pop(name, None)
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(pixels)
    content = path.read_bytes()
    asset["file:size"] = len(content)
    asset["file:checksum"] = f"1220{hashlib.sha256(content).hexdigest()}"
    item.write_text(json.dumps(document))


def harm_shape(copy: Results) -> None:
    item = first_item(copy)
    document = json.loads(item.read_text())
    document["properties"]["proj:shape"] = [961, 960]
    item.write_text(json.dumps(document))


HARMS = {
    "SHA-256": harm_band,
    "cloud-optimized": harm_kind,
    "proj:shape": harm_shape,
    "does not exist": lambda copy: next(first_item(copy).parent.glob("*_prob.tif")).unlink(),
    "which does not exist": lambda copy: first_item(copy).unlink(),
    "which cannot be read": lambda copy: first_item(copy).write_text("{"),
    "Validation failed": lambda copy: edit(first_item(copy), bbox="wide"),
    "no whole parquet": lambda copy: os.truncate(next(copy.folder.rglob("items.parquet")), 999),
    "bytes, not": lambda copy: os.truncate(next(first_item(copy).parent.glob("*.sha1")), 3),
}


@pytest.mark.parametrize("words", HARMS)
def test_what_is_broken_is_named(copy, words):
    HARMS[words](copy)
    found = check(copy.folder / "catalog.json")
    assert any(words in str(problem) for problem in found.problems), found.problems
    assert str(copy.folder) in str(found.problems[0])


def test_a_quick_look_reads_no_files(copy):
    harm_band(copy)
    found = check(copy.folder / "catalog.json", contents=False)
    assert (found.problems, found.files, found.rasters) == ([], 0, 0)


def test_no_catalog_is_one_line(tmp_path):
    with pytest.raises(Misconfigured, match="there is no catalog"):
        check(tmp_path / "catalog.json")


def test_a_published_catalog_is_whole_over_http(copy, tmp_path):
    target = FolderStore(tmp_path / "public")
    with serve_files(target.root) as server:
        publish_catalog(FolderStore(copy.folder), target, server.url, data=True)
        found = check(f"{server.url}/catalog.json")
        assert found.problems == []
        assert (found.documents, found.rasters) == (13, 12)
    item = json.loads(next(target.root.rglob("*x221*.stac-item.json")).read_text())
    assert all("://" in asset["href"] for asset in item["assets"].values())
    assert {link["rel"] for link in item["links"]} >= {"self", "root", "collection", "parent"}
    rows = (target.root / "products.csv").read_text().splitlines()[1:]
    assert all(row.split(",")[1].startswith(f"{server.url}/crop_mask_") for row in rows)


def test_what_is_no_stac_document_is_published_as_it_is(copy, tmp_path):
    (copy.folder / "crop_mask_eastern/notes.json").write_text('{"stac_version": "1.0.0"}')
    (copy.folder / "crop_mask_eastern/odd.json").write_text('{"type": "Feature", "links": 5}')
    target = FolderStore(tmp_path / "public")
    publish_catalog(FolderStore(copy.folder), target, "s3://bucket/maps")
    assert target.get("crop_mask_eastern/notes.json") == b'{"stac_version": "1.0.0"}'
    assert target.get("crop_mask_eastern/odd.json") == b'{"type": "Feature", "links": 5}'


def test_without_data_only_documents_are_published(copy, tmp_path):
    target = FolderStore(tmp_path / "public")
    publish_catalog(FolderStore(copy.folder), target, "s3://bucket/maps/")
    names = {path.suffix for path in target.root.rglob("*") if path.is_file()}
    assert ".tif" not in names
    item = json.loads(next(target.root.rglob("*x221*.stac-item.json")).read_text())
    assert item["assets"]["mask"]["href"].startswith("s3://bucket/maps/crop_mask_eastern/1-1-0/")


@pytest.mark.parametrize("base", ["data.example.org", "/data"])
def test_a_base_must_be_an_address(copy, tmp_path, base):
    with pytest.raises(Misconfigured, match="is no address"):
        publish_catalog(FolderStore(copy.folder), FolderStore(tmp_path / "public"), base)


def test_a_catalog_is_not_published_onto_itself(copy):
    store = FolderStore(copy.folder)
    with pytest.raises(Misconfigured, match="onto itself"):
        publish_catalog(store, store, "https://data.example.org")
