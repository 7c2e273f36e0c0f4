"""JSON documents of a store as they are shown to others: whoever wrote them is not trusted."""

from __future__ import annotations

import json

from cropmask.errors import Reason, Rejected
from cropmask.stac.facts import Document
from cropmask.stac.links import MAX_DOCUMENT_BYTES, MAX_NESTING, is_document, is_shallow
from cropmask.store.protocol import Absent, Store


def parse_object(text: bytes | str, what: str, reason: Reason) -> Document:
    """The JSON object in a text.

    Raises Rejected if it is none, or nested too deeply; ``what`` names it.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Rejected(f"{what} is no JSON", reason=reason) from None
    if not isinstance(found, dict):
        raise Rejected(f"{what} is no JSON object", reason=reason)
    if not is_shallow(found):
        raise Rejected(f"{what} is nested deeper than {MAX_NESTING} levels", reason=reason)
    return found


def load_document(store: Store, key: str) -> Document:
    """The JSON object in the file of a key; Absent, or Rejected, if there is none."""
    entry = store.find(key)
    if entry is None:
        raise Absent(f"there is no {key}", reason=Reason.ABSENT)
    if entry.size > MAX_DOCUMENT_BYTES:
        raise Rejected(
            f"{key} has {entry.size} bytes, which is more than the {MAX_DOCUMENT_BYTES} of a "
            "document that is shown",
            reason=Reason.BAD_DOCUMENT,
        )
    return parse_object(store.get(key), key, Reason.BAD_DOCUMENT)


def find_stac(store: Store, key: str) -> Document | None:
    """The STAC document of a key; None if there is none, or something else."""
    try:
        found = load_document(store, key)
    except Rejected:
        return None
    return found if is_document(found) else None
