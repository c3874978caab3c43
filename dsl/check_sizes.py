"""What the checker asks of dims by themselves: that inputs decide them, what they divide by, how large tensors get."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from trtn.dsl.builder import PendingGuard
from trtn.dsl.diagnostics import Sink, Span
from trtn.dsl.dims import Dim, DimError, Domain, Expr, Relation, bounds, divisors, product, symbols
from trtn.dsl.dims.solve import linear
from trtn.dsl.network import Graph, Network, Tensor, walk
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Requirement
from trtn.dsl.regions import Body

__all__ = ["check_dims", "check_sizes", "find_divisors", "solvable_dims"]

SIZE_LIMIT = 2**62
"""The most elements a tensor may have at its largest."""


def find_divisors(
    network: Network, body: Body, spans: Mapping[str, Span], seen: set[tuple[Dim, Body]]
) -> Iterator[PendingGuard]:
    """A dim may only be divided by what is at least 1: a relation for each divisor, at the first place that has it."""
    for user, dims, layer, span in _uses(body.graph or network.graph, spans):
        for divisor in (d for dim in dims for d in divisors(dim)):
            if any((divisor, around) in seen for around in body.chain()):
                continue
            seen.add((divisor, body))
            what = f"`{user.name}` ({user.type})" if isinstance(user, Tensor) else f"`{user.name}`"
            message = f"{what} divides by `{divisor}`, which may be less than 1"
            yield PendingGuard(Requirement(Relation(">=", divisor, 1), message, "E0313"), layer, span)


def _uses(graph: Graph, spans: Mapping[str, Span]) -> Iterator[tuple[Tensor | Op, Iterable[Dim], str, Span | None]]:
    """Where a graph's dims are written or come about: by whom, the dims, the layer, the span. Shapes and attributes
    that layers share are there once.
    """
    for t in graph.inputs:
        yield t, t.shape, t.name, spans.get(t.name)
    shared: set[int] = set()
    for layer in graph.layers:
        if id(layer.attrs) not in shared:
            shared.add(id(layer.attrs))
            yield layer.op, _leaves(tuple(layer.attrs.values())), layer.name, layer.origin.span
        for t in layer.outputs:
            if id(t.shape) not in shared:
                shared.add(id(t.shape))
                yield t, t.shape, layer.name, layer.origin.span


def _leaves(value: object) -> Iterator[Dim]:
    """The dim expressions of an attribute."""
    if isinstance(value, Expr):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)


def check_sizes(network: Network, domain: Domain, sink: Sink, spans: Mapping[str, Span]) -> None:
    seen: set[tuple[Dim, ...]] = set()
    shared: set[int] = set()
    refused: set[Span | None] = set()
    inputs = ((t, spans.get(t.name)) for t in network.inputs)
    results = ((t, layer.origin.span) for layer in walk(network.graph) for t in layer.outputs)
    for tensor, span in chain(inputs, results):
        shape = tensor.shape
        if id(shape) in shared or shape in seen or span in refused:
            continue
        shared.add(id(shape))
        seen.add(shape)
        try:
            high = bounds(product(shape), domain)[1]
        except DimError:  # divides by what may be 0, which is an error of its own; or is too large to be worked with
            continue
        if high > SIZE_LIMIT:
            refused.add(span)
            sink.error(
                "E0418",
                f"`{tensor.name}` ({tensor.type}) would have up to {high:.3g} elements",
                span,
                notes=(f"the limit is 2^{SIZE_LIMIT.bit_length() - 1}",),
            )


def check_dims(network: Network, sink: Sink, spans: Mapping[str, Span]) -> None:
    """Every dim must follow from an input's shape, or the runtime could not know it."""
    known = solvable_dims(network)
    named = {s for t in network.inputs for d in t.shape for s in symbols(d)}
    for name in network.dims:
        if name in known:
            continue
        if name in named:
            sink.error(
                "E0402",
                f"dim `{name}` can't be read off an input's shape",
                spans.get(name),
                notes=("it occurs only inside expressions that can't be solved for it",),
                help=f"let an input have a dim that is `{name}` alone",
            )
        else:
            sink.error(
                "E0402",
                f"dim `{name}` constrains nothing: no input's shape has it",
                spans.get(name),
                help="remove it, or use it in an input",
            )


def solvable_dims(network: Network) -> set[str]:
    """The dims that follow from the inputs' shapes, one equation after another."""
    known: set[str] = set()
    equations = [d for t in network.inputs for d in t.shape if isinstance(d, Expr)]
    progress = True
    while progress:
        progress = False
        for dim in equations:
            unknown = dim.symbols - known
            if len(unknown) == 1 and linear(dim, next(iter(unknown))):
                known |= unknown
                progress = True
    return known
