"""lstm, gru, rnn and dynamic_quantize_lstm: the inputs of all steps are multiplied in one product, then a cluster of blocks
goes through the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.quantize import PARTS, levels_calls
from trtn.backend.providers.codegen.recurrent_library import Activation
from trtn.backend.providers.codegen.recurrent_shape import SEQUENCES, Shape, best_shape, shapes
from trtn.backend.providers.codegen.recurrent_step import GATES, STATES, RecurrenceSpec
from trtn.backend.providers.codegen.tile_product import Matrix, Scales, tile_product_call
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.ops.gates import FUNCTIONS

__all__ = ["FAMILY", "RecurrentFamily"]

OFFERED = 4
"""Ways to spread a layer that the tuner is shown."""
MULTIPROCESSORS = 112
"""So many are surely there for clusters, which take those of one part of the GPU."""
_OPS = {"lstm": "lstm", "gru": "gru", "rnn": "rnn", "dynamic_quantize_lstm": "lstm"}
_INPUTS = {
    "lstm": ("x", "w", "r", "bias", "lengths", "h0", "c0", "peephole"),
    "gru": ("x", "w", "r", "bias", "lengths", "h0"),
    "rnn": ("x", "w", "r", "bias", "lengths", "h0"),
    "dynamic_quantize_lstm": (
        "x", "w", "r", "w_scale", "w_zero", "r_scale", "r_zero", "bias", "lengths", "h0", "c0", "peephole",
    ),
}  # fmt: skip
_DENSE = ("r", "bias", "lengths", "peephole")
"""What the kernel reads without being told how it lies."""


class RecurrentFamily:
    """Layers whose recurrent weights fit into the registers and shared memory of the blocks of a cluster."""

    name = "recurrent"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if layer.op.name not in _OPS:
            return "it is not a recurrent layer"
        x = layer.inputs[0]
        if len(group.layers) > 1 or x is None or x.dtype.name not in ("f32", "f16", "bf16"):
            return "it is more than a layer, or not of f32, f16 or bf16"
        names = layer.attrs["activations"]
        half = len(names) // 2
        if layer.attrs["direction"] == "bidirectional" and names[:half] != names[half:]:
            return "its directions have activations of their own"
        if layer.attrs["direction"] == "bidirectional" and (layer.attrs["alpha"] or layer.attrs["beta"]):
            return "its directions may have parameters of activations of their own"
        return "" if self.tactics(group) else f"{layer.attrs['hidden']} units are more than a cluster has room for"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        layer = group.layers[0]
        quantized = layer.op.name == "dynamic_quantize_lstm"
        found = shapes(layer.attrs["hidden"], GATES[_OPS[layer.op.name]], STATES[quantized])
        return [Tactic(f"c{s.blocks}", numerics="reassociated") for s in found[:OFFERED]]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        return _Planner(group, inputs, outputs).plan(tactic)


@dataclass(frozen=True, slots=True)
class _Given:
    slot: Slot
    operand: Operand
    constant: bool


class _Planner:
    def __init__(self, group: Group, inputs: Sequence[Operand], outputs: Sequence[Operand]) -> None:
        self.layer = layer = group.layers[0]
        number = {id(t): n for n, t in enumerate((*group.inputs, *group.outputs))}
        operands = (*inputs, *outputs)
        names = _INPUTS[layer.op.name]
        self.inputs = {
            name: _Given(Slot(number[id(t)]), operands[number[id(t)]], t.weight is not None)
            for name, t in zip(names, layer.inputs, strict=False)
            if t is not None
        }
        self.results = [
            _Given(Slot(number[id(t)]), operands[number[id(t)]], False) if id(t) in number else None
            for t in layer.outputs
        ]
        self.scratch_start = len(operands)
        self.scratch: list[int] = []
        self.batch_first: bool = layer.attrs["batch_first"]
        x = self.inputs["x"].operand
        batch, steps = (0, 1) if self.batch_first else (1, 0)
        self.batch, self.steps, self.features = x.shape[batch], x.shape[steps], x.shape[2]
        self.by_step, self.by_row = x.strides[steps], x.strides[batch]
        self.hidden: int = layer.attrs["hidden"]
        self.gates = GATES[_OPS[layer.op.name]]
        self.directions = 2 if layer.attrs["direction"] == "bidirectional" else 1
        self.quantized = layer.op.name == "dynamic_quantize_lstm"

    def plan(self, tactic: str) -> Plan:
        if 0 in (self.steps, self.batch, self.features):
            raise TacticError("no steps, sequences or features")
        for name in _DENSE:
            if name in self.inputs and not self.inputs[name].operand.is_dense:
                raise TacticError(f"`{name}` does not lie dense")
        shape = self._shape(tactic)
        before, projected = self._project()
        return Plan((*before, self._recur(shape, projected)), tuple(self.scratch))

    def _room(self, nbytes: int) -> Slot:
        self.scratch.append(nbytes)
        return Slot(self.scratch_start + len(self.scratch) - 1)

    def _shape(self, tactic: str) -> Shape:
        """That of so many blocks, with as few sequences to a cluster as still have multiprocessors of their own. With
        levels all sequences go together: the state has one range."""
        blocks, states = int(tactic.removeprefix("c")), STATES[self.quantized]
        found = [best_shape(self.hidden, self.gates, blocks, m, states) for m in SEQUENCES]
        most = 1 if self.quantized else MULTIPROCESSORS // blocks // self.directions
        fitting = [s for s in found if s is not None]
        enough = [s for s in fitting if -(-self.batch // s.sequences) <= most]
        if not fitting or (self.quantized and not enough):
            raise TacticError(f"{self.batch} sequences at a time are too many")
        return enough[0] if enough else fitting[-1]

    # --- the products of the inputs ---

    def _project(self) -> tuple[list[Call], Slot]:
        """What the inputs of all steps come to: [D, S * B, G * H] in f32."""
        x, w = self.inputs["x"], self.inputs["w"]
        rows, columns = self.steps * self.batch, self.gates * self.hidden
        projected = self._room(4 * self.directions * rows * columns)
        sizes = (self.directions, rows, self.batch, self.features, columns)
        side, second, third = w.operand.strides
        if not self.quantized:
            a = Matrix(x.slot, 0, (self.by_step, self.by_row, x.operand.strides[2]))
            b = Matrix(w.slot, side, (third, second))
            return [tile_product_call((x.operand.dtype.name, w.operand.dtype.name), sizes, a, b, projected)], projected
        levels, numbers = self._room(rows * self.features), self._room(16)
        shape, strides = (self.steps, self.batch, self.features), (self.by_step, self.by_row, x.operand.strides[2])
        source = Operand(shape, strides, x.operand.dtype, x.operand.align)
        a_scale, a_zero = numbers, Slot(numbers.index, 4)
        target = Operand(shape, (self.batch * self.features, self.features, 1), BY_NAME["u8"])
        before = levels_calls(source, x.slot, target, levels, a_scale, a_zero, self._room(8 * PARTS))
        a = Matrix(levels, 0, (self.batch * self.features, self.features, 1))
        b = Matrix(w.slot, side, (second, third))
        scale, zero = (self._by_column(n) for n in ("w_scale", "w_zero"))
        call = tile_product_call(
            ("u8", w.operand.dtype.name), sizes, a, b, projected,
            Matrix(a_zero, 0, (0,)), Matrix(self.inputs["w_zero"].slot, zero[0], zero[1:]),
            Scales(a_scale, self.inputs["w_scale"].slot, *scale),
        )  # fmt: skip
        return [*before, call], projected

    def _by_column(self, name: str) -> tuple[int, int]:
        """Distances of directions and of columns of scales or zero points, [D] or [D, columns]."""
        strides = self.inputs[name].operand.strides
        return (strides[0], strides[1]) if len(strides) > 1 else (strides[0], 0)

    # --- the steps ---

    def _recur(self, shape: Shape, projected: Slot) -> Call:
        import numpy as np

        layer, r = self.layer, self.inputs["r"]
        op = _OPS[layer.op.name]
        initial = [n for n in ("h0", "c0") if n in self.inputs]
        held = [n for n in ("r", "r_scale", "r_zero") if n in self.inputs]
        spec = RecurrenceSpec(
            op, shape, r.operand.dtype.name, self.inputs["x"].operand.dtype.name,
            self._activations(), layer.attrs["clip"], bool(layer.attrs.get("input_forget")),
            bool(layer.attrs.get("linear_before_reset")), "bias" in self.inputs, "lengths" in self.inputs,
            tuple(n in self.inputs for n in (("h0", "c0") if op == "lstm" else ("h0",))), "peephole" in self.inputs,
            tuple(r is not None for r in self.results), all(self.inputs[n].constant for n in held),
        )  # fmt: skip
        numbers: list[Any] = []
        slots = [projected, r.slot]
        quantized: list[Any] = []
        if self.quantized:
            distances = (*self._by_column("r_scale"), *self._by_column("r_zero"))
            quantized = [self.inputs["r_scale"].slot, self.inputs["r_zero"].slot, *map(np.int32, distances)]
        given = [n for n in ("bias", "lengths", *initial, "peephole") if n in self.inputs]
        backwards = {"forward": 0, "reverse": 1, "bidirectional": 2}[layer.attrs["direction"]]
        numbers = [np.int32(n) for n in (self.steps, self.batch, backwards)]
        for name in initial:
            numbers += self._state_strides(self.inputs[name].operand)
        y, *last = self.results
        if y is not None:
            batch, step, side = (0, 1, 2) if self.batch_first else (2, 0, 1)
            numbers += [np.int64(y.operand.strides[axis]) for axis in (side, batch, 3)]
        for state in last:
            numbers += [] if state is None else self._state_strides(state.operand)
        numbers += [] if y is None else [np.int64(y.operand.strides[step])]
        made = [g.slot for g in self.results if g is not None]
        grid = (-(-self.batch // shape.sequences), self.directions, shape.blocks)
        arguments = (*slots, *quantized, *(self.inputs[n].slot for n in given), *made, *numbers)
        return Call(spec, grid, (shape.threads, 1, 1), arguments, spec.shared)

    def _state_strides(self, operand: Operand) -> list[Any]:
        """Of a state's directions, sequences and units."""
        import numpy as np

        side, batch = (1, 0) if self.batch_first else (0, 1)
        return [np.int64(operand.strides[axis]) for axis in (side, batch, 2)]

    def _activations(self) -> tuple[Activation, ...]:
        """Those of a direction, with their parameters, which are used up in turn by those that have one."""
        attrs = self.layer.attrs
        names = attrs["activations"][: len(attrs["activations"]) // self.directions]
        alphas, betas = iter(attrs["alpha"] or ()), iter(attrs["beta"] or ())
        found = []
        for name in names:
            _, alpha, beta = FUNCTIONS[name]
            alpha, beta = (0.0 if d is None else next(given, d) for d, given in ((alpha, alphas), (beta, betas)))
            found.append((name, alpha, beta))
        return tuple(found)


FAMILY = RecurrentFamily()
