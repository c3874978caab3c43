"""LSTM, GRU and plain recurrent layers, all steps in one primitive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trtn.backend.providers.onednn.enums import Alg, Arg, Direction, Prop
from trtn.backend.providers.onednn.memory import MemoryDesc
from trtn.backend.providers.onednn.primitive import Primitive
from trtn.backend.providers.onednn.program import Program, Unfit, Value
from trtn.dsl.network import Layer, Tensor

__all__ = ["plan_recurrent"]

_DIRECTIONS = {
    "forward": Direction.LEFT_TO_RIGHT,
    "reverse": Direction.RIGHT_TO_LEFT,
    "bidirectional": Direction.BIDIRECTIONAL_CONCAT,
}
_LSTM_GATES = (0, 2, 3, 1)
"""ONNX has i, o, f, c; oneDNN i, f, c, o."""
_LSTM_PEEPHOLES = (0, 2, 1)
"""ONNX has i, o, f; oneDNN i, f, o."""
_USUAL = {"lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh")}
_PLAIN = {"relu": Alg.RELU, "sigmoid": Alg.LOGISTIC, "tanh": Alg.TANH}
"""The functions of a plain recurrent layer, one for all directions."""
_GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def plan_recurrent(program: Program) -> None:
    layer = program.problem.group.layers[0]
    _refuse(layer)
    _Cells(program, layer).write()


def _refuse(layer: Layer) -> None:
    """Raises Unfit for what the primitives don't do."""
    names = [slot.name for slot in layer.op.spec.inputs[: len(layer.inputs)]]
    for name, tensor in zip(names, layer.inputs, strict=True):
        if tensor is not None and name == "lengths":
            raise Unfit(f"`{name}`")
    attrs = layer.attrs
    if attrs["clip"] is not None or attrs.get("input_forget"):
        raise Unfit("`clip` or `input_forget`")
    given = tuple(attrs["activations"])
    directions = 2 if attrs["direction"] == "bidirectional" else 1
    if layer.op.name == "rnn":
        if len(set(given)) != 1 or given[0] not in _PLAIN:
            raise Unfit(f"activations {', '.join(given)}")
    elif given != _USUAL[layer.op.name] * directions:
        raise Unfit(f"activations {', '.join(given)}")


