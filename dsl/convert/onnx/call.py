"""What a handler sees: one node's inputs as tensors, its attributes, and the means to add layers.

@onnx_op("Flatten")
def flatten(n: Call) -> Results:
    return n.emit("flatten", n.tensor(0), axis=n.integer("axis", 1))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from trtn.dsl.convert.onnx.initializers import TransposedSource
from trtn.dsl.convert.onnx.model import ModelGraph
from trtn.dsl.convert.onnx.registry import TensorList, refuse
from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Origin, Shape, Tensor, Weight

if TYPE_CHECKING:
    from trtn.dsl.builder import Builder
    from trtn.dsl.convert.onnx.model import Node
    from trtn.dsl.convert.onnx.translate import Translator

__all__ = ["INLINE_LIMIT", "Call", "is_short"]

INLINE_LIMIT = 16
"""Integer constants of up to this many elements, and single floats, are written in the spec's text. Longer ones are
weights of the manifest."""


def is_short(array: np.ndarray[Any, Any]) -> bool:
    """Whether a constant is written in the spec's text."""
    return array.size == 1 or (array.dtype.kind in "iub" and array.size <= INLINE_LIMIT)


@dataclass(slots=True, eq=False)
class Call:
    """One node on its way into the network. `path` names its first result, `results` all of them."""

    node: Node
    inputs: tuple[Tensor | None, ...]
    opset: int
    builder: Builder
    path: str
    results: tuple[str, ...]
    weight_name: Callable[[str], str]
    """Gives a free path in the manifest, from a wish."""
    translator: Translator

    # --- inputs ---

    def __len__(self) -> int:
        return len(self.inputs)

    def maybe(self, index: int) -> Tensor | None:
        """An input, or None where it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def tensor(self, index: int) -> Tensor:
        """An input that must be there."""
        found = self.maybe(index)
        if found is None:
            refuse(f"input {index} is missing")
        return found

    def tensors(self) -> tuple[Tensor, ...]:
        """All inputs, of an op that takes a list of them."""
        return tuple(self.tensor(n) for n in range(len(self.inputs)))

    def tensor_list(self, index: int) -> TensorList:
        """An input that must be a list of tensors."""
        name = self.node.inputs[index] if index < len(self.node.inputs) else ""
        found = self.translator.tensor_list(name)
        if found is None:
            refuse(f"input {index} is no list of tensors that is known at import")
        return found

    def known(self, index: int) -> tuple[Dim, ...] | None:
        """The elements of an integer input that the dims alone decide. None where it is absent or depends on data."""
        found = self.maybe(index)
        if found is not None and found.value is None and found.shape == (0,):
            return ()
        return found.value if found is not None else None

    def is_computed(self, index: int) -> bool:
        """Whether an input is there whose elements depend on data."""
        return self.maybe(index) is not None and self.known(index) is None and self.array(index) is None

    def array(self, index: int) -> np.ndarray[Any, Any] | None:
        """The elements of a constant input."""
        found = self.maybe(index)
        return found.weight.load() if found is not None and found.weight is not None else None

    def constants(self, index: int, what: str) -> tuple[int, ...] | None:
        """The elements of an integer input that must be constant. None where it is absent."""
        if self.maybe(index) is None:
            return None
        known = self.known(index)
        if known is None:
            array = self.array(index)
            if array is None or array.dtype.kind not in "iu":
                refuse(f"{what} must be constant")
            known = tuple(int(v) for v in array.reshape(-1))
        if not all(isinstance(v, int) for v in known):
            refuse(f"{what} must not depend on a dim ({', '.join(map(str, known))})")
        return tuple(v for v in known if isinstance(v, int))

    def scalar(self, index: int) -> float | int | None:
        """The only element of a constant input, or None where it is no constant or has several."""
        array = self.array(index)
        return array.reshape(-1)[0].item() if array is not None and array.size == 1 else None

    def declared_ranks(self) -> list[int] | None:
        """The ranks that the model's file declares for the node's results, where it does so for all."""
        graph = self.translator.scope.graph
        declared = {v.name: v.shape for v in (*graph.values.values(), *graph.outputs)}
        shapes = [declared.get(o) for o in self.node.outputs]
        return None if any(s is None for s in shapes) else [len(s) for s in shapes if s is not None]

    # --- attributes ---

    def has(self, name: str) -> bool:
        return name in self.node.attributes

    def integer(self, name: str, default: int | None = None) -> int:
        value: int = self._attribute(name, default, int, "an integer")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        return float(self._attribute(name, default, float | int, "a number"))

    def text(self, name: str, default: str | None = None) -> str:
        value: str = self._attribute(name, default, str, "a text")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self._attribute(name, int(default), int, "an integer"))

    def ints(self, name: str) -> tuple[int, ...] | None:
        """A list of integers, or None where the node doesn't have it."""
        return self._attribute(name, None, tuple, "a list") if self.has(name) else None

    def floats(self, name: str) -> tuple[float, ...] | None:
        return tuple(map(float, self._attribute(name, None, tuple, "a list"))) if self.has(name) else None

    def strs(self, name: str) -> tuple[str, ...] | None:
        return self._attribute(name, None, tuple, "a list") if self.has(name) else None

    def graph(self, name: str) -> ModelGraph:
        value: ModelGraph = self._attribute(name, None, ModelGraph, "a graph")
        return value

    def tensor_proto(self, name: str) -> Any:
        """An onnx.TensorProto."""
        return self._attribute(name, None, onnx.TensorProto, "a tensor")

    def _attribute(self, name: str, default: Any, kind: Any, words: str) -> Any:
        value = self.node.attributes.get(name, default)
        if value is None:
            refuse(f"attribute `{name}` is missing")
        if not isinstance(value, kind):
            refuse(f"attribute `{name}` must be {words}")
        return value

    # --- layers ---

    def emit(self, op: str, *inputs: Tensor | None, part: str = "", **attrs: Any) -> Tensor:
        """Add a layer and give its first result. `part` names a step on the way to the node's result."""
        return self.emit_all(op, *inputs, part=part, **attrs)[0]

    def emit_all(
        self,
        op: str,
        *inputs: Tensor | None,
        part: str = "",
        regions: Sequence[Any] = (),
        wanted: int | None = None,
        **attrs: Any,
    ) -> tuple[Tensor, ...]:
        """Add a layer and give all its results. Attributes that are None are left to their defaults."""
        given = {name: value for name, value in attrs.items() if value is not None}
        name = f"{self.path}.{part}" if part else self.path
        results = () if part else self.results
        origin = Origin(source=self.node.label)
        return self.builder.layer(
            op, *inputs, name=name, results=results, origin=origin, regions=regions, wanted=wanted, **given
        )

    def constant(self, array: Any, part: str = "") -> Tensor:
        """A constant tensor: inline where it is short, else a weight under the node's path."""
        values = np.asarray(array)
        wish = f"{self.path}.{part}" if part else self.path
        return self.builder.constant(values, "" if is_short(values) else self.weight_name(wish))

    def like(self, value: float, tensor: Tensor) -> Tensor:
        """A scalar of a tensor's dtype."""
        return self.constant(np.asarray(value, dtype=tensor.dtype.numpy))

    def dims(self, values: Sequence[Dim], dtype: DType, *, scalar: bool = False, part: str = "") -> Tensor:
        """An integer tensor of known dims: a constant where all are plain integers."""
        if all(isinstance(v, int) for v in values):
            return self.constant(np.asarray(values, dtype=dtype.numpy).reshape(() if scalar else (len(values),)), part)
        return self.emit("dims", part=part, values=tuple(values), dtype=dtype, scalar=scalar)

    def reshape(self, tensor: Tensor, shape: Shape, part: str = "") -> Tensor:
        return tensor if tensor.shape == shape else self.emit("reshape", tensor, part=part, shape=shape)

    def cast(self, tensor: Tensor, dtype: DType, part: str = "") -> Tensor:
        return tensor if tensor.dtype is dtype else self.emit("cast", tensor, part=part, to=dtype)

    def transposed(self, tensor: Tensor) -> Tensor:
        """A matrix the other way round; a weight is read so from its file."""
        weight = tensor.weight
        if weight is None:
            return self.emit("transpose", tensor, part="transposed", perm=(1, 0))
        return self.translator.transposed(weight, lambda: _transposed_weight(weight))


def _transposed_weight(weight: Weight) -> Weight:
    source = weight.source.source if isinstance(weight.source, TransposedSource) else TransposedSource(weight.source)
    return Weight(weight.name, weight.dtype, weight.shape[::-1], source)
