"""Narrow floats that the CPU has no instructions for become f32, as other CPU engines do it."""

from __future__ import annotations

from trtn.backend.passes.precision import F32, PrecisionPass
from trtn.backend.providers.onednn import narrow
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Layer

__all__ = ["WideningPass"]


class WideningPass(PrecisionPass):
    """Layers over bf16 or f16 compute in f32 where a CPU has no kernels for them. Weights, and what a cast makes, keep
    the values that the narrow dtype has; results between layers are not rounded to it. Numeric class: exact, seen
    from f32. Not found by `discover`: it is for CPUs, once the precision policy is in the network."""

    name = "widening"

    def __init__(self) -> None:
        super().__init__(F32)

    def concerns(self, layer: Layer, dtype: DType) -> bool:
        return dtype in narrow.NARROW and not narrow.computes(layer, dtype)

    def wanted(self, layer: Layer) -> DType | None:
        return F32

    def is_told(self, layer: Layer) -> bool:
        return False