class _Cells:
    """One layer. Forms inside: sequences [steps, batch, features], states [1, directions, batch, hidden]."""

    def __init__(self, program: Program, layer: Layer) -> None:
        self.program = program
        self.layer = layer
        self.is_lstm = layer.op.name == "lstm"
        self.lbr = layer.op.name == "gru" and layer.attrs["linear_before_reset"]
        self.has_peephole = self.is_lstm and len(layer.inputs) > 7 and layer.inputs[7] is not None
        self.hidden = layer.attrs["hidden"]
        self.batch_first = layer.attrs["batch_first"]
        self.directions = 2 if layer.attrs["direction"] == "bidirectional" else 1
        self.gates = _GATES[layer.op.name]
        shape = program.value(self._input(0)).desc.shape
        self.steps, self.batch = (shape[1], shape[0]) if self.batch_first else shape[:2]
        self.features = shape[2]

    def write(self) -> None:
        program, width = self.program, self.directions * self.hidden
        sequence = MemoryDesc.dense((self.steps, self.batch, self.features), "f32")
        result = MemoryDesc.dense((self.steps, self.batch, width), "f32")
        state = MemoryDesc.dense((1, self.directions, self.batch, self.hidden), "f32")
        starts = [self._state(index) for index in ((5, 6) if self.is_lstm else (5,))]
        if self.is_lstm and (starts[0] is None) != (starts[1] is None):
            raise Unfit("one initial state without the other")
        primitive = self._primitive(sequence, result, state, started=starts[0] is not None)
        operands: dict[int, Value] = {
            Arg.SRC: program.arranged(self._sequence(program.value(self._input(0))), sequence),
            Arg.WEIGHTS: self._weights(1, self.features, primitive.memory_desc(Arg.WEIGHTS)),
            Arg.WEIGHTS_1: self._weights(2, self.hidden, primitive.memory_desc(Arg.WEIGHTS_1)),
        }
        operands[Arg.BIAS] = self._bias(primitive.memory_desc(Arg.BIAS))
        if self.has_peephole:
            operands[Arg.WEIGHTS_2] = self._peephole(primitive.memory_desc(Arg.WEIGHTS_2))
        for arg, start in zip((Arg.SRC_1, Arg.SRC_2), starts, strict=False):
            if start is not None:
                operands[arg] = program.arranged(start, state)
        results = [program.scratch(result)] + [program.scratch(state) for _ in starts]
        copies: list[tuple[Value, Value]] = []
        for number, tensor in enumerate(self.layer.outputs):
            if not any(t is tensor for t in program.problem.group.outputs):
                continue
            target = self._target(tensor, is_sequence=number == 0)
            plain = MemoryDesc.dense(target.desc.shape, "f32")
            if target.desc == plain:
                results[number] = target.seen_as(results[number].desc)
            else:
                copies.append((results[number].seen_as(plain), target))
        operands |= dict(zip((Arg.DST, Arg.DST_1, Arg.DST_2), results, strict=False))
        program.step(primitive, operands)
        for source, target in copies:
            program.copy(source, target)

    def _primitive(self, sequence: MemoryDesc, result: MemoryDesc, state: MemoryDesc, *, started: bool) -> Primitive:
        lead = (1, self.directions)
        wide = MemoryDesc.any((*lead, self.features, self.gates, self.hidden), "f32")
        own = MemoryDesc.any((*lead, self.hidden, self.gates, self.hidden), "f32")
        bias = MemoryDesc.dense((*lead, self.gates + self.lbr, self.hidden), "f32")  # there is no kernel without one
        start = state if started else None
        # What the library calls reference code here is products and compiled gates.
        direction = int(_DIRECTIONS[self.layer.attrs["direction"]])
        if self.is_lstm:
            peephole = MemoryDesc.dense((*lead, 3, self.hidden), "f32") if self.has_peephole else None
            return Primitive(
                "lstm_forward",
                *(int(Prop.FORWARD_INFERENCE), direction, sequence, start, start, wide, own, peephole, None, bias),
                *(result, state, state, 0),
                reference=True,
            )
        if self.layer.op.name == "rnn":
            function = int(_PLAIN[self.layer.attrs["activations"][0]])
            return Primitive(
                "vanilla_rnn_forward",
                *(int(Prop.FORWARD_INFERENCE), function, direction, sequence, start, wide, own, bias, result, state),
                *(0, 0.0, 0.0),
                reference=True,
            )
        return Primitive(
            "lbr_gru_forward" if self.lbr else "gru_forward",
            *(int(Prop.FORWARD_INFERENCE), direction, sequence, start, wide, own, bias, result, state, 0),
            reference=True,
        )

    # --- what comes in ---

    def _input(self, index: int) -> Tensor:
        tensor = self.layer.inputs[index]
        assert tensor is not None
        return tensor

    def _sequence(self, value: Value) -> Value:
        """[B, S, I] as [S, B, I]."""
        return value.seen_as(_permuted(value.desc, (1, 0, 2))) if self.batch_first else value

    def _state(self, index: int) -> Value | None:
        tensor = self.layer.inputs[index] if len(self.layer.inputs) > index else None
        if tensor is None:
            return None
        return self._stacked(self.program.value(tensor))

    def _stacked(self, value: Value) -> Value:
        """[D, B, H], or [B, D, H], as [1, D, B, H]."""
        desc = _permuted(value.desc, (1, 0, 2)) if self.batch_first else value.desc
        assert desc.strides is not None
        return value.seen_as(MemoryDesc.strided((1, *desc.shape), "f32", (1, *desc.strides)))

    def _weights(self, index: int, rows: int, wanted: MemoryDesc) -> Value:
        """[D, G * H, rows] as [1, D, rows, G, H]."""
        gates, hidden = self.gates, self.hidden
        order = _LSTM_GATES if self.is_lstm else range(gates)

        def first(array: Any) -> Any:
            return array.reshape(-1, gates, hidden, rows)[:, list(order)].transpose(0, 3, 1, 2)

        plain = MemoryDesc.dense((1, self.directions, rows, gates, hidden), "f32")
        return self.program.packed(self._input(index), f"{self.layer.op.name}-weights", first, plain, wanted)

    def _bias(self, wanted: MemoryDesc) -> Value:
        """[D, 2 * G * H] as [1, D, G, H]: the sum of both; for linear_before_reset the last gate's apart."""
        gates, hidden = self.gates, self.hidden
        plain = MemoryDesc.dense((1, self.directions, gates + self.lbr, hidden), "f32")
        if len(self.layer.inputs) < 4 or self.layer.inputs[3] is None:
            return self.program.constant(np.zeros(plain.shape, np.float32))
        name = f"{self.layer.op.name}-bias{'-lbr' if self.lbr else ''}"
        return self.program.packed(
            self._input(3), name, _bias_maker(gates, hidden, self.is_lstm, self.lbr), plain, wanted
        )

    def _peephole(self, wanted: MemoryDesc) -> Value:
        """[D, 3 * H] as [1, D, 3, H]."""
        hidden = self.hidden

        def first(array: Any) -> Any:
            return array.reshape(-1, 3, hidden)[:, list(_LSTM_PEEPHOLES)]

        plain = MemoryDesc.dense((1, self.directions, 3, hidden), "f32")
        return self.program.packed(self._input(7), "lstm-peephole", first, plain, wanted)

    # --- what goes out ---

    def _target(self, tensor: Tensor, *, is_sequence: bool) -> Value:
        """y as [S, B, D, H], or a state as [1, D, B, H]."""
        value = self.program.value(tensor)
        if not is_sequence:
            return self._stacked(value)
        return value.seen_as(_permuted(value.desc, (1, 0, 2, 3) if self.batch_first else (0, 2, 1, 3)))


def _bias_maker(gates: int, hidden: int, is_lstm: bool, lbr: bool) -> Callable[[Any], Any]:
    def first(array: Any) -> Any:
        both = array.reshape(-1, 2, gates, hidden)
        total = both.sum(axis=1)
        if is_lstm:
            return total[:, list(_LSTM_GATES)]
        if not lbr:
            return total
        return np.concatenate([total[:, :2], both[:, 0, 2:], both[:, 1, 2:]], axis=1)

    return first


def _permuted(desc: MemoryDesc, order: Sequence[int]) -> MemoryDesc:
    assert desc.strides is not None
    return MemoryDesc.strided([desc.shape[n] for n in order], desc.dtype, [desc.strides[n] for n in order])
