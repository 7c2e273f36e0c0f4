"""Single instructions on many lanes (SIMD): what numba cannot say by itself, as LLVM intrinsics.

Written in plain LLVM vector types, so that each processor gets code of its own for them: masked
compares with AVX-512, several shorter ones with AVX2 or NEON. All give the same bits. Addresses
are of memory that the caller owns and has sized.
"""

# An intrinsic's signature is told to numba at run time; Python types would say nothing.
# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cropmask.core.cpulevel import has_feature

LANES = 64
"""Pixels of a packet: bits of a mask."""

# A boosted tree has some 31 leaves, and four packets of one neighborhood reach most of its nodes
# anyway. Walking as one, they load each node once and not four times.
GROUP = 4
"""Packets that walk small trees as one."""

LEFT, RIGHT, CHILD = 30, 45, 0x7FFF
"""First bits of the children in a word of the engine, and the mask of a child."""
LEFT_INNER, RIGHT_INNER = 60, 61
"""Bits of a word that tell whether a child is an inner node."""

HAS_PERMUTES = has_feature("avx512f")
"""Whether 32 float64 can be looked up within registers."""

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_WORDS = ir.VectorType(_I16, LANES)
_MASKS = ir.IntType(GROUP * LANES)


def _pointer(builder, address, kind):
    return builder.inttoptr(address, kind.as_pointer())


def _load_row(builder, address, kind):
    # An aligned row never straddles two cache lines; the engine's `aligned` sees to it.
    row = builder.load(_pointer(builder, address, kind))
    row.align = LANES
    return row


def _store_row(builder, row, address):
    builder.store(row, _pointer(builder, address, row.type)).align = LANES


def _splat(builder, value, kind):
    """Copy a number's low bits to all lanes of a vector."""
    undefined = ir.Constant(kind, ir.Undefined)
    single = builder.trunc(value, kind.element)
    single = builder.insert_element(undefined, single, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count)
    return builder.shuffle_vector(single, undefined, zeros)


def _bits(builder, mask):
    return builder.bitcast(mask, ir.VectorType(ir.IntType(1), mask.type.width))


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
        # 64 truth values are, bit by bit, the mask: with AVX-512 that is how they come, in two
        # registers of 32, and no lane is ever looked at alone.
        row = _load_row(builder, args[0], _WORDS)
        low = builder.icmp_unsigned("<=", row, _splat(builder, args[1], _WORDS))
        return builder.bitcast(low, _I64)

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def count(typingctx, address, mask):  # noqa: ARG001
    """Add bit i of a mask to the i-th of 64 uint16 at an address."""

    def codegen(context, builder, signature, args):  # noqa: ARG001
        bits = builder.zext(_bits(builder, args[1]), _WORDS)
        row = _load_row(builder, args[0], _WORDS)
        _store_row(builder, builder.add(row, bits), args[0])
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), codegen


@intrinsic
def visit(typingctx, groups, entry, packet, row, word, out):  # noqa: ARG001
    """Take the pixels of an entry of a wave one node further; returns the end of ``out``.

    An entry is the place (its low 15 bits the node) and the masks of ``GROUP`` packets. Their
    lanes at ``row``, of the type of the array ``groups``, are compared with the low bits of
    ``word``. Each pixel's lane at ``packet`` becomes its child: in the end, its leaf. Children
    that are inner nodes and have pixels become entries at ``out``, which needs room for two.
    """
    size = 8 + GROUP * LANES // 8
    lanes = ir.VectorType(ir.IntType(groups.dtype.bitwidth), GROUP * LANES)

    def codegen(context, builder, signature, args):  # noqa: ARG001
        entry, packet, row, word, out = args[1:]

        def number(value):
            return ir.Constant(_I64, value)

        def load_masks(address):
            masks = builder.load(_pointer(builder, address, _MASKS))
            masks.align = 8
            return masks

        def push(out, place, child, masks, flag):
            inner = builder.trunc(builder.lshr(word, number(flag)), ir.IntType(1))
            builder.store(builder.or_(place, child), _pointer(builder, out, _I64))
            there = _pointer(builder, builder.add(out, number(8)), _MASKS)
            builder.store(masks, there).align = 8
            some = builder.icmp_unsigned("!=", masks, ir.Constant(_MASKS, 0))
            step = builder.select(builder.and_(inner, some), number(size), number(0))
            return builder.add(out, step)

        masks = load_masks(builder.add(entry, number(8)))
        left, right = (
            builder.and_(builder.lshr(word, number(bit)), number(CHILD)) for bit in (LEFT, RIGHT)
        )
        # Every lane gets a child, and the masks keep the pixels that are elsewhere in the tree as
        # they are. A child that is a leaf is not visited again, so its number stays in the lane.
        ranks = _load_row(builder, row, lanes)
        low = builder.icmp_unsigned("<=", ranks, _splat(builder, word, lanes))
        child = builder.select(low, _splat(builder, left, lanes), _splat(builder, right, lanes))
        reached = _load_row(builder, packet, lanes)
        _store_row(builder, builder.select(_bits(builder, masks), child, reached), packet)
        lows = builder.bitcast(low, _MASKS)
        place = builder.load(_pointer(builder, entry, _I64))
        place = builder.and_(place, number(~CHILD))
        out = push(out, place, left, builder.and_(masks, lows), LEFT_INNER)
        return push(out, place, right, builder.and_(masks, builder.not_(lows)), RIGHT_INNER)

    return types.uint64(groups, *[types.uint64] * 5), codegen


@intrinsic
def add_looked_up(typingctx, address, values, sums):  # noqa: ARG001
    """Add to 64 float64 at ``sums`` those of 32 at ``values`` that 64 uint8 below 32 name.

    Only where :data:`HAS_PERMUTES`. Four registers hold the values; no lane reads memory.
    """
    doubles, longs, chosen = (ir.VectorType(kind, 8) for kind in (ir.DoubleType(), _I64, _I8))

    def codegen(context, builder, signature, args):  # noqa: ARG001
        permute = builder.module.declare_intrinsic(
            "llvm.x86.avx512.vpermi2var.pd.512",
            (),
            ir.FunctionType(doubles, [doubles, longs, doubles]),
        )

        def part(address, start, kind):
            moved = builder.add(address, ir.Constant(_I64, start))
            found = builder.load(_pointer(builder, moved, kind))
            found.align = 8
            return found

        # vpermi2var picks each lane from two registers of 8 values, by the low 4 bits of its
        # number. So both halves of the 32 values are asked, and the fifth bit chooses.
        table = [part(args[1], 64 * i, doubles) for i in range(4)]
        for i in range(LANES // 8):
            lanes = builder.zext(part(args[0], 8 * i, chosen), longs)
            low = builder.call(permute, [table[0], lanes, table[1]])
            high = builder.call(permute, [table[2], lanes, table[3]])
            upper = builder.icmp_unsigned(">", lanes, ir.Constant(longs, [15] * 8))
            total = builder.fadd(part(args[2], 64 * i, doubles), builder.select(upper, high, low))
            to = builder.add(args[2], ir.Constant(_I64, 64 * i))
            builder.store(total, _pointer(builder, to, doubles)).align = 8
        return context.get_dummy_value()

    return types.void(*[types.uint64] * 3), codegen
