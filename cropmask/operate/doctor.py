"""Preflight: whether everything that a run needs exists, agrees and works."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

import rasterio
from pyproj import Transformer

from cropmask.contract import VERSION
from cropmask.core.scaling import LAYER, UNDECLARED
from cropmask.errors import (
    OPTIONAL_PACKAGES,
    CropmaskError,
    Misconfigured,
    Reason,
    Rejected,
    advise_install,
    blame_configuration,
    not_installed,
)
from cropmask.grid import EPSG, tiles_within
from cropmask.modelfile.model import check_probes, read_model
from cropmask.operate.formats import format_count
from cropmask.pixels.gdal import open_reading_threads
from cropmask.pixels.rasters import Raster, agree
from cropmask.product import NODATA, RECIPES
from cropmask.queue.protocol import Queue
from cropmask.region.region import Region, StacLayer, load_region, write_training
from cropmask.remote.limits import ReadLimits
from cropmask.results.colorfile import find_color_years
from cropmask.site.site import Inputs, Site
from cropmask.sources.boundary import load_boundary
from cropmask.sources.catalogs import open_catalog
from cropmask.sources.search import FEATURE_LAYERS

PACKAGES: Final = ("numpy", "numba", "rasterio", "odc-geo", "odc-stac", "pystac-client", "boto3")

CheckState = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found."""

    name: str
    state: CheckState
    detail: str
    exit_code: int = 0
    """Documented exit code of a failure."""


def examine(site: Site, region_name: str, needed: Collection[str] = ()) -> Iterator[Check]:
    """Check a region on a site, cheapest first; what builds on a failed check is left out.

    ``needed`` are optional packages that what comes next cannot do without.
    """
    yield Check("versions", "ok", _versions())
    yield _check_packages(needed)
    threads = f"{site.threads} threads"
    memory = f"{site.memory / 1e9:.1f} GB" if site.memory else "no memory limit"
    yield Check("machine", "ok", f"{threads}, {memory}")
    region: Region | None = None
    try:
        region = load_region(region_name, site.models)
    except CropmaskError as error:
        yield _failed("region", error)
    if region is not None:
        yield from _examine_region(site, region)
    yield _check("output", lambda: _check_output(site))
    if region is not None and site.seamless:
        yield _check("colors", partial(_check_colors, site, region))
    if site.queue_address is not None:
        yield _check("queue", lambda: _check_queue(site.queue()))


def _examine_region(site: Site, region: Region) -> Iterator[Check]:
    yield _check("region", lambda: _check_boundary(region, site.read.limits))
    for recipe, reference in sorted(region.models.items()):
        yield _check(f"model {recipe}", partial(_check_model, reference.file, reference.sha256))
    if not region.models:
        line = write_training("train", region.argument, RECIPES[0])
        yield Check("model", "failed", f"the region has no model: train one with '{line}'", 3)
    found: list[Inputs] = []
    yield _check("catalog", lambda: _check_catalog(site, region, found))
    for inputs in found:
        for name, layer in inputs.ancillary:
            yield _check_layer(site, inputs, name, layer)


