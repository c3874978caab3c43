"""Ops on elements: pointwise, arithmetic, reductions, normalisation, products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.dsl.convert.export_case import Case, Dimension, case, indices, real, truth, whole

__all__ = ["cases"]


def cases() -> Iterator[Case]:
    yield from _pointwise()
    yield from _arithmetic()
    yield from _reductions()
    yield from _normalisation()
    yield from _linear()


def _pointwise() -> Iterator[Case]:
    x = real(2, 3)
    for op in (
        "neg", "abs", "sign", "exp", "floor", "ceil", "round", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh",
        "asinh", "erf", "identity", "relu", "sigmoid", "silu", "softplus", "softsign", "hard_sigmoid", "hard_swish",
        "mish", "elu", "selu", "celu", "leaky_relu", "thresholded_relu", "shrink", "gelu", "isnan", "isinf", "swish",
    ):  # fmt: skip
        yield case(op, x, shapes=["N, 3"])
    for op, low, high in (
        ("log", 0.1, 4), ("sqrt", 0, 4), ("rsqrt", 0.1, 4), ("reciprocal", 0.2, 3), ("asin", -1, 1), ("acos", -1, 1),
        ("acosh", 1, 4), ("atanh", -0.9, 0.9),
    ):  # fmt: skip
        yield case(op, real(2, 3, low=low, high=high))
    for op in ("neg", "abs", "sign", "relu", "shrink"):
        yield case(op, whole(2, 3, dtype=np.int32))
    yield case("gelu", x, approximate="tanh", name="tanh")
    yield case("swish", x, alpha=1.5, name="alpha")
    yield case("elu", x, alpha=0.7, name="alpha")
    yield case("celu", real(5, dtype=np.float64), alpha=0.7)
    yield case("isinf", indices(np.inf, -np.inf, 1, dtype=np.float32), negative=False)
    yield case("not", truth(4))
    yield case("bitwise_not", whole(5, dtype=np.int8))
    yield case("clip", x, min=-1.0, max=0.5)
    yield case("clip", x, max=0.5, name="max")
    yield case("clip", x, name="none")
    yield case("clip", whole(5, dtype=np.int16), min=-2.5, max=1e9)
    yield case("prelu", x, real(3))
    yield case("prelu", whole(2, 3, dtype=np.int32), whole(3, dtype=np.int32))
    points = indices(1, 1, -1, -1, 0, 1, -1, 0, dtype=np.float32)
    yield case("atan2", points, points[::-1].copy())
    yield case("cast", x, to="i32")
    yield case("cast", whole(5, dtype=np.int64, high=500), to="u8")
    yield case("cast", whole(5, low=0, high=2), to="bool", name="bool")
    yield case("cast", x, to="f16", name="f16")


def _arithmetic() -> Iterator[Case]:
    x, y = real(2, 3), real(3, low=0.5, high=2)
    for op in (
        "add", "sub", "mul", "div", "floor_div", "mod", "max", "min", "equal", "not_equal", "less", "less_equal",
        "greater", "greater_equal",
    ):  # fmt: skip
        yield case(op, x, y, shapes=["N, 3"])
        for dtype in (np.int32, np.int8, np.uint16):
            yield case(op, whole(2, 3, dtype=dtype), whole(2, 1, dtype=dtype, low=1, high=5))
    yield case("mod", x, -y, name="negative")
    yield case("mod", x, y, fmod=True, name="fmod")
    yield case("floor_div", whole(20, dtype=np.int64), np.full(20, -4))
    yield case("mod", whole(20, dtype=np.int64), np.full(20, -4), name="negative")
    yield case("pow", real(2, 3, low=0.1), y)
    yield case("pow", x, indices(2, dtype=np.uint64), name="u64")
    yield case("pow", whole(5, dtype=np.int16), indices(2, dtype=np.int64))
    yield case("max", x, y, real(2, 1), name="three")
    for op in ("and", "or", "xor"):
        yield case(op, truth(2, 3), truth(3))
    for op in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        for dtype in (np.int64, np.int32, np.int8, np.uint8, np.uint32, np.uint64):
            yield case(op, whole(2, 9, dtype=dtype, low=-100, high=100), whole(9, dtype=dtype, low=-100, high=100))
    for op in ("shift_left", "shift_right"):
        for dtype in (np.uint8, np.uint16, np.uint64, np.int8, np.int32, np.int64):
            bits = np.dtype(dtype).itemsize * 8
            count = indices(0, 1, 3, bits - 2, bits - 1, bits, dtype=dtype)
            yield case(op, whole(4, 6, dtype=dtype, low=-100, high=100), count)
    yield case("where", truth(2, 3), x, y)
    yield case("where", truth(3), truth(2, 3), truth(3), name="bool")


def _reductions() -> Iterator[Case]:
    x = real(2, 3, 4, low=0.1)
    for op in (
        "reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod", "reduce_l1", "reduce_l2",
        "reduce_log_sum", "reduce_log_sum_exp", "reduce_sum_square",
    ):  # fmt: skip
        yield case(op, x, axes=[1], shapes=["N, S, 4"])
        yield case(op, x, axes=[0, -1], keepdims=True, name="keepdims")
        yield case(op, x, name="all")
        yield case(op, x, axes=[], name="none")
        yield case(op, whole(2, 3, dtype=np.int32, low=1), axes=[1])
    yield case("reduce_max", truth(2, 3), axes=[1])
    yield case("reduce_sum", whole(2, 3, dtype=np.uint8), axes=[0])
    yield case("reduce_mean", real(), name="scalar")
    for op in ("arg_max", "arg_min"):
        yield case(op, x, axis=1)
        yield case(op, indices(1, 3, 3, 1), axis=0, keepdims=True, last=True)
    yield case("cumsum", x, axis=1, shapes=["N, S, 4"])
    yield case("cumsum", whole(5, dtype=np.int8), axis=0, exclusive=True, reverse=True)
    yield case("top_k", x, k=2, axis=1)
    yield case("top_k", real(2, 6), k=Dimension("S - 2"), shapes=["N, S"], name="dim")
    yield case("top_k", real(2, 6), indices(3), largest=False, name="count")
    yield case("masked_mean", x, truth(2, 3), axis=1, shapes=["N, S, 4", "N, S"])
    yield case("masked_mean", real(2, 3), np.zeros((2, 3), bool), axis=1, name="nothing")


def _normalisation() -> Iterator[Case]:
    x = real(2, 6, 4, 4)
    for op in ("softmax", "log_softmax", "hardmax"):
        yield case(op, x, axis=1, shapes=["N, 6, H, H"])
    yield case("lp_norm", x, axis=1)
    yield case("lp_norm", x, axis=1, p=1, name="1")
    statistics = [real(6), real(6), real(6), real(6, low=0.1)]
    yield case("batch_norm", x, *statistics, eps=1e-3, shapes=["N, 6, H, W"])
    yield case("instance_norm", x, *statistics[:2], eps=1e-3)
    yield case("group_norm", x, *statistics[:2], groups=3, shapes=["N, 6, H, W"])
    rows = real(2, 3, 8)
    yield case("layer_norm", rows, real(8), real(8), shapes=["N, S, 8"])
    yield case("layer_norm", rows, name="plain")
    yield case("layer_norm", rows, None, real(1), axis=1, name="bias")
    yield case("layer_norm", rows, shapes=["N, S, D"], name="open")
    yield case("layer_norm", real(2, 8, dtype=np.float64), real(8, dtype=np.float64))
    yield case("rms_norm", rows, real(8), shapes=["N, S, 8"])
    yield case("rms_norm", rows, axis=1, name="plain")
    yield case("lrn", x, size=3, alpha=0.1)
    yield case("lrn", x, size=4, alpha=0.1, bias=2.0, shapes=["N, 6, H, W"], name="even")


def _linear() -> Iterator[Case]:
    yield case("matmul", real(2, 3, 4), real(4, 5), shapes=["N, S, 4"])
    yield case("matmul", real(4), real(2, 4, 3), name="row")
    yield case("matmul", whole(3, 4, dtype=np.int8), whole(4, 2, dtype=np.int8))
    yield case("linear", real(3, 4), real(4, 5), real(5), shapes=["N, 4"])
    yield case("linear", real(2, 3, 4), real(4, 5), real(5), name="rows")
    yield case("linear", real(2, 3, 4), real(4, 5), name="plain")
    yield case("einsum", real(2, 3, 4), real(2, 5, 4), equation="bsd,bld->bsl")
    yield case("einsum", whole(3, 3, dtype=np.int32), equation="ii")
    a, b = whole(3, 4, dtype=np.uint8), whole(4, 5, dtype=np.int8)
    yield case("matmul_integer", a, b)
    yield case("matmul_integer", a, b, indices(3, dtype=np.uint8).reshape(()), whole(5, dtype=np.int8), name="zeros")
    yield case("matmul_integer", a, b, whole(3, dtype=np.uint8), name="rows")
    q, k, v = real(2, 4, 3, 8), real(2, 4, 5, 8), real(2, 4, 5, 6)
    named = ["B, 4, S, 8", "B, 4, L, 8", "B, 4, L, 6"]
    yield case("attention", q, k, v, shapes=named)
    yield case("attention", q, k, v, truth(2, 1, 3, 5), scale=0.3, shapes=[*named, "B, 1, S, L"], name="mask")
    yield case("attention", q, k, v, real(3, 5), name="added")
    yield case("attention", q, k, v, np.full((3, 5), -np.inf, np.float32), name="blind")
    yield case("attention", q, k, v, causal=True, shapes=[*named], name="causal")
    yield case("attention", k, k, k, causal=True, name="square")
    yield case("attention", q, k[:, :2], v[:, :2], causal=True, shapes=["B, 4, S, 8"], name="grouped")
    yield case("attention", q[0], k[0], v[0], np.zeros((3, 5), bool), name="rank3")
