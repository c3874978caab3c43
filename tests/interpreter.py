"""The slowest possible way to run a network: layer by layer, on the ops' reference evaluations. For tests only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trtn.dsl.dims import Expr, evaluate, symbol
from trtn.dsl.dims.solve import solve_dims
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Graph, Guard, Layer, Network, Tensor

__all__ = ["evaluate_network"]

Array = np.ndarray[Any, Any]


def evaluate_network(network: Network, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs by name. Holds each result against its declared type, and guards and asserts against the dims."""
    env = dict(solve_dims((t.shape, np.shape(feeds[t.name])) for t in network.inputs))
    for t in network.inputs:
        assert tuple(evaluate(d, env) for d in t.shape) == np.shape(feeds[t.name]), f"{t} fed {np.shape(feeds[t.name])}"
    for name, declared in network.dims.items():
        assert env[name] in declared, f"{name} = {env[name]} is not in {declared}"
    for a in network.asserts:
        assert a.relation.holds(env), f"{a.relation} does not hold for {env}"
    values: dict[int, Array] = {id(t): np.asarray(feeds[t.name]) for t in network.inputs}
    _run(network.graph, values, env, network.guards)
    return {t.name: _value(t, values) for t in network.outputs}


def _value(tensor: Tensor, values: Mapping[int, Array]) -> Array:
    return tensor.weight.load() if tensor.weight is not None else values[id(tensor)]


def _run(graph: Graph, values: dict[int, Array], env: dict[str, int], guards: Sequence[Guard]) -> None:
    _hold(guards, env)
    for layer in graph.layers:
        inputs = [None if t is None else _value(t, values) for t in layer.inputs]
        for tensor, array in zip(layer.outputs, _layer(layer, inputs, values, env), strict=True):
            _check(layer, tensor, array, env)
            values[id(tensor)] = array
        _hold(guards, env)


def _hold(guards: Sequence[Guard], env: Mapping[str, int]) -> None:
    for guard in guards:
        if guard.relation.symbols <= env.keys():
            assert guard.relation.holds(env), f"{guard.relation} ({guard.message}) does not hold for {env}"


class _Region:
    """A body as `evaluate` sees it."""

    def __init__(self, graph: Graph, values: Mapping[int, Array], env: Mapping[str, int]) -> None:
        self.graph, self.values, self.env = graph, values, env

    @property
    def types(self) -> list[tuple[DType, tuple[int, ...]]]:
        return [(t.dtype, tuple(evaluate(d, self.env) for d in t.shape)) for t in self.graph.outputs]

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        values = dict(self.values)
        for tensor, array in zip(self.graph.inputs, inputs, strict=True):
            assert array.dtype == tensor.dtype.numpy, f"{tensor} got {array.dtype}"
            values[id(tensor)] = array
        _run(self.graph, values, dict(self.env), self.graph.guards)
        return tuple(_value(t, values) for t in self.graph.outputs)


def _layer(
    layer: Layer, inputs: Sequence[Array | None], values: Mapping[int, Array], env: Mapping[str, int]
) -> list[Array]:
    op = layer.op
    operands = list(inputs)
    if not (op.spec.inputs and op.spec.inputs[-1].variadic):
        operands += [None] * (len(op.spec.inputs) - len(operands))
    if not op.native_low_precision:
        operands = [
            None if a is None else _widened(a, t) for a, t in zip(operands, layer.inputs, strict=False)
        ] + operands[len(layer.inputs) :]
    attrs = {name: _plain(value, env) for name, value in layer.attrs.items()}
    if layer.regions:
        attrs["regions"] = [_Region(g, values, env) for g in layer.regions]
    raw = op.evaluate(np, *operands, **attrs)
    results = raw if isinstance(raw, tuple) else (raw,)
    return [
        np.asarray(y).astype(t.dtype.numpy) if t.dtype.is_narrow else np.asarray(y)
        for y, t in zip(results, layer.outputs, strict=True)
    ]


def _widened(array: Array, tensor: Tensor | None) -> Array:
    if tensor is None or not tensor.dtype.is_narrow:
        return array
    return array.astype(np.float32 if tensor.dtype.is_float else np.int32)


def _plain(value: Any, env: Mapping[str, int]) -> Any:
    if isinstance(value, Expr):
        return evaluate(value, env)
    return tuple(_plain(v, env) for v in value) if isinstance(value, tuple) else value


def _check(layer: Layer, tensor: Tensor, array: Array, env: dict[str, int]) -> None:
    assert array.dtype == tensor.dtype.numpy, f"{layer} gave {array.dtype}, not {tensor.dtype}"
    assert array.ndim == tensor.rank, f"{layer} gave {array.shape}, not {tensor.type}"
    for actual, dim in zip(array.shape, tensor.shape, strict=True):
        if isinstance(dim, Expr):  # a size that the data decides is known from here on
            unknown = [s for s in dim.symbols if s not in env]
            if len(unknown) == 1 and dim == symbol(unknown[0]):
                env[unknown[0]] = actual
        assert actual == evaluate(dim, env), f"{layer} gave {array.shape}, not {tensor.type} for {env}"
    if tensor.value is not None:
        assert [int(v) for v in array.reshape(-1)] == [evaluate(v, env) for v in tensor.value], (
            f"{layer}: {array} is not {tensor.value}"
        )
