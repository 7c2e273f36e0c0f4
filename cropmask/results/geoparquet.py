"""Items as stac-geoparquet, by ``rustac``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cropmask.errors import Interrupted, Misconfigured, Reason


def encode_parquet(items: Sequence[dict[str, Any]]) -> bytes:
    """Bytes of a stac-geoparquet file.

    Parameters
    ----------
    items
        STAC items with absolute addresses, since rows have no place to be relative to.

    Raises
    ------
    Misconfigured
        If ``rustac`` is not installed.
    Interrupted
        If the items cannot be encoded.
    """
    rustac = import_rustac()
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


def import_rustac() -> Any:  # noqa: ANN401 (a module)
    """The package ``rustac``.

    Raises
    ------
    Misconfigured
        If it is not installed.
    """
    try:
        import rustac
    except ImportError:
        raise Misconfigured(
            "this needs the package rustac: pip install 'cropmask[serve]'",
            reason=Reason.NOT_INSTALLED,
        ) from None
    return rustac
