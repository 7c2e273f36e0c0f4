"""Small files beside the results: what was fitted once to the maps of a product and period."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cropmask.errors import Misconfigured, Reason
from cropmask.product import Product
from cropmask.stac.links import JSON_TYPE
from cropmask.store.protocol import Absent, Store
from cropmask.task import Period

MAX_BYTES: Final = 2**20
"""A file of ours has about 20 kB."""

_Found = TypeVar("_Found")
_Document = TypeVar("_Document", bound="FittedDocument")


class StrictDocument(BaseModel):
    """Base of the documents of such files: nothing is converted, nothing unknown is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class FittedDocument(StrictDocument):
    """What such files say of what they are of."""

    product: str
    version: str
    period: str
    resolution: int
    synthetic: bool


def fitted_key(folder: str, product: Product, period: Period, resolution: int) -> str:
    """Key of a file in a store."""
    return f"{folder}/{product.folder}/{period}_{resolution}m.json"


def parse_document(
    document: type[_Document], text: bytes, product: Product, period: Period, resolution: int
) -> _Document:
    """A document; ValueError with what is wrong first, if it is none, or of something else."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has {len(text):,} bytes, at most {MAX_BYTES:,} are read")
    try:
        found = document.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "document"
        raise ValueError(f"{place}: {first['msg']}") from None
    said = (found.product, found.version, found.period, found.resolution)
    if said != (product.name, product.version, str(period), resolution):
        name, version, years, size = said
        raise ValueError(f"it is of {name} {version}, {years}, at {size} m")
    return found


def find_fitted(
    store: Store,
    folder: str,
    product: Product,
    period: Period,
    resolution: int,
    parse: Callable[[bytes, Product, Period, int], _Found],
    *,
    what: str,
    reason: Reason,
) -> _Found | None:
    """What a file says; None if there is none.

    Raises Misconfigured, with ``what`` is to be fitted anew, if the file is something else.
    """
    key = fitted_key(folder, product, period, resolution)
    try:
        text = store.get(key)
    except Absent:
        return None
    try:
        return parse(text, product, period, resolution)
    except ValueError as error:
        raise Misconfigured(
            f"{store.uri(key)} cannot be used ({error}): fit the {what} anew, with "
            f"--overwrite of '{what} fit'",
            reason=reason,
        ) from None


def put_fitted(store: Store, key: str, text: str) -> str:
    """Write a file in place of what was there; its address."""
    store.put(key, text.encode(), JSON_TYPE)
    return store.uri(key)
