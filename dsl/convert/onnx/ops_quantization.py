"""Quantisation: Q/DQ, and the ops on 8-bit tensors that are spelled out as dequantise, compute, quantise."""

from __future__ import annotations

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.initializers import dtype_of
from trtn.dsl.convert.onnx.ops_window import window
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.dims import product
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor

__all__: list[str] = []

_F32 = BY_NAME["f32"]


@onnx_op("QuantizeLinear", since=10)
def _quantize(n: Call) -> Results:
    x = n.tensor(0)
    scale, zero = _parameters(n, 1)
    dtype = zero.dtype if zero is not None else BY_NAME["u8"]
    if n.has("output_dtype") and n.integer("output_dtype"):
        dtype = dtype_of(n.integer("output_dtype"))
    x = n.cast(x, scale.dtype, "wide") if not x.dtype.is_float else x
    axis, block = n.integer("axis", 1), n.integer("block_size", 0)
    return n.emit(
        "quantize_linear",
        x,
        scale,
        zero,
        axis=axis,
        block=block or None,
        dtype=dtype,
        saturate=n.flag("saturate", True),
    )


@onnx_op("DequantizeLinear", since=10)
def _dequantize(n: Call) -> Results:
    axis, block = n.integer("axis", 1), n.integer("block_size", 0)
    scale, zero = _parameters(n, 1)
    return n.emit("dequantize_linear", n.tensor(0), scale, zero, axis=axis, block=block or None)


def _parameters(n: Call, index: int) -> tuple[Tensor, Tensor | None]:
    """A scale, and a zero point of its shape: of single elements some files have one as [1] and the other as []."""
    scale, zero = n.tensor(index), n.maybe(index + 1)
    if zero is not None and zero.rank != scale.rank and product(zero.shape) == product(scale.shape) == 1:
        scale = n.reshape(scale, zero.shape, "scale" if index == 1 else f"scale{index}")
    return scale, zero


@onnx_op("DynamicQuantizeLinear", since=11)
def _dynamic_quantize(n: Call) -> Results:
    return n.emit_all("dynamic_quantize_linear", n.tensor(0))


@onnx_op("QLinearMatMul", since=10)
def _qlinear_matmul(n: Call) -> Results:
    a = _wide(n, 0, "a")
    b = _wide(n, 3, "b", axis=-1)
    return _narrow(n, n.emit("matmul", a, b, part="product"), 6)


@onnx_op("QLinearConv", since=10)
def _qlinear_conv(n: Call) -> Results:
    x, w, bias = _wide(n, 0, "x"), _wide(n, 3, "weight", axis=0), n.maybe(8)
    if bias is not None:
        scale = n.emit("mul", n.tensor(1), n.tensor(4), part="bias_scale")
        bias = n.emit("mul", n.cast(bias, _F32, "bias_wide"), scale, part="bias")
    y = n.emit("conv", x, w, bias, part="conv", groups=n.integer("group", 1), **window(n))
    return _narrow(n, y, 6)


@onnx_op("QLinearAdd", "QLinearMul", domain="com.microsoft")
def _qlinear_binary(n: Call) -> Results:
    op = "add" if n.node.op == "QLinearAdd" else "mul"
    return _narrow(n, n.emit(op, _wide(n, 0, "a"), _wide(n, 3, "b"), part="wide"), 6)


@onnx_op("DynamicQuantizeMatMul", domain="com.microsoft")
def _dynamic_quantize_matmul(n: Call) -> Results:
    """x quantised by its range, times an 8-bit matrix: as ONNX Runtime does it, in integers."""
    b, b_scale, b_zero, bias = n.tensor(1), n.tensor(2), n.maybe(3), n.maybe(4)
    x, x_scale, x_zero = n.emit_all("dynamic_quantize_linear", n.tensor(0), part="x")
    product = n.emit("matmul_integer", x, b, x_zero, b_zero, part="product")
    scale = n.emit("mul", x_scale, b_scale, part="scale")
    y = n.emit("mul", n.cast(product, _F32, "wide"), scale, part="" if bias is None else "scaled")
    return y if bias is None else n.emit("add", y, bias)


@onnx_op("MatMulIntegerToFloat", domain="com.microsoft")
def _matmul_integer_to_float(n: Call) -> Results:
    a_zero, b_zero, bias = n.maybe(4), n.maybe(5), n.maybe(6)
    product = n.emit("matmul_integer", n.tensor(0), n.tensor(1), a_zero, b_zero, part="product")
    scale = n.emit("mul", n.tensor(2), n.tensor(3), part="scale")
    y = n.emit("mul", n.cast(product, scale.dtype, "wide"), scale, part="" if bias is None else "scaled")
    return y if bias is None else n.emit("add", y, bias)


def _wide(n: Call, index: int, part: str, axis: int = 1) -> Tensor:
    """Three inputs from `index` on, a tensor with its scale and zero point, as floats."""
    scale, zero = _parameters(n, index + 1)
    axis = axis if scale.rank and scale.shape != (1,) else 0
    return n.emit("dequantize_linear", n.tensor(index), scale, zero, part=part, axis=axis)


def _narrow(n: Call, y: Tensor, index: int) -> Tensor:
    scale, zero = _parameters(n, index)
    if zero is None:
        refuse("the zero point of its result is missing")
    return n.emit("quantize_linear", y, scale, zero, dtype=zero.dtype)
