"""The same plan from every kind of catalog: a folder, S3, HTTP, a STAC API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from pyproj import Transformer

from cropmask.grid import CRS, Tile
from cropmask.operate.plan import make_plan
from cropmask.operate.planfile import Need, Plan
from cropmask.remote.fetch import ReadOptions
from cropmask.site.site import open_site
from cropmask.sources.bands import GEOMAD
from cropmask.sources.catalogs import open_catalog
from cropmask.sources.gather import Listed, gather
from tests.clouds import serve_aws, use_made_up_credentials
from tests.regions import YEAR, RegionWorld, block, make_region
from tests.servers import serve_files, serve_stac_api

NOW = datetime(2026, 7, 4, 8, 15, tzinfo=UTC)
TILES = block(3, 2)


@pytest.fixture
def world(tmp_path: Path) -> RegionWorld:
    return make_region(tmp_path / "world", TILES, without=TILES[:1], years=(2018, 2019))


def plan_from(world: RegionWorld, catalog: str, **read: Any) -> Plan:
    site = open_site({}, {"catalog": catalog, "output": str(world.folder / "out")})
    site = replace(site, read=replace(site.read, **read))
    return make_plan(str(world.region), YEAR, site, now=NOW)


def keys(plan: Plan) -> list[tuple[Tile, Need, str | None]]:
    return [(planned.tile, planned.need, planned.run_key) for planned in plan.tiles]


def test_a_stac_api_gives_the_plan_of_the_static_catalog(world: RegionWorld) -> None:
    items = [json.loads(path.read_text()) for path in world.items.rglob("*.stac-item.json")]
    degrees = Transformer.from_crs(CRS, 4326, always_xy=True)
    for item in items:
        left, bottom, right, top = Tile.parse(item["properties"]["odc:region_code"]).bounds
        item["bbox"] = [*degrees.transform(left, bottom), *degrees.transform(right, top)]
    with serve_stac_api(items) as api:
        plan = plan_from(world, api.url)
    assert keys(plan) == keys(plan_from(world, str(world.catalog)))
    assert plan.counts[Need.NEW] == 5
    (lost,) = plan.of(Need.NO_INPUT)
    assert "has no GeoMAD there" in str(lost.detail)


def test_http_gives_the_plan_of_the_folder(world: RegionWorld) -> None:
    with serve_files(world.folder) as server:
        plan = plan_from(world, f"{server.url}/catalog.json")
    assert keys(plan) == keys(plan_from(world, str(world.folder)))


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    use_made_up_credentials(monkeypatch, tmp_path)
    with serve_aws() as address:
        yield address


def put_world(world: RegionWorld, endpoint: str) -> None:
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="planned")
    for path in world.folder.rglob("*.json"):
        client.upload_file(str(path), "planned", str(path.relative_to(world.folder)))


@pytest.mark.parametrize(
    "place", ["s3://planned/gm_s2_semiannual/", "s3://planned", "s3://planned/catalog.json"]
)
def test_s3_gives_the_plan_of_the_folder(world: RegionWorld, endpoint: str, place: str) -> None:
    put_world(world, endpoint)
    plan = plan_from(world, place, s3_endpoint=endpoint, s3_region="us-east-1")
    assert keys(plan) == keys(plan_from(world, str(world.catalog)))


def test_a_bucket_in_the_usual_layout_is_listed_by_column(
    world: RegionWorld, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_world(world, endpoint)
    options = ReadOptions(s3_endpoint=endpoint, s3_region="us-east-1")
    catalog = open_catalog("s3://planned/gm_s2_semiannual", options)
    listed: list[str] = []

    def find_names(prefix: str, options: ReadOptions, suffix: str) -> list[str]:
        listed.append(prefix)
        return original(prefix, options, suffix)

    from cropmask.sources import gather as module

    original = module.find_names
    monkeypatch.setattr(module, "find_names", find_names)
    quick = gather(catalog, [(GEOMAD, YEAR)], TILES[1:])
    assert isinstance(quick, Listed)
    columns = [f"s3://planned/gm_s2_semiannual/x{x}/" for x in (200, 201, 202)]
    assert sorted(listed) == columns, "and not the whole bucket"
    for tile in TILES[1:]:
        found = {item.href for item in quick.find_items(GEOMAD, tile, YEAR)}
        assert found == {item.href for item in catalog.find_items(GEOMAD, tile, YEAR)}
        assert len(found) == 2
