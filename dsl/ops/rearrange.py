"""Ops that move elements to other places: depth_to_space, space_to_depth, flip, roll, reverse_sequence."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import Dim
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer

__all__ = ["DepthToSpace", "Flip", "ReverseSequence", "Roll", "SpaceToDepth"]


def _block(i: Infer) -> int:
    block: int = i["block"]
    if block < 1:
        i.fail("E0304", f"`block` of `{i.op.name}` is at least 1, not {block}", attr="block")
    return block


def _divided(i: Infer, d: Dim, by: int, what: str) -> Dim:
    """`d // by`, demanding that nothing is left."""
    quotient = d // by
    if quotient * by != d:
        if isinstance(d, int):
            i.fail("E0313", f"{what} of `{i.op.name}` don't divide by {by}: {d}", inputs=[0])
        i.require("==", d % by, 0, f"{what} of `{i.op.name}` don't divide by {by}", inputs=[0])
    return quotient


class DepthToSpace(Op):
    """x [N, C, H, W] -> [N, C / block^2, H * block, W * block]: channels become squares of pixels (ONNX
    DepthToSpace, pixel shuffle).

    "dcr" reads the channels as [block, block, C'], "crd" as [C', block, block].
    """

    signature = 'depth_to_space(x: T, *, block: int, mode: "dcr" | "crd" = "dcr") -> T'
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        i.rank(0, 4)
        n, c, h, w = i.shape(0)
        block = _block(i)
        return n, _divided(i, c, block * block, "channels"), h * block, w * block

    def evaluate(self, xp: Any, x: Any, *, block: int, mode: str) -> Any:
        n, c, h, w = x.shape
        depth = c // (block * block)
        if mode == "dcr":
            y = x.reshape(n, block, block, depth, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            y = x.reshape(n, depth, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
        return y.reshape(n, depth, h * block, w * block)


class SpaceToDepth(Op):
    """x [N, C, H, W] -> [N, C * block^2, H / block, W / block]: the inverse of depth_to_space in the same mode.
    ONNX SpaceToDepth.
    """

    signature = 'space_to_depth(x: T, *, block: int, mode: "dcr" | "crd" = "dcr") -> T'
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        i.rank(0, 4)
        n, c, h, w = i.shape(0)
        block = _block(i)
        return n, c * (block * block), _divided(i, h, block, "rows"), _divided(i, w, block, "columns")

    def evaluate(self, xp: Any, x: Any, *, block: int, mode: str) -> Any:
        n, c, h, w = x.shape
        order = (0, 3, 5, 1, 2, 4) if mode == "dcr" else (0, 1, 3, 5, 2, 4)
        y = x.reshape(n, c, h // block, block, w // block, block).transpose(order)
        return y.reshape(n, c * block * block, h // block, w // block)


class Flip(Op):
    """x with the order of its elements reversed along `axes` (all, where absent)."""

    signature = "flip(x: T, *, axes: ints?) -> T"
    view = "always"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        i.axes(len(i.shape(0)))
        return i.shape(0)

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        known = i.value(0)
        return known[::-1] if known is not None and i["axes"] else known

    def evaluate(self, xp: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
        return xp.flip(x, axes)


class Roll(Op):
    """x moved by `shifts` along `axes`; what leaves at one end comes in at the other (np.roll). One shift for
    all axes, or one each.
    """

    signature = "roll(x: T, *, shifts: ints, axes: ints) -> T"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        i.attrs["axes"] = tuple(i.axis(len(shape), "axes", value=a) for a in i["axes"])
        i.ints("shifts", len(i["axes"]))
        return shape

    def evaluate(self, xp: Any, x: Any, *, shifts: tuple[int, ...], axes: tuple[int, ...]) -> Any:
        return xp.roll(x, shifts, axes)


class ReverseSequence(Op):
    """The first lengths[b] elements along `time_axis` in reverse order, the others as they are. ONNX
    ReverseSequence.

    `lengths` is [B], B the dim of `batch_axis`, each from 1 (0 is taken too) to the dim of `time_axis`.
    """

    signature = "reverse_sequence(x: T, lengths: i32|i64, *, time_axis: int = 0, batch_axis: int = 1) -> T"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        i.rank(0, at_least=2)
        i.rank(1, 1)
        time, batch = i.axis(len(shape), "time_axis"), i.axis(len(shape), "batch_axis")
        if time == batch:
            i.fail("E0304", "`time_axis` and `batch_axis` of `reverse_sequence` are the same", attr="batch_axis")
        i.equal(
            i.shape(1)[0],
            shape[batch],
            "`lengths` of `reverse_sequence` are not one for each of the batch",
            inputs=[0, 1],
        )
        return shape

    def evaluate(self, xp: Any, x: Any, lengths: Any, *, time_axis: int, batch_axis: int) -> Any:
        y = xp.moveaxis(x, (time_axis, batch_axis), (0, 1))
        y = y[reversal(xp, lengths, y.shape[0]), xp.arange(y.shape[1])]
        return xp.moveaxis(y, (0, 1), (time_axis, batch_axis))


def reversal(xp: Any, lengths: Any, steps: int) -> Any:
    """For each step and sequence [steps, B], the step that comes there when the first lengths[b] steps are
    reversed.
    """
    step = xp.arange(steps)[:, None]
    return xp.where(step < lengths, lengths.astype("int64") - 1 - step, step)
