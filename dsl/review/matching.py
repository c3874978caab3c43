"""Which layer of one graph is which layer of the other.

Layers that keep their name and their op are the same layer, whatever else has changed. The others are matched by what
they compute: their op, attributes and inputs, where inputs that match already count as equal. What is still alone then
but has a name that both sides know has changed its op.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from trtn.dsl.network import Graph, Layer, Tensor, TensorType, walk
from trtn.dsl.ops.signature import show

__all__ = ["Matching", "match_graphs", "weight_key"]


@dataclass(slots=True)
class Matching:
    """Pairs of layers, and for each tensor of either side one identity that matched tensors share."""

    pairs: list[tuple[Layer, Layer]] = field(default_factory=list)
    removed: list[Layer] = field(default_factory=list)
    added: list[Layer] = field(default_factory=list)
    same: dict[int, Hashable] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    """Weights that stand where another stood in the old graph: new names with the old ones."""

    def identity(self, tensor: Tensor | None) -> Hashable:
        if tensor is None:
            return None
        if tensor.weight is not None:
            return weight_key(tensor, self.moved)
        return self.same.get(id(tensor), id(tensor))

    def new_names(self) -> dict[Hashable, str]:
        """What the tensors of matched layers are called in the new graph, by identity."""
        return {self.same[id(t)]: t.name for _, layer in self.pairs for t in layer.outputs if id(t) in self.same}

    def join(self, before: Layer, after: Layer) -> None:
        self.pairs.append((before, after))
        for a, b in zip(before.outputs, after.outputs, strict=False):
            self.same[id(a)] = self.same[id(b)] = ("layer", len(self.pairs), len(self.same))


def weight_key(tensor: Tensor, moved: Mapping[str, str]) -> Hashable:
    """What makes two weights the same: their name in the manifest, or, for a constant of the text, its values."""
    weight = tensor.weight
    assert weight is not None
    if weight.name:
        return ("weight", moved.get(weight.name, weight.name))
    return ("constant", weight.dtype.name, weight.shape, weight.digest or weight.load().tobytes())


def match_graphs(before: Graph, after: Graph) -> Matching:
    """Match the layers of two graphs; regions are compared within the layers that they belong to."""
    matching = Matching()
    for a, b in _by_name(before.inputs, after.inputs):
        matching.same[id(a)] = matching.same[id(b)] = ("input", b.name)
    named = {layer.name: layer for layer in after.layers}
    left, taken = [], set()
    for layer in before.layers:
        twin = named.get(layer.name)
        if twin is not None and twin.op.name == layer.op.name:
            matching.join(layer, twin)
            taken.add(id(twin))
        else:
            left.append(layer)
    right = [layer for layer in after.layers if id(layer) not in taken]
    left, right = _by_clues(matching, before, after, left, right)
    for layer in left:
        twin = named.get(layer.name)
        if twin is not None and any(twin is r for r in right):
            matching.join(layer, twin)
            right = [r for r in right if r is not twin]
        else:
            matching.removed.append(layer)
    matching.added = right
    matching.moved = _moved_weights(matching, before, after)
    return matching


def _moved_weights(matching: Matching, before: Graph, after: Graph) -> dict[str, str]:
    """Weights that only the new graph names, read where a matched layer read one that only the old graph names."""
    old, new = (
        {t.weight.name for layer in walk(g) for t in layer.inputs if t is not None and t.weight is not None}
        for g in (before, after)
    )
    found: dict[str, str] = {}
    for a, b in matching.pairs:
        for t, u in zip(a.inputs, b.inputs, strict=False):
            if t is None or u is None or t.weight is None or u.weight is None or _kind(t.type) != _kind(u.type):
                continue
            was, now = t.weight.name, u.weight.name
            if was and now and was not in new and now not in old:
                found.setdefault(now, was)
    return found


def _by_clues(
    matching: Matching, before: Graph, after: Graph, left: list[Layer], right: list[Layer]
) -> tuple[list[Layer], list[Layer]]:
    """Match what is left, by the surest clue that still tells something: what is computed from what; the weights that
    are read; the inputs; the readers; for an op that was replaced, the place that it has, with the same type of result,
    then with another size. Each match may make a surer
    clue tell more, so that one is asked again."""
    at = 0
    while left and right and at < CLUES:
        count = len(left)
        left, right = _match(matching, left, right, _clue(at, matching, before, after))
        at = 0 if len(left) < count else at + 1
    return left, right


def _clue(at: int, matching: Matching, before: Graph, after: Graph) -> Clue:
    match at:
        case 0:
            return lambda layer, _: _key(matching, layer)
        case 1:
            return lambda layer, _: _weights(layer)
        case 2:
            return lambda layer, _: _inputs(matching, layer)
        case 3:
            readers = _readers(matching, before), _readers(matching, after)
            return lambda layer, side: _uses(readers[side], layer)
        case 4:
            return lambda layer, _: _place(matching, layer, str)
        case _:
            return lambda layer, _: _place(matching, layer, _kind)


CLUES = 6
Clue = Callable[[Layer, int], Hashable]
"""What tells about a layer of the first (0) or the second (1) graph, or None where it tells nothing."""


def _match(matching: Matching, left: list[Layer], right: list[Layer], clue: Clue) -> tuple[list[Layer], list[Layer]]:
    """Match layers that give the same clue, in their order. What is matched counts for the layers after it."""
    waiting: dict[Hashable, list[Layer]] = defaultdict(list)
    for layer in right:
        waiting[clue(layer, 1)].append(layer)
    rest, found = [], set()
    for layer in left:
        key = clue(layer, 0)
        twins = waiting.get(key) if key is not None else None
        if twins:
            twin = twins.pop(0)
            matching.join(layer, twin)
            found.add(id(twin))
        else:
            rest.append(layer)
    return rest, [layer for layer in right if id(layer) not in found]


def _weights(layer: Layer) -> Hashable:
    named = tuple(t.weight.name for t in layer.inputs if t is not None and t.weight is not None and t.weight.name)
    return (layer.op.name, named) if named else None


def _inputs(matching: Matching, layer: Layer) -> Hashable:
    shared = tuple(matching.same.get(id(t)) for t in layer.inputs if t is not None and t.weight is None)
    return (layer.op.name, shared) if shared and all(s is not None for s in shared) else None


def _place(matching: Matching, layer: Layer, kind: Callable[[TensorType], str]) -> Hashable:
    """The inputs and what kind of types the results have: where one op stands for another."""
    inputs = _inputs(matching, layer)
    return (inputs[1], tuple(kind(t.type) for t in layer.outputs)) if isinstance(inputs, tuple) else None


def _kind(t: TensorType) -> str:
    """A type whose sizes don't count."""
    return f"{t.dtype} of rank {len(t.shape)}"


