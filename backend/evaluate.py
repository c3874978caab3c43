"""Runs layers one after another on arrays, by their ops' own evaluations. What views, folding and the
reference provider share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from trtn.backend.demands import check_guards
from trtn.dsl.dims import Dim, DimError, Expr, evaluate, symbol, symbols
from trtn.dsl.dtypes import ALL, BY_NAME, DType
from trtn.dsl.network import Graph, Guard, Layer, Tensor, captures

__all__ = ["bind_layer", "bind_layers", "evaluate_layer", "learn_sizes"]

Sizes = Mapping[str, int]
WIDE = {d.name: d.wide.name for d in ALL if d.is_narrow}
"""What dtypes that NumPy has no arithmetic for are computed in."""

Table = dict[int, Any]


def bind_layers(
    layers: Sequence[Layer], kept: Sequence[Tensor], sizes: Sizes, xp: Any, guards: Sequence[Guard] = ()
) -> Callable[[Table, dict[str, int]], None]:
    """A function that runs layers over a table of arrays by tensor id. Arrays that are not `kept` die with
    their last reader. `guards` are checked as soon as their dims are known; raises ShapeError where one fails.
    """
    made = {id(t) for layer in layers for t in layer.outputs} - {id(t) for t in kept}
    last: dict[int, int] = {}
    for number, layer in enumerate(layers):
        for t in (*layer.inputs, *layer.outputs, *captures(layer)):
            if t is not None and id(t) in made:
                last[id(t)] = number
    dying = [[key for key, number in last.items() if number == n] for n in range(len(layers))]
    check_guards(guards, sizes)
    steps = [(bind_layer(layer, sizes, xp), layer, dead) for layer, dead in zip(layers, dying, strict=True)]
    late = [g for g in guards if not g.relation.symbols <= sizes.keys()]

    def run(table: Table, sizes: dict[str, int]) -> None:
        for step, layer, dead in steps:
            results = step(table, sizes)
            known = len(sizes)
            for t, result in zip(layer.outputs, results, strict=True):
                table[id(t)] = result
                learn_sizes(t, result.shape, sizes)
            if late and len(sizes) > known:
                check_guards(late, sizes)
            for key in dead:
                del table[key]

    return run


def learn_sizes(tensor: Tensor, shape: tuple[int, ...], sizes: dict[str, int]) -> None:
    """Note the values of data-dependent dims that a result has shown."""
    for dim, size in zip(tensor.shape, shape, strict=True):
        for name in symbols(dim):
            if name not in sizes and dim == symbol(name):
                sizes[name] = size


def bind_layer(layer: Layer, sizes: Sizes, xp: Any) -> Callable[[Table, dict[str, int]], tuple[Any, ...]]:
    """A function that evaluates one layer. Attributes over dims that are known already are computed here."""
    needs = {s for value in layer.attrs.values() for s in attr_symbols(value)}
    attrs = {k: resolve_attr(v, sizes) for k, v in layer.attrs.items()} if needs <= sizes.keys() else None
    keys = [id(t) if t is not None else None for t in layer.inputs]
    padding = (
        [None] * (len(layer.op.spec.inputs) - len(keys))
        if not (layer.op.spec.inputs and layer.op.spec.inputs[-1].variadic)
        else []
    )

    def step(table: Table, now: dict[str, int]) -> tuple[Any, ...]:
        arrays = [None if k is None else table[k] for k in keys]
        values = attrs if attrs is not None else {k: resolve_attr(v, now) for k, v in layer.attrs.items()}
        if layer.regions:
            values = {**values, "regions": [RegionCall(g, table, now, xp) for g in layer.regions]}
        return evaluate_layer(layer, [*arrays, *padding], values, xp)

    return step


def evaluate_layer(layer: Layer, arrays: Sequence[Any], attrs: Mapping[str, Any], xp: Any) -> tuple[Any, ...]:
    """Evaluate a layer on arrays; results have exactly the declared dtypes. dtypes without arithmetic are
    widened first.
    """
    op = layer.op
    if not op.native_low_precision:
        arrays = [_widen(t, a) for t, a in zip(_padded(layer, len(arrays)), arrays, strict=True)]
    results = op.evaluate(xp, *arrays, **attrs)
    listed = results if isinstance(results, tuple) else (results,)
    return tuple(
        r if r.dtype == t.dtype.numpy else r.astype(t.dtype.numpy) for t, r in zip(layer.outputs, listed, strict=True)
    )


def _padded(layer: Layer, count: int) -> list[Tensor | None]:
    return [*layer.inputs, *[None] * (count - len(layer.inputs))]


def _widen(tensor: Tensor | None, array: Any) -> Any:
    wide = WIDE.get(tensor.dtype.name) if tensor is not None else None
    return array if wide is None or array is None else array.astype(BY_NAME[wide].numpy)


def attr_symbols(value: Any) -> set[str]:
    if isinstance(value, Expr):
        return set(value.symbols)
    if isinstance(value, tuple):
        return {s for v in value for s in attr_symbols(v)}
    return set()


def resolve_attr(value: Any, sizes: Sizes) -> Any:
    """An attribute with its dims replaced by their values."""
    if isinstance(value, Expr):
        return evaluate(value, sizes)
    if isinstance(value, tuple):
        return tuple(resolve_attr(v, sizes) for v in value)
    return value


class RegionCall:
    """A body of control flow as a callable. It sees the arrays around it; what it computes stays inside."""

    def __init__(self, graph: Graph, outer: Table, sizes: dict[str, int], xp: Any) -> None:
        self.graph = graph
        self.outer = outer
        self.sizes = sizes
        self.xp = xp

    @cached_property
    def _run(self) -> Callable[[Table, dict[str, int]], None]:
        """Bound when it is called for the first time: what it needs of the dims must not hold where it isn't."""
        return bind_layers(self.graph.layers, self.graph.outputs, self.sizes, self.xp, self.graph.guards)

    @property
    def types(self) -> list[tuple[DType, tuple[int, ...]]]:
        return [(t.dtype, tuple(self._size(d) for d in t.shape)) for t in self.graph.outputs]

    def _size(self, dim: Dim) -> int:
        try:
            return evaluate(dim, self.sizes)
        except DimError:  # a size that only the body decides, or that has no meaning where it doesn't run
            return 0

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        table = dict(self.outer)
        table.update((id(t), a) for t, a in zip(self.graph.inputs, inputs, strict=True))
        self._run(table, dict(self.sizes))
        return tuple(table[id(t)] for t in self.graph.outputs)
