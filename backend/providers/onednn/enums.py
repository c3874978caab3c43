"""Numbers of `dnnl_types.h` that the provider uses."""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = ["DATA_TYPES", "Alg", "Arg", "Direction", "Norm", "Prop", "Query", "Tag"]


class Prop(IntEnum):
    """dnnl_prop_kind_t"""

    FORWARD_INFERENCE = 96


class Tag(IntEnum):
    """dnnl_format_tag_t"""

    ANY = 1


class Direction(IntEnum):
    """dnnl_rnn_direction_t"""

    LEFT_TO_RIGHT = 1
    RIGHT_TO_LEFT = 2
    BIDIRECTIONAL_CONCAT = 3


class Norm(IntFlag):
    """dnnl_normalization_flags_t"""

    NONE = 0
    USE_SCALE = 2
    USE_SHIFT = 4


class Query(IntEnum):
    """dnnl_query_t"""

    IMPL_INFO_STR = 8
    STRIDES = 14
    EXEC_ARG_MD = 255
    NDIMS = 256
    DATA_TYPE = 258
    PADDED_DIMS = 260
    INNER_NBLKS = 263
    INNER_BLKS = 264
    INNER_IDXS = 265


class Alg(IntEnum):
    """dnnl_alg_kind_t"""

    CONV_DIRECT = 0x1
    DECONV_DIRECT = 0xA
    RELU = 0x20
    TANH = 0x21
    ELU = 0x22
    SQUARE = 0x23
    ABS = 0x24
    SQRT = 0x25
    LINEAR = 0x26
    SOFT_RELU = 0x27
    HARDSIGMOID = 0x28
    LOGISTIC = 0x29
    EXP = 0x2A
    GELU_TANH = 0x2B
    SWISH = 0x2C
    LOG = 0x2D
    CLIP = 0x2E
    POW = 0x30
    GELU_ERF = 0x31
    ROUND = 0x32
    MISH = 0x33
    HARDSWISH = 0x34
    POOL_MAX = 0x1FF
    POOL_AVG_INCLUDE_PADDING = 0x2FF
    POOL_AVG_EXCLUDE_PADDING = 0x3FF
    LRN_ACROSS_CHANNELS = 0xAFF
    BINARY_ADD = 0x1FFF0
    BINARY_MUL = 0x1FFF1
    BINARY_MAX = 0x1FFF2
    BINARY_MIN = 0x1FFF3
    BINARY_DIV = 0x1FFF4
    BINARY_SUB = 0x1FFF5
    RESAMPLING_NEAREST = 0x2FFF0
    RESAMPLING_LINEAR = 0x2FFF1
    REDUCTION_MAX = 0x2FFF2
    REDUCTION_MIN = 0x2FFF3
    REDUCTION_SUM = 0x2FFF4
    REDUCTION_MEAN = 0x2FFF6
    SOFTMAX = 0x30000
    SOFTMAX_LOG = 0x30001


class Arg(IntEnum):
    """DNNL_ARG_*"""

    SRC = 1
    SRC_1 = 2
    SRC_2 = 3
    DST = 17
    DST_1 = 18
    DST_2 = 19
    WEIGHTS = 33
    WEIGHTS_1 = 34
    WEIGHTS_2 = 35
    BIAS = 41
    SCALE = 51
    SHIFT = 52
    SCRATCHPAD = 80
    ATTR_POST_OP = 32768
    """Times one more than the post-op's number."""


DATA_TYPES: dict[str, int] = {"f16": 1, "bf16": 2, "f32": 3, "i32": 4, "i8": 5, "u8": 6}
"""dnnl_data_type_t by our names of dtypes."""
