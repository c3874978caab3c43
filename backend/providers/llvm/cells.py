"""lstm, and gru with `linear_before_reset`, in f32 for few sequences at a time: all steps in one call.

A step of one sequence is a vector times a matrix that does not fit the nearest cache: what it costs is to read the
matrix. Each thread of a team has some units of its own, reads the rows of their gates only, which then stay in its own
cache, and meets the others once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
from llvmlite import ir

from trtn.backend.problem import Problem
from trtn.backend.providers.llvm import functions as f
from trtn.backend.providers.llvm.emitter import BYTE, F32, I32, I64, POINTER
from trtn.backend.providers.llvm.family import Packing, Room, Unfit, Written
from trtn.backend.providers.llvm.recurrent_layer import RecurrentLayer
from trtn.backend.providers.llvm.team import TeamEmitter
from trtn.dsl.network import Layer

__all__ = ["write_cells"]

LANES = 8
UNITS = 2 * LANES
"""Units of a block: their gates' columns lie together, [blocks, terms, gates, UNITS]."""
SEQUENCES = 4
"""With more of them a step is a product of matrices, and a library's kernel for those is better."""
ALONE = 1 << 20
"""Multiplications up to which one thread is faster, some 50 us of them."""
TALL = {"gru": (4, 3), "lstm": (3, 4)}
"""Rows, and vectors of columns, that are multiplied together where there are many rows: 12 sums at a time."""
_USUAL = {"gru": ("sigmoid", "tanh"), "lstm": ("sigmoid", "tanh", "tanh")}
_VECTOR = ir.VectorType(F32, LANES)
_F32_BYTES = 4
_GRAIN = 64
_X, _W, _R, _BIAS, _LENGTHS, _H0, _C0, _PEEPHOLE = range(8)
"""The inputs of the ops."""


def write_cells(problem: Problem) -> Written:
    layer = problem.group.layers[0]
    _refuse(layer)
    return _Writer(problem, layer).write()


def _refuse(layer: Layer) -> None:
    """Raises Unfit for what is not written."""
    if layer.op.name not in TALL:
        raise Unfit(f"no cells for `{layer.op.name}`")
    for index in (_LENGTHS, _PEEPHOLE):
        if len(layer.inputs) > index and layer.inputs[index] is not None:
            raise Unfit(f"`{layer.op.spec.inputs[index].name}`")
    attrs, name = layer.attrs, layer.op.name
    directions = 2 if attrs["direction"] == "bidirectional" else 1
    if tuple(attrs["activations"]) != _USUAL[name] * directions or attrs["clip"] is not None:
        raise Unfit("`clip` or other activations")
    if attrs.get("input_forget") or not attrs.get("linear_before_reset", True):
        raise Unfit("`input_forget`, or a gru that resets before its product")
    if any(t is not None and t.dtype.name != "f32" for t in layer.inputs):
        raise Unfit("other numbers than f32")
    if any(t is not None and t.weight is None for t in layer.inputs[_W : _BIAS + 1]):
        raise Unfit("weights that are no constants")


