"""Sixty-four lanes at once: the few machine words that numba cannot say by itself.

Plain LLVM vector types, so that every processor gets exact code of its own: one masked compare
with AVX-512, several shorter ones with AVX2 or NEON. Addresses are of memory that the caller
owns and has sized.
"""

# An intrinsic's signature is told to numba at run time; Python types would say nothing.
# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 64
ROW_BYTES = 2 * LANES

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_WORDS = ir.VectorType(_I16, LANES)
_BITS = ir.VectorType(ir.IntType(1), LANES)


def _pointer(builder, address, kind):
    return builder.inttoptr(address, kind.as_pointer())


def _load_row(builder, address):
    row = builder.load(_pointer(builder, address, _WORDS))
    row.align = LANES
    return row


def _store_row(builder, row, address):
    builder.store(row, _pointer(builder, address, _WORDS)).align = LANES


def _splat(builder, value):
    undefined = ir.Constant(_WORDS, ir.Undefined)
    single = builder.insert_element(undefined, builder.trunc(value, _I16), ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(single, undefined, zeros)


@intrinsic
def load(typingctx, address):  # noqa: ARG001
    """Load a uint64 from an address."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        return builder.load(_pointer(builder, args[0], _I64))

    return types.uint64(types.uint64), codegen


@intrinsic
def store(typingctx, address, value):  # noqa: ARG001
    """Store a uint64 at an address."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        builder.store(args[1], _pointer(builder, args[0], _I64))
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), codegen


@intrinsic
def at_most(typingctx, address, limit):  # noqa: ARG001
    """Bit i: the i-th of 64 uint16 at an address is at most the low 16 bits of ``limit``."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        row = _load_row(builder, args[0])
        return builder.bitcast(builder.icmp_unsigned("<=", row, _splat(builder, args[1])), _I64)

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def count(typingctx, address, mask):  # noqa: ARG001
    """Add bit i of a mask to the i-th of 64 uint16 at an address."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        bits = builder.zext(builder.bitcast(args[1], _BITS), _WORDS)
        _store_row(builder, builder.add(_load_row(builder, args[0]), bits), args[0])
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), codegen


@intrinsic
def assign(typingctx, address, mask, value, other_mask, other_value):  # noqa: ARG001
    """Set the i-th of 64 uint16 at an address to a value where bit i of its mask is set.

    Two masks and values at once; the low 16 bits of the values count.
    """

    def codegen(context, builder, signature, args):  # noqa: ARG001
        row = _load_row(builder, args[0])
        for mask_, value_ in (args[1:3], args[3:5]):
            bits = builder.bitcast(mask_, _BITS)
            row = builder.select(bits, _splat(builder, value_), row)
        _store_row(builder, row, args[0])
        return context.get_dummy_value()

    return types.void(*[types.uint64] * 5), codegen
