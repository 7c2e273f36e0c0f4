"""Items as stac-geoparquet, by ``rustac``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cropmask.errors import Interrupted, Misconfigured, Reason
from cropmask.stac.facts import Document


def encode_parquet(items: Sequence[Document]) -> bytes:
    """Bytes of a stac-geoparquet file; items need absolute addresses, since rows have no place."""
    try:
        import rustac
    except ImportError:
        raise Misconfigured(
            "this needs the package rustac: pip install 'cropmask[serve]'",
            reason=Reason.NOT_INSTALLED,
        ) from None
    with TemporaryDirectory(prefix="cropmask-") as folder:
        path = Path(folder) / "items.parquet"
        try:
            rustac.write_sync(str(path), [_without_empty(item) for item in items])
        except rustac.RustacError as error:
            raise Interrupted(f"items cannot be written as parquet: {error}") from None
        return path.read_bytes()


def _without_empty(value: Any) -> Any:  # noqa: ANN401 (any JSON value)
    """The same without empty objects, which parquet cannot hold."""
    if isinstance(value, dict):
        return {key: _without_empty(inner) for key, inner in value.items() if inner != {}}
    return value
