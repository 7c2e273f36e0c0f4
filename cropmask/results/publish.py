"""The files of one tile in the store: data first, the item last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from cropmask.core.cropmap import CropMap, ValidArea, find_valid
from cropmask.errors import Interrupted, Misconfigured, Reason, Rejected
from cropmask.product import CHANGE_CLASS, DISSIMILARITY, MASK, Product, find_band, with_extras
from cropmask.remote.localfiles import translate_os_errors
from cropmask.results.cog import (
    load_file_facts,
    reduce_for_thumbnail,
    write_cog,
    write_picture,
    write_thumbnail,
    write_visual,
)
from cropmask.results.finder import Place, find_json, key_beside
from cropmask.stac.collection import ROOT_KEY, make_root_catalog
from cropmask.stac.datacube import make_eo3
from cropmask.stac.facts import (
    EXTRA_SUFFIXES,
    AreaFacts,
    Document,
    FileFacts,
    ItemFacts,
    MapFacts,
    encode_json,
    make_sha1_text,
)
from cropmask.stac.item import make_area_item, make_item
from cropmask.stac.links import ITEM_TYPE, JSON_TYPE, media_type
from cropmask.store.protocol import Store
from cropmask.task import Task, describe_band_of


@dataclass(frozen=True, slots=True)
class WrittenDataset:
    """A dataset that was put into a store."""

    item: str
    """Address of the item."""
    bytes: int
    """Size of all its files."""


def write_band(
    folder: Path,
    product: Product,
    task: Task,
    box: GeoBox,
    name: str,
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    *,
    credit: str = "",
    threads: int = 1,
) -> None:
    """Write one band ``(y, x)`` of a dataset to a local folder, ahead of the rest."""
    band = describe_band_of(find_band(name), task.period)
    path = folder / product.file_name(str(task.tile), str(task.period), f"_{name}.tif")
    write_cog(path, pixels, box, band, credit=credit, threads=threads)


def write_dataset(
    folder: Path,
    facts: ItemFacts,
    crop_map: CropMap,
    valid: ValidArea | None,
    *,
    threads: int = 1,
) -> dict[str, FileFacts]:
    """Write all files of a dataset except its item to a local folder.

    Bands that :func:`write_band` has put there already are left as they are. ``valid`` is where
    they are not nodata. The files are returned by asset key, in the order in which they are
    published.
    """
    return _describe_files(folder, facts, _write_maps(folder, facts, crop_map, valid, threads))


def _describe_files(
    folder: Path, facts: ItemFacts, paths: Mapping[str, Path]
) -> dict[str, FileFacts]:
    """Facts of bands and pictures, and of the documents beside them, which are written."""
    document = folder / facts.file_name("odc_metadata")
    _write_text(document, make_eo3(facts))
    return _with_checksums(folder, facts, {**paths, "odc_metadata": document})


def _write_maps(
    folder: Path, facts: MapFacts, crop_map: CropMap, valid: ValidArea | None, threads: int
) -> dict[str, Path]:
    """Write the bands that are not there yet, and the two pictures."""
    bands = with_extras(facts.bands)
    keys = (*(band.name for band in bands), "visual", "thumbnail")
    paths = {key: folder / facts.file_name(key) for key in keys}
    for band in bands:
        if not paths[band.name].exists():
            pixels = crop_map.band(band.name)
            credit = facts.attribution.line
            write_cog(paths[band.name], pixels, facts.box, band, credit=credit, threads=threads)
    write_visual(paths["visual"], crop_map.mask, MASK, facts.box, facts.visual_box)
    likeness = paths.get(DISSIMILARITY.name)
    write_thumbnail(paths["thumbnail"], crop_map, facts.box, valid, likeness)
    return paths


def _with_checksums(
    folder: Path, facts: MapFacts, paths: Mapping[str, Path]
) -> dict[str, FileFacts]:
    """Facts of files, and of one more that holds their checksums."""
    files = {key: load_file_facts(path) for key, path in paths.items()}
    checksums = folder / facts.file_name("checksums")
    _write_text(checksums, make_sha1_text(files.values()))
    return {**files, "checksums": load_file_facts(checksums)}


def _write_text(path: Path, text: str) -> None:
    with translate_os_errors(path, "written"):
        path.write_text(text, encoding="utf-8")


def put_dataset(
    store: Store,
    place: Place,
    facts: ItemFacts,
    crop_map: CropMap,
    collection: Document,
    *,
    folder: Path | None = None,
    overwrite: bool = False,
    threads: int = 1,
    check: Callable[[], None] = lambda: None,
) -> WrittenDataset:
    """Publish a dataset; the item comes last, and only if nobody else's is there.

    The collection of the product is put beside the results if it is not there. Bands may be in the
    local ``folder`` already. ``overwrite`` takes away an item that is there, before anything is
    published; the bytes do not depend on how many ``threads`` compress. An exception from
    ``check``, called before the item is put, leaves the dataset unfinished.

    Raises Rejected if another result has appeared meanwhile; Interrupted if it did while files were
    put: its item is removed, since files of both may be mixed.
    """
    with nullcontext(folder) if folder else TemporaryDirectory(prefix="cropmask-") as place_:
        local = Path(place_)
        valid = find_valid(crop_map.mask)
        files = write_dataset(local, facts, crop_map, valid, threads=threads)
        text = encode_json(make_item(facts, files, valid)).encode()
        _put_files(store, place, local, files, text, overwrite=overwrite)
    put_catalogs(store, collection, synthetic=facts.synthetic)
    check()
    return _put_item(store, place, files, text)


def put_series(
    store: Store,
    place: Place,
    facts: ItemFacts,
    classes: NDArray[np.uint8],
    collection: Document,
    *,
    folder: Path,
    overwrite: bool = False,
    check: Callable[[], None] = lambda: None,
) -> WrittenDataset:
    """Publish a series as :func:`put_dataset` does a map.

    ``folder`` has its bands already, and ``classes`` are the pixels ``(y, x)`` of the one that its
    pictures show. Raises as :func:`put_dataset`.
    """
    valid = find_valid(classes)
    paths = {band.name: folder / facts.file_name(band.name) for band in facts.data_bands}
    paths |= {key: folder / facts.file_name(key) for key in ("visual", "thumbnail")}
    write_visual(paths["visual"], classes, CHANGE_CLASS, facts.box, facts.visual_box)
    small = reduce_for_thumbnail(classes, facts.box, valid)
    write_picture(paths["thumbnail"], small, CHANGE_CLASS)
    files = _describe_files(folder, facts, paths)
    text = encode_json(make_item(facts, files, valid)).encode()
    _put_files(store, place, folder, files, text, overwrite=overwrite)
    put_catalogs(store, collection, synthetic=facts.synthetic)
    check()
    return _put_item(store, place, files, text)


def put_area(
    store: Store,
    place: Place,
    facts: AreaFacts,
    crop_map: CropMap,
    *,
    overwrite: bool = False,
    threads: int = 1,
) -> WrittenDataset:
    """Publish the map of an area as :func:`put_dataset` does that of a tile, into no catalog.

    Raises Rejected if another result has appeared meanwhile; Interrupted if it did while files
    were put, whose item is removed.
    """
    with TemporaryDirectory(prefix="cropmask-") as temporary:
        folder = Path(temporary)
        valid = find_valid(crop_map.mask)
        paths = _write_maps(folder, facts, crop_map, valid, threads)
        files = _with_checksums(folder, facts, paths)
        text = encode_json(make_area_item(facts, files, valid)).encode()
        _put_files(store, place, folder, files, text, overwrite=overwrite)
    return _put_item(store, place, files, text)


def _put_files(
    store: Store,
    place: Place,
    folder: Path,
    files: Mapping[str, FileFacts],
    text: bytes,
    *,
    overwrite: bool,
) -> None:
    """Put everything but the item, whose text it is to have, from a local folder."""
    if overwrite:
        store.remove(place.item)
        for suffix in EXTRA_SUFFIXES.values():  # bands that the result before had, and this has not
            key = key_beside(place.item, suffix)
            if key not in {place.key(file.name) for file in files.values()}:
                store.remove(key)
    else:
        # Before our files could take the place of those that its item describes.
        _refuse_another(store, place, text)
    for file in files.values():
        store.put(place.key(file.name), folder / file.name, media_type(file.name))


def _put_item(
    store: Store, place: Place, files: Mapping[str, FileFacts], text: bytes
) -> WrittenDataset:
    if not store.put_if_absent(place.item, text, ITEM_TYPE):
        if not store.exists(place.item):
            raise Misconfigured(
                f"{store.uri(place.item)} cannot be written: remove what is in its place",
                reason=Reason.BAD_ITEM,
            )
        if store.get(place.item) != text:
            # Put since we looked: some of our files may lie among those that it describes, so
            # neither result is whole, and no item may say that one is.
            store.remove(place.item)
            raise Interrupted(
                f"another result was written to {store.uri(place.item)} at the same time, and both "
                "are taken back: run one of them again",
                reason=Reason.CHANGED,
            )
    return WrittenDataset(
        store.uri(place.item), sum(file.size for file in files.values()) + len(text)
    )


def _refuse_another(store: Store, place: Place, text: bytes) -> None:
    if store.exists(place.item) and store.get(place.item) != text:
        raise Rejected(
            f"another result was written to {store.uri(place.item)} meanwhile: look at it, then "
            "use --overwrite, or another version or name",
            reason=Reason.CHANGED,
        )


def put_catalogs(store: Store, collection: Document, *, synthetic: bool) -> None:
    """Put the collection and the root catalog that items link to, where they are not yet."""
    root = make_root_catalog([collection], synthetic=synthetic)
    key = f"{collection['id']}/collection.json"
    store.put_if_absent(key, encode_json(collection).encode(), JSON_TYPE)
    if store.put_if_absent(ROOT_KEY, encode_json(root).encode(), JSON_TYPE):
        return
    known = find_json(store, ROOT_KEY)
    links = known.get("links")
    if not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
        raise Misconfigured(
            f"{store.uri(ROOT_KEY)} is not a STAC catalog: remove it, it is made again",
            reason=Reason.BAD_CATALOG,
        )
    hrefs = {link.get("href") for link in links}
    missing = [link for link in root["links"] if link["href"] not in hrefs]
    if missing:
        known["links"] = links + missing
        store.put(ROOT_KEY, encode_json(known).encode(), JSON_TYPE)
