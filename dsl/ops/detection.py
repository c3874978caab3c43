"""Choosing among boxes: non_max_suppression."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import Dim, dim_min, product
from trtn.dsl.dtypes import FLOATS
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer

__all__: list[str] = []


class NonMaxSuppression(Op):
    """The best boxes of each image and class that do not overlap a better one: i64[K, 3], image, class and box.

    boxes [N, S, 4] are two opposite corners (y, x, y, x), or with `center` (x, y, width, height); scores [N, C, S].
    In each image and class, by falling score: boxes with a score above `threshold` that share no more than the
    fraction `overlap` (intersection over union) with one chosen before; at most `most` of them (none where absent).
    ONNX NonMaxSuppression.
    """

    signature = (
        "non_max_suppression(boxes: T, scores: T, most: i64?, overlap: f32?, threshold: f32?, *, center: bool = false)"
        " -> i64"
    )
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        i.rank(0, 3)
        i.rank(1, 3)
        (images, count, numbers), (batch, classes, scored) = i.shape(0), i.shape(1)
        i.require("==", numbers, 4, "`boxes` of `non_max_suppression` have four numbers each", inputs=[0])
        batch = i.equal(images, batch, "batches of `boxes` and `scores` differ", inputs=[0, 1])
        count = i.equal(count, scored, "`boxes` and `scores` differ in number", inputs=[0, 1])
        for n in (2, 3, 4):
            if i.has(n):
                what = f"`{i.input_name(n)}` of `non_max_suppression` has one element"
                i.require("==", product(i.shape(n)), 1, what, inputs=[n])
        known = i.value(2)
        most: Dim = 0 if not i.has(2) else known[0] if known is not None else count
        most = max(most, 0) if isinstance(most, int) else most
        return i.fresh(0, batch * classes * dim_min(count, most)), 3

    def evaluate(
        self, xp: Any, boxes: Any, scores: Any, most: Any, overlap: Any, threshold: Any, *, center: bool
    ) -> Any:
        limit = 0 if most is None else int(most.reshape(()))
        shared = 0.0 if overlap is None else float(overlap.reshape(()))
        least = float("-inf") if threshold is None else float(threshold.reshape(()))
        corners = _corners(xp, boxes, center)
        chosen: list[tuple[int, int, int]] = []
        for image in range(scores.shape[0]):
            for kind in range(scores.shape[1]):
                row = scores[image, kind]
                order = xp.argsort(-row, kind="stable")
                if threshold is not None:
                    order = order[row[order] > least]
                kept = _without_overlaps(xp, corners[image][order], shared, limit)
                chosen += [(image, kind, int(order[k])) for k in kept]
        return xp.asarray(chosen, dtype="int64").reshape(-1, 3)


def _corners(xp: Any, boxes: Any, center: bool) -> Any:
    """(y, x) of the lower corner and of the upper one."""
    if center:
        middle, half = boxes[..., 1::-1], boxes[..., 3:1:-1] / 2
        return xp.concatenate([middle - half, middle + half], axis=-1)
    first, second = boxes[..., :2], boxes[..., 2:]
    return xp.concatenate([xp.minimum(first, second), xp.maximum(first, second)], axis=-1)


def _without_overlaps(xp: Any, boxes: Any, shared: float, limit: int) -> list[int]:
    """Greedy: the positions of the boxes [S, 4], the best first, that no box before them suppresses."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = xp.ones(boxes.shape[0], dtype=bool)
    kept: list[int] = []
    for at in range(boxes.shape[0]):
        if len(kept) >= limit:
            break
        if not left[at]:
            continue
        kept.append(at)
        sides = xp.minimum(boxes[at, 2:], boxes[:, 2:]) - xp.maximum(boxes[at, :2], boxes[:, :2])
        common = xp.maximum(sides[:, 0], 0) * xp.maximum(sides[:, 1], 0)
        union = areas + areas[at] - common
        valid = (common > 0) & (areas > 0) & (areas[at] > 0) & (union > 0)
        left &= ~(valid & (common > shared * union))
    return kept
