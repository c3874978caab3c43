"""dynamic_quantize_lstm, all steps of all directions in one call; for any number of steps and sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from trtn.backend.problem import Problem
from trtn.backend.providers.llvm import functions as f
from trtn.backend.providers.llvm.emitter import BYTE, F32, I32, I64, POINTER
from trtn.backend.providers.llvm.family import Packing, Unfit, Written
from trtn.backend.providers.llvm.products import (
    BLOCK,
    blocks_of,
    pack_columns,
    pack_numbers,
    pairs_of,
    write_product,
    write_quantize,
)
from trtn.backend.providers.llvm.recurrent_layer import RecurrentLayer
from trtn.backend.providers.llvm.team import TeamEmitter
from trtn.dsl.network import Layer, Tensor

__all__ = ["write_dynamic_lstm"]

_USUAL = ("sigmoid", "tanh", "tanh")
_GRAIN = 64
_X, _W, _R, _W_SCALE, _W_ZERO, _R_SCALE, _R_ZERO, _BIAS, _LENGTHS, _H0, _C0, _PEEPHOLE = range(12)
"""The inputs of the op."""


def write_dynamic_lstm(problem: Problem) -> Written:
    layer = problem.group.layers[0]
    _refuse(layer)
    return _Writer(problem, layer).write()


def _refuse(layer: Layer) -> None:
    """Raises Unfit for what is not written."""
    if layer.op.name != "dynamic_quantize_lstm":
        raise Unfit(f"no levels in `{layer.op.name}`")
    for index in (_LENGTHS, _PEEPHOLE):
        if len(layer.inputs) > index and layer.inputs[index] is not None:
            raise Unfit(f"`{layer.op.spec.inputs[index].name}`")
    attrs = layer.attrs
    directions = 2 if attrs["direction"] == "bidirectional" else 1
    if attrs["clip"] is not None or attrs["input_forget"] or tuple(attrs["activations"]) != _USUAL * directions:
        raise Unfit("`clip`, `input_forget` or other activations")
    for index in range(_W, _BIAS):
        tensor = layer.inputs[index]
        if tensor is None or tensor.weight is None:
            raise Unfit("weights that are no constants")


class _Writer(RecurrentLayer):
    """Inside, states lie as [batch, hidden] and what goes into the gates as [steps * batch, width]; gates are in the order
    i, o, f, c. Each direction is one thread's, and has a workspace of its own."""

    def __init__(self, problem: Problem, layer: Layer) -> None:
        super().__init__(problem, layer)
        self.width = blocks_of(4 * self.hidden) * BLOCK
        x = self._layout(_X)
        if 0 in x.shape:
            raise Unfit("no steps or no sequences")
        self.packings = self._packings()
        self._sized = self._workspace()

    # --- what comes in and goes out ---

    def _packings(self) -> list[Packing]:
        """Of w, then of r: columns, scales, zero points."""
        count = 4 * self.hidden
        found: list[Packing] = []
        for levels, scale, zero in ((_W, _W_SCALE, _W_ZERO), (_R, _R_SCALE, _R_ZERO)):
            tensor = self.layer.inputs[levels]
            assert tensor is not None
            less = 128 if tensor.dtype.name == "u8" else 0
            form = f"llvm:{count}:{less}"
            makers = (pack_columns, pack_numbers(count, np.float32), pack_numbers(count, np.int32, less))
            for index, make in zip((levels, scale, zero), makers, strict=True):
                number = self._input(index)
                assert number is not None
                found.append((number, f"{form}:{make.__qualname__}:{index}", make))
        return found

    def _workspace(self) -> list[int]:
        """Bytes of the parts of a direction's workspace: levels and sums of x, of h; projected and added products; h and c."""
        rows, hidden = self.steps * self.batch, self.hidden
        sizes = [
            rows * 4 * pairs_of(self.features),
            rows * 4,
            self.batch * 4 * pairs_of(hidden),
            self.batch * 4,
            rows * 4 * self.width,
            self.batch * 4 * self.width,
            self.batch * 4 * hidden,
            self.batch * 4 * hidden,
        ]
        return [-(-size // _GRAIN) * _GRAIN for size in sizes]

    # --- the text ---

    def write(self) -> Written:
        e = TeamEmitter(len(self.arrays) + len(self.packings) + 1, alone=len(self.backwards) == 1)
        self.e = e
        self.packed = e.pointers[len(self.arrays) : -1]
        self.steps_value, self.batch_value = self.e.given(self.steps), self.e.given(self.batch)
        self.product = write_product(e, self.width)
        self.cell = self._write_cell()
        x = self._layout(_X)
        quantize_x = write_quantize(e, self.features, x.strides[2])
        same = (self.features, x.strides[2]) == (self.hidden, 1)
        self.quantize_h = quantize_x if same else write_quantize(e, self.hidden, 1)
        number = self._input(_X)
        assert number is not None
        strides = [self.e.given(x.strides[axis]) for axis in (self.steps_axis, self.batch_axis)]
        for direction, back in enumerate(self.backwards):
            own = e.b.icmp_unsigned("==", e.b.urem(I64(direction), e.team), e.member)
            starts = [sum(self._sized[:n], direction * sum(self._sized)) for n in range(len(self._sized))]
            places = [e.given(start) for start in starts]
            with e.b.if_then(own):
                self.parts = [e.at(e.pointers[-1], place, BYTE) for place in places]
                levels, totals = self.parts[:2]
                where = (e.pointers[number], levels, totals, self.steps_value, self.batch_value, *strides)
                self._direction(direction, back, e.b.call(quantize_x, where))
        return Written(e.text(), e.numbers, self.packings, len(self.backwards) * sum(self._sized))

    def _multiply(self, which: int, direction: int, terms: int, scale: Any, into: Any, rows: Any) -> None:
        """Rows times w (`which` 0) or r (1)."""
        e = self.e
        levels, totals = self.parts[2 * which : 2 * which + 2]
        columns, scales, zeros = self.packed[3 * which : 3 * which + 3]
        pairs = pairs_of(terms)
        start = e.at(columns, I64(direction * pairs * 2 * self.width), BYTE)
        scales, zeros = (e.at(p, I64(direction * self.width), F32) for p in (scales, zeros))
        e.b.call(self.product, (levels, totals, start, scales, zeros, into, rows, I64(pairs), scale))

    def _direction(self, direction: int, back: bool, scale: Any) -> None:
        e, b = self.e, self.e.b
        projected, added, h, c = self.parts[4:]
        rows = b.mul(self.steps_value, self.batch_value)
        self._multiply(0, direction, self.features, scale, projected, rows)
        for state, index in ((h, _H0), (c, _C0)):
            self._start(state, index, direction)
        with e.loop(self.steps_value) as turn:
            step = b.sub(b.sub(self.steps_value, I64(1)), turn.index) if back else turn.index
            levels, totals = self.parts[2:4]
            own = (h, levels, totals, self.batch_value, I64(1), I64(self.hidden), I64(0))
            h_scale = b.call(self.quantize_h, own)
            self._multiply(1, direction, self.hidden, h_scale, added, self.batch_value)
            with e.loop(self.batch_value) as row:
                self._cell(direction, step, row.index)
        for state, tensor in ((h, self.layer.outputs[1]), (c, self.layer.outputs[2])):
            self._finish(state, tensor, direction)

    def _cell(self, direction: int, step: Any, row: Any) -> None:
        """A step of one sequence: the cell's function for where that lies."""
        e, b, hidden = self.e, self.e.b, self.hidden
        projected, added, h, c = self.parts[4:]
        whole = b.add(b.mul(step, self.batch_value), row)
        gates = e.at(projected, b.mul(whole, I64(self.width)), F32)
        more = e.at(added, b.mul(row, I64(self.width)), F32)
        given = [gates, more, *(e.at(state, b.mul(row, I64(hidden)), F32) for state in (h, c))]
        bias, y = self._input(_BIAS), self._number(self.layer.outputs[0])
        if bias is not None:
            given.append(e.at(e.pointers[bias], I64(direction * 8 * hidden), F32))
        if y is not None:
            given.append(e.at(e.pointers[y], self._y(direction, step, row), F32))
        b.call(self.cell, given)

    def _write_cell(self) -> Any:
        """A function (gates, more, h, c), and the bias and y where there are these, over one sequence's."""
        e, hidden = self.e, self.hidden
        bias, y = self._input(_BIAS) is not None, self._number(self.layer.outputs[0]) is not None
        with e.function("cell", [POINTER] * (4 + bias + y), I32) as made:
            b = e.b
            gates, more, h, c, *rest = made.args
            with e.loop(hidden) as unit:
                values = []
                for number in range(4):
                    at = b.add(unit.index, I64(number * hidden))
                    value = e.load(gates, at, F32)
                    if bias:
                        both = (e.load(rest[0], b.add(at, I64(extra)), F32) for extra in (0, 4 * hidden))
                        value = b.fadd(value, b.fadd(*both))
                    values.append(b.fadd(value, e.load(more, at, F32)))
                i, o, forget = (self._logistic(v) for v in values[:3])
                old = e.load(c, unit.index, F32)
                cell = b.fadd(b.fmul(forget, old), b.fmul(f.tanh(e, values[3]), i))
                result = b.fmul(o, f.tanh(e, cell))
                e.store(cell, c, unit.index, F32)
                e.store(result, h, unit.index, F32)
                if y:
                    stride = self.problem.layout(self.layer.outputs[0]).strides[3]
                    e.store(result, rest[-1], b.mul(unit.index, I64(stride)), F32)
            b.ret(I32(0))
        return made

    def _logistic(self, x: Any) -> Any:
        """The sigmoid as dsl.ops.gates has it, by tanh."""
        e, b = self.e, self.e.b
        half = F32(0.5)
        return b.fadd(b.fmul(f.tanh(e, b.fmul(x, half)), half), half)

    def _y(self, direction: int, step: Any, row: Any) -> Any:
        """Where a row of y begins."""
        strides = self.problem.layout(self.layer.outputs[0]).strides
        batch, steps, side = (0, 1, 2) if self.layer.attrs["batch_first"] else (2, 0, 1)
        b = self.e.b
        at = b.add(b.mul(step, self.e.given(strides[steps])), b.mul(row, self.e.given(strides[batch])))
        return b.add(at, self.e.given(strides[side])) if direction else at

    # --- states ---

    def _start(self, state: Any, index: int, direction: int) -> None:
        number = self._input(index)
        with self._state_elements() as (row, unit, own):
            value = F32(0.0)
            if number is not None:
                place = self._state_place(self._layout(index).strides, direction, row, unit)
                value = self.e.load(self.e.pointers[number], place, F32)
            self.e.store(value, state, own, F32)

    def _finish(self, state: Any, tensor: Tensor, direction: int) -> None:
        number = self._number(tensor)
        if number is None:
            return
        with self._state_elements() as (row, unit, own):
            place = self._state_place(self.problem.layout(tensor).strides, direction, row, unit)
            self.e.store(self.e.load(state, own, F32), self.e.pointers[number], place, F32)

    @contextmanager
    def _state_elements(self) -> Iterator[tuple[Any, Any, Any]]:
        """Loops over a state inside: the row, the unit, and where that is."""
        b = self.e.b
        with self.e.loop(self.batch_value) as row, self.e.loop(self.hidden) as unit:
            yield row.index, unit.index, b.add(b.mul(row.index, I64(self.hidden)), unit.index)

    def _state_place(self, strides: Sequence[int], direction: int, row: Any, unit: Any) -> Any:
        """Where an element of a state [D, B, H], or [B, D, H], lies."""
        side, batch = (1, 0) if self.layer.attrs["batch_first"] else (0, 1)
        b = self.e.b
        place = b.mul(row, self.e.given(strides[batch]))
        if direction:
            place = b.add(place, self.e.given(strides[side]))
        return b.add(place, b.mul(unit, I64(strides[2])))
