"""oneDNN: kernels of a library that knows the CPU's instructions, through its C API. The extra `cpu` installs it."""

from trtn.backend.providers.onednn.provider import PROVIDER, OneDnnProvider

__all__ = ["PROVIDER", "OneDnnProvider"]
