"""A function in the making: pointers in, loops, loads and stores, and a status out.

What is written is scalar code in plain loops over arrays that don't overlap: LLVM makes vectors of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from trtn.dsl.dtypes import DType

__all__ = [
    "BYTE",
    "F32",
    "I1",
    "I16",
    "I32",
    "I64",
    "NAME",
    "POINTER",
    "Emitter",
    "Loop",
    "addresses_in",
    "memory_type",
]

I1, BYTE, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32 = ir.FloatType()
POINTER = ir.PointerType()
_FLOATS = {"f32": F32, "f64": ir.DoubleType()}
NAME = "kernel"
"""What the function of every module is called: `i32 kernel(ptr addresses, ptr crew)`. 0 says that all went well. `crew`:
threads that the caller has, `backend.devices.crew`; null where it has none."""


def memory_type(dtype: DType) -> Any:
    """The type of an element in memory; truth values are bytes."""
    return _FLOATS[dtype.name] if dtype.is_float else ir.IntType(max(dtype.bits, 8))


class Loop:
    """A loop in the making: its counter, what it carries from one turn to the next, and in the end what that was."""

    def __init__(self, index: Any, carried: list[Any]) -> None:
        self.index = index
        self.carried = carried


class Emitter:
    """Writes the body of a function over `count` arrays: `pointers[n]` is the address of the first element of each.
    After them comes one of `numbers`, i64: sizes that are not in the text, so that it is the same for all of them.

    The arrays that are written overlap no others.
    """

    def __init__(self, count: int, more: Sequence[Any] = ()) -> None:
        """The body has arguments of the types `more` besides."""
        self.module = ir.Module(NAME)
        self.module.triple = ""
        inner = ir.Function(self.module, ir.FunctionType(I32, [*[POINTER] * (count + 2), *more]), "body")
        inner.linkage = "internal"
        inner.attributes.add("alwaysinline")
        for pointer in inner.args[: count + 1]:
            pointer.add_attribute("noalias")
        self.pointers: Sequence[Any] = inner.args[:count]
        self.crew = inner.args[count + 1]
        self.more: Sequence[Any] = inner.args[count + 2 :]
        self.numbers: list[int] = []
        self._table = inner.args[count]
        self._entry = inner.append_basic_block()
        self.b: Any = ir.IRBuilder(inner.append_basic_block())
        self._enter(inner, count + 1)

    def _enter(self, inner: Any, count: int) -> None:
        """The function that is called: it takes the addresses from an array."""
        outer = ir.Function(self.module, ir.FunctionType(I32, [POINTER, POINTER]), NAME)
        b = ir.IRBuilder(outer.append_basic_block())
        addresses, crew = outer.args
        b.ret(b.call(inner, [*addresses_in(b, addresses, count), crew]))

    def text(self) -> str:
        """The module, with the function ended."""
        self.b.ret(I32(0))
        ir.IRBuilder(self._entry).branch(self._entry.function.basic_blocks[1])
        return str(self.module)

    def given(self, number: int) -> Any:
        """A number that is not in the text. In the body only."""
        b = ir.IRBuilder(self._entry)
        slot = b.gep(self._table, [I64(len(self.numbers))], source_etype=I64)
        self.numbers.append(number)
        return b.load(slot, typ=I64)

    @contextmanager
    def function(self, name: str, kinds: Sequence[Any], result: Any) -> Iterator[Any]:
        """A function of its own beside the body, which has to return something. The arrays that it is given and writes
        overlap no others."""
        made = ir.Function(self.module, ir.FunctionType(result, kinds), name)
        made.linkage = "internal"
        made.attributes.add("noinline")  # it is written once, to be compiled once
        for argument in made.args:
            if argument.type == POINTER:
                argument.add_attribute("noalias")
        outside, self.b = self.b, ir.IRBuilder(made.append_basic_block())
        yield made
        self.b = outside

    # --- memory ---

    def local(self, kind: Any) -> Any:
        """Room for a value that loops change; LLVM keeps it in a register."""
        return ir.IRBuilder(self._entry).alloca(kind)

    def table(self, count: Any, b: Any = None) -> Any:
        """Room for so many numbers or pointers, i64 each, until the function ends. `b` writes where it is taken: in the
        body's entry if nobody says otherwise."""
        slots = (b or ir.IRBuilder(self._entry)).alloca(I64, size=count)
        slots.type = POINTER  # llvmlite says that it points to i64, and then takes nothing else
        return slots

    def at(self, pointer: Any, index: Any, element: Any) -> Any:
        """The address of element `index` of an array of a type."""
        return self.b.gep(pointer, [index], source_etype=element)

    def load(self, pointer: Any, index: Any, element: Any) -> Any:
        return self.b.load(self.at(pointer, index, element), typ=element)

    def store(self, value: Any, pointer: Any, index: Any, element: Any) -> None:
        self.b.store(value, self.at(pointer, index, element))

    def load_vector(self, pointer: Any, index: Any, element: Any, lanes: int) -> Any:
        """Elements from `index` on, at any address."""
        return self.b.load(self.at(pointer, index, element), typ=ir.VectorType(element, lanes), align=_size(element))

    def store_vector(self, value: Any, pointer: Any, index: Any, element: Any) -> None:
        """Write elements from `index` on, at any address."""
        self.b.store(value, self.at(pointer, index, element), align=_size(element))

    def offset(self, indexes: Sequence[Any], strides: Sequence[Any]) -> Any:
        """Where an element lies, in elements. Strides are 0, 1, or values."""
        total = None
        for index, stride in zip(indexes, strides, strict=True):
            if stride == 0:
                continue
            term = index if stride == 1 else self.b.mul(index, stride, flags=("nsw",))
            total = term if total is None else self.b.add(total, term, flags=("nsw",))
        return I64(0) if total is None else total

    # --- control ---

    @contextmanager
    def loop(self, count: Any, carried: Sequence[Any] = ()) -> Iterator[Loop]:
        """`count` turns, a number or a value, at least 1. The body puts into `carried` what the next turn gets; after
        the loop it holds what the last turn left."""
        b = self.b
        before = b.block
        inside = b.append_basic_block()
        b.branch(inside)
        b.position_at_end(inside)
        index = b.phi(I64)
        index.add_incoming(I64(0), before)
        phis = [b.phi(value.type) for value in carried]
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value, before)
        loop = Loop(index, list(phis))
        yield loop
        following = b.add(index, I64(1), flags=("nuw", "nsw"))
        index.add_incoming(following, b.block)
        for phi, value in zip(phis, loop.carried, strict=True):
            phi.add_incoming(value, b.block)
        after = b.append_basic_block()
        end = I64(count) if isinstance(count, int) else count
        b.cbranch(b.icmp_unsigned("==", following, end), after, inside)
        b.position_at_end(after)

    @contextmanager
    def nest(self, counts: Sequence[Any]) -> Iterator[list[Any]]:
        """Loops inside one another; gives their counters."""
        if not counts:
            yield []
            return
        with self.loop(counts[0]) as outer, self.nest(counts[1:]) as inner:
            yield [outer.index, *inner]

    def fail_if(self, condition: Any) -> None:
        """End with status 1 where a condition holds."""
        with self.b.if_then(condition, likely=False):
            self.b.ret(I32(1))

    # --- values ---

    def number(self, value: float, like: Any) -> Any:
        """A constant of a value's type, in all lanes where that is a vector."""
        kind = getattr(like, "type", like)
        if isinstance(kind, ir.VectorType):
            return ir.Constant(kind, [kind.element(value)] * kind.count)
        return kind(value)

    def intrinsic(self, name: str, *arguments: Any) -> Any:
        """A call of one of LLVM's functions, `llvm.<name>.<type>`, over arguments of one type, which the result has."""
        kind = arguments[0].type
        return self.call(f"llvm.{name}.{_suffix(kind)}", kind, *arguments)

    def call(self, name: str, result: Any, *arguments: Any) -> Any:
        """A call of a function that LLVM knows by its whole name."""
        known = self.module.globals.get(name)
        if known is None:
            known = ir.Function(self.module, ir.FunctionType(result, [a.type for a in arguments]), name)
        return self.b.call(known, arguments)

    def splat(self, value: Any, lanes: int) -> Any:
        """A vector with a value in all lanes."""
        kind = ir.VectorType(value.type, lanes)
        single = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, I32(0))
        return self.b.shuffle_vector(
            single, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), None)
        )


def addresses_in(b: Any, table: Any, count: int) -> list[Any]:
    """The first `count` addresses of an array of them."""
    slots = [b.gep(table, [I64(n)], source_etype=I64) for n in range(count)]
    return [b.load(slot, typ=POINTER) for slot in slots]


def _size(element: Any) -> int:
    """Bytes of a whole number, or of an f32."""
    return int(element.width) // 8 if isinstance(element, ir.IntType) else 4


def _suffix(kind: Any) -> str:
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{_suffix(kind.element)}"
    return {"float": "f32", "double": "f64"}.get(str(kind), str(kind))
