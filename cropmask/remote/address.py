"""Paths and addresses as documents write them."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from cropmask.errors import Reason, Rejected


def is_remote(href: str) -> bool:
    """Whether an address leads over a network."""
    return re.match(r"^(https?|s3)://", href) is not None


def resolve(base: str, href: str) -> str:
    """``href`` as written in the document at ``base``, made absolute.

    Raises Rejected if it can be neither a path nor an address.
    """
    try:
        found = _resolve(base, href)
        if is_remote(found):
            urlsplit(found).port  # noqa: B018 (raises where host or port are malformed)
        return found
    except (ValueError, RuntimeError, OSError):
        raise Rejected(
            f"'{href}' in {base} is no path or address: correct it", reason=Reason.BAD_DOCUMENT
        ) from None


def _resolve(base: str, href: str) -> str:
    if re.match(r"^[a-z0-9+]+://", href) or href.startswith("/"):
        return urljoin(base, href) if base.startswith("http") else href.removeprefix("file://")
    if base.startswith("http"):
        return urljoin(base, href)
    if base.startswith("s3://"):
        bucket, _, key = base.removeprefix("s3://").partition("/")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(key), href))
        return f"s3://{bucket}/{path}"
    return str((Path(base).parent / href).resolve())
