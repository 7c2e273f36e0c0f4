"""Predictions and features of arrays that the user has loaded, by the engine that maps tiles.

Nothing whole is made of lazy arrays: each block is computed when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from cropmask.contract import VERSION
from cropmask.core.features import FEATURES
from cropmask.core.forest import Forest
from cropmask.core.formulas import compute_features, parse_formula
from cropmask.core.mapper import DEFAULT_ROWS, StripClassifier, vote_pixels
from cropmask.errors import Reason, Rejected
from cropmask.machine.limits import find_cpus
from cropmask.modelfile.model import SUFFIX, Model, read_model
from cropmask.pixels.datasets import (
    LayerValues,
    LoadedGrid,
    LoadedInputs,
    StripMaker,
    is_late_half,
    parse_halves,
    parse_layer,
)
from cropmask.pixels.resample import Window
from cropmask.pixels.sampled import check_layer, load_layer
from cropmask.product import MASK, NODATA, PROB, Recipe
from cropmask.region.region import Limits, Region, load_region, region_names
from cropmask.remote.fetch import ReadOptions
from cropmask.site.site import Site
from cropmask.sources.search import FEATURE_LAYERS, swap_rain
from cropmask.tile.open import describe_band

_CRS_NAME: Final = "spatial_ref"


def predict(
    first_half: xr.Dataset,
    second_half: xr.Dataset,
    region: str | None = None,
    *,
    model: Recipe | Path | str = "forest",
    rain_first_half: LayerValues | None = None,
    rain_second_half: LayerValues | None = None,
    slope: LayerValues | None = None,
    site: Site | None = None,
) -> xr.Dataset:
    """Probability and mask of crops, of GeoMAD that you have loaded yourself.

    The pixels are those that a run of the tile gives where inputs are the same, bit by bit. Nothing
    is masked but what has no GeoMAD: regions, protected areas, water and steep land are the matter
    of ``map_tile`` and ``map_area``, as is ``filtered``, which needs whole objects. With dask
    nothing is computed yet, and each block is when it is asked for.

    >>> import cropmask, odc.stac, pystac
    >>> site = cropmask.open_site()  # without any configuration the made-up world
    >>> world = site.inputs(site.region("eastern"))
    >>> items = pystac.Catalog.from_file(world.catalog).get_items(recursive=True)
    >>> first, second = sorted(items, key=lambda item: item.datetime)
    >>> place = dict(x=(-16_396_800, -16_393_800), y=(-5_431_800, -5_428_800), crs="EPSG:6933")
    >>> a = odc.stac.load([first], resolution=60, **place)
    >>> b = odc.stac.load([second], resolution=60, **place)
    >>> crops = cropmask.predict(a, b, "eastern", site=site)  # rain and slope from the site
    >>> dict(crops.sizes), list(crops)
    ({'y': 50, 'x': 50}, ['mask', 'prob'])
    >>> crops = cropmask.predict(
    ...     a, b, "eastern", rain_first_half=400, rain_second_half=300, slope=2.5
    ... )

    Parameters
    ----------
    first_half, second_half
        GeoMAD of January to June and of July to December, or of a season's halves as the region
        file orders them: the nine reflectances (x 10 000, nodata
        0 or NaN) and ``sdev``, ``edev``, ``bcdev`` as GeoMAD stores them (nodata NaN), by these
        names or as ``B02`` ... ``B12``, ``SMAD``, ``EMAD``, ``BCMAD``. Both on one grid of any CRS;
        axes beside ``y`` and ``x`` have one place.
    region
        Name of a region, or path of a region file: its model, and whether a pixel needs both
        half-years. Not needed with a model file and layers that are given.
    model
        Recipe of the region's model, or a model file.
    rain_first_half, rain_second_half
        Cumulative rain of the half-years in mm: a :class:`xarray.DataArray` on the same grid
        (nodata NaN), or one number.
    slope
        Slope in percent, likewise.
    site
        Where layers that are not given are read: those of the region, else of the site. On the
        product's grid they are as a run of the tile has them; on another one likewise, rain
        bilinear and slope of the nearest cell, but the gaps of rain have another mean.

    Returns
    -------
    xarray.Dataset
        ``mask`` (1 crop, 0 not) and ``prob`` (percent), uint8 ``(y, x)``, nodata 255, with the
        coordinates of ``first_half`` and its CRS.

    Raises
    ------
    Rejected
        If a band or layer is missing, in another unit or on another grid; with dask, a wrong unit
        is found when a block is computed. If there is no such region or model.
    Misconfigured
        If the site's layers cannot be used.
    Interrupted
        If they cannot be read; another try may help.
    """
    found = _find_region(region, site)
    chosen = _find_model(model, found)
    inputs = _parse(
        first_half, second_half, (rain_first_half, rain_second_half, slope), found, site
    )
    limits = found.limits if found else Limits()
    threads = 1 if _is_lazy(inputs) else site.threads if site else find_cpus()
    classify = partial(
        _classify,
        maker=inputs.strip_maker,
        forest=chosen.forest,
        need_both=limits.require_both_halves,
        threads=threads,
    )
    prob = _apply(classify, inputs, dtype=np.uint8)
    mask = xr.apply_ufunc(
        vote_pixels, prob, dask="parallelized", output_dtypes=[np.uint8], keep_attrs=False
    )
    described = {
        band.name: (values, {**describe_band(band), "nodata": NODATA})
        for band, values in ((MASK, mask), (PROB, prob))
    }
    facts = {"title": "Cropland, predicted from arrays", "model": chosen.manifest.recipe}
    facts |= {"model_sha256": chosen.forest.digest, **({"region": found.name} if found else {})}
    return _wrap(described, inputs.grid, facts)


def features(
    first_half: xr.Dataset,
    second_half: xr.Dataset,
    region: str | None = None,
    *,
    names: Sequence[str] = FEATURES,
    rain_first_half: LayerValues | None = None,
    rain_second_half: LayerValues | None = None,
    slope: LayerValues | None = None,
    site: Site | None = None,
) -> xr.Dataset:
    """The features of GeoMAD that you have loaded yourself, as the models see them.

    Parameters are those of :func:`predict`; the region is needed for the layers of a site only.
    ``names`` are the features, which may be expressions; default the 33 published ones.

    >>> import numpy as np, xarray as xr, cropmask
    >>> from odc.geo.geobox import GeoBox
    >>> from odc.geo.xr import wrap_xr
    >>> box = GeoBox.from_bbox((3_700_000, 100_000, 3_700_200, 100_200), "EPSG:6933", resolution=10)
    >>> names = ["blue", "green", "red", "nir", "swir_1", "swir_2"]
    >>> names += ["red_edge_1", "red_edge_2", "red_edge_3"]
    >>> bands = {name: wrap_xr(np.full(box.shape, 3000, "uint16"), box) for name in names}
    >>> for name, value in {"sdev": 0.01, "edev": 500, "bcdev": 0.05}.items():
    ...     bands[name] = wrap_xr(np.full(box.shape, value, "float32"), box)
    >>> half = xr.Dataset(bands)
    >>> found = cropmask.features(half, half, rain_first_half=400, rain_second_half=300, slope=2.5)
    >>> len(found), found["rain_S2"].values[0, 0], found["NDVI_S1"].values[0, 0]
    (33, np.float32(300.0), np.float32(0.0))
    >>> rain = dict(rain_first_half=400, rain_second_half=300, slope=2.5)
    >>> found = cropmask.features(half, half, names=["nd(rain_S1, rain_S2)"], **rain)
    >>> found["nd(rain_S1, rain_S2)"].values[0, 0]
    np.float32(0.14285715)

    Returns
    -------
    xarray.Dataset
        Variables float32 ``(y, x)`` in the order of ``names``; the 33 are ``blue_S1`` ...
        ``rain_S1``, the same for ``S2``, and ``slope``. As in the training of models a value that
        is not finite is 0, so nodata is 0 too. ``.to_dataarray("feature")`` stacks them.

    Raises
    ------
    Rejected, Misconfigured, Interrupted
        As :func:`predict`.
    """
    names = tuple(names)
    for name in names:
        parse_formula(name)
    found = _find_region(region, site)
    inputs = _parse(
        first_half, second_half, (rain_first_half, rain_second_half, slope), found, site
    )
    compute = partial(_featurize, maker=inputs.strip_maker, names=names)
    stack = _apply(compute, inputs, dtype=np.float32, axes={"feature": len(names)})
    units = {"rain_S1": "mm", "rain_S2": "mm", "slope": "percent"}
    described = {
        name: (stack.isel(feature=number), {"units": units.get(name, "1")})
        for number, name in enumerate(names)
    }
    return _wrap(described, inputs.grid, {"title": "Features of the crop models"})


def _find_region(region: str | None, site: Site | None) -> Region | None:
    if region is None:
        return None
    return site.region(region) if site else load_region(region)


def _find_model(model: Recipe | Path | str, region: Region | None) -> Model:
    if isinstance(model, Path) or model.endswith(SUFFIX):
        return read_model(Path(model))
    if region is None:
        raise Rejected(
            f"the model '{model}' is that of a region: name it, such as region='eastern' (there "
            f"are {', '.join(region_names())}), or give a model file, model=Path('my{SUFFIX}')",
            reason=Reason.UNKNOWN_REGION,
        )
    ref = region.model(model)  # type: ignore[arg-type]  # says what there is
    return read_model(ref.file, ref.sha256)


def _parse(
    first: xr.Dataset,
    second: xr.Dataset,
    given: Sequence[LayerValues | None],
    region: Region | None,
    site: Site | None,
) -> LoadedInputs:
    """Everything on one grid; layers that are not given are those of the site."""
    grid, bands = parse_halves(first, second, region.half_years if region else None)
    layers = {
        name: parse_layer(layer, name, grid)
        for name, layer in zip(FEATURE_LAYERS, given, strict=True)
        if layer is not None
    }
    missing = [name for name in FEATURE_LAYERS if name not in layers]
    if missing:
        chunks = next((band.chunks for band in bands if band.chunks is not None), None)
        layers |= _find_layers(missing, grid, chunks, region, site, is_late=is_late_half(first))
    rain_first, rain_second, slope = (layers[name] for name in FEATURE_LAYERS)
    return LoadedInputs(grid, bands, (rain_first, rain_second, slope))


def _find_layers(
    names: Sequence[str],
    grid: LoadedGrid,
    chunks: tuple[tuple[int, ...], ...] | None,
    region: Region | None,
    site: Site | None,
    *,
    is_late: bool,
) -> dict[str, xr.Variable]:
    """Layers of a site on the grid: read now, or by blocks where the bands have these.

    ``is_late`` says that the model's first half-year is July to December.
    """
    if site is None or region is None:
        needs = "site=cropmask.open_site() to read them where they are"
        raise Rejected(
            f"the features {', '.join(names)} are not given: give each as a number or as an "
            f"xarray.DataArray on the grid of the bands, or region='...' and {needs}",
            reason=Reason.NO_LAYER,
        )
    inputs = site.inputs(region)
    places = inputs.ancillary.model_dump()
    if is_late:
        swap_rain(places)
    hrefs = {name: str(places[name]) for name in names}
    options = site.read.at(inputs.catalog, hrefs.values())
    rows, columns = (_number(grid, axis, chunks) for axis in (0, 1))
    found = {}
    for name, href in hrefs.items():
        check_layer(name, href, grid.box, options)
        found[name] = xr.apply_ufunc(
            partial(_read_layer, name=name, href=href, box=grid.box, options=options),
            rows,
            columns,
            dask="parallelized",
            output_dtypes=[np.float32],
            keep_attrs=False,
        )
    return found


def _number(grid: LoadedGrid, axis: int, chunks: tuple[tuple[int, ...], ...] | None) -> xr.Variable:
    """Numbers of the rows or columns of a grid, lazy where chunks are given."""
    dim = grid.dims[axis]
    numbers = xr.Variable((dim,), np.arange(grid.box.shape[axis]))
    return numbers if chunks is None else numbers.chunk({dim: chunks[axis]})


def _read_layer(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    *,
    name: str,
    href: str,
    box: GeoBox,
    options: ReadOptions,
) -> NDArray[np.float32]:
    """Values ``(y, x)`` of a layer at rows ``(y, 1)`` and columns ``(x,)`` of a grid."""
    window = Window(int(rows.min()), int(columns.min()), rows.size, columns.size)
    return load_layer(name, href, box, window, options)


def _is_lazy(inputs: LoadedInputs) -> bool:
    return any(array.chunks is not None for array in inputs.arrays)


def _apply(
    function: Callable[..., NDArray[Any]],
    inputs: LoadedInputs,
    *,
    dtype: type,
    axes: Mapping[str, int] | None = None,
) -> xr.Variable:
    """Result of a function of the pixels of all arrays, block by block where they are lazy."""
    arrays = inputs.arrays
    if _is_lazy(inputs):
        whole = xr.Dataset({str(number): array for number, array in enumerate(arrays)})
        arrays = tuple(band.variable for band in whole.chunk().unify_chunks().values())
    sizes = dict(axes or {})
    found: xr.Variable = xr.apply_ufunc(
        function,
        *arrays,
        output_core_dims=[[*sizes]],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": sizes},
        output_dtypes=[dtype],
        keep_attrs=False,
    )
    return found


def _wrap(
    variables: Mapping[str, tuple[xr.Variable, Mapping[str, Any]]],
    grid: LoadedGrid,
    facts: Mapping[str, str],
) -> xr.Dataset:
    """A dataset with the coordinates that the user has, and its CRS."""
    crs = xr_coords(grid.box, dims=grid.dims)[_CRS_NAME]
    arrays = {}
    for name, (values, attrs) in variables.items():
        arrays[name] = xr.DataArray(values, coords={**grid.coords, _CRS_NAME: crs})
        arrays[name].attrs.update(attrs, grid_mapping=_CRS_NAME)
    return xr.Dataset(arrays, attrs={**facts, "cropmask_version": VERSION})


def _classify(
    *arrays: NDArray[Any], maker: StripMaker, forest: Forest, need_both: bool, threads: int
) -> NDArray[np.uint8]:
    """Percentages ``(y, x)`` of the pixels of some arrays."""
    classifier = _make_classifier(forest, need_both)
    out = np.empty(arrays[0].shape, np.uint8)
    with ThreadPoolExecutor(threads, thread_name_prefix="classify") as pool:
        for strip in maker.strips(arrays, DEFAULT_ROWS):
            out[strip.row : strip.row + strip.shape[0]] = classifier.percent(strip, pool)
    return out


@lru_cache(maxsize=2)
def _make_classifier(forest: Forest, need_both: bool) -> StripClassifier:
    """One for all blocks: its tables take as long to make as thousands of pixels."""
    return StripClassifier(forest, need_both=need_both)


def _featurize(
    *arrays: NDArray[Any], maker: StripMaker, names: Sequence[str]
) -> NDArray[np.float32]:
    """Features ``(y, x, feature)`` of the pixels of some arrays."""
    out = np.empty((len(names), *arrays[0].shape), np.float32)
    for strip in maker.strips(arrays, DEFAULT_ROWS):
        out[:, strip.row : strip.row + strip.shape[0]] = compute_features(names, strip)
    return np.moveaxis(out, 0, -1)
