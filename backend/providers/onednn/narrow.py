"""Which layers oneDNN computes in bf16 on this CPU. Any other layer over bf16 or f16 is better computed in f32: NumPy
has neither, and what it computes with them goes through conversions element by element."""

from __future__ import annotations

from trtn.backend.providers.onednn.library import has_bf16
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import Layer

__all__ = ["NARROW", "computes"]

NARROW = (BY_NAME["bf16"], BY_NAME["f16"])
"""Floats of fewer than 32 bits that CPUs may lack instructions for."""
_OPS = frozenset(
    [
        *("attention", "conv", "deconv", "layer_norm", "linear", "log_softmax", "matmul", "softmax"),
        *("avg_pool", "global_avg_pool", "global_max_pool", "max_pool"),
        *("add", "div", "max", "min", "mul", "sub"),
        *("abs", "clip", "elu", "gelu", "hard_sigmoid", "hard_swish", "leaky_relu", "mish", "neg", "relu", "sigmoid"),
        *("silu", "swish", "tanh"),
    ]
)


def computes(layer: Layer, dtype: DType) -> bool:
    """Whether there are kernels for a layer over a narrow dtype. f16 has some on a few CPUs only."""
    return dtype.name == "bf16" and layer.op.name in _OPS and has_bf16()
