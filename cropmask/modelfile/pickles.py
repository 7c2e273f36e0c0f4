"""Pickles and joblib files read as data: what they say of a model, without running any of it.

A pickle is a program for a small stack machine, and Python's reader runs whatever that names. This
machine knows only the instructions that describe data, and the few names that a fitted model of
scikit-learn needs; each stands for an inert record of what the file says, never for the thing
itself. Arrays are views of the file's bytes, made after their size was compared with what is there.
"""

from __future__ import annotations

import bz2
import io
import lzma
import pickletools
import re
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from cropmask.errors import not_installed

MAX_PICKLE_BYTES: Final = 512 * 2**20
"""Most bytes of a pickle, after decompression."""
MAX_VALUE_BYTES: Final = 64 * 2**20
"""Most bytes of a single value of a pickle; the nodes of the largest tree take 4 MiB."""
MAX_INSTRUCTIONS: Final = 1_500_000
"""Most instructions of a pickle; a tree takes some 200."""
_MAX_NUMBER_BITS: Final = 256
_MAX_TEXT: Final = 4096
"""Longest text that may be anything; a longer one is bytes, as old protocols write them."""
_MAX_ENTRIES: Final = 1000
_MAX_AXES: Final = 8
_MAX_FIELDS: Final = 32
_DTYPE_BYTES: Final = 2**14
"""What a type with fields counts for, so that there may be 32 768 of them."""
_LZMA_MEMORY: Final = 256 * 2**20


class PickleProblem(ValueError):
    """Why a file cannot be read as a model, in a few words that follow 'it' or 'its'."""


@dataclass(frozen=True, slots=True)
class PickleName:
    """A name that a pickle may use: inert, it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class PickleRecord:
    """An object as a pickle describes it: nothing of its class is there."""

    kind: PickleName
    state: dict[str, Any] = field(default_factory=dict)
    """Attributes by name; empty if the pickle gives none."""
    is_built: bool = False


@dataclass(slots=True, eq=False)
class PickleArray:
    """An array of a pickle."""

    shape: tuple[int, ...] = ()
    values: NDArray[Any] | list[Any] = field(default_factory=list)
    """Its numbers in its shape, read-only; a flat list where it holds other objects."""


@dataclass(slots=True, eq=False)
class _DtypeRecord:
    dtype: np.dtype[Any]


_INERT: Final[dict[str, str]] = {
    "numpy": "memmap ndarray dtype bool bool_ float32 float64 int8 int32 int64 intp uint8 uint32 "
    "uint64 str_ object_",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy._core.numeric": "_frombuffer",
    # What else a fitted model or a search keeps: where its random numbers stand, tables of scores.
    "numpy.ma": "MaskedArray",
    "numpy.random": "__RandomState_ctor",
    "numpy.ma.core": "MaskedArray _mareconstruct",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "joblib.numpy_pickle": "NumpyArrayWrapper",
    "_codecs": "encode",
    "copyreg": "_reconstructor",
    "builtins": "bytes object",
}
"""Names beside scikit-learn's that a pickle may use, by module."""
_SKLEARN: Final = re.compile(
    r"_loss|sklearn\.(_loss|compose|decomposition|dummy|ensemble|feature_selection|impute|metrics"
    r"|model_selection|pipeline|preprocessing|tree|utils\._metadata_requests)(\.[a-z0-9_]{1,40}){0,4}"
)
"""Packages of scikit-learn whose names may occur: ensembles and trees, and what is put around."""
_IDENTIFIER: Final = re.compile("[A-Za-z_][A-Za-z0-9_]{0,60}")
_RENAMED: Final = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "sklearn.externals.joblib.numpy_pickle": "joblib.numpy_pickle",
}
_DTYPE: Final = re.compile("[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SUV][1-9][0-9]{0,3}|O8?)")


