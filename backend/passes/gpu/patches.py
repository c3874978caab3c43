"""Convolutions that cut an image into patches become products: each patch is a row, as in a vision transformer's first
layer. Libraries pad the few channels of such a convolution; a product of long rows is what they are best at.
"""

from __future__ import annotations

import numpy as np

from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "PatchesPass"]

_CHANNELS = 8
"""Libraries take images of fewer channels only when they are padded to this many."""


class PatchesPass:
    """conv of windows that neither overlap nor leave gaps, over few channels, becomes a linear layer over the patches,
    where only views read the result. A cast of the image is done as the patches are gathered. Exact, but for the order
    in which a library adds up.
    """

    name = "patches"
    after = frozenset({"algebra", "batch_norm", "cse", "precision"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        for layer in rewriter.layers():
            if layer.op.name == "conv" and not _refusal(rewriter, layer):
                _lower(rewriter, layer)
        return rewriter.finish()


PASS = PatchesPass()


def _refusal(rewriter: Rewriter, conv: Layer) -> str:
    x, weight, *rest = conv.inputs
    assert x is not None and weight is not None
    if weight.weight is None or any(t is not None and t.weight is None for t in rest):
        return "its weight or bias is not a constant"
    outputs, channels, *kernel = weight.weight.shape
    if channels >= _CHANNELS or conv.attrs["groups"] != 1:
        return "libraries run it as it is"
    if tuple(kernel) != tuple(conv.attrs["strides"]) or all(k == 1 for k in kernel):
        return "its windows overlap or leave gaps"
    if any(conv.attrs["pads"]) or conv.attrs["auto_pad"] != "none" or max(conv.attrs["dilations"]) > 1:
        return "it is padded or dilated"
    if any(not isinstance(d, int) or d % k for d, k in zip(x.shape[2:], kernel, strict=True)):
        return "its windows are not known to cover the image"
    if outputs % _CHANNELS or channels * int(np.prod(kernel)) % _CHANNELS:
        return "its rows are not of multiples of 8 elements"
    readers = rewriter.readers(conv.output)
    if rewriter.reader_count(conv.output) != len(readers) or not all(reader.op.view for reader in readers):
        return "more than views read it"
    return ""


def _lower(rewriter: Rewriter, conv: Layer) -> None:
    x, weight, bias = (*conv.inputs, None)[:3]
    assert x is not None and weight is not None and weight.weight is not None
    outputs, channels, *kernel = weight.weight.shape
    count, name, origin = len(kernel), conv.name, conv.origin
    places = [d // k for d, k in zip(x.shape[2:], kernel, strict=True) if isinstance(d, int)]
    cast = rewriter.maker(x, "cast")
    source: Tensor | None = cast.inputs[0] if cast is not None and rewriter.sole_reader(x) is conv else x
    cut = [d for pair in zip(places, kernel, strict=True) for d in pair]
    shape = (x.shape[0], channels, *cut)
    # [N, C, h, kh, w, kw] to [N, h, w, C, kh, kw]
    perm = (0, *range(2, 2 + 2 * count, 2), 1, *range(3, 3 + 2 * count, 2))
    grid = rewriter.layer("reshape", source, name=f"{name}.grid", origin=origin, shape=shape)
    patches = rewriter.layer("transpose", grid.output, name=f"{name}.patches", origin=origin, perm=perm)
    steps = [grid, patches]
    if source is not x:
        steps.append(rewriter.layer("cast", patches.output, name=f"{name}.patches.cast", origin=origin, to=x.dtype))
    rows = (x.shape[0], *places, channels * int(np.prod(kernel)))
    flat = rewriter.layer("reshape", steps[-1].output, name=f"{name}.rows", origin=origin, shape=rows)
    matrix = np.ascontiguousarray(weight.weight.load().reshape(outputs, -1).T)
    factor = rewriter.constant(matrix, f"{name}.matrix")
    product = rewriter.layer("linear", flat.output, factor, bias, name=f"{name}.product", origin=origin)
    back = (0, 1 + count, *range(1, 1 + count))
    result = rewriter.layer("transpose", product.output, outputs=conv.outputs, origin=origin, perm=back)
    rewriter.exchange(conv, *steps, flat, product, result)
