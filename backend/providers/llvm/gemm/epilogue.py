"""A group's layers after its product, written over vectors of sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llvmlite import ir

from trtn.backend.providers.llvm.emitter import F32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.expressions import EXPRESSIONS, Site, refusal
from trtn.backend.providers.llvm.family import Unfit
from trtn.backend.providers.llvm.gemm.microkernel import Spot, load
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.records import record

__all__ = ["Epilogue", "Operand"]

LIGHT = frozenset({"abs", "add", "clip", "leaky_relu", "max", "min", "mul", "neg", "relu", "sub"})


@record()
class Operand:
    """Something that the epilogue reads beside the sums: input `number` of the group, an element of it for each row
    (every one `stride` elements on) and, where `by_column`, for each column."""

    number: int
    stride: int
    by_column: bool


class Epilogue:
    """`bias` is added to the sums, then come the layers. Its context is an array of i64: address and row stride of each
    operand."""

    def __init__(
        self, sums: Tensor, bias: Operand | None, layers: Sequence[Layer], operands: Mapping[int, Operand]
    ) -> None:
        """`operands` by tensor id. Raises Unfit."""
        for layer in layers:
            if reason := refusal(layer):
                raise Unfit(reason)
            if any(t is not None and t.dtype.name != "f32" for t in (*layer.inputs, *layer.outputs)):
                raise Unfit(f"`{layer.op.name}` of other numbers than f32")
        self._sums = sums
        self._layers = layers
        self._bias = bias
        self._places = {key: n for n, key in enumerate(operands)}
        self.operands = [*operands.values(), *([bias] if bias is not None else [])]
        self.is_light = all(layer.op.name in LIGHT for layer in layers)

    @property
    def recipe(self) -> str:
        """What the instructions follow from."""
        names = {id(self._sums): "sums", **{key: f"operand{n}" for key, n in self._places.items()}}
        lines = [f"{o.number} {'each' if o.stride else 'same'} {o.by_column}" for o in self.operands]
        for number, layer in enumerate(self._layers):
            inputs = [names[id(t)] for t in layer.inputs if t is not None]
            lines.append(f"{layer.op.name} {inputs} {sorted(layer.attrs.items())} {_exponent(layer)}")
            names[id(layer.outputs[0])] = f"layer{number}"
        return "\n".join([f"bias {self._bias is not None}", *lines])

    def write(self, e: Emitter, sums: Any, spot: Spot) -> Any:
        if self._bias is not None:
            sums = e.b.fadd(sums, self._operand(e, len(self.operands) - 1, spot))
        values = {id(self._sums): sums}
        for layer in self._layers:
            inputs = [t for t in layer.inputs if t is not None]
            for t in inputs:
                if id(t) not in values:
                    values[id(t)] = self._operand(e, self._places[id(t)], spot)
            site = Site(e, tuple(values[id(t)] for t in inputs), tuple(t.dtype for t in inputs), layer)
            sums = values[id(layer.outputs[0])] = EXPRESSIONS[layer.op.name](site)
        return sums

    def _operand(self, e: Emitter, number: int, spot: Spot) -> Any:
        operand = self.operands[number]
        start = e.load(spot.context, I64(2 * number), POINTER)
        if operand.stride:
            stride = e.load(spot.context, I64(2 * number + 1), I64)
            start = e.at(start, e.b.mul(spot.row, stride), F32)
        if not operand.by_column:
            return e.splat(e.load(start, I64(0), F32), spot.lanes)
        return load(e, e.at(start, spot.column, F32), ir.VectorType(F32, spot.lanes), spot.mask)


def _exponent(layer: Layer) -> str:
    """A power's exponent, which its instructions depend on."""
    power = layer.inputs[1] if layer.op.name == "pow" else None
    return "" if power is None or power.weight is None else str(power.weight.load())
