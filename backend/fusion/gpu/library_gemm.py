"""Matrix products as GPU libraries run them."""

from __future__ import annotations

from trtn.backend.fusion.gpu.known_epilogue import with_known_epilogue
from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "LibraryGemmFusion"]


class LibraryGemmFusion:
    """linear with a residual that is added and an activation; matmul of two activations alone."""

    name = "library_gemm"
    kind = "gemm"
    after = frozenset({"excitation", "few_rows"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        if seed.op.name not in ("linear", "matmul") or not seed.output.dtype.is_float:
            return None
        return with_known_epilogue(index, seed, seed.output.rank - 1) if seed.op.name == "linear" else (seed,)


FUSION = LibraryGemmFusion()
