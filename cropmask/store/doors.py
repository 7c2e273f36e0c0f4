"""The door to a store: which kind an address names."""

from __future__ import annotations

from pathlib import Path

from cropmask.errors import Misconfigured, doubt_address
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store, StoreOptions


def check_store_address(url: str) -> str:
    """The address of a store as it is given.

    Raises Misconfigured if it is neither a folder nor ``s3://``, or seems to be misspelled.
    """
    doubt = doubt_address(url, ("s3", "file"))
    is_empty = not url.removeprefix("file://").removeprefix("s3://").strip()
    if doubt or is_empty or "\0" in url:
        advice = "" if "?" in doubt else ": give a folder or s3://bucket/prefix"
        raise Misconfigured(f"results cannot be written to '{url}'{doubt}{advice}")
    return url


def open_store(url: str, options: StoreOptions | None = None) -> Store:
    """Store of an address; nothing is touched yet.

    Parameters
    ----------
    url
        A folder (which need not exist) or ``s3://bucket/prefix``.
    options
        How to reach S3.

    Raises
    ------
    Misconfigured
        If the address is neither.
    """
    scheme, _, rest = check_store_address(url).rpartition("://")
    if scheme == "s3":
        from cropmask.store.s3 import S3Store  # boto3 takes a while: only where it is needed

        bucket, _, prefix = rest.partition("/")
        return S3Store(bucket, prefix, options or StoreOptions())
    return FolderStore(Path(rest))
