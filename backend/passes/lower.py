"""Products with constant matrices become linear layers: the form that takes a bias and an epilogue."""

from __future__ import annotations

from trtn.dsl.network import Network
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "LowerPass"]


class LowerPass:
    """matmul(x, w) with a constant w[in, out] becomes linear(x, w). A bias that is added to it is
    `batch_norm`'s to fold. Exact.
    """

    name = "lower"
    after = frozenset({"algebra", "fold"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        for layer in rewriter.layers():
            if layer.op.name != "matmul":
                continue
            x, weight = layer.inputs
            if x is None or weight is None or x.weight is not None or weight.weight is None:
                continue
            if weight.rank != 2 or not weight.dtype.is_float:
                continue
            rewriter.exchange(layer, rewriter.layer("linear", x, weight, outputs=layer.outputs, origin=layer.origin))
        return rewriter.finish()


PASS = LowerPass()