def parse_pickle(data: bytes) -> Any:  # noqa: ANN401 (whatever the pickle describes)
    """What a pickle of any protocol describes: plain values, and records of objects.

    It is not compressed, and has arrays as pickle or joblib writes them. Raises PickleProblem if it
    is cut or damaged, uses an instruction or a name beyond the few that a model needs, or declares
    more than is there.
    """
    stream = _Stream(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pickletools: escapes in what is no text
        found = _Machine(stream).run()
    if stream.left:
        raise PickleProblem("goes on where its model ends")
    return found


class _Stream(io.BytesIO):
    """Bytes of a pickle, of which no single read is longer than a value may be."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data

    @property
    def left(self) -> int:
        return len(self.data) - self.tell()

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        if size > MAX_VALUE_BYTES:
            raise PickleProblem(
                f"has a value of {size} bytes, at most {MAX_VALUE_BYTES} are accepted"
            )
        return super().read(size)

    def readline(self, _size: int | None = -1, /) -> bytes:
        return super().readline(MAX_VALUE_BYTES)

    def take(self, size: int) -> int:
        """Position of the next ``size`` bytes, which are passed over."""
        start = self.tell()
        if size > self.left:
            raise PickleProblem(
                f"is cut or damaged: it declares {size} bytes where {self.left} are left"
            )
        self.seek(size, io.SEEK_CUR)
        return start


_VALUES: Final = frozenset(
    "BININT BININT1 BININT2 INT LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_SHORT_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GETS: Final = frozenset({"GET", "BINGET", "LONG_BINGET"})


class _Machine:
    """The stack machine of one pickle; a pickle within a joblib file has one of its own."""

    def __init__(self, stream: _Stream, *, inner: bool = False) -> None:
        self.stream = stream
        self.inner = inner
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.left = MAX_INSTRUCTIONS
        self.made = 0

    def run(self) -> Any:  # noqa: ANN401
        try:
            for opcode, arg, _ in pickletools.genops(self.stream):
                self.left -= 1
                if self.left < 0:
                    raise PickleProblem(f"has more than {MAX_INSTRUCTIONS} instructions")
                self.step(opcode.name, arg)
        except PickleProblem:
            raise
        except (ValueError, OverflowError):  # of pickletools: cut, or no such instruction
            at = self.stream.tell()
            raise PickleProblem(f"is cut or damaged before byte {at}, or is no pickle") from None
        found = self.pop()
        if self.stack:
            raise PickleProblem("is damaged: it ends too early")
        return found

    def step(self, name: str, arg: Any) -> None:  # noqa: ANN401
        if name in _VALUES:
            self.stack.append(_check_value(arg))
        elif name in _PUTS:
            self.put(len(self.memo) if name == "MEMOIZE" else arg)
        elif name in _GETS:
            if arg not in self.memo:
                raise PickleProblem("is damaged: it refers to what is not there")
            self.stack.append(self.memo[arg])
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _SHORT_TUPLES:
            self.stack.append(tuple(self.pop_many(_SHORT_TUPLES[name])))
        elif name in _STEPS:
            _STEPS[name](self, arg)
        else:
            raise PickleProblem(f"has the instruction {name}, which no model needs")

    def put(self, place: int) -> None:
        if not 0 <= place < 2**32:
            raise PickleProblem("is damaged: it keeps a value where there is no place")
        self.memo[place] = self.top()

    def top(self) -> Any:  # noqa: ANN401
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleProblem("is damaged: it uses what is not there")
        return self.stack[-1]

    def pop(self) -> Any:  # noqa: ANN401
        found = self.top()
        self.stack.pop()
        return found

    def pop_many(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise PickleProblem("is damaged: it closes what is not open")
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def drop(self, _: None) -> None:
        self.pop()

    def drop_to_mark(self, _: None) -> None:
        self.pop_mark()

    def do_nothing(self, _: object) -> None:
        """Neither a version nor the end says anything of the model."""

    def frame(self, size: int) -> None:
        if size > self.stream.left:
            raise PickleProblem(
                f"is cut or damaged: it declares {size} bytes where {self.stream.left} are left"
            )

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise PickleProblem("is damaged: it appends to what is no list")
        target += values

    def update(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict):
            raise PickleProblem("is damaged: it sets entries of what is no dictionary")
        target.update(_make_dict(values))
        _check_entries(target)

    def find_name(self, module: str, name: str) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleProblem("is damaged: a name of it is no text")
        self.stack.append(_find_name(module, name))

    def call(self, _: None) -> None:
        func, args = self.pop_many(2)
        if not isinstance(func, PickleName) or not isinstance(args, tuple):
            raise PickleProblem("calls what is no name")
        found = _call(func, args)
        self.spend(len(found) if isinstance(found, bytes | str) else 0)
        self.stack.append(found)

    def spend(self, size: int) -> None:
        """Count what is made of few instructions, again and again."""
        self.made += size
        if self.made > MAX_PICKLE_BYTES:
            raise PickleProblem(f"makes more than {MAX_PICKLE_BYTES} bytes of its own")

    def new(self, count: int) -> None:
        kind, *args = self.pop_many(count)
        if not isinstance(kind, PickleName) or not isinstance(args[0], tuple):
            raise PickleProblem("makes an object of what is no class")
        self.stack.append(_new(kind))

    def build(self, _: None) -> None:
        target, state = self.pop_many(2)
        if isinstance(target, _DtypeRecord):
            self.spend(_DTYPE_BYTES if target.dtype.kind == "V" else 0)
            target.dtype = _build_dtype(target.dtype, state)
        elif isinstance(target, PickleArray):
            _build_array(target, state)
        elif not isinstance(target, PickleRecord) or target.is_built:
            raise PickleProblem("gives a state to what cannot have one")
        elif target.kind.name == "NumpyArrayWrapper":
            target = self.read_array(state)
        else:
            target.is_built = True
            target.state = state if isinstance(state, dict) else {}
        self.stack.append(target)

    def read_array(self, state: Any) -> PickleArray:  # noqa: ANN401
        """The array whose bytes follow in the file, as joblib writes them."""
        if not isinstance(state, dict) or not isinstance(state.get("dtype"), _DtypeRecord):
            raise PickleProblem("is damaged: an array of it has no type")
        dtype, shape = state["dtype"].dtype, _check_shape(state.get("shape"))
        if dtype.hasobject:
            if self.inner:
                raise PickleProblem("has a pickle within a pickle within a pickle")
            machine = _Machine(self.stream, inner=True)
            machine.left, machine.made = self.left, self.made
            found = machine.run()
            self.left, self.made = machine.left, machine.made
            if not isinstance(found, PickleArray):
                raise PickleProblem("is damaged: a pickle within it is no array")
            return found
        if state.get("numpy_array_alignment_bytes") is not None:
            self.stream.take(int.from_bytes(self.stream.read(1), "little"))
        size = prod(shape) * dtype.itemsize
        start = self.stream.take(size)
        fortran = state.get("order") == "F"
        return _make_array(self.stream.data, start, size, dtype, shape, fortran)


_STEPS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    "PROTO": _Machine.do_nothing,
    "STOP": _Machine.do_nothing,
    "FRAME": _Machine.frame,
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_to_mark,
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "LIST": lambda machine, _: machine.stack.append(machine.pop_mark()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_mark())),
    "DICT": lambda machine, _: machine.stack.append(_make_dict(machine.pop_mark())),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_mark()),
    "SETITEM": lambda machine, _: machine.update(machine.pop_many(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.pop_mark()),
    "GLOBAL": lambda machine, arg: machine.find_name(*arg.rpartition(" ")[::2]),
    "STACK_GLOBAL": lambda machine, _: machine.find_name(*machine.pop_many(2)),
    "REDUCE": _Machine.call,
    "NEWOBJ": lambda machine, _: machine.new(2),
    "NEWOBJ_EX": lambda machine, _: machine.new(3),
    "BUILD": _Machine.build,
}


def _check_value(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, int) and value.bit_length() > _MAX_NUMBER_BITS:
        raise PickleProblem("has a number of too many digits")
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        _latin(value)
    return bytes(value) if isinstance(value, bytearray) else value


def _latin(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeError:
        raise PickleProblem("has a text that is too long") from None


def _make_dict(values: list[Any]) -> dict[Any, Any]:
    keys = values[0::2]
    # Words and small numbers alone are hashed: a tuple may be nested deeper than that can bear,
    # and large numbers may be chosen so that all have one hash.
    if len(values) % 2 or not all(_is_key(key) for key in keys):
        raise PickleProblem("has a dictionary whose keys are not words or small numbers")
    return _check_entries(dict(zip(keys, values[1::2], strict=True)))


def _is_key(key: object) -> bool:
    return isinstance(key, str | float | None) or (isinstance(key, int) and abs(key) < 2**60)


def _check_entries(found: dict[Any, Any]) -> dict[Any, Any]:
    if len(found) > _MAX_ENTRIES:
        raise PickleProblem(f"has a dictionary of more than {_MAX_ENTRIES} entries")
    return found


def _find_name(module: str, name: str) -> PickleName:
    module = _RENAMED.get(module, module)
    module = re.sub(r"^numpy\.core\b", "numpy._core", module)
    known = name in _INERT.get(module, "").split() or _SKLEARN.fullmatch(module)
    if not known or not _IDENTIFIER.fullmatch(name):
        raise PickleProblem(f"names {module[:80]}.{name[:80]}, which no model needs")
    return PickleName(module, name)


def _new(kind: PickleName) -> PickleRecord:
    if str(kind) in _MAKERS or kind.module in ("numpy", "builtins"):
        raise PickleProblem(f"makes an object of {kind}")
    return PickleRecord(kind)


def _call(func: PickleName, args: tuple[Any, ...]) -> Any:  # noqa: ANN401
    maker = _MAKERS.get(str(func))
    if maker is None:
        return _new(func)
    try:
        return maker(*args)
    except TypeError:
        raise PickleProblem(f"calls {func} in a way that is not known") from None


def _make_dtype(text: str, *_flags: object) -> _DtypeRecord:
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        raise PickleProblem("has an array of a type that is not known")
    return _DtypeRecord(np.dtype(text))


def _build_dtype(dtype: np.dtype[Any], state: Any) -> np.dtype[Any]:  # noqa: ANN401
    """A type with its byte order, or with its fields."""
    if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
        raise PickleProblem("has an array of a type that is not known")
    _, order, inner, names, fields = state[:5]
    if inner is not None:
        raise PickleProblem("has an array of a type that is not known")
    if names is None:
        return dtype if order == "|" or dtype.hasobject else dtype.newbyteorder(order)
    if not (isinstance(names, tuple) and isinstance(fields, dict) and len(names) <= _MAX_FIELDS):
        raise PickleProblem("has an array of a type that is not known")
    found = [_parse_field(name, fields, dtype.itemsize) for name in names]
    if len(set(names)) < len(names):
        raise PickleProblem("has a field twice")
    formats, offsets = [one for one, _ in found], [offset for _, offset in found]
    return np.dtype(
        {"names": list(names), "formats": formats, "offsets": offsets, "itemsize": dtype.itemsize}
    )


def _parse_field(name: Any, fields: dict[Any, Any], size: int) -> tuple[np.dtype[Any], int]:  # noqa: ANN401
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        raise PickleProblem("has a field without a name")
    match fields.get(name):
        case (_DtypeRecord(dtype), int(offset), *_) if not (dtype.hasobject or dtype.names):
            if 0 <= offset <= size - dtype.itemsize:
                return dtype, offset
    raise PickleProblem("has a field that is not within its record")


def _check_shape(shape: Any) -> tuple[int, ...]:  # noqa: ANN401
    good = isinstance(shape, tuple) and len(shape) <= _MAX_AXES
    if not good or not all(type(n) is int and 0 <= n <= MAX_PICKLE_BYTES for n in shape):
        raise PickleProblem("has an array whose shape is not one")
    return tuple(shape)


def _make_array(
    data: bytes,
    start: int,
    size: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    fortran: bool,
) -> PickleArray:
    """A view of ``size`` bytes that are there."""
    count = prod(shape)
    if dtype.hasobject or count * dtype.itemsize != size:
        raise PickleProblem("has an array of another size than its shape")
    flat = np.frombuffer(data, dtype, count, start) if count else np.empty(0, dtype)
    return PickleArray(shape, flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape))


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> PickleArray:  # noqa: ANN401
    if not isinstance(data, bytes) or not isinstance(dtype, _DtypeRecord):
        raise PickleProblem("has an array without bytes or type")
    return _make_array(data, 0, len(data), dtype.dtype, _check_shape(shape), order == "F")


def _reconstruct(*_args: object) -> PickleArray:
    return PickleArray()


def _build_array(target: PickleArray, state: Any) -> None:  # noqa: ANN401
    match state:
        case (_, shape, _DtypeRecord(dtype), fortran, list(values)) if dtype.hasobject:
            target.shape = _check_shape(shape)
            if prod(target.shape) != len(values):
                raise PickleProblem("has an array of another size than its shape")
            target.values = values
        case (_, shape, dtype, fortran, bytes()):
            found = _from_buffer(state[4], dtype, shape, "F" if fortran else "C")
            target.shape, target.values = found.shape, found.values
        case _:
            raise PickleProblem("has an array without bytes or type")


def _scalar(dtype: Any, data: Any) -> Any:  # noqa: ANN401
    found = _from_buffer(data, dtype, (1,), "C").values
    if not isinstance(found, np.ndarray) or found.dtype.kind == "V":
        raise PickleProblem("has a single value of a type that is not known")
    return found[0].item()


def _encode(text: Any, encoding: Any) -> bytes:  # noqa: ANN401
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise PickleProblem("has bytes in an encoding that is not known")
    return _latin(text)


def _reconstructor(kind: Any, base: Any, state: Any) -> PickleRecord:  # noqa: ANN401
    is_object = isinstance(base, PickleName) and str(base) == "builtins.object"
    if not isinstance(kind, PickleName) or not is_object or state is not None:
        raise PickleProblem("makes an object of what is no class")
    return _new(kind)


def _no_bytes() -> bytes:
    return b""


_MAKERS: Final[dict[str, Callable[..., Any]]] = {
    "numpy.dtype": _make_dtype,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _reconstructor,
    "builtins.bytes": _no_bytes,
}
"""What is made of a call, for the few that make values; of all others a record is made."""


class _Unpacker(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _lz4() -> _Unpacker:
    try:
        from lz4.frame import LZ4FrameDecompressor
    except ModuleNotFoundError:
        raise not_installed("lz4") from None
    unpacker: _Unpacker = LZ4FrameDecompressor()
    return unpacker


_UNPACKERS: Final[dict[bytes, Callable[[], Any]]] = {
    b"\x78": zlib.decompressobj,
    b"\x1f\x8b": lambda: zlib.decompressobj(31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY),
    b"\x5d\x00": lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY),
    b"\x04\x22\x4d\x18": _lz4,
}
"""Decompressors by the bytes that their files begin with."""


def unpack_joblib(data: bytes) -> bytes:
    """Bytes of a joblib file, decompressed if it is compressed.

    Raises PickleProblem if it does not decompress, or to more than :data:`MAX_PICKLE_BYTES`;
    Misconfigured if it is compressed with lz4, which is not installed.
    """
    make = next((m for magic, m in _UNPACKERS.items() if data.startswith(magic)), None)
    if make is None:
        return data
    unpacker: _Unpacker = make()
    try:
        raw = unpacker.decompress(data, MAX_PICKLE_BYTES + 1)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, ValueError) as error:
        raise PickleProblem(f"does not decompress ({error})") from None
    if len(raw) > MAX_PICKLE_BYTES:
        raise PickleProblem(f"unpacks to more than {MAX_PICKLE_BYTES // 2**20} MiB")
    if not unpacker.eof or unpacker.unused_data:
        raise PickleProblem("does not decompress: it is cut, or goes on where it ends")
    return raw
