"""Generated CUDA kernels: pointwise regions, normalisations, reductions and other things that memory decides the
speed of.

A module of this package that binds FAMILY is all that a further family takes.
"""

from trtn.backend.providers.codegen.provider import CodegenProvider

__all__ = ["PROVIDER"]

PROVIDER = CodegenProvider()
