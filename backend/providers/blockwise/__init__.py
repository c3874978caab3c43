"""Groups in NumPy alone, block by block: what a block takes stays in a core's cache from layer to layer, and the blocks
are shared by threads. What a CPU runs by where no library of kernels is installed."""

from trtn.backend.providers.blockwise.provider import PROVIDER, BlockwiseProvider

__all__ = ["PROVIDER", "BlockwiseProvider"]
