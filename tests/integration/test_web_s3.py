"""A web map of results in a bucket, written into a bucket: what a folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner

from cropmask.cli.web import web
from cropmask.grid import Tile
from cropmask.store.folder import FolderStore
from tests.clouds import serve_aws, use_made_up_credentials
from tests.results import put_result

NAMES = ("maplibre-gl.js", "maplibre-gl.css", "pmtiles.js", "LICENSE.txt")


def test_results_and_page_in_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        (tmp_path / name).write_text(name)
    monkeypatch.setattr("cropmask.catalog.mappage.ensure_map_library", lambda *_: tmp_path)
    put_result(FolderStore(tmp_path / "results"), Tile(215, 75))
    use_made_up_credentials(monkeypatch, tmp_path)
    with serve_aws() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        client: Any = boto3.client("s3")
        client.create_bucket(Bucket="maps")
        for path in (tmp_path / "results").rglob("*.*"):
            client.upload_file(str(path), "maps", str(path.relative_to(tmp_path)))
        for results, output in (("s3://maps/results", "s3://maps/web"), ("results", "web")):
            monkeypatch.chdir(tmp_path)
            words = ["--results", results, "--output", output, "--pixel-size", "400"]
            said = CliRunner().invoke(web, words, catch_exceptions=False)
            assert f"  page         {output}/index.html" in said.stdout.replace(f"{tmp_path}/", "")
        files = {path.name: path.read_bytes() for path in (tmp_path / "web").iterdir()}
        assert "filtered_2019--P1Y.pmtiles" in files
        for name, data in files.items():
            found = client.get_object(Bucket="maps", Key=f"web/{name}")
            assert found["Body"].read() == data
            is_archive = found["ContentType"] == "application/vnd.pmtiles"
            assert is_archive == name.endswith(".pmtiles")
        listed = client.list_objects_v2(Bucket="maps", Prefix="web/")
        assert listed["KeyCount"] == len(files)
