"""The way back from windows: col2im adds columns up to an image, max_unpool puts maxima where they came from."""

from __future__ import annotations

from math import prod
from typing import Any

from trtn.dsl.dims import Dim, product
from trtn.dsl.dtypes import NUMBERS
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.sizes import UNBOUNDED, list_length, told
from trtn.dsl.ops.windows import canonical_window, taps

__all__: list[str] = []


class Col2Im(Op):
    """Columns x [N, C * prod(block), L], one for each place of a sliding block, added up to images [N, C, *image].

    The sizes of the image and of the block are attributes, or the tensors `to` and `window`. ONNX Col2Im.
    """

    signature = (
        "col2im(x: T, to: i64?, window: i64?, *, image: dims?, block: dims?, strides: ints = 1, pads: ints = 0,"
        " dilations: ints = 1) -> T"
    )
    where = {"T": NUMBERS}

    def infer(self, i: Infer) -> Shape:
        i.rank(0, 3)
        image, block = told(i, 1, "image"), told(i, 2, "block")
        count = list_length(i, 1) if i.has(1) else len(i["image"])
        canonical_window(i, count)
        batch, rows, _ = i.shape(0)
        if block is None:
            channels = i.fresh(0, rows)
        else:
            if len(block) != count:
                i.fail("E0304", f"`block` of `col2im` has {len(block)} entries for {count} axes", inputs=[2] * i.has(2))
            elements = product(block)
            i.require("==", rows % elements, 0, f"rows of `x` of `col2im` are no multiple of {elements}", inputs=[0])
            channels = rows // elements
        return (batch, channels, *(image or (i.fresh(0, UNBOUNDED) for _ in range(count))))

    def evaluate(
        self,
        xp: Any,
        x: Any,
        to: Any,
        window: Any,
        *,
        image: Any,
        block: Any,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
    ) -> Any:
        sizes = tuple(int(d) for d in (image if to is None else to))
        kernel = tuple(int(d) for d in (block if window is None else window))
        count = len(sizes)
        padded = tuple(d + b + a for d, b, a in zip(sizes, pads, pads[count:], strict=False))
        places = tuple(
            (d - g * (k - 1) - 1) // s + 1 for d, k, s, g in zip(padded, kernel, strides, dilations, strict=True)
        )
        channels = x.shape[1] // prod(kernel)
        columns = x.reshape(x.shape[0], channels, *kernel, *places)
        y = xp.zeros((x.shape[0], channels, *padded), x.dtype)
        for at, where in taps(kernel, places, strides, dilations):
            y[(..., *where)] += columns[(slice(None), slice(None), *at)]
        return y[(..., *(slice(b, b + d) for b, d in zip(pads, sizes, strict=False)))]


class MaxUnpool(Op):
    """x [N, C, *S] put at `indices` (places in the whole result, counted in row-major order), 0 elsewhere.

    An axis of the result is (d - 1) * stride - pads + kernel long; where `shape` (or the tensor `to`), [N, C, *S'],
    is larger, there are zeros after it. ONNX MaxUnpool.
    """

    signature = (
        "max_unpool(x: T, indices: i64, to: i64?, *, kernel: ints, strides: ints = 1, pads: ints = 0,"
        " shape: dims?) -> T"
    )
    where = {"T": NUMBERS}

    def infer(self, i: Infer) -> Shape:
        shape = i.same_shape(0, 1)
        count = i.rank(0, at_least=3) - 2
        for name, entries in (("kernel", count), ("strides", count), ("pads", 2 * count)):
            i.ints(name, entries)
        own = (*shape[:2], *_spread(shape[2:], i["kernel"], i["strides"], i["pads"]))
        if not i.has(2) and i["shape"] is None:
            return own
        sizes = told(i, 2, "shape")
        if sizes is None:
            return (*shape[:2], *(i.fresh(d, UNBOUNDED) for d in own[2:]))
        if len(sizes) != len(own):
            i.fail("E0304", f"`shape` of `max_unpool` has {len(sizes)} entries, but the rank is {len(own)}")
        for d, given in zip(own, sizes, strict=True):
            i.require("<=", d, given, "`shape` of `max_unpool` is too small")
        return sizes

    def evaluate(
        self,
        xp: Any,
        x: Any,
        indices: Any,
        to: Any,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        shape: Any,
    ) -> Any:
        own = (*x.shape[:2], *_spread(x.shape[2:], kernel, strides, pads))
        flat = xp.zeros(prod(own), x.dtype)
        flat[indices.reshape(-1)] = x.reshape(-1)
        if to is None and shape is None:
            return flat.reshape(own)
        y = xp.zeros(tuple(int(d) for d in (shape if to is None else to)), x.dtype)
        y[tuple(slice(d) for d in own)] = flat.reshape(own)
        return y


def _spread(sizes: Shape, kernel: tuple[int, ...], strides: tuple[int, ...], pads: tuple[int, ...]) -> tuple[Any, ...]:
    count = len(sizes)
    spread: list[Dim] = []
    for n, d in enumerate(sizes):
        spread.append((d - 1) * strides[n] + (kernel[n] - pads[n] - pads[count + n]))
    return tuple(spread)
