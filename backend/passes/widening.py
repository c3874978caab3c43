"""Narrow floats on a CPU: layers that nobody has kernels for compute in f32, as in other CPU engines."""

from __future__ import annotations

from trtn.backend.passes.precision import F32, PrecisionPass
from trtn.backend.providers.base import NarrowProvider, discover
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import Layer

__all__ = ["CpuPrecisionPass", "WideningPass"]

NARROW = (BY_NAME["bf16"], BY_NAME["f16"])
"""What NumPy computes in through conversions, element by element."""


def _is_slow(layer: Layer, dtype: DType) -> bool:
    """Whether only the reference could compute a layer over a narrow dtype."""
    if dtype not in NARROW:
        return False
    able = (p for p in discover() if isinstance(p, NarrowProvider) and p.computes(layer, dtype))
    return next(able, None) is None


class CpuPrecisionPass(PrecisionPass):
    """The policy, but for layers that the CPU can't compute in the dtype that it names: they stay in f32, weights and
    all."""

    def wanted(self, layer: Layer) -> DType | None:
        chosen = super().wanted(layer)
        return F32 if chosen is not None and _is_slow(layer, chosen) else chosen


class WideningPass(PrecisionPass):
    """Layers written for bf16 or f16 compute in f32 where the CPU has no kernels for them. Weights, and what a cast
    makes, keep the values that the narrow dtype has; results between layers are not rounded to it. Numeric class:
    exact, seen from f32. Not found by `discover`: it comes once the precision policy is in the network."""

    name = "widening"

    def __init__(self) -> None:
        super().__init__(F32)

    def concerns(self, layer: Layer, dtype: DType) -> bool:
        return _is_slow(layer, dtype)

    def wanted(self, layer: Layer) -> DType | None:
        return F32

    def is_told(self, layer: Layer) -> bool:
        return False
