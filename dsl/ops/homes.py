"""Where each op is declared: a spec that uses five ops imports five modules and not all of them.

An op that is missing here is found all the same, by importing everything; a test says so when the list is not complete.
"""

from __future__ import annotations

__all__ = ["HOMES"]

_OPS = {
    "activations": (
        "celu clip elu gelu hard_sigmoid hard_swish leaky_relu mish prelu relu selu shrink sigmoid silu softplus "
        "softsign swish thresholded_relu "
    ),
    "arithmetic": "add atan2 div floor_div max min mod mul pow sub",
    "attention": "attention",
    "bits": "bit_cast",
    "control": "if loop scan",
    "conv": "conv conv_integer deconv",
    "detection": "non_max_suppression",
    "determinant": "det",
    "distinct": "unique",
    "einsum": "einsum",
    "elementwise": (
        "abs acos acosh asin asinh atan atanh bitwise_not cast ceil cos cosh erf exp floor identity isinf isnan "
        "log neg not reciprocal round rsqrt sign sin sinh sqrt tan tanh "
    ),
    "gather": "compress embedding gather gather_elements gather_nd",
    "generate": "dims eye_like fill nonzero one_hot range trilu",
    "linear": "linear matmul matmul_integer",
    "logic": (
        "and bitwise_and bitwise_or bitwise_xor equal greater greater_equal less less_equal not_equal or "
        "shift_left shift_right where xor "
    ),
    "ngrams": "tf_idf",
    "normalization": "batch_norm group_norm hardmax instance_norm layer_norm log_softmax lp_norm lrn rms_norm softmax",
    "padding": "pad tile",
    "pool": "avg_pool global_avg_pool global_max_pool lp_pool max_pool max_pool_with_indices",
    "quantization": "dequantize_linear dynamic_quantize_linear quantize_linear",
    "quantized_recurrent": "dynamic_quantize_lstm",
    "random": "random_normal random_uniform",
    "ranking": "arg_max arg_min top_k",
    "rearrange": "depth_to_space flip reverse_sequence roll space_to_depth",
    "recurrent": "gru lstm rnn",
    "reduce": (
        "cumprod cumsum masked_mean reduce_by reduce_l1 reduce_l2 reduce_log_sum reduce_log_sum_exp reduce_max "
        "reduce_mean reduce_min reduce_prod reduce_sum reduce_sum_square "
    ),
    "resize": "resize",
    "sampling": "affine_grid deform_conv grid_sample roi_align",
    "scatter": "scatter_elements scatter_nd",
    "shape": "expand flatten reshape squeeze transpose unsqueeze",
    "slicing": "concat slice split",
    "spectral": "dft mel_weights stft",
    "unpooling": "col2im max_unpool",
}
HOMES = {name: module for module, names in _OPS.items() for name in names.split()}
"""The module of each op, by the op's name."""