def _check(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", check())
    except CropmaskError as error:
        return _failed(name, error)


def _failed(name: str, error: CropmaskError) -> Check:
    return Check(name, "failed", str(error), int(error.exit_code))


def _versions() -> str:
    found = [f"cropmask {VERSION}", f"python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} missing")
    return ", ".join([*found, f"GDAL {rasterio.__gdal_version__}"])


def _check_packages(needed: Collection[str]) -> Check:
    """Whether the optional packages are there; a failure only where a needed one is not."""
    missing = [package for package in OPTIONAL_PACKAGES if not _is_installed(package)]
    if not missing:
        return Check("packages", "ok", "all optional ones are there")
    lacked = [package for package in missing if package in needed]
    if lacked:
        return _failed("packages", not_installed(*lacked))
    uses: dict[str, list[str]] = {}
    for package in missing:
        uses.setdefault(OPTIONAL_PACKAGES[package], []).append(package)
    said = ", ".join(f"{' and '.join(names)} for {use}" for use, names in uses.items())
    return Check("packages", "warning", f"without {said}: {advise_install(*missing)}")


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _check_boundary(region: Region, limits: ReadLimits) -> str:
    tiles = tiles_within(load_boundary(region.boundary, limits))
    if not tiles:
        raise Rejected(
            f"the boundary {region.boundary} touches no tile", reason=Reason.BAD_BOUNDARY
        )
    return f"{region.title}, {len(tiles)} tiles, product {region.product.name} {region.version}"


def _check_model(file: Path, sha256: str) -> str:
    model = read_model(file, sha256)
    return check_probes(model.forest, model.probes, file)


def _check_catalog(site: Site, region: Region, found: list[Inputs]) -> str:
    inputs = site.inputs(region)
    open_catalog(inputs.catalog, site.read)
    found.append(inputs)
    return f"{inputs.catalog}{' (SYNTHETIC demo world)' if inputs.synthetic else ''}"


def _check_layer(site: Site, inputs: Inputs, name: str, layer: object) -> Check:
    needed = name in FEATURE_LAYERS
    if layer is None:
        return Check(f"layer {name}", "warning", "not configured: its mask is not applied")
    if isinstance(layer, StacLayer):
        return Check(f"layer {name}", "ok", f"searched tile by tile in {layer.collection}")
    try:
        with blame_configuration():
            covers, detail = _describe_raster(site, inputs, str(layer))
    except CropmaskError as error:
        if needed:
            return _failed(f"layer {name}", error)
        return Check(f"layer {name}", "warning", f"{error}; its mask is not applied")
    if not covers:
        return Check(f"layer {name}", "warning", f"covers the region only in part: {detail}")
    return Check(f"layer {name}", "ok", detail)


def _describe_raster(site: Site, inputs: Inputs, href: str) -> tuple[bool, str]:
    """Whether a raster covers the region's box, and what it is like."""
    with open_reading_threads(site.read) as threads:
        raster = threads.submit(Raster, href, site.read).result()
        threads.submit(raster.close).result()
    box = raster.geobox
    project = Transformer.from_crs(EPSG, box.crs, always_xy=True)
    left, bottom, right, top = project.transform_bounds(
        *load_boundary(inputs.boundary, site.read.limits).bounds
    )
    area, cell = box.boundingbox, max(abs(box.resolution.x), abs(box.resolution.y))
    covers = (
        area.left <= left + cell
        and area.bottom <= bottom + cell
        and area.right >= right - cell
        and area.top >= top - cell
    )
    name = f"EPSG:{box.crs.epsg}" if box.crs and box.crs.epsg else "a CRS without EPSG code"
    shape = f"{box.shape.x} x {box.shape.y}"
    declared = agree(raster, UNDECLARED, LAYER)
    scaling = f", {declared.scaling}" if declared.scaling else ""
    return covers, f"{shape}, {raster.dtype}, nodata {declared.nodata}{scaling}, {name}"


def _check_output(site: Site) -> str:
    site.store().check_writable()
    return f"{site.output} can be written; nodata is {NODATA} in every band"


def _check_colors(site: Site, region: Region) -> str:
    """Years whose tiles have colors to share; raises Misconfigured if there is none."""
    years = find_color_years(site.store(), region.product, site.resolution)
    if not years:
        line = site.commands.line("colors fit", "--region", region.argument)
        raise Misconfigured(
            f"none are fitted at {site.resolution} m, which seamless needs: '{line}'",
            reason=Reason.NO_COLORS,
        )
    return f"shared in {', '.join(years)}"


def _check_queue(queue: Queue) -> str:
    queue.check()
    counts = queue.counts()
    numbers = f"{format_count(counts.waiting, 'task')}, {format_count(counts.dead, 'dead letter')}"
    return f"{queue.address} can be received from; {numbers}"
