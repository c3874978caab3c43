"""What a handler sees: one layer's inputs and attributes, and the means to add nodes.

@writes("softmax")
def _softmax(s: Site) -> None:
    s.emit("Softmax", s.x(0), axis=s["axis"])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trtn.dsl.convert.export.sizes import Sizes
from trtn.dsl.convert.export.values import Value, elem_type
from trtn.dsl.convert.export.writer import Writer
from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import Graph, Layer, Shape, Tensor

__all__ = ["F32", "I64", "Site"]

I64, F32 = BY_NAME["i64"], BY_NAME["f32"]
CONTRIBUTED = "com.microsoft"
"""The domain of the ops that ONNX Runtime has beside ONNX's."""


@dataclass(slots=True, eq=False)
class Site:
    """One layer on its way into the model. `lookup` gives the value of a tensor, `results` are its results' names."""

    layer: Layer
    writer: Writer
    sizes: Sizes
    results: tuple[str, ...]
    lookup: Callable[[Tensor], Value]
    write_body: Callable[[Graph, str], Any]
    """Writes a region as a GraphProto of a name."""

    # --- the layer ---

    def __getitem__(self, attr: str) -> Any:
        return self.layer.attrs[attr]

    @property
    def opset(self) -> int:
        return self.writer.opset

    def has(self, op: str, attribute: str = "") -> bool:
        """Whether the opset has an ONNX op (with an attribute)."""
        return self.writer.has(op, attribute)

    def tensor(self, index: int) -> Tensor:
        """An input that must be there."""
        tensor = self.layer.inputs[index]
        assert tensor is not None, f"{self.layer.op.name} has no input {index}"
        return tensor

    def given(self, index: int) -> bool:
        return index < len(self.layer.inputs) and self.layer.inputs[index] is not None

    def shape(self, index: int) -> Shape:
        return self.tensor(index).shape

    def rank(self, index: int) -> int:
        return len(self.tensor(index).shape)

    def dtype(self, index: int) -> DType:
        return self.tensor(index).dtype

    @property
    def out(self) -> Tensor:
        """The first result."""
        return self.layer.outputs[0]

    def x(self, index: int) -> Value:
        """The value of an input that must be there."""
        return self.lookup(self.tensor(index))

    def maybe(self, index: int) -> Value | None:
        return self.x(index) if self.given(index) else None

    def xs(self) -> list[Value | None]:
        """The values of all inputs, None where one is absent."""
        return [self.maybe(n) for n in range(len(self.layer.inputs))]

    # --- constants ---

    def constant(self, values: Any, dtype: DType) -> Value:
        return self.writer.constant(np.asarray(values).astype(dtype.numpy))

    def ints(self, values: Sequence[int]) -> Value:
        """An i64 constant of rank 1."""
        return self.writer.ints(values)

    def like(self, value: Value, number: float) -> Value:
        """A scalar constant of a value's dtype."""
        return self.constant(number, value.dtype)

    # --- nodes ---

    def emit(
        self,
        op: str,
        *inputs: Value | None,
        part: str = "",
        result: int = 0,
        made: DType | None = None,
        **attrs: Any,
    ) -> Value:
        """Add a node of one result: the layer's own, number `result`, or, with `part`, a step on the way to it.

        `made` is the result's dtype where the op's definition and the inputs' dtypes leave it open. Attributes that are
        None are left out.
        """
        return self.emit_all(op, *inputs, part=part, results=(result,), dtypes=(made,), **attrs)[0]

    def emit_all(
        self,
        op: str,
        *inputs: Value | None,
        part: str = "",
        results: Sequence[int],
        dtypes: Sequence[DType | None] = (),
        **attrs: Any,
    ) -> tuple[Value, ...]:
        """Add a node and give its results: the layer's own of these numbers, or, with `part`, that many steps."""
        names = self._names_of(part, results)
        if not part:
            dtypes = [self.layer.outputs[n].dtype for n in results]
        return self.writer.node(op, inputs, names, dtypes=dtypes, attrs=_given(attrs))

    def emit_contributed(
        self, op: str, *inputs: Value | None, part: str = "", results: Sequence[int], **attrs: Any
    ) -> tuple[Value, ...]:
        """As `emit_all`, a node of ONNX Runtime's own domain, on dtypes that it takes."""
        names = self._names_of(part, results)
        given = [v.name if v is not None else "" for v in inputs]
        self.writer.add(op, given, names, names[0], _given(attrs), domain=CONTRIBUTED)
        return tuple(Value(name, self.layer.outputs[n].dtype) for name, n in zip(names, results, strict=True))

    def _names_of(self, part: str, results: Sequence[int]) -> list[str]:
        if not part:
            return [self.results[n] for n in results]
        wish = f"{self.layer.name}/{part}"
        return [self.writer.names.unique(wish if n == 0 else f"{wish}.{n}") for n in range(len(results))]

    def cast(self, value: Value, dtype: DType, part: str) -> Value:
        """A step: a value in another dtype."""
        return self.writer.cast(value, dtype, f"{self.layer.name}/{part}")

    def cast_out(self, value: Value, result: int = 0) -> Value:
        """A value as the layer's result, in its dtype."""
        dtype = self.layer.outputs[result].dtype
        if value.dtype is dtype:
            return self.emit("Identity", value, result=result)
        return self.emit("Cast", value, result=result, to=elem_type(dtype))

    def reshape(self, value: Value, source: Shape, target: Shape, part: str = "") -> Value:
        """A value of shape `source` under the shape `target`.

        At most one dim is left to -1, and dims that stay in place are copied by 0, where no dim can be 0; the others
        are computed.
        """
        wanted = self._wanted(source, target)
        literal = wanted is target  # a size that is 0 is meant
        return self.emit("Reshape", value, self.sizes.vector(wanted), part=part, allowzero=1 if literal else None)

    def _wanted(self, source: Shape, target: Shape) -> Sequence[Dim]:
        if any(self.sizes.at_least(d) < 1 for d in (*source, *target)):
            return target
        wanted = [
            0 if n < len(source) and source[n] == d and not isinstance(d, int) else d for n, d in enumerate(target)
        ]
        left = next((n for n, d in enumerate(wanted) if not isinstance(d, int)), None)
        if left is not None:
            wanted[left] = -1
        return wanted

    def fold_axes(self, value: Value, axes: Sequence[int], op: str, part: str = "") -> Value:
        """`Squeeze` or `Unsqueeze` at constant axes."""
        return self.emit(op, value, self.ints(axes), part=part)

    def transpose(self, value: Value, perm: Sequence[int], part: str = "", result: int = 0) -> Value:
        return self.emit("Transpose", value, part=part, result=result, perm=list(perm))

    def slice(
        self, value: Value, starts: Value, ends: Value, axes: Sequence[int], steps: Sequence[int], part: str = ""
    ) -> Value:
        ones = all(step == 1 for step in steps)
        return self.emit("Slice", value, starts, ends, self.ints(axes), None if ones else self.ints(steps), part=part)

    def reduce(self, op: str, value: Value, axes: Sequence[int], *, keepdims: bool, part: str = "") -> Value:
        """A reduction over constant axes, which are an input or, in older opsets, an attribute."""
        if self.has(op, "axes"):
            return self.emit(op, value, part=part, axes=list(axes), keepdims=int(keepdims))
        return self.emit(op, value, self.ints(axes), part=part, keepdims=int(keepdims))


def _given(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attrs.items() if value is not None}
