"""cuBLASLt: matrix products with bias, residual and activation, by algorithms that its own heuristic lists."""

from trtn.backend.providers.cublaslt.provider import PROVIDER, CublasLtProvider

__all__ = ["PROVIDER", "CublasLtProvider"]
