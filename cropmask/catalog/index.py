"""Results into an Open Data Cube, by its own programs, and a count of what is really there.

The package never imports datacube: its programs may live in another environment. They end with
exit code 0 even where every dataset failed, so the index is asked afterwards.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cropmask.catalog.datacube_steps import MARK
from cropmask.errors import Interrupted, Misconfigured, Reason, Rejected, advise_install
from cropmask.machine.stages import Progress, tell_nobody
from cropmask.results.itemcache import StoredItems, load_items
from cropmask.site.commands import write_build
from cropmask.stac.datacube import make_products_csv, product_file
from cropmask.stac.facts import Document
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store, store_place
from cropmask.store.s3 import S3Store

_SECONDS: Final = 24 * 3600
_STEPS: Final = Path(__file__).with_name("datacube_steps.py")
ToolStep = tuple[str, list[str]]
"""A program with its arguments, or ``ask`` with names of products."""


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How to add results to an index."""

    tools: Path | None = None
    """Folder of the Open Data Cube's programs; else they are looked for on the path."""
    environment: str = ""
    """Environment of the Open Data Cube's configuration; empty for its default."""
    api: str | None = None
    """Address of a STAC API of the results, to use ``stac-to-dc``."""
    update: bool = False
    """Whether datasets that have changed take the place of those in the index."""
    lineage: bool = False
    """Whether the GeoMAD datasets are in the index too."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """What is in the index afterwards."""

    expected: int
    """Items of the results."""
    added: int
    updated: int
    unchanged: int
    """Datasets that were there before, from the same run."""
    outdated: tuple[str, ...]
    """Items whose dataset in the index is of another run."""
    missing: tuple[str, ...]
    """Items that are not in the index."""
    said: str
    """What the programs said of failures."""


def index_results(store: Store, options: IndexOptions, progress: Progress = tell_nobody) -> Indexed:
    """Add product definitions and datasets to an Open Data Cube, and count what is there."""
    stored = load_items(store)
    if not stored.products:
        raise Misconfigured("there is no item to index in the results", reason=Reason.NO_RESULTS)
    progress("index", 0.0)
    names = list(stored.products)
    with TemporaryDirectory(prefix="cropmask-") as folder:
        listed = _write_products(store, names, Path(folder))
        steps = [
            ("dc-sync-products", [*_environment(options), str(listed)]),
            ("ask", names),
            *_steps(store, options, names),
            ("ask", names),
        ]
        answers = _run(store, options, steps)
    progress("index", 1.0)
    before, after = (_datasets(answer, names) for answer in answers if answer["step"] == "ask")
    return compare_index(stored, before, after, _failures(answers))


def compare_index(
    stored: StoredItems, before: Mapping[str, str], after: Mapping[str, str], said: str
) -> Indexed:
    """Compare run keys by dataset id, before and after indexing, with the items of the results."""
    keys = {item.id: item.key for item in stored.all()}
    runs = {item.id: item.run_key for item in stored.all()}
    same = {identity for identity, run in runs.items() if after.get(identity) == run}
    return Indexed(
        expected=len(keys),
        added=len(same - set(before)),
        updated=sum(before[i] != runs[i] for i in same & set(before)),
        unchanged=sum(before[i] == runs[i] for i in same & set(before)),
        outdated=tuple(sorted(keys[i] for i in set(after) & set(keys) - same)),
        missing=tuple(sorted(keys[i] for i in set(keys) - set(after))),
        said=said,
    )


def _write_products(store: Store, products: Iterable[str], folder: Path) -> Path:
    """The product definitions and their list in a local folder, where every program reads them."""
    places = {}
    for product in products:
        key = product_file(product)
        if not store.exists(key):
            raise Misconfigured(
                f"there is no product definition at {store.uri(key)}: run "
                f"'{write_build(store_place(store))}' first",
                reason=Reason.NO_CATALOG,
            )
        path = folder / Path(key).name
        path.write_bytes(store.get(key))
        places[product] = str(path)
    listed = folder / "products.csv"
    listed.write_text(make_products_csv(places), encoding="utf-8")
    return listed


def _steps(store: Store, options: IndexOptions, products: Sequence[str]) -> list[ToolStep]:
    """Programs that add the datasets, with their arguments."""
    common = _environment(options)
    if not options.lineage:
        common.append("--skip-lineage")
    if options.update:
        common += ["--update-if-exists", "--allow-unsafe"]
    if options.api is not None:
        where = ["--catalog-href", options.api, "--collections", ",".join(products)]
        return [("stac-to-dc", [*common, *where])]
    if isinstance(store, FolderStore):
        # The Open Data Cube's own documents need no address in them.
        pattern = "**/*.odc-metadata.yaml"
        return [
            ("fs-to-dc", [*common, "--glob", pattern, str(store.root / name)]) for name in products
        ]
    if isinstance(store, S3Store):
        return [
            ("s3-to-dc", [*common, "--stac", f"{store.uri(name)}/**/*.stac-item.json", name])
            for name in products
        ]
    raise Rejected("only results in a folder or in S3 can be indexed")


def _environment(options: IndexOptions) -> list[str]:
    return ["-E", options.environment] if options.environment else []


def _run(store: Store, options: IndexOptions, steps: Sequence[ToolStep]) -> list[Document]:
    """Answers of the steps, all done in one process of the Open Data Cube's Python."""
    command = [_find_python(options), str(_STEPS), json.dumps(steps), options.environment]
    try:
        done = subprocess.run(
            [*tool_settings(store), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Interrupted("indexing took longer than a day") from None
    answers = [
        json.loads(line.removeprefix(MARK))
        for line in done.stdout.splitlines()
        if line.startswith(MARK)
    ]
    if len(answers) != len(steps):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Interrupted(
            f"the Open Data Cube's Python broke off: {lines[-1] if lines else 'it said nothing'}"
        )
    if any(answer.get("absent") for answer in answers):
        raise Misconfigured(
            f"{command[0]} has no Open Data Cube: name the folder of its programs with --tools, or "
            f"have it here: {advise_install('datacube', 'odc-apps-dc-tools', 'psycopg2-binary')}",
            reason=Reason.NO_DATACUBE,
        )
    return answers


def tool_settings(store: Store) -> list[str]:
    """What comes before a program of the Open Data Cube that let it reach the store."""
    if not isinstance(store, S3Store):
        return []
    # GDAL's host:port of an object store is an invalid address for s3-to-dc, which then never ends.
    variables = (f"{name}={value}" for name, value in store.tool_environment().items())
    return ["env", "-u", "AWS_S3_ENDPOINT", *variables]


def _find_python(options: IndexOptions) -> str:
    """Python of the Open Data Cube: in the named folder, else beside ``datacube``, else ours."""
    if options.tools is not None:
        path = options.tools / "python"
        if not path.is_file():
            raise Misconfigured(
                f"there is no python in {options.tools}: give --tools the bin folder of an "
                "environment with datacube",
                reason=Reason.NO_DATACUBE,
            )
        return str(path)
    beside = Path(sys.executable).with_name("datacube")
    here = None if beside.is_file() else shutil.which("datacube")
    python = Path(here).with_name("python") if here else None
    return str(python) if python and python.is_file() else sys.executable


def _datasets(answer: Document, products: Iterable[str]) -> dict[str, str]:
    """Run keys of the datasets in the index, by id."""
    if "error" in answer:
        raise Misconfigured(
            f"the index cannot be asked ({answer['error']}): check the database, its address in "
            "ODC_DEFAULT_DB_URL (postgresql+psycopg2://...), and 'datacube system init'",
            reason=Reason.NO_DATACUBE,
        )
    absent = sorted(set(products) - set(answer["products"]))
    if absent:
        raise Misconfigured(
            f"the product {absent[0]} could not be added to the index: look at it with "
            "'datacube product add'",
            reason=Reason.NO_DATACUBE,
        )
    return dict(answer["datasets"])


def _failures(answers: Iterable[Document]) -> str:
    said = [
        f"{answer['step']}: {answer.get('error') or 'exit code ' + str(answer['code'])}"
        for answer in answers
        if answer.get("error") or answer.get("code")
    ]
    return "; ".join(said) or "nothing"
