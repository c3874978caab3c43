"""relu6 between a product and a generated kernel: relu goes with the product, whose libraries have it for nothing, and the
bound from above with the kernel, which applies it to what it reads.
"""

from __future__ import annotations

from trtn.backend.fusion.gpu.depthwise import depthwise_refusal
from trtn.backend.fusion.gpu.stem import stem_refusal
from trtn.dsl.network import Layer, Network
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "ClampOnLoadPass"]

_POOLS = frozenset({"global_avg_pool", "global_max_pool"})


class ClampOnLoadPass:
    """clip(y, 0, m), y of a conv, becomes clip(relu(y), max=m), where only a depthwise convolution or a global pooling
    reads it. Exact.
    """

    name = "clamp_on_load"
    after = frozenset({"algebra", "batch_norm", "precision"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        for layer in rewriter.layers():
            if layer.op.name == "clip" and not _refusal(rewriter, layer):
                _split(rewriter, layer)
        return rewriter.finish()


PASS = ClampOnLoadPass()


def _refusal(rewriter: Rewriter, clip: Layer) -> str:
    product = rewriter.maker(clip.inputs[0], "conv")
    if clip.attrs["min"] != 0 or clip.attrs["max"] is None or clip.attrs["max"] < 0:
        return "it is no relu with a bound"
    if product is None or rewriter.sole_reader(product.output) is not clip:
        return "it does not follow a convolution"
    if not depthwise_refusal(product) or not stem_refusal(product):
        return "what it follows is a generated kernel, which clips for nothing"
    reader = rewriter.sole_reader(clip.output)
    if reader is not None and reader.op.name in _POOLS:
        return ""
    if reader is None or reader.op.name != "conv" or reader.inputs[0] is not clip.output or depthwise_refusal(reader):
        return "no generated kernel alone reads it"
    return ""


def _split(rewriter: Rewriter, clip: Layer) -> None:
    relu = rewriter.layer("relu", clip.inputs[0], name=f"{clip.name}.relu", origin=clip.origin)
    bound = rewriter.layer("clip", relu.output, outputs=clip.outputs, origin=clip.origin, max=clip.attrs["max"])
    rewriter.exchange(clip, relu, bound)
