"""jit: loops over rows in machine code. Nothing lies below this module.

Numba compiles a plain Python function on its first call (some tenths of a second to a few seconds) and keeps the result in a folder, so
later processes load it in milliseconds. Kernels here let go of the interpreter lock, round as Python does (no fast-math), and take and
give arrays and numbers only.

The folder's name is a digest of all sources that a kernel may have been made from. Numba itself looks at the file of a kernel alone: a
constant that changed in another one would stay what it was, and a kernel that reads memory by it would read elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending
from numba.core import cgutils, types
from numpy.typing import NDArray

intrinsic: Any = extending.intrinsic
tools: Any = cgutils
P = ParamSpec("P")
R = TypeVar("R")


SHARED = ("words.py",)  # modules of constants that kernels are compiled with, beside those that import this one


def sources(package: Path) -> dict[Path, bytes]:
    """The files that kernels are made from, and what they hold."""
    found = {path: path.read_bytes() for path in sorted(package.rglob("*.py"))}
    return {path: text for path, text in found.items() if path.name in SHARED or path.name == "jit.py" or b"stream_infer.jit" in text}


def _folder() -> Path | None:
    """Where compiled kernels are kept: with the package, or else with the user; None where neither can be written."""
    package = Path(__file__).parent
    digest = hashlib.sha256(b"".join(sources(package).values())).hexdigest()[:16]
    for parent in (package / "__pycache__", Path.home() / ".cache" / "stream-infer"):
        folder = parent / f"kernels-{digest}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / "probe"
            probe.touch()
            probe.unlink(missing_ok=True)
        except OSError:
            continue
        return folder
    return None


FOLDER = _folder()
if FOLDER is not None:
    settings: Any = numba.config
    settings.CACHE_DIR = str(FOLDER)


def _compiled(function: Callable[P, R], *, inlined: bool) -> Callable[P, R]:
    compiled: Callable[P, R] = numba.njit(
        cache=FOLDER is not None, nogil=True, fastmath=False, error_model="numpy", forceinline=inlined
    )(function)
    return compiled


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """The function, compiled when first called with each combination of argument types."""
    return _compiled(function, inlined=False)


def part(function: Callable[P, R]) -> Callable[P, R]:
    """As jit, for a piece of kernels that each of them holds for itself: a call that is left costs 5 ns, some numbers less to read."""
    return _compiled(function, inlined=True)


def _loading(bits: int, signed: bool) -> Any:
    """An intrinsic that loads so many bits from a place."""

    def load_at(_typing: Any, _place: Any) -> Any:
        into = types.int64 if signed else types.uint64

        def load(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            word = ir.IntType(bits)
            found = builder.load(builder.inttoptr(args[0], word.as_pointer()), align=1)
            return found if bits == 64 else builder.zext(found, ir.IntType(64))

        return into(types.int64), load

    return intrinsic(load_at)


def _storing(bits: int, value: Any) -> Any:
    """An intrinsic that stores the lowest so many bits of a value at a place."""

    def store_at(_typing: Any, _place: Any, _value: Any) -> Any:
        def store(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            word = ir.IntType(bits)
            low = args[1] if bits == 64 else builder.trunc(args[1], word)
            builder.store(low, builder.inttoptr(args[0], word.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, value), store

    return intrinsic(store_at)


def _made(code: Any) -> Any:
    return intrinsic(code)


def _place_of(_typing: Any, array: Any) -> Any:
    def place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = tools.create_struct_proxy(signature.args[0])(context, builder, value=args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), place


def _fetch(_typing: Any, _place: Any) -> Any:
    def fetch(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        number, line = ir.IntType(32), builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [line.type, number, number, number])
        wanted = tools.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(wanted, [line, number(0), number(3), number(1)])  # to be read, into every cache, data
        return _context.get_dummy_value()

    return types.void(types.int64), fetch


def _get(_typing: Any, _place: Any, _number: Any) -> Any:
    def got(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load(builder.gep(builder.inttoptr(args[0], ir.IntType(64).as_pointer()), [args[1]]), align=1)

    return types.int64(types.int64, types.int64), got


def _put(_typing: Any, _place: Any, _number: Any, _value: Any) -> Any:
    def put(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        builder.store(args[2], builder.gep(builder.inttoptr(args[0], ir.IntType(64).as_pointer()), [args[1]]), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), put


def _copy(_typing: Any, _to: Any, _source: Any, _size: Any) -> Any:
    def copied(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        tools.raw_memcpy(builder, builder.inttoptr(args[0], byte), builder.inttoptr(args[1], byte), args[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), copied


def _zeros_below(_typing: Any, _word: Any) -> Any:
    def zeros(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(0))

    return types.int64(types.uint64), zeros


def _ones(_typing: Any, _word: Any) -> Any:
    def ones(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), ones


def _comparing(how: str) -> Any:
    """An intrinsic that compares 32 bytes, as signed numbers, with one: a bit for each, the first byte's the lowest."""

    def compare_at(_typing: Any, _place: Any, _byte: Any) -> Any:
        def compare(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            line, number = ir.VectorType(ir.IntType(8), 32), ir.IntType(32)
            found = builder.load(builder.inttoptr(args[0], line.as_pointer()), align=1)
            first = builder.insert_element(ir.Constant(line, ir.Undefined), builder.trunc(args[1], ir.IntType(8)), number(0))
            all_same = ir.Constant(ir.VectorType(number, 32), [number(0)] * 32)
            marks = builder.icmp_signed(how, found, builder.shuffle_vector(first, ir.Constant(line, ir.Undefined), all_same))
            return builder.zext(builder.bitcast(marks, number), ir.IntType(64))

        return types.uint64(types.int64, types.int64), compare

    return intrinsic(compare_at)


def _digits_before(_typing: Any, _end: Any, _count: Any) -> Any:
    def read(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, chars = ir.IntType(8), ir.VectorType(ir.IntType(8), 16)

        def same(number: int, of: Any = chars) -> Any:
            return ir.Constant(of, [number] * of.count)

        def joined(parts: Any, bits: int) -> Any:
            """Neighbours, the first of which is worth 10^(bits / 8) times as much, as one number of so many bits."""
            wide = ir.VectorType(ir.IntType(bits), 128 // bits)
            parts = builder.bitcast(parts, wide)
            first = builder.and_(parts, same((1 << bits // 2) - 1, wide))
            return builder.add(builder.mul(first, same(10 ** (bits // 16), wide)), builder.lshr(parts, same(bits // 2, wide)))

        found = builder.load(builder.inttoptr(builder.sub(args[0], args[0].type(16)), chars.as_pointer()), align=1)
        before = builder.sub(byte(16), builder.trunc(args[1], byte))
        first = builder.insert_element(ir.Constant(chars, ir.Undefined), before, ir.IntType(32)(0))
        before = builder.shuffle_vector(first, ir.Constant(chars, ir.Undefined), same(0, ir.VectorType(ir.IntType(32), 16)))
        wanted = builder.icmp_unsigned(">=", ir.Constant(chars, list(range(16))), before)
        digits = builder.select(wanted, builder.xor(found, same(ord("0"))), same(0))
        others = builder.bitcast(builder.icmp_unsigned(">", digits, same(9)), ir.IntType(16))
        halves = joined(joined(joined(digits, 16), 32), 64)
        high, low = (builder.extract_element(halves, ir.IntType(32)(place)) for place in (0, 1))
        value = builder.add(builder.mul(high, high.type(10**8)), low)
        wrong = builder.icmp_unsigned("!=", others, others.type(0))
        return context.make_tuple(builder, signature.return_type, [value, wrong])

    return types.Tuple((types.int64, types.boolean))(types.int64, types.int64), read  # type: ignore[no-untyped-call]


def _c_call(_typing: Any, _function: Any, given: Any) -> Any:
    def called(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kinds = zip(tools.unpack_tuple(builder, args[1]), signature.args[1].types, strict=True)
        words = [context.cast(builder, value, kind, types.int64) for value, kind in kinds]
        form = ir.FunctionType(word, [word] * len(words)).as_pointer()
        return builder.call(builder.inttoptr(args[0], form), words)

    return types.int64(types.int64, given), called


# For kernels alone: memory by its place, a number. A kernel that hands arrays to another pays some 10 ns for each (they are counted
# there and back); places cost nothing. Nothing is checked: whoever uses them sees to their bounds, and holds the array meanwhile.
place_of: Callable[[NDArray[Any]], int] = intrinsic(_place_of)  # of the first byte of a contiguous array
byte_at: Callable[[int], int] = _loading(8, signed=True)
pair_at: Callable[[int], np.uint64] = _loading(16, signed=False)  # two bytes, little-endian
half_at: Callable[[int], np.uint64] = _loading(32, signed=False)  # four bytes, little-endian
word_at: Callable[[int], np.uint64] = _loading(64, signed=False)  # eight bytes
put_byte: Callable[[int, int], None] = _storing(8, types.int64)
put_half: Callable[[int, np.uint64], None] = _storing(32, types.uint64)
put_word: Callable[[int, np.uint64], None] = _storing(64, types.uint64)
long_at: Callable[[int], int] = _loading(64, signed=True)
put_long: Callable[[int, int], None] = _storing(64, types.int64)
get: Callable[[int, int], int] = _made(_get)  # get(place, i): the i-th int64 from there
put: Callable[[int, int, int], None] = _made(_put)  # put(place, i, value)
fetch: Callable[[int], None] = _made(_fetch)  # this place will be wanted soon: its line of memory comes while other work goes on
copy: Callable[[int, int, int], None] = _made(_copy)  # copy(to, from, bytes): places that do not overlap
# digits_before(end, count): the number that the last `count` of the 16 bytes before this place write, and whether any is no digit.
digits_before: Callable[[int, int], tuple[int, bool]] = _made(_digits_before)
equal_at: Callable[[int, int], np.uint64] = _comparing("==")  # which of 32 bytes are this one: bit i for byte i
below_at: Callable[[int, int], np.uint64] = _comparing("<")  # which of them are below this one, taken as signed: those over 127 are
ones: Callable[[np.uint64], int] = _made(_ones)  # bits of 1
zeros_below: Callable[[np.uint64], int] = _made(_zeros_below)  # bits of 0 below the lowest 1; 64 where there is none
# c_call(function, (a, b, …)) of a C function at this place. All are 64-bit words; of a shorter result the upper half is undefined. At
# most 8 arguments: more would lie on the stack, packed as each platform likes.
c_call: Callable[[int, tuple[int, ...]], int] = _made(_c_call)
