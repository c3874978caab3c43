"""Runs layers one after another on arrays, by their ops' own evaluations. What views, folding and the
reference provider share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    steps = [
        (bind_layer(layer, sizes, xp), [id(t) for t in layer.outputs], _telling(layer, sizes), dead)
        for layer, dead in zip(layers, dying, strict=True)
    ]
    late = [g for g in guards if not g.relation.symbols <= sizes.keys()]

    def run(table: Table, sizes: dict[str, int]) -> None:
        for step, keys, telling, dead in steps:
            table.update(zip(keys, step(table, sizes), strict=True))
            known = len(sizes)
            for t in telling:
                learn_sizes(t, table[id(t)].shape, sizes)
            if late and len(sizes) > known:
                check_guards(late, sizes)
            for key in dead:
                del table[key]

    return run


def _telling(layer: Layer, sizes: Sizes) -> list[Tensor]:
    """The results whose shapes mention dims that are not known yet."""
    return [t for t in layer.outputs if any(not symbols(d) <= sizes.keys() for d in t.shape)]


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
    evaluation = _bind_evaluation(layer, xp)
    bodies = [_Body(graph, xp) for graph in layer.regions]
    padding = (
        [None] * (len(layer.op.spec.inputs) - len(keys))
        if not (layer.op.spec.inputs and layer.op.spec.inputs[-1].variadic)
        else []
    )

    def step(table: Table, now: dict[str, int]) -> tuple[Any, ...]:
        arrays = [None if k is None else table[k] for k in keys]
        values = attrs if attrs is not None else {k: resolve_attr(v, now) for k, v in layer.attrs.items()}
        if bodies:
            values = {**values, "regions": [RegionCall(body, table, now) for body in bodies]}
        return evaluation([*arrays, *padding], values)

    return step


def evaluate_layer(layer: Layer, arrays: Sequence[Any], attrs: Mapping[str, Any], xp: Any) -> tuple[Any, ...]:
    """Evaluate a layer on arrays; results have exactly the declared dtypes. dtypes without arithmetic are
    widened first.
    """
    return _bind_evaluation(layer, xp)(list(arrays), attrs)


def _bind_evaluation(layer: Layer, xp: Any) -> Callable[[list[Any], Mapping[str, Any]], tuple[Any, ...]]:
    op = layer.op
    widened = [
        (n, BY_NAME[WIDE[t.dtype.name]].numpy)
        for n, t in enumerate(layer.inputs)
        if t is not None and t.dtype.name in WIDE and not op.native_low_precision
    ]
    dtypes = [t.dtype.numpy for t in layer.outputs]

    def evaluate_on(arrays: list[Any], attrs: Mapping[str, Any]) -> tuple[Any, ...]:
        for n, dtype in widened:
            arrays[n] = arrays[n].astype(dtype)
        results = op.evaluate(xp, *arrays, **attrs)
        listed = results if isinstance(results, tuple) else (results,)
        return tuple([r if r.dtype == d else r.astype(d) for r, d in zip(listed, dtypes, strict=True)])

    return evaluate_on


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


class _Body:
    """A body of control flow, bound to the sizes that it was last run for. Threads may share it."""

    def __init__(self, graph: Graph, xp: Any) -> None:
        self.graph = graph
        self._xp = xp
        self._bound: tuple[Sizes, Callable[[Table, dict[str, int]], None]] | None = None

    def at(self, sizes: Sizes) -> Callable[[Table, dict[str, int]], None]:
        """What runs it. Raises ShapeError where a guard of the body fails: what it needs of the dims must hold when it is
        called, and need not where it isn't."""
        bound = self._bound
        if bound is None or bound[0] != sizes:
            run = bind_layers(self.graph.layers, self.graph.outputs, sizes, self._xp, self.graph.guards)
            bound = self._bound = (dict(sizes), run)
        return bound[1]


class RegionCall:
    """A body of control flow as a callable. It sees the arrays around it; what it computes stays inside."""

    def __init__(self, body: _Body, outer: Table, sizes: dict[str, int]) -> None:
        self.graph = body.graph
        self.outer = outer
        self.sizes = sizes
        self._body = body

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
        self._body.at(self.sizes)(table, dict(self.sizes))
        return tuple(table[id(t)] for t in self.graph.outputs)
