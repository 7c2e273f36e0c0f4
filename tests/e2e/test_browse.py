"""STAC Browser on a catalog of results, clicked through in headless Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from cropmask.catalog.browser import browser_folder
from cropmask.catalog.build import build_results
from cropmask.site.site import open_site
from cropmask.store.folder import FolderStore
from tests.browser import needs_chromium
from tests.demo_run import Results
from tests.devtools import open_page
from tests.years import YearlyMaps

PROGRAM = Path(sys.executable).with_name("cropmask")


@contextmanager
def running(*words: object) -> Iterator[str]:
    """A command that serves, and its address."""
    command = [str(PROGRAM), *map(str, words), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert "http://" in line, line
            yield line[line.index("http://") :].split()[0].rstrip("/")
        finally:
            process.terminate()
            assert process.wait(timeout=60) == 0


needs_built_browser = pytest.mark.skipif(
    not (browser_folder(open_site().cache) / "index.html").is_file(),
    reason="STAC Browser is not built: run 'cropmask browse --build-only'",
)


@needs_chromium
@pytest.mark.slow
@needs_built_browser
def test_a_person_clicks_from_the_root_to_an_item_and_its_model(
    results: Results, yearly: YearlyMaps, tmp_path: Path
) -> None:
    place = results.copied(tmp_path / "results").folder
    shutil.copytree(yearly.folder, place, dirs_exist_ok=True)
    build_results(FolderStore(place), results.models, parquet=False)
    with running("browse", place, "--no-open") as address, open_page() as page:
        page.open(f"{address}/")
        page.see("Cropland extent, Eastern Africa", "Cropland extent, Western Africa")
        page.see("Cropland models")
        page.click("Cropland extent, Eastern Africa")
        page.see(
            "Cropland 2019, Eastern Africa, tile x221y075", "Temporal Extent", "QGIS style of mask"
        )
        # The collection's own picture is loaded and drawn.
        page.wait("[...document.images].some(i => i.src.endsWith('.png') && i.naturalWidth > 0)")
        page.click("tile x221y075")
        page.see("Crop probability", "Mapped Hectares", "Model: eastern, forest")
        page.wait("document.querySelector('.ol-viewport canvas') !== null")
        page.click("Model: eastern, forest")
        page.see("Eastern Africa: forest", "Fitted on 4444 samples", "Random Forest")
        page.open(f"{address}/")
        page.click("Change of cropland, A made-up region")
        page.see("Change of cropland 2019 to 2024", "QGIS style of class", "flags, not areas")
        page.click("Change of cropland 2019 to 2024")
        page.see("Last year in crop", "Gain Hectares", "Cropland 2021, testland")
        page.wait("document.querySelector('.ol-viewport canvas') !== null")
        page.click("Cropland 2021, testland")
        page.see("Crop probability", "Mapped Hectares")
        assert page.errors == []


@needs_chromium
@pytest.mark.slow
@needs_built_browser
def test_nothing_of_a_document_runs_in_stac_browser(results: Results, tmp_path: Path) -> None:
    hostile = results.copied(tmp_path / "results").folder
    place = hostile / "crop_mask_eastern" / "collection.json"
    collection = json.loads(place.read_text())
    run = "javascript:void(window.owned=1)"
    collection["title"] = "A hostile title <img src=x onerror='window.owned=1'>"
    collection["description"] = f"[a hostile text]({run}) <img src=x onerror='window.owned=1'>"
    hrefs = (run, "JavaScript:void(window.owned=1)", "java\nscript:void(window.owned=1)")
    collection["links"] += [
        {"rel": rel, "href": href, "title": f"hostile {rel}"}
        for href in hrefs
        for rel in ("about", "related", "license")
    ]
    collection["assets"] |= {f"hostile{n}": {"href": href} for n, href in enumerate(hrefs)}
    place.write_text(json.dumps(collection))
    hostile_link = json.dumps({"href": run})
    with running("browse", hostile, "--no-open") as address, open_page() as page:
        page.open(f"{address}/browser/#/crop_mask_eastern/collection.json")
        page.see("hostile title", "hostile text")
        click = "document.querySelectorAll('a').forEach(a => /script/i.test(a.href) && a.click())"
        page.value(click)
        # Whatever the browser makes of a document, its policy lets none of it run.
        page.value(
            f"document.body.append(Object.assign(document.createElement('a'), {hostile_link}))"
        )
        page.value(click)
        time.sleep(1)
        assert page.value("typeof window.owned") == "undefined"


def test_plain_pages_need_no_script(results: Results) -> None:
    with running("browse", results.folder, "--no-open", "--plain") as address:
        first = requests.get(f"{address}/", timeout=60)
        assert first.url == f"{address}/pages/"
        assert "Cropland extent, Eastern Africa" in first.text
        assert 'href="/pages/crop_mask_eastern/collection.json"' in first.text
        page = requests.get(f"{address}/pages/crop_mask_eastern/collection.json", timeout=60).text
        item = results.items()[0].relative_to(results.folder)
        assert f'href="/pages/{item}"' in page
        shown = requests.get(f"{address}/pages/{item}", timeout=60).text
        assert "mapped_hectares" in shown
        picture = f"{item.parent}/{item.name.replace('.stac-item.json', '_thumbnail.png')}"
        assert f'src="/files/{picture}"' in shown
        found = requests.get(f"{address}/files/{picture}", timeout=60)
        assert found.headers["Content-Type"] == "image/png"
        assert found.content == (results.folder / picture).read_bytes()
        assert requests.get(f"{address}/pages/nothing.json", timeout=60).status_code == 404


def test_files_come_in_ranges_to_origins_that_are_named(results: Results) -> None:
    origin = "https://elsewhere.example"
    with running("catalog", "serve", results.folder, "--cors", origin) as address:
        (path,) = results.folder.rglob("*x221y075*_mask.tif")
        url = f"{address}/files/{path.relative_to(results.folder)}"
        content = path.read_bytes()
        headers = {"Origin": origin}
        part = requests.get(url, headers={**headers, "Range": "bytes=10-19"}, timeout=60)
        assert (part.status_code, part.content) == (206, content[10:20])
        assert part.headers["Content-Range"] == f"bytes 10-19/{len(content)}"
        assert part.headers["Access-Control-Allow-Origin"] == origin
        assert "Content-Range" in part.headers["Access-Control-Expose-Headers"]
        tail = requests.get(url, headers={"Range": "bytes=-5"}, timeout=60)
        assert (tail.status_code, tail.content) == (206, content[-5:])
        head = requests.head(url, timeout=60)
        assert head.headers["Content-Length"] == str(len(content))
        beyond = requests.get(url, headers={"Range": f"bytes={len(content)}-"}, timeout=60)
        assert beyond.status_code == 416
        for wrong in ("/files/..%2f..%2fetc/passwd", "/files/nothing"):
            assert requests.get(f"{address}{wrong}", timeout=60).status_code in (400, 404)


def test_commands_say_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [PROGRAM, "browse", tmp_path, "--no-open"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 13
    assert "cropmask catalog build --results" in done.stderr
    assert json.dumps(done.stderr).count("\\n") == 1
