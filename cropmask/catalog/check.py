"""A catalog checked against its files: schemas, addresses, sizes, checksums, rasters."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rio_cogeo.cogeo import cog_validate

from cropmask.catalog.schemas import Schemas
from cropmask.errors import CropmaskError, Interrupted, Misconfigured, Reason
from cropmask.machine.stages import Progress, tell_nobody
from cropmask.remote.address import is_remote
from cropmask.remote.fetch import Absent, ReadOptions, find_identity, load_bytes, load_json
from cropmask.stac.facts import MULTIHASH_SHA256, Document
from cropmask.stac.links import join_href

_THREADS: Final = 8
_WALKED: Final = frozenset({"child", "item"})
_PARQUET: Final = b"PAR1"
"""First and last bytes of a parquet file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong in a document, or is not as the document says."""

    where: str
    """Address of the document."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(slots=True)
class Checked:
    """What was looked at, and what was wrong."""

    documents: int = 0
    addresses: int = 0
    """Links and assets that were looked for."""
    files: int = 0
    """Files whose size and checksum were compared."""
    rasters: int = 0
    """Cloud-optimized GeoTIFFs that were opened."""
    problems: list[Problem] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)
    """Documents by extension whose schema was not at hand."""
    elsewhere: int = 0
    """Addresses outside the catalog that were not looked for."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is looked at."""

    contents: bool = True
    """Whether files are read: checksums and rasters."""
    elsewhere: bool = False
    """Whether addresses outside the catalog are looked for."""


@dataclass(frozen=True, slots=True)
class _Found:
    href: str
    document: Document


def verify_catalog(
    root: str,
    options: ReadOptions,
    schemas: Schemas,
    depth: Depth = Depth(),
    progress: Progress = tell_nobody,
) -> Checked:
    """Walk a catalog and check every document and every file that it names.

    ``root`` is the path or address of its root document, ``catalog.json`` or ``collection.json``.
    """
    checked = Checked()
    # A catalog on a disk of ours says where its inputs were, anywhere on that disk.
    options = replace(options, trust_catalog=not is_remote(root)).at(root)
    try:
        first = load_json(root, options)
    except Absent:
        raise Misconfigured(f"there is no catalog at {root}", reason=Reason.NO_CATALOG) from None
    if not isinstance(first, dict):
        raise Misconfigured(f"{root} is no STAC document", reason=Reason.NO_CATALOG)
    base = root.rpartition("/")[0]
    with ThreadPoolExecutor(_THREADS) as pool:
        documents = list(_walk(_Found(root, first), options, checked, pool))
        checks = _Checks(base, options, schemas, depth, {found.href for found in documents})
        for done, result in enumerate(pool.map(checks.check, documents)):
            progress("check", done / len(documents))
            _add(checked, result)
    progress("check", 1.0)
    return checked


def _walk(
    root: _Found, options: ReadOptions, checked: Checked, pool: ThreadPoolExecutor
) -> Iterator[_Found]:
    """All documents by links to children and items, each once; what is not there is a problem."""
    seen = {root.href}
    layer = [root]
    for depth in itertools.count():
        if not layer:
            return
        options.limits.check("levels", depth, root.href)
        if root.href.startswith("http"):  # a folder or a bucket has an end
            options.limits.check("documents", len(seen), root.href)
        yield from layer
        wanted = []
        for found in layer:
            for link in _entries(found.document, "links"):
                if link.get("rel") in _WALKED and isinstance(link.get("href"), str):
                    href = join_href(found.href, link["href"])
                    if href not in seen:
                        seen.add(href)
                        wanted.append((found.href, href))
        loaded = pool.map(lambda pair: _load(pair[1], options), wanted)
        layer = []
        for (parent, href), outcome in zip(wanted, loaded, strict=True):
            if isinstance(outcome, str):
                checked.problems.append(Problem(parent, f"links {href}, {outcome}"))
            else:
                layer.append(_Found(href, outcome))


def _load(href: str, options: ReadOptions) -> Document | str:
    try:
        found = load_json(href, options)
    except Absent:
        return "which does not exist"
    except (Misconfigured, Interrupted):
        raise
    except CropmaskError as error:
        return f"which cannot be read: {error}"
    return found if isinstance(found, dict) else "which is no STAC document"


def _entries(document: Document, name: str) -> list[Document]:
    found = document.get(name)
    values = list(found.values()) if isinstance(found, dict) else found
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def _add(total: Checked, part: Checked) -> None:
    total.documents += part.documents
    total.addresses += part.addresses
    total.files += part.files
    total.rasters += part.rasters
    total.elsewhere += part.elsewhere
    total.problems += part.problems
    total.unchecked += part.unchecked


