"""Narrow floats on a CPU: layers that it has no instructions for compute in f32, as in other CPU engines."""

from __future__ import annotations

from trtn.backend.passes.precision import F32, PrecisionPass
from trtn.backend.providers.onednn.narrow import NARROW, computes
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Layer

__all__ = ["CpuPrecisionPass", "WideningPass"]


class CpuPrecisionPass(PrecisionPass):
    """The policy, but for layers that the CPU can't compute in the dtype that it names: they stay in f32, weights and
    all."""

    def wanted(self, layer: Layer) -> DType | None:
        chosen = super().wanted(layer)
        return F32 if chosen is not None and chosen in NARROW and not computes(layer, chosen) else chosen


class WideningPass(PrecisionPass):
    """Layers written for bf16 or f16 compute in f32 where the CPU has no kernels for them. Weights, and what a cast
    makes, keep the values that the narrow dtype has; results between layers are not rounded to it. Numeric class:
    exact, seen from f32. Not found by `discover`: it comes once the precision policy is in the network."""

    name = "widening"

    def __init__(self) -> None:
        super().__init__(F32)

    def concerns(self, layer: Layer, dtype: DType) -> bool:
        return dtype in NARROW and not computes(layer, dtype)

    def wanted(self, layer: Layer) -> DType | None:
        return F32

    def is_told(self, layer: Layer) -> bool:
        return False
