"""Which dtypes cuBLASLt multiplies, and what it adds up in."""

from __future__ import annotations

from ctypes import c_double, c_float, c_int32
from dataclasses import dataclass
from typing import Any

from trtn.backend.providers.cublaslt.enums import ComputeType, DataType, ReductionScheme

__all__ = ["NUMBERS", "Numbers"]


@dataclass(frozen=True, slots=True)
class Numbers:
    """The dtypes of a product in the library's numbers.

    `reductions` is a mask of ReductionScheme: the parts of a split sum are never rounded to less than what is added
    up in.
    """

    operand: DataType
    result: DataType
    compute: ComputeType
    scale: DataType
    reductions: int
    name: str = ""
    """What tactics are marked with that compute in less than the dtypes promise; "" for those that don't."""

    def factor(self, value: float) -> Any:
        """Alpha or beta, in the scale type."""
        ctype = _SCALARS[self.scale]
        return ctype(int(value) if ctype is c_int32 else value)


_SCALARS: dict[DataType, Any] = {DataType.R_32F: c_float, DataType.R_64F: c_double, DataType.R_32I: c_int32}


def _half(dtype: DataType) -> Numbers:
    return Numbers(dtype, dtype, ComputeType.COMPUTE_32F, DataType.R_32F, ReductionScheme.COMPUTE_TYPE)


def _same(dtype: DataType, compute: ComputeType, name: str = "") -> Numbers:
    return Numbers(dtype, dtype, compute, dtype, ReductionScheme.MASK, name)


NUMBERS: dict[tuple[str, str], tuple[Numbers, ...]] = {
    ("f16", "f16"): (_half(DataType.R_16F),),
    ("bf16", "bf16"): (_half(DataType.R_16BF),),
    ("f32", "f32"): (
        _same(DataType.R_32F, ComputeType.COMPUTE_32F),
        _same(DataType.R_32F, ComputeType.COMPUTE_32F_FAST_TF32, "tf32"),
    ),
    ("f64", "f64"): (_same(DataType.R_64F, ComputeType.COMPUTE_64F),),
    ("i8", "i32"): (
        Numbers(DataType.R_8I, DataType.R_32I, ComputeType.COMPUTE_32I, DataType.R_32I, ReductionScheme.MASK),
    ),
}
"""By the dtypes of operands and result, those first that keep what the dtypes promise."""
