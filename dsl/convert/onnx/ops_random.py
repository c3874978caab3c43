"""Random numbers. The distributions are ONNX's; the numbers themselves are nobody's but ours."""

from __future__ import annotations

import struct
from typing import Any

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.initializers import dtype_of
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import Shape

__all__: list[str] = []

_F32 = BY_NAME["f32"]


def _drawn(n: Call, op: str, shape: Shape, dtype: DType) -> Results:
    if op == "random_uniform":
        attrs: dict[str, Any] = {"low": tidy(n.number("low", 0.0)), "high": tidy(n.number("high", 1.0))}
    else:
        attrs = {"mean": tidy(n.number("mean", 0.0)), "std": tidy(n.number("scale", 1.0))}
    return n.emit(op, shape=shape, dtype=dtype, seed=_seed(n), **attrs)


def _seed(n: Call) -> int | None:
    """ONNX's seed is a float: its bits as an f32."""
    return int.from_bytes(struct.pack(">f", n.number("seed"))) if n.has("seed") else None


@onnx_op("RandomUniform", "RandomNormal")
def _random(n: Call) -> Results:
    shape = n.ints("shape")
    if shape is None:
        refuse("it has no shape")
    return _drawn(n, _op(n), shape, dtype_of(n.integer("dtype", 1)))


@onnx_op("RandomUniformLike", "RandomNormalLike")
def _random_like(n: Call) -> Results:
    x = n.tensor(0)
    dtype = dtype_of(n.integer("dtype")) if n.has("dtype") else x.dtype if x.dtype.is_float else _F32
    return _drawn(n, _op(n), x.shape, dtype)


def _op(n: Call) -> str:
    return "random_uniform" if n.node.op.startswith("RandomUniform") else "random_normal"


@onnx_op("Bernoulli", since=15)
def _bernoulli(n: Call) -> Results:
    """1 with the probability that the element says."""
    x = n.tensor(0)
    dtype = dtype_of(n.integer("dtype")) if n.has("dtype") else x.dtype
    drawn = n.emit("random_uniform", part="drawn", shape=x.shape, dtype=x.dtype, seed=_seed(n))
    return n.emit("cast", n.emit("less", drawn, x, part="chosen"), to=dtype)
