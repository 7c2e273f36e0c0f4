r"""The container of a model file: a manifest and plain arrays, and nothing that runs.

::

    magic   8 bytes   b"\x89CROPMDL"
    version 4 bytes   little-endian
    digest 32 bytes   SHA-256 of everything after it
    length  4 bytes   of the head
    head              JSON: {"arrays": [{name, dtype, shape, stored, raw}, ...], "manifest": {...}}
    arrays            one zlib stream each, in the head's order; byte planes, little-endian

Every size is declared in the head, checked against a limit and against what is there before
memory is taken for it. Equal contents give equal bytes.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cropmask.errors import Misconfigured, Reason, Rejected, write_command

MAGIC: Final = b"\x89CROPMDL"
FORMAT_VERSION: Final = 1
SUFFIX: Final = ".cropmodel"
MAX_FILE_BYTES: Final = 64 * 2**20
MAX_HEAD_BYTES: Final = 2**18
MAX_RAW_BYTES: Final = 128 * 2**20
"""Most bytes that all arrays of a file may take in memory together."""

Array = NDArray[Any]
Code = Literal["u1", "u2", "u4", "f4", "f8"]
Size = Annotated[int, Field(ge=0, le=MAX_RAW_BYTES)]
_DIGEST_AT: Final = len(MAGIC) + 4
_HEAD_AT: Final = _DIGEST_AT + 32 + 4


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Stored(_Strict):
    """One array as the head declares it."""

    name: Annotated[str, Field(pattern="^[a-z_]{1,32}$")]
    dtype: Code
    shape: Annotated[tuple[Size, ...], Field(min_length=1, max_length=2)]
    stored: Size
    raw: Size


class _Head(_Strict):
    arrays: Annotated[tuple[_Stored, ...], Field(max_length=32)]
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """What a model file holds, before it is understood as a model."""

    manifest: dict[str, Any]
    """Its JSON manifest, not yet interpreted."""
    arrays: dict[str, Array]
    """Its arrays by name, as declared."""


def encode_content(content: Content) -> bytes:
    """Bytes of a model file."""
    streams = [zlib.compress(_planes(array), 9) for array in content.arrays.values()]
    head = _Head(
        arrays=tuple(
            _Stored(
                name=name,
                dtype=_dtype_code(array),
                shape=array.shape,
                stored=len(stream),
                raw=array.nbytes,
            )
            for (name, array), stream in zip(content.arrays.items(), streams, strict=True)
        ),
        manifest=content.manifest,
    )
    text = head.model_dump_json().encode()
    body = len(text).to_bytes(4, "little") + text + b"".join(streams)
    return MAGIC + FORMAT_VERSION.to_bytes(4, "little") + sha256(body).digest() + body


def parse_content(data: bytes, path: str) -> Content:
    """Manifest and arrays of a model file's bytes; Rejected if they are anything but that."""
    name = Path(path).name
    if data[: len(MAGIC)] != MAGIC:
        raise Rejected(
            f"{name} is not a model file: give a {SUFFIX} file, or turn an old scikit-learn joblib "
            f"into one with '{write_command('models import', str(Path(path).absolute()))}'",
            reason=Reason.BAD_MODEL,
        )
    version = int.from_bytes(data[len(MAGIC) : _DIGEST_AT], "little")
    if version != FORMAT_VERSION:
        raise Rejected(
            f"model file {name} has format {version}, this cropmask reads {FORMAT_VERSION}: "
            "use the version of cropmask that wrote it, or train the model anew",
            reason=Reason.BAD_MODEL,
        )
    if len(data) < _HEAD_AT or sha256(data[_HEAD_AT - 4 :]).digest() != data[_DIGEST_AT:][:32]:
        raise damaged(name, "its checksum differs")
    try:
        return _parse_body(data, name)
    except zlib.error:
        raise damaged(name, "an array does not decompress") from None


def damaged(name: str, problem: str) -> Rejected:
    """The error of a model file that cannot be trusted."""
    return Rejected(
        f"model file {name} is damaged ({problem}): fetch it again or train the model anew",
        reason=Reason.BAD_MODEL,
    )


def _parse_body(data: bytes, name: str) -> Content:
    length = int.from_bytes(data[_HEAD_AT - 4 : _HEAD_AT], "little")
    if length > min(MAX_HEAD_BYTES, len(data) - _HEAD_AT):
        raise damaged(name, "its head is too long")
    at = _HEAD_AT + length
    try:
        head = _Head.model_validate_json(data[_HEAD_AT:at])
    except ValidationError as error:
        raise damaged(name, f"its head: {problem_of(error)}") from None
    if sum(item.raw for item in head.arrays) > MAX_RAW_BYTES:
        raise damaged(name, "its arrays are too large")
    if sum(item.stored for item in head.arrays) != len(data) - at:
        raise damaged(name, "its arrays do not end where the file ends")
    arrays: dict[str, Array] = {}
    for item in head.arrays:
        if item.name in arrays:
            raise damaged(name, f"array '{item.name}' occurs twice")
        arrays[item.name] = _parse_array(item, data[at : at + item.stored], name)
        at += item.stored
    return Content(head.manifest, arrays)


def _parse_array(item: _Stored, stream: bytes, name: str) -> Array:
    dtype = np.dtype(item.dtype).newbyteorder("<")
    if prod(item.shape) * dtype.itemsize != item.raw:
        raise damaged(name, f"array '{item.name}' has another size than its shape")
    # One byte more than declared is asked for: a stream that would go on is seen without memory
    # for all that it would unpack to.
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(stream, item.raw + 1)
    if len(raw) != item.raw or not unpacker.eof or unpacker.unused_data:
        raise damaged(name, f"array '{item.name}' has another length than declared")
    planes = np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, -1)
    array = np.ascontiguousarray(planes.T).view(dtype).reshape(item.shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def problem_of(error: ValidationError) -> str:
    """The first problem of a document in one line."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else problem["msg"]


def _planes(array: Array) -> bytes:
    """First all first bytes of the numbers, then all second ones."""
    # Neighbors in an array mostly share their high bytes: beside each other, these compress better.
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(little.view(np.uint8).reshape(-1, array.itemsize).T).tobytes()


def _dtype_code(array: Array) -> Code:
    code = array.dtype.str[1:]
    assert code in get_args(Code), f"dtype {code} is not stored"
    return cast("Code", code)


def load_model_bytes(path: Path) -> bytes:
    """Bytes of a model file; Rejected if it is no regular file or over :data:`MAX_FILE_BYTES`."""
    try:
        if path.exists() and not path.is_file():
            raise Rejected(f"{path} is not a file: give a {SUFFIX} file", reason=Reason.BAD_MODEL)
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise Rejected(
                f"{path} is too large for a model file ({size // 2**20} MiB, at most "
                f"{MAX_FILE_BYTES // 2**20}): give a {SUFFIX} file",
                reason=Reason.BAD_MODEL,
            )
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise Misconfigured(
            f"model file {path} cannot be read ({problem}): check the path"
        ) from None


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, replacing an old one.

    Raises Misconfigured if the folder cannot be written to.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise Misconfigured(
            f"{path} cannot be written ({error.strerror}): choose another folder"
        ) from None
