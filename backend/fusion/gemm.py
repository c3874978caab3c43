"""Matrix products and what follows them element by element."""

from __future__ import annotations

from trtn.backend.fusion.epilogue import with_epilogue
from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "GemmFusion"]


class GemmFusion:
    """linear, or matmul of floats, with its epilogue; channels are the last axis."""

    name = "gemm"
    kind = "gemm"
    after = frozenset({"library_gemm"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        if seed.op.name not in ("linear", "matmul"):
            return None
        if not seed.output.dtype.is_float:
            index.refuse(seed, "products of integers have no group of their own")
            return None
        return with_epilogue(index, seed, seed.output.rank - 1)


FUSION = GemmFusion()
