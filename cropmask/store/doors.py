"""The door to a store: which kind an address names."""

from __future__ import annotations

from pathlib import Path

from cropmask.errors import Misconfigured
from cropmask.store.folder import FolderStore
from cropmask.store.protocol import Store, StoreOptions


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
    scheme, _, rest = url.rpartition("://")
    if scheme == "s3":
        from cropmask.store.s3 import S3Store  # boto3 takes a while: only where it is needed

        bucket, _, prefix = rest.partition("/")
        return S3Store(bucket, prefix, options or StoreOptions())
    if scheme not in ("", "file") or not rest.strip() or "\0" in rest:
        raise Misconfigured(
            f"results cannot be written to '{url}': give a folder or s3://bucket/prefix"
        )
    return FolderStore(Path(rest))
