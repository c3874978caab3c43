"""One product for all slices of a tensor that are multiplied by the same weight and put side by side again."""

from __future__ import annotations

from collections.abc import Sequence

from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "StackedPass"]


class StackedPass:
    """split(x) into slices of one, linear(slice, w, b) for each of them, and the concat of these, becomes
    linear(x, w, b). The slices may be without the axis in between. Numeric class: reassociated (a library may add up a
    larger product in another order).
    """

    name = "stacked"
    after = frozenset({"cse", "identity", "select"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        for layer in rewriter.layers():
            if layer.op.name == "concat":
                _multiply_together(rewriter, layer)
        return rewriter.finish()


PASS = StackedPass()


def _multiply_together(rewriter: Rewriter, concat: Layer) -> None:
    axis = concat.attrs["axis"]
    if axis == concat.output.rank - 1 or len(concat.inputs) < 2:
        return
    rows = [_taken_off(rewriter, t, axis, "unsqueeze") for t in concat.inputs]
    products = [_sole_maker(rewriter, t, "linear") for t in rows]
    found = [p for p in products if p is not None]
    if len(found) != len(rows) or any(p.inputs[1:] != found[0].inputs[1:] for p in found):
        return
    slices = [_taken_off(rewriter, p.inputs[0], axis, "squeeze") for p in found]
    split = rewriter.maker(slices[0], "split")
    if split is None or split.attrs["axis"] != axis or not _same(slices, split.outputs):
        return
    if any(s is not None and s.shape[axis] != 1 for s in slices) or not rewriter.untouched(concat, *found):
        return
    x = split.inputs[0]
    whole = rewriter.layer("linear", x, *found[0].inputs[1:], outputs=concat.outputs, origin=found[0].origin)
    rewriter.exchange(concat, whole)


def _same(found: Sequence[Tensor | None], wanted: Sequence[Tensor]) -> bool:
    return len(found) == len(wanted) and all(a is b for a, b in zip(found, wanted, strict=True))


def _sole_maker(rewriter: Rewriter, tensor: Tensor | None, op: str) -> Layer | None:
    """The layer that makes a tensor for one reader alone."""
    maker = rewriter.maker(tensor, op)
    return maker if maker is not None and tensor is not None and rewriter.sole_reader(tensor) is not None else None


def _taken_off(rewriter: Rewriter, tensor: Tensor | None, axis: int, op: str) -> Tensor | None:
    """What a layer that adds or drops the axis alone was given; the tensor itself where there is none."""
    maker = _sole_maker(rewriter, tensor, op)
    return maker.inputs[0] if maker is not None and tuple(maker.attrs["axes"]) == (axis,) else tensor