@dataclass(frozen=True, slots=True)
class _Checks:
    """What the checks of all documents share."""

    base: str
    """Folder of the catalog."""
    options: ReadOptions
    schemas: Schemas
    depth: Depth
    known: set[str]
    """Documents that were read."""

    def check(self, found: _Found) -> Checked:
        schema = self.schemas.check(found.document)
        result = Checked(documents=1, unchecked=Counter(schema.unchecked))
        if schema.problem:
            result.problems.append(Problem(found.href, schema.problem))
        for link in _entries(found.document, "links"):
            self._check_link(found, link, result)
        for asset in _entries(found.document, "assets"):
            self._check_asset(found, asset, result)
        return result

    def _check_link(self, found: _Found, link: Document, result: Checked) -> None:
        href = join_href(found.href, str(link.get("href")))
        if link.get("rel") in _WALKED or href in self.known:
            result.addresses += 1  # read, or reported by the walk
            return
        problem = self._find(href, result)
        if problem:
            rel = link.get("rel")
            result.problems.append(Problem(found.href, f"link '{rel}' to {href}: {problem}"))

    def _check_asset(self, found: _Found, asset: Document, result: Checked) -> None:
        href = join_href(found.href, str(asset.get("href")))
        problem = self._find(href, result)
        if problem is None and self._is_inside(href) and self.depth.contents:
            problem = self._read(found.document, asset, href, result)
        if problem:
            result.problems.append(Problem(found.href, f"asset {href}: {problem}"))

    def _is_inside(self, href: str) -> bool:
        return href.startswith(f"{self.base}/") or not (is_remote(href) or is_remote(self.base))

    def _find(self, href: str, result: Checked) -> str | None:
        if not self._is_inside(href) and not self.depth.elsewhere:
            result.elsewhere += 1
            return None
        result.addresses += 1
        try:
            find_identity(href, self.options)
        except Absent:
            return "it does not exist"
        except Misconfigured as error:
            if self._is_inside(href):
                raise
            return str(error)
        except CropmaskError as error:
            return str(error)
        return None

    def _read(self, document: Document, asset: Document, href: str, result: Checked) -> str | None:
        size, checksum = asset.get("file:size"), asset.get("file:checksum")
        kind = str(asset.get("type"))
        is_cog, is_parquet = "cloud-optimized" in kind, kind.endswith("parquet")
        if size is None and checksum is None and not is_cog and not is_parquet:
            return None
        result.files += size is not None or checksum is not None or is_cog
        try:
            content = load_bytes(href, self.options)
        except Absent:
            return "it has gone"
        if size is not None and len(content) != size:
            return f"it has {len(content)} bytes, not {size}"
        if isinstance(checksum, str) and checksum.startswith(MULTIHASH_SHA256):
            digest = hashlib.sha256(content).hexdigest()
            if digest != checksum.removeprefix(MULTIHASH_SHA256):
                return "its SHA-256 is not the one in the item"
        if is_parquet and not (content.startswith(_PARQUET) and content.endswith(_PARQUET)):
            return "it is no whole parquet file"
        if not is_cog:
            return None
        result.rasters += 1
        return _find_raster_problem(content, asset, document.get("properties") or {})


def _find_raster_problem(content: bytes, asset: Document, properties: Document) -> str | None:
    """What is wrong with a cloud-optimized GeoTIFF; None if nothing is."""
    try:
        with MemoryFile(content) as file:
            valid, errors, _ = cog_validate(file.name, quiet=True)
            if not valid:
                return f"it is no cloud-optimized GeoTIFF: {'; '.join(errors)}"
            with file.open() as raster:
                return _compare_raster(raster, asset, properties)
    except (RasterioError, OSError) as error:
        return f"it cannot be opened: {error}"


def _compare_raster(raster: Any, asset: Document, properties: Document) -> str | None:  # noqa: ANN401 (rasterio is untyped)
    known = {**properties, **asset}
    transform = known.get("proj:transform")
    pairs = {
        "proj:shape": (known.get("proj:shape"), list(raster.shape)),
        "proj:transform": (transform and transform[:6], list(raster.transform[:6])),
        "proj:code": (known.get("proj:code"), raster.crs and raster.crs.to_string()),
    }
    if "data" in (asset.get("roles") or ()):
        pairs["nodata"] = (asset.get("nodata"), raster.nodata)
        pairs["data_type"] = (asset.get("data_type"), raster.dtypes[0])
    for name, (said, true) in pairs.items():
        if said is not None and said != true:
            return f"its {name} is {true}, not {said}"
    return None


def describe_checked(checked: Checked) -> list[str]:
    """Lines that say what was looked at and what was not."""
    lines = [
        f"{checked.documents} documents, {checked.addresses} addresses, {checked.files} checksums, "
        f"{checked.rasters} rasters checked."
    ]
    if checked.unchecked:
        names = ", ".join(
            f"{uri.removeprefix('https://stac-extensions.github.io/').partition('/')[0]} ({count})"
            for uri, count in sorted(checked.unchecked.items())
        )
        lines.append(f"No schema at hand for: {names}. --schemas or --fetch-schemas gives them.")
    if checked.elsewhere:
        lines.append(f"{checked.elsewhere} addresses elsewhere not looked for: use --external.")
    return lines
