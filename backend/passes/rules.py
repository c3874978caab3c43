"""The IR's rules in one place: what is true of every network, before and after every pass."""

from __future__ import annotations

from collections.abc import Iterator

from trtn.dsl.dims import Dim, Domain, Expr, Relation, Verdict, prove, substitute, symbol
from trtn.dsl.network import Graph, Layer, Network, Shape, Tensor, TensorType
from trtn.dsl.ops.infer import InferFailure, infer_layer

__all__ = ["BrokenNetwork", "verify", "violations"]


class BrokenNetwork(AssertionError):
    """A network breaks the IR's rules: a bug in trtn, never in the user's input."""


def verify(network: Network, where: str = "") -> None:
    """Raise BrokenNetwork with everything that is wrong, if anything is."""
    found = list(violations(network))
    if found:
        raise BrokenNetwork(f"`{network.name}` {where}: {'; '.join(found)}")


def violations(network: Network) -> Iterator[str]:
    """What breaks the rules: reads of what is not made yet, names used twice, attributes and types that
    inference would not give.
    """
    names: set[str] = set()
    domain = network.domain()
    yield from _check_graph(network.graph, set(), names, domain)


def _check_graph(graph: Graph, outer: set[int], names: set[str], domain: Domain) -> Iterator[str]:
    visible = set(outer)
    for t in graph.inputs:
        yield from _define(t, visible, names)
    for layer in graph.layers:
        for read in layer.inputs:
            if read is not None and not _is_visible(read, visible):
                yield f"layer `{layer.name}` reads `{read.name}`, which nothing before it makes"
        if len(layer.regions) != layer.op.regions:
            yield f"`{layer.name}` has {len(layer.regions)} regions, `{layer.op.name}` takes {layer.op.regions}"
        for region in layer.regions:
            yield from _check_graph(region, visible, names, domain)
        yield from _check_layer(layer, domain)
        for t in layer.outputs:
            yield from _define(t, visible, names)
    for t in graph.outputs:
        if not _is_visible(t, visible):
            yield f"output `{t.name}` is made by nothing"


def _define(t: Tensor, visible: set[int], names: set[str]) -> Iterator[str]:
    if t.weight is not None:
        yield f"`{t.name}` is a weight and is made, too"
    if id(t) in visible:
        yield f"`{t.name}` is made twice"
    if t.name in names:
        yield f"two tensors are called `{t.name}`"
    visible.add(id(t))
    names.add(t.name)


def _is_visible(t: Tensor, visible: set[int]) -> bool:
    return t.weight is not None or id(t) in visible


def _check_layer(layer: Layer, domain: Domain) -> Iterator[str]:
    if layer.outputs and layer.name != layer.outputs[0].name:
        yield f"layer `{layer.name}` is not called as its first output `{layer.outputs[0].name}`"
    declared = {a.name for a in layer.op.spec.attrs}
    if declared != layer.attrs.keys():
        yield f"attributes of `{layer.name}` are {sorted(layer.attrs)}, not {sorted(declared)}"
        return
    placeholders: list[str] = []

    def fresh(low: Dim, high: Dim) -> Dim:
        placeholders.append(f"?{len(placeholders)}")
        return symbol(placeholders[-1])

    region_types = [[t.type for t in g.outputs] for g in layer.regions]
    try:
        inferred = infer_layer(
            layer.op,
            layer.inputs,
            layer.attrs,
            fresh=fresh,
            region_types=region_types,
            wanted=len(layer.outputs),
        )
    except InferFailure as e:
        yield f"layer `{layer.name}`: {e.message}"
        return
    if dict(inferred.attrs) != dict(layer.attrs):
        have, want = dict(layer.attrs), dict(inferred.attrs)
        yield f"attributes of `{layer.name}` are not canonical: {have}, not {want}"
    yield from _check_types(layer, inferred.types, set(placeholders), domain)


def _check_types(
    layer: Layer, inferred: tuple[TensorType, ...], placeholders: set[str], domain: Domain
) -> Iterator[str]:
    if len(inferred) != len(layer.outputs):
        yield f"layer `{layer.name}` has {len(layer.outputs)} outputs, not {len(inferred)}"
        return
    bound: dict[str, Dim] = {}
    for t, expected in zip(layer.outputs, inferred, strict=True):
        for have, want in zip(t.shape, expected.shape, strict=False):
            if isinstance(want, Expr) and str(want).strip("`") in placeholders:
                bound.setdefault(str(want).strip("`"), have)
    for t, expected in zip(layer.outputs, inferred, strict=True):
        shape = tuple(substitute(d, bound) for d in expected.shape)
        if t.dtype is not expected.dtype or not _agree(t.shape, shape, placeholders, domain):
            yield f"`{t.name}` is {t.type}, but its layer gives {TensorType(expected.dtype, shape)}"


def _agree(have: Shape, want: Shape, placeholders: set[str], domain: Domain) -> bool:
    """Whether two shapes may be the same. Equal dims can be written in two ways, so only what is refuted counts."""
    if len(have) != len(want):
        return False
    for a, b in zip(have, want, strict=True):
        if a == b or (isinstance(b, Expr) and b.symbols & placeholders):
            continue
        if prove(Relation("==", a, b), domain).verdict is Verdict.REFUTED:
            return False
    return True
