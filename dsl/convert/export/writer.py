"""Adds nodes to the graph being written. Dtypes that an op doesn't take are widened around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from trtn.dsl.convert.export.registry import refuse
from trtn.dsl.convert.export.values import Names, Value, elem_type, raw_buffer
from trtn.dsl.convert.export.widening import Signature, signature_of, working_dtype
from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import DType, from_numpy

__all__ = ["Scope", "Writer"]

_FOLDED = 64
"""Constants of up to this many elements are cast here; longer ones by a node."""


@dataclass(slots=True)
class Scope:
    """A graph under construction: the model's, or a body of control flow inside of it."""

    nodes: list[Any] = field(default_factory=list)
    infos: list[Any] = field(default_factory=list)
    produced: set[str] = field(default_factory=set)
    sizes: dict[Dim, Value] = field(default_factory=dict)
    """Dims that this graph has computed, each as i64[1]."""


class Writer:
    """The graphs being written, the innermost last, and the constants that all of them read."""

    def __init__(self, opset: int, names: Names) -> None:
        self.opset = opset
        self.names = names
        self.scopes = [Scope()]
        self.initializers: list[Any] = []
        self.domains: set[str] = set()
        """Those of the nodes; "" is ONNX's own."""
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    @property
    def depth(self) -> int:
        """How many bodies the innermost graph is inside of."""
        return len(self.scopes) - 1

    @property
    def scope(self) -> Scope:
        return self.scopes[-1]

    @contextmanager
    def body(self) -> Iterator[Scope]:
        """A graph inside the present one."""
        self.scopes.append(Scope())
        try:
            yield self.scope
        finally:
            self.scopes.pop()

    @contextmanager
    def outside(self, depth: int) -> Iterator[None]:
        """Nodes added meanwhile go to the graph at `depth`."""
        inner = self.scopes[depth + 1 :]
        del self.scopes[depth + 1 :]
        try:
            yield
        finally:
            self.scopes += inner

    def has(self, op: str, attribute: str = "") -> bool:
        """Whether the opset has an op (with an attribute)."""
        signature = signature_of(op, self.opset)
        return signature is not None and (not attribute or attribute in signature.attributes)

    def check_dtype(self, dtype: DType) -> None:
        """Raises Unexportable where the opset doesn't have the dtype."""
        cast = signature_of("Cast", self.opset)
        if cast is not None and not cast.takes(cast.output(0), dtype):
            refuse(f"{dtype} came later")

    # --- constants ---

    def constant(self, array: np.ndarray[Any, Any]) -> Value:
        """An initialiser for a constant that has no name of its own. Equal ones are one."""
        dtype = from_numpy(array.dtype)
        assert dtype is not None, array.dtype
        key = (dtype.name, array.shape, array.tobytes())
        if key not in self._constants:
            self.check_dtype(dtype)
            name = self.names.unique(_constant_name(array, dtype))
            self.initializers.append(_tensor_proto(name, array, dtype))
            self._constants[key] = Value(name, dtype, array)
        return self._constants[key]

    def ints(self, values: Sequence[int]) -> Value:
        """An i64 constant of rank 1."""
        return self.constant(np.asarray(values, np.int64).reshape(len(values)))

    # --- nodes ---

    def cast(self, value: Value, dtype: DType, name: str) -> Value:
        """A value in another dtype; `name` is a wish for the result's."""
        if value.dtype is dtype:
            return value
        if value.array is not None and value.array.size <= _FOLDED:
            return self.constant(value.array.astype(dtype.numpy))
        return self._cast_node(value, dtype, self.names.unique(name))

    def _cast_node(self, value: Value, dtype: DType, name: str) -> Value:
        self.check_dtype(dtype)
        self.add("Cast", [value.name], [name], name, {"to": elem_type(dtype)})
        return Value(name, dtype)

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        label: str,
        attrs: Mapping[str, Any],
        domain: str = "",
    ) -> None:
        """A node as it is."""
        node = helper.make_node(op, list(inputs), list(outputs), name=label, domain=domain, **attrs)
        self.scope.nodes.append(node)
        self.domains.add(domain)
        self.scope.produced.update(outputs)

    def node(
        self,
        op: str,
        inputs: Sequence[Value | None],
        outputs: Sequence[str],
        *,
        dtypes: Sequence[DType | None] = (),
        attrs: Mapping[str, Any] | None = None,
    ) -> tuple[Value, ...]:
        """A node whose inputs of unsupported dtypes are cast to wider ones and whose results are cast back.

        The node's type variables decide the results' dtypes; `dtypes` those of results that they leave open.
        """
        signature = signature_of(op, self.opset)
        assert signature is not None, f"{op} is not in opset {self.opset}"
        bound: dict[str, tuple[DType, DType]] = {}
        given = list(inputs)
        while given and given[-1] is None:
            given.pop()
        for index, value in enumerate(given):
            if value is not None:
                variable = signature.input(index)
                if variable not in bound:
                    bound[variable] = (
                        value.dtype,
                        working_dtype(op, signature, variable, value.dtype, self.opset),
                    )
                own, wide = bound[variable]
                assert value.dtype is own, f"{op} {outputs[0]}: {variable} is {own} and {value.dtype}"
                given[index] = self.cast(value, wide, f"{outputs[0]}/{value.name.rpartition('/')[2]}_{wide}")
        names, results, later = self._results(op, signature, bound, outputs, dtypes)
        self.add(op, [v.name if v is not None else "" for v in given], names, names[0], attrs or {})
        for value, result in later:
            self._cast_node(value, result.dtype, result.name)
        return results

    def _results(
        self,
        op: str,
        signature: Signature,
        bound: Mapping[str, tuple[DType, DType]],
        outputs: Sequence[str],
        dtypes: Sequence[DType | None],
    ) -> tuple[list[str], tuple[Value, ...], list[tuple[Value, Value]]]:
        """The names that the node gives its results, the results, and the casts that make the latter."""
        names: list[str] = []
        results: list[Value] = []
        later: list[tuple[Value, Value]] = []
        for index, name in enumerate(outputs):
            variable = signature.output(index)
            stated = dtypes[index] if index < len(dtypes) else None
            own, wide = bound.get(variable, (stated, stated))
            own = own or signature.fixed(variable)
            assert own is not None, f"the dtype of result {index} of {op} is not decided"
            result = Value(name, own)
            results.append(result)
            if wide is not None and wide is not own:
                later.append((Value(self.names.unique(f"{name}/{wide}"), wide), result))
                names.append(later[-1][0].name)
            else:
                names.append(name)
        return names, tuple(results), later


def _constant_name(array: np.ndarray[Any, Any], dtype: DType) -> str:
    """`i64(2)`, `f32[0.5, 1.0]`, and for long ones the type alone."""
    if array.size > 4:
        return f"{dtype}[{'x'.join(map(str, array.shape))}]"
    words = ", ".join(str(v) for v in array.reshape(-1).tolist())
    return f"{dtype}[{words}]" if array.ndim else f"{dtype}({words})"


def _tensor_proto(name: str, array: np.ndarray[Any, Any], dtype: DType) -> Any:
    return TensorProto(
        name=name, data_type=elem_type(dtype), dims=array.shape, raw_data=raw_buffer(array, dtype).tobytes()
    )