def _uses(readers: dict[int, set[Hashable]], layer: Layer) -> Hashable:
    uses = readers.get(id(layer.output)) if layer.outputs else None
    return (layer.op.name, frozenset(uses)) if uses else None


def _by_name(before: Iterable[Tensor], after: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    known = {t.name: t for t in before}
    return [(known[t.name], t) for t in after if t.name in known]


def _readers(matching: Matching, graph: Graph) -> dict[int, set[Hashable]]:
    """Who reads each tensor: (identity of the reader's result, position), for readers that are matched."""
    found: dict[int, set[Hashable]] = defaultdict(set)
    for layer in graph.layers:
        reader = matching.same.get(id(layer.output)) if layer.outputs else None
        if reader is not None:
            for at, t in enumerate(layer.inputs):
                if t is not None:
                    found[id(t)].add((reader, at))
    for t in graph.outputs:
        found[id(t)].add(("output", t.name))
    return found


def _key(matching: Matching, layer: Layer) -> Hashable:
    attrs = tuple((name, show(value)) for name, value in sorted(layer.attrs.items()))
    inputs = tuple(matching.identity(t) for t in layer.inputs)
    regions = tuple(_region_key(matching, region) for region in layer.regions)
    return (layer.op.name, attrs, inputs, tuple(str(t.type) for t in layer.outputs), regions)


def _region_key(matching: Matching, graph: Graph) -> Hashable:
    """A region by structure: its values are numbered in the order in which they are made."""
    numbers: dict[int, Hashable] = {id(t): ("argument", n) for n, t in enumerate(graph.inputs)}

    def name(t: Tensor | None) -> Hashable:
        return numbers.get(id(t), matching.identity(t)) if t is not None else None

    rows = []
    for layer in graph.layers:
        attrs = tuple((n, show(v)) for n, v in sorted(layer.attrs.items()))
        inner = tuple(_region_key(matching, region) for region in layer.regions)
        rows.append((layer.op.name, attrs, tuple(map(name, layer.inputs)), inner))
        for t in layer.outputs:
            numbers[id(t)] = ("value", len(numbers))
    return (tuple(rows), tuple(map(name, graph.outputs)))
