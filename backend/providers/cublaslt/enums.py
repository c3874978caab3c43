"""Numbers of `cublasLt.h`, `cublas_api.h` and `library_types.h` that the provider uses.

A member's name in C is its name here behind the prefix that the class's docstring starts with.
"""

from __future__ import annotations

from ctypes import c_int32, c_int64, c_uint16, c_uint32, c_uint64, c_void_p
from enum import IntEnum
from typing import Any, Self

__all__ = [
    "AlgoConfig",
    "ComputeType",
    "DataType",
    "DescAttribute",
    "Epilogue",
    "LayoutAttribute",
    "Operation",
    "PreferenceAttribute",
    "ReductionScheme",
]


class DataType(IntEnum):
    """CUDA_ (cudaDataType_t)"""

    R_32F = 0
    R_64F = 1
    R_16F = 2
    R_8I = 3
    R_32I = 10
    R_16BF = 14


class ComputeType(IntEnum):
    """CUBLAS_ (cublasComputeType_t)"""

    COMPUTE_32F = 68
    COMPUTE_64F = 70
    COMPUTE_32I = 72
    COMPUTE_32F_FAST_TF32 = 77


class Operation(IntEnum):
    """CUBLAS_OP_ (cublasOperation_t)"""

    N = 0
    T = 1


class Epilogue(IntEnum):
    """CUBLASLT_EPILOGUE_ (cublasLtEpilogue_t). The bias is along the rows of D; GELU is the tanh form."""

    DEFAULT = 1
    RELU = 2
    BIAS = 4
    RELU_BIAS = 6
    GELU = 32
    GELU_BIAS = 36


class ReductionScheme(IntEnum):
    """CUBLASLT_REDUCTION_SCHEME_ (cublasLtReductionScheme_t): how the parts of a split sum come together."""

    NONE = 0
    INPLACE = 1
    COMPUTE_TYPE = 2
    OUTPUT_TYPE = 4
    MASK = 7


class Attribute(IntEnum):
    """A number, and the C type of the attribute's value."""

    ctype: Any

    def __new__(cls, number: int, ctype: Any) -> Self:
        member = int.__new__(cls, number)
        member._value_ = number
        member.ctype = ctype
        return member


class DescAttribute(Attribute):
    """CUBLASLT_MATMUL_DESC_ (cublasLtMatmulDescAttributes_t)"""

    TRANSA = 3, c_int32
    TRANSB = 4, c_int32
    EPILOGUE = 7, c_uint32
    BIAS_POINTER = 8, c_void_p


class LayoutAttribute(Attribute):
    """CUBLASLT_MATRIX_LAYOUT_ (cublasLtMatrixLayoutAttribute_t)"""

    BATCH_COUNT = 5, c_int32
    STRIDED_BATCH_OFFSET = 6, c_int64


class PreferenceAttribute(Attribute):
    """CUBLASLT_MATMUL_PREF_ (cublasLtMatmulPreferenceAttributes_t)"""

    MAX_WORKSPACE_BYTES = 1, c_uint64
    REDUCTION_SCHEME_MASK = 3, c_uint32
    MIN_ALIGNMENT_A_BYTES = 5, c_uint32
    MIN_ALIGNMENT_B_BYTES = 6, c_uint32
    MIN_ALIGNMENT_C_BYTES = 7, c_uint32
    MIN_ALIGNMENT_D_BYTES = 8, c_uint32


class AlgoConfig(Attribute):
    """CUBLASLT_ALGO_CONFIG_ (cublasLtMatmulAlgoConfigAttributes_t)"""

    ID = 0, c_int32
    TILE_ID = 1, c_uint32
    SPLITK_NUM = 2, c_int32
    REDUCTION_SCHEME = 3, c_uint32
    CTA_SWIZZLING = 4, c_uint32
    CUSTOM_OPTION = 5, c_uint32
    STAGES_ID = 6, c_uint32
    INNER_SHAPE_ID = 7, c_uint16
    CLUSTER_SHAPE_ID = 8, c_uint16
