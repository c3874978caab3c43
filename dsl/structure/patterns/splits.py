"""Pieces that are taken out of a tensor one by one, as one split."""

from __future__ import annotations

from collections.abc import Sequence

from trtn.dsl.dims import Dim
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.structure.constants import uniform
from trtn.dsl.structure.patterns import Replacement
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PATTERNS", "GatherPattern", "SlicePattern"]


class SlicePattern:
    """Slices of one axis that follow each other and leave nothing out are the pieces of a split."""

    name = "split"
    ops = frozenset({"slice"})
    late = True

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        x = layer.inputs[0]
        place = _bounds(layer)
        if x is None or x.weight is not None or place is None or place[1] != 0:
            return None
        axis, end = place[0], place[2]
        others = [r for r in rewriter.readers(x) if r.op.name == "slice" and r is not layer]
        pieces = [layer]
        while end != x.shape[axis]:
            following = next((r for r in others if (b := _bounds(r)) and b[:2] == (axis, end)), None)
            if following is None or not rewriter.untouched(following):
                return None
            pieces.append(following)
            others.remove(following)
            end = (_bounds(following) or (0, 0, 0))[2]
        if len(pieces) < 2:
            return None
        if not _same_graph(rewriter, pieces):
            return None
        results = tuple(p.output for p in pieces)
        split = rewriter.layer(
            "split", x, outputs=results, origin=layer.origin, axis=axis, sizes=[t.shape[axis] for t in results]
        )
        return _in_place_of(rewriter, pieces, [split], layer)


class GatherPattern:
    """Each element of an axis, where that axis was cut out of a longer one, is a piece of that one.

    So are query, key and value of one product: `reshape` to [.., 3, D], `transpose`, then `gather` of 0, 1 and 2.
    """

    name = "split from an axis of parts"
    ops = frozenset({"gather"})
    late = True

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        stacked = layer.inputs[0]
        transpose = rewriter.maker(stacked, "transpose")
        reshape = rewriter.maker(transpose.inputs[0] if transpose is not None else stacked, "reshape")
        if stacked is None or reshape is None or reshape.inputs[0] is None:
            return None
        x, wide = reshape.inputs[0], reshape.output.shape
        perm = transpose.attrs["perm"] if transpose is not None else tuple(range(len(wide)))
        pieces = _elements(rewriter, layer, stacked)
        cut = perm[layer.attrs["axis"]]
        if pieces is None or x.shape != (*wide[:cut], *_joined(wide[cut : cut + 2]), *wide[cut + 2 :]):
            return None
        if transpose is not None and rewriter.sole_reader(reshape.output) is not transpose:
            return None
        order = [p - (p > cut) for p in perm if p != cut]
        moved = order != sorted(order)
        split = rewriter.layer(
            "split",
            x,
            outputs=[
                rewriter.tensor(p.output.dtype, (*wide[:cut], *wide[cut + 1 :]), f"{layer.name}.part") for p in pieces
            ]
            if moved
            else [p.output for p in pieces],
            origin=layer.origin,
            axis=cut,
            parts=len(pieces),
        )
        layers = [split]
        if moved:
            layers += [
                rewriter.layer("transpose", part, outputs=p.outputs, origin=p.origin, perm=order)
                for part, p in zip(split.outputs, pieces, strict=True)
            ]
        return _in_place_of(rewriter, pieces, layers, layer)


PATTERNS = (GatherPattern(), SlicePattern())


def _bounds(layer: Layer) -> tuple[int, Dim, Dim] | None:
    """Axis, start and end of a slice with known bounds along one axis, with steps of 1."""
    x, axes, start = layer.inputs[0], layer.attrs["axes"], layer.attrs["start"]
    if x is None or len(layer.inputs) > 1 or axes is None or len(axes) != 1 or layer.attrs["step"] != (1,):
        return None
    first: Dim = 0 if start is None else start[0]
    if isinstance(first, int) and first < 0:
        return None
    return axes[0], first, first + layer.output.shape[axes[0]]


def _elements(rewriter: Rewriter, layer: Layer, stacked: Tensor) -> list[Layer] | None:
    """The gathers of each element of an axis, in order, if that is all that is read of a tensor."""
    axis = layer.attrs["axis"]
    by_index: dict[int, Layer] = {}
    for reader in rewriter.readers(stacked):
        index = uniform(reader.inputs[1]) if reader.op.name == "gather" and reader.attrs["axis"] == axis else None
        if index is None or not isinstance(index, int) or reader.inputs[1] is None or reader.inputs[1].rank:
            return None
        by_index[index % n if isinstance(n := stacked.shape[axis], int) and n else index] = reader
    count = stacked.shape[axis]
    if not isinstance(count, int) or sorted(by_index) != list(range(count)) or count < 2:
        return None
    pieces = [by_index[n] for n in range(count)]
    if rewriter.reader_count(stacked) != count or not rewriter.untouched(*pieces):
        return None
    return pieces if _same_graph(rewriter, pieces) else None


def _joined(sizes: Sequence[Dim]) -> tuple[Dim, ...]:
    return (sizes[0] * sizes[1],) if len(sizes) == 2 else ()


def _same_graph(rewriter: Rewriter, layers: Sequence[Layer]) -> bool:
    return len({id(rewriter.graph_of(layer)) for layer in layers}) == 1


def _in_place_of(
    rewriter: Rewriter, pieces: Sequence[Layer], layers: Sequence[Layer], last: Layer
) -> Sequence[Layer] | None:
    """Put layers in the place of the first of the pieces; gives what takes the place of `last`."""
    first = rewriter.first(pieces)
    for piece in pieces:
        if piece is not last:
            rewriter.exchange(piece, *(layers if piece is first else ()))
    return layers if last is first else ()
