"""Einstein sums that are one product of matrices become one, for which GPUs have libraries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trtn.dsl.dims import product
from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.ops.einsum import axes_of
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "EinsumPass"]


class EinsumPass:
    """einsum of two tensors that share axes which are summed becomes matmul, with views before and after it. Exact, but
    for the order in which a library adds up.
    """

    name = "einsum"
    after = frozenset({"algebra", "cse", "precision"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        for layer in rewriter.layers():
            if layer.op.name == "einsum" and (axes := _axes(layer)) is not None:
                _lower(rewriter, layer, axes)
        return rewriter.finish()


PASS = EinsumPass()


@dataclass(frozen=True, slots=True)
class _Axes:
    """The labels of the two tensors and of the result, and what they are to the product."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    result: tuple[str, ...]
    batch: tuple[str, ...]
    rows: tuple[str, ...]
    inner: tuple[str, ...]
    columns: tuple[str, ...]


def _axes(layer: Layer) -> _Axes | None:
    """None where it is something else: diagonals, axes that broadcast or that one tensor alone sums up."""
    tensors = [t for t in layer.inputs if t is not None]
    if len(tensors) != 2 or not layer.output.dtype.is_float:
        return None
    (left, right), result = axes_of(layer.attrs["equation"], tuple(t.rank for t in tensors))
    if len(set(left)) < len(left) or len(set(right)) < len(right):
        return None
    sizes = dict(zip(left, tensors[0].shape, strict=True))
    if any(sizes.get(label, size) != size for label, size in zip(right, tensors[1].shape, strict=True)):
        return None
    shared = set(left) & set(right)
    if not {*left, *right} - shared <= set(result):
        return None
    batch = tuple(label for label in result if label in shared)
    inner = tuple(label for label in left if label in shared and label not in result)
    rows = tuple(label for label in result if label in left and label not in shared)
    columns = tuple(label for label in result if label in right and label not in shared)
    return _Axes(left, right, result, batch, rows, inner, columns) if inner and rows and columns else None


def _lower(rewriter: Rewriter, layer: Layer, axes: _Axes) -> None:
    a, b = (t for t in layer.inputs if t is not None)
    sizes = dict(zip((*axes.left, *axes.right), (*a.shape, *b.shape), strict=True))
    made: list[Layer] = []

    def step(op: str, *inputs: Tensor, name: str = "", last: bool = False, **attrs: Any) -> Tensor:
        outputs = layer.outputs if last else ()
        name = f"{layer.name}.{name}"
        made.append(rewriter.layer(op, *inputs, outputs=outputs, name=name, origin=layer.origin, **attrs))
        return made[-1].output

    def matrices(x: Tensor, labels: Sequence[str], groups: Sequence[Sequence[str]], name: str) -> Tensor:
        """A tensor as [*batch, one axis for each of two groups of labels]."""
        order = [*axes.batch, *groups[0], *groups[1]]
        if list(labels) != order:
            x = step("transpose", x, name=f"{name}.order", perm=tuple(labels.index(label) for label in order))
        if any(len(group) != 1 for group in groups):
            shape = [sizes[label] for label in axes.batch]
            shape += [product(sizes[label] for label in group) for group in groups]
            x = step("reshape", x, name=f"{name}.matrices", shape=tuple(shape))
        return x

    left = matrices(a, axes.left, (axes.rows, axes.inner), "left")
    right = matrices(b, axes.right, (axes.inner, axes.columns), "right")
    order = (*axes.batch, *axes.rows, *axes.columns)
    splits, turns = len(axes.rows) + len(axes.columns) > 2, order != axes.result
    y = step("matmul", left, right, name="product", last=not (splits or turns))
    if splits:
        shape = tuple(sizes[label] for label in order)
        y = step("reshape", y, name="axes", last=not turns, shape=shape)
    if turns:
        perm = tuple(order.index(label) for label in axes.result)
        step("transpose", y, last=True, perm=perm)
    rewriter.exchange(layer, *made)