def pack_gates(gates: int, hidden: int, array: Any, room: Room) -> Any:
    """[D, gates * hidden, K] as what `UNITS` says, for each direction."""
    directions, _, terms = array.shape
    blocks = -(-hidden // UNITS)
    shape = (directions, blocks, terms, gates, UNITS)
    packed = room(_F32_BYTES * prod(shape)).view(np.float32).reshape(shape)
    packed[...] = 0
    plain = array.reshape(directions, gates, hidden, terms).transpose(0, 3, 1, 2)
    for block in range(blocks):
        units = plain[..., block * UNITS : (block + 1) * UNITS]
        packed[:, block, ..., : units.shape[-1]] = units
    return packed


def pack_bias(gates: int, hidden: int, apart: bool, array: Any, room: Room) -> Any:
    """[D, 2 * gates * hidden] (of x, then of h) as [D, blocks, gates + 1, UNITS]: both together and zeros, or with
    `apart` the last gate's two one after the other."""
    of_x, of_h = (part.reshape(-1, gates, hidden) for part in np.split(array, 2, axis=1))
    both, more = of_x + of_h, np.zeros_like(of_h[:, :1])
    if apart:
        both, more = np.concatenate([both[:, :-1], of_x[:, -1:]], axis=1), of_h[:, -1:]
    return pack_gates(gates + 1, hidden, np.concatenate([both, more], axis=1).reshape(len(array), -1, 1), room)


class _Writer(RecurrentLayer):
    """Inside, what x gives lies as [D, steps * batch, blocks, gates, UNITS], h as [2, D, batch, blocks * UNITS], the old
    one and the new one in turns, c as [D, batch, blocks * UNITS]."""

    def __init__(self, problem: Problem, layer: Layer) -> None:
        super().__init__(problem, layer)
        self.is_lstm = layer.op.name == "lstm"
        self.gates = 4 if self.is_lstm else 3
        self.blocks = -(-self.hidden // UNITS)
        x = self._layout(_X)
        if x.size == 0 or x.strides[2] != 1:
            raise Unfit("no steps, no sequences, or features that don't lie dense")
        if self.batch > SEQUENCES:
            raise Unfit(f"{self.batch} sequences at a time")
        width = self.blocks * UNITS
        sides = len(self.backwards)
        sizes = [sides * self.steps * self.batch * self.gates * width, 2 * sides * self.batch * width]
        sizes += [sides * self.batch * width] * self.is_lstm
        self.sizes = [-(-size * _F32_BYTES // _GRAIN) * _GRAIN for size in sizes]

    def _packings(self) -> list[Packing]:
        """Of w, r, and the bias where there is one."""
        form = f"llvm:{self.layer.op.name}:{self.hidden}"
        gates = partial(pack_gates, self.gates, self.hidden)
        makers = {_W: gates, _R: gates, _BIAS: partial(pack_bias, self.gates, self.hidden, not self.is_lstm)}
        numbers = {index: self._input(index) for index in makers}
        return [(n, f"{form}:{index}", makers[index]) for index, n in numbers.items() if n is not None]

    # --- the text ---

    def write(self) -> Written:
        packings = self._packings()
        work = self.steps * self.batch * (self.features + self.hidden) * self.gates * self.hidden
        e = self.e = TeamEmitter(len(self.arrays) + len(packings) + 1, alone=work * len(self.backwards) <= ALONE)
        b = e.b
        self.weights, self.own_weights, *biases = e.pointers[len(self.arrays) : -1]
        self.bias = biases[0] if biases else None
        starts = [e.given(sum(self.sizes[:n])) for n in range(len(self.sizes))]
        self.projected, self.h, *rest = [e.at(e.pointers[-1], start, BYTE) for start in starts]
        self.c = rest[0] if rest else None
        self.steps_value, self.batch_value = e.given(self.steps), e.given(self.batch)
        self.rows = b.mul(self.steps_value, self.batch_value)
        self.x_strides = [e.given(self._layout(_X).strides[axis]) for axis in (self.steps_axis, self.batch_axis)]
        self._given_strides()
        tall = {count: self._write_rows(count) for count in (TALL[self.layer.op.name][0], 1)}
        self.cell = self._write_cell()
        self._each_own(lambda side, block: self._begin(side, block, tall))
        with e.loop(self.steps_value) as step:
            e.meet(b.add(step.index, I64(1)))
            self._each_own(lambda side, block: self._step(step.index, side, block))
        self._each_own(self._finish)
        return Written(e.text(), e.numbers, packings, sum(self.sizes))

    def _given_strides(self) -> None:
        """Of the results and the first states, by array: of the steps where there are any, of sides, of sequences."""
        results = dict(zip(("y", "h", "c"), self.layer.outputs, strict=False))
        self.places: dict[str, tuple[Any, list[Any], int]] = {}
        for name, tensor in results.items():
            number = self._number(tensor)
            if number is None:
                continue
            strides = self.problem.layout(tensor).strides
            axes = ((1, 2, 0) if self.first else (0, 1, 2)) if name == "y" else ((1, 0) if self.first else (0, 1))
            given = [self.e.given(strides[axis]) for axis in axes]
            self.places[name] = self.e.pointers[number], given, strides[-1]
        for name, index in (("h0", _H0), ("c0", _C0)):
            number = self._input(index)
            if number is not None:
                strides = self._layout(index).strides
                given = [self.e.given(strides[axis]) for axis in ((1, 0) if self.first else (0, 1))]
                self.places[name] = self.e.pointers[number], given, strides[-1]

    def _each_own(self, body: Callable[[int, Any], None]) -> None:
        """`body(side, block)` for the member's blocks of each side: all sides' blocks, dealt out in a row."""
        e, b = self.e, self.e.b
        sides = len(self.backwards)
        with e.share(I64(sides * self.blocks)) as (start, count):
            stop = b.add(start, count)
            for side in range(sides):
                low, high = I64(side * self.blocks), I64((side + 1) * self.blocks)
                begin = b.select(b.icmp_unsigned("<", start, low), low, start)
                end = b.select(b.icmp_unsigned("<", stop, high), stop, high)
                with b.if_then(b.icmp_unsigned("<", begin, end)), e.loop(b.sub(end, begin)) as turn:
                    body(side, b.sub(b.add(begin, turn.index), low))

    def _state(self, array: Any, side: int, row: Any, block: Any, turn: Any = None) -> Any:
        """Where a block of a state lies; of h there are two, in turns."""
        b = self.e.b
        at = b.add(I64(side), b.mul(turn, I64(len(self.backwards)))) if turn is not None else I64(side)
        at = b.add(b.mul(at, self.batch_value), row)
        return self.e.at(array, b.add(b.mul(at, I64(self.blocks * UNITS)), b.mul(block, I64(UNITS))), F32)

    def _gates_at(self, side: int, row: Any, block: Any) -> Any:
        b = self.e.b
        at = b.add(b.mul(b.add(b.mul(I64(side), self.rows), row), I64(self.blocks)), block)
        return self.e.at(self.projected, b.mul(at, I64(self.gates * UNITS)), F32)

    def _columns(self, weights: Any, side: int, block: Any, terms: int) -> Any:
        b = self.e.b
        at = b.add(I64(side * self.blocks), block)
        return self.e.at(weights, b.mul(at, I64(terms * self.gates * UNITS)), F32)

    def _bias_at(self, side: int, block: Any) -> list[Any]:
        if self.bias is None:
            return []
        b = self.e.b
        at = b.add(I64(side * self.blocks), block)
        return [self.e.at(self.bias, b.mul(at, I64((self.gates + 1) * UNITS)), F32)]

    def _begin(self, side: int, block: Any, tall: dict[int, Any]) -> None:
        """What x gives to a block's gates in all steps, and the block's first states."""
        e, b = self.e, self.e.b
        high = max(tall)
        many = b.udiv(self.rows, I64(high))
        done = b.mul(many, I64(high))
        columns = self._columns(self.weights, side, block, self.features)

        def call(count: int, first: Any) -> None:
            rows = [b.add(first, I64(n)) for n in range(count)]
            given = [self._x_at(row) for row in rows] + [self._gates_at(side, row, block) for row in rows]
            b.call(tall[count], [columns, *given, *self._bias_at(side, block)])

        with b.if_then(b.icmp_unsigned(">", many, I64(0))), e.loop(many) as turn:
            call(high, b.mul(turn.index, I64(high)))
        left = b.sub(self.rows, done)
        with b.if_then(b.icmp_unsigned(">", left, I64(0))), e.loop(left) as turn:
            call(1, b.add(done, turn.index))
        for name, array in (("h0", self.h), ("c0", self.c)):
            if array is None:
                continue
            with e.loop(self.batch_value) as row, e.loop(I64(UNITS)) as unit:
                target = self._state(array, side, row.index, block, I64(0) if array is self.h else None)
                e.store(F32(0.0), target, unit.index, F32)
            if name in self.places:
                self._copy(side, block, array, name, into_state=True)

    def _x_at(self, row: Any) -> Any:
        """Where a row of x begins; rows count by step, then by sequence."""
        b = self.e.b
        step, sequence = b.udiv(row, self.batch_value), b.urem(row, self.batch_value)
        number = self._input(_X)
        assert number is not None
        at = b.add(b.mul(step, self.x_strides[0]), b.mul(sequence, self.x_strides[1]))
        return self.e.at(self.e.pointers[number], at, F32)

    def _copy(self, side: int, block: Any, array: Any, name: str, *, into_state: bool, turn: Any = None) -> None:
        """A block of a state from its array, or to it."""
        e, b = self.e, self.e.b
        outside, strides, step = self.places[name]
        if array is self.h and turn is None:
            turn = I64(0)
        with e.loop(self.batch_value) as row:
            at = b.add(b.mul(I64(side), strides[0]), b.mul(row.index, strides[1]))
            own = self._state(array, side, row.index, block, turn)
            self._units(own, e.at(outside, at, F32), block, step, into_state=into_state)

    def _units(self, own: Any, outside: Any, block: Any, step: int, *, into_state: bool) -> None:
        """The block's units between a state and an array outside, whose elements are `step` apart."""
        e, b = self.e, self.e.b
        first = b.mul(block, I64(UNITS))
        left = b.sub(I64(self.hidden), first)
        count = b.select(b.icmp_unsigned("<", left, I64(UNITS)), left, I64(UNITS))
        with e.loop(count) as unit:
            far = b.mul(b.add(first, unit.index), I64(step))
            if into_state:
                e.store(e.load(outside, far, F32), own, unit.index, F32)
            else:
                e.store(e.load(own, unit.index, F32), outside, far, F32)

    def _step(self, number: Any, side: int, block: Any) -> None:
        e, b = self.e, self.e.b
        step = b.sub(b.sub(self.steps_value, I64(1)), number) if self.backwards[side] else number
        old = b.and_(number, I64(1))
        new = b.xor(old, I64(1))
        columns = self._columns(self.own_weights, side, block, self.hidden)
        with e.loop(self.batch_value) as sequence:
            row = b.add(b.mul(step, self.batch_value), sequence.index)
            before = self._state(self.h, side, sequence.index, I64(0), old)
            after = self._state(self.h, side, sequence.index, block, new)
            given = [columns, before, self._gates_at(side, row, block), after, b.mul(block, I64(UNITS))]
            if self.is_lstm:
                given.append(self._state(self.c, side, sequence.index, block))
            else:
                given += self._bias_at(side, block)
            b.call(self.cell, given)
            if "y" in self.places:
                outside, strides, stride = self.places["y"]
                at = b.add(b.mul(step, strides[0]), b.mul(I64(side), strides[1]))
                at = b.add(at, b.mul(sequence.index, strides[2]))
                self._units(after, e.at(outside, at, F32), block, stride, into_state=False)

    def _finish(self, side: int, block: Any) -> None:
        last = self.e.b.and_(self.steps_value, I64(1))
        for name, array in (("h", self.h), ("c", self.c)):
            if name in self.places and array is not None:
                turn = last if array is self.h else None
                self._copy(side, block, array, name, into_state=False, turn=turn)

    # --- functions of their own ---

    def _write_rows(self, count: int) -> Any:
        """A function (columns, x.., gates.., bias): rows of x times a block's columns, and the bias."""
        e, vectors = self.e, self.gates * UNITS // LANES
        wide = TALL[self.layer.op.name][1]
        has_bias = self.bias is not None
        with e.function(f"rows{count}", [POINTER] * (1 + 2 * count + has_bias), I32) as made:
            columns, *rest = made.args
            rows, targets, bias = rest[:count], rest[count : 2 * count], rest[2 * count :]
            for start in range(0, vectors, wide):
                places = [I64((start + n) * LANES) for n in range(wide)]
                first = [e.load_vector(bias[0], at, F32, LANES) if bias else _zero() for at in places]
                sums = self._sums(columns, rows, self.features, places, first * count)
                for number, target in enumerate(targets):
                    for at, value in zip(places, sums[number * wide :], strict=False):
                        e.store_vector(value, target, at, F32)
            e.b.ret(I32(0))
        return made

    def _sums(
        self, columns: Any, rows: Sequence[Any], terms: int, places: Sequence[Any], first: list[Any]
    ) -> list[Any]:
        """`first` and the products of rows, `terms` long, with vectors of columns; a row after the other."""
        e, b = self.e, self.e.b
        with e.loop(terms, first) as term:
            start = b.mul(term.index, I64(self.gates * UNITS))
            vectors = [e.load_vector(columns, b.add(start, at), F32, LANES) for at in places]
            factors = [e.splat(e.load(row, term.index, F32), LANES) for row in rows]
            carried = iter(list(term.carried))
            term.carried = [e.intrinsic("fma", x, y, next(carried)) for x in factors for y in vectors]
        return term.carried

    def _write_cell(self) -> Any:
        """A function (columns, h, gates, new h, first unit, and c or, where there is one, the bias): one step of a block
        of one sequence."""
        e = self.e
        kinds = [POINTER] * 4 + [I64] + [POINTER] * (self.is_lstm or self.bias is not None)
        vectors = self.gates * UNITS // LANES
        with e.function("cell", kinds, I32) as made:
            columns, h, gates, new, first, *rest = made.args
            b = e.b
            places = [I64(n * LANES) for n in range(vectors)]
            start = [_zero()] * vectors
            if not self.is_lstm and rest:
                halves = range(vectors, vectors + UNITS // LANES)
                start[-UNITS // LANES :] = [e.load_vector(rest[0], I64(n * LANES), F32, LANES) for n in halves]
            own = self._sums(columns, [h], self.hidden, places, start)
            given = [e.load_vector(gates, at, F32, LANES) for at in places]
            for half in range(UNITS // LANES):
                x = given[half :: UNITS // LANES]
                r = own[half :: UNITS // LANES]
                at = I64(half * LANES)
                if self.is_lstm:
                    value = self._lstm([b.fadd(p, q) for p, q in zip(x, r, strict=True)], rest[0], at)
                else:
                    old = e.load_vector(h, b.add(first, at), F32, LANES)
                    value = self._gru(x, r, old)
                e.store_vector(value, new, at, F32)
            b.ret(I32(0))
        return made

    def _lstm(self, gates: Sequence[Any], c: Any, at: Any) -> Any:
        e, b = self.e, self.e.b
        i, o, forget = (f.sigmoid(e, gate) for gate in gates[:3])
        cell = b.fmul(forget, e.load_vector(c, at, F32, LANES))
        cell = e.intrinsic("fma", i, f.tanh(e, gates[3]), cell)
        e.store_vector(cell, c, at, F32)
        return b.fmul(o, f.tanh(e, cell))

    def _gru(self, x: Sequence[Any], r: Sequence[Any], old: Any) -> Any:
        """(1 - z) n + z h, as n + z (h - n)."""
        e, b = self.e, self.e.b
        z, reset = (f.sigmoid(e, b.fadd(p, q)) for p, q in zip(x[:2], r[:2], strict=True))
        n = f.tanh(e, e.intrinsic("fma", reset, r[2], x[2]))
        return e.intrinsic("fma", z, b.fsub(old, n), n)


def _zero() -> Any:
    return ir.Constant(_VECTOR, [F32(0.0)] * LANES)
