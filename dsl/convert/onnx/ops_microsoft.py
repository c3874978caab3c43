"""Ops that ONNX Runtime's optimiser puts in place of several of ONNX's, spelled out again or as an op of ours."""

from __future__ import annotations

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.ops_window import window
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.network import Tensor

__all__: list[str] = []

_MICROSOFT = "com.microsoft"


@onnx_op("Gelu", "BiasGelu", "FastGelu", domain=_MICROSOFT)
def _gelu(n: Call) -> Results:
    x, bias = n.tensor(0), n.maybe(1)
    if bias is not None:
        x = n.emit("add", x, bias, part="biased")
    return n.emit("gelu", x, approximate="tanh" if n.node.op == "FastGelu" else None)


@onnx_op("QuickGelu", domain=_MICROSOFT)
def _quick_gelu(n: Call) -> Results:
    return n.emit("swish", n.tensor(0), alpha=tidy(n.number("alpha", 1.702)))


@onnx_op("FusedMatMul", domain=_MICROSOFT)
def _fused_matmul(n: Call) -> Results:
    if n.flag("transBatchA") or n.flag("transBatchB"):
        refuse("transposed batches are not supported")
    a, b = (_turned(n, i, f"trans{p}", p.lower()) for i, p in ((0, "A"), (1, "B")))
    alpha = tidy(n.number("alpha", 1.0))
    if alpha == 1.0:
        return n.emit("matmul", a, b)
    y = n.emit("matmul", a, b, part="product")
    return n.emit("mul", y, n.like(alpha, y))


def _turned(n: Call, index: int, flag: str, part: str) -> Tensor:
    """A matrix, or a batch of them, with its last two axes exchanged where the flag says so."""
    x = n.tensor(index)
    if not n.flag(flag) or x.rank < 2:
        return x
    if x.rank == 2 and x.weight is not None:
        return n.transposed(x)
    return n.emit("transpose", x, part=part, perm=(*range(x.rank - 2), x.rank - 1, x.rank - 2))


@onnx_op("FusedConv", domain=_MICROSOFT)
def _fused_conv(n: Call) -> Results:
    """A convolution, something added to it, and an activation."""
    y = n.emit("conv", n.tensor(0), n.tensor(1), n.maybe(2), part="conv", groups=n.integer("group", 1), **window(n))
    if (other := n.maybe(3)) is not None:
        y = n.emit("add", y, other, part="sum")
    activation, numbers = n.text("activation", ""), [tidy(v) for v in n.floats("activation_params") or ()]
    if activation in ("Relu", "Sigmoid", "Tanh"):
        return n.emit(activation.lower(), y)
    if activation == "LeakyRelu":
        return n.emit("leaky_relu", y, alpha=numbers[0] if numbers else None)
    if activation == "Clip" and len(numbers) == 2:
        return n.emit("clip", y, min=numbers[0], max=numbers[1])
    if activation == "HardSigmoid" and len(numbers) == 2:
        return n.emit("hard_sigmoid", y, alpha=numbers[0], beta=numbers[1])
    if activation:
        refuse(f"the activation `{activation}` is not supported")
    return y


@onnx_op("SimplifiedLayerNormalization")
@onnx_op("SimplifiedLayerNormalization", domain=_MICROSOFT)
def _rms_norm(n: Call) -> Results:
    """RMS normalisation. ONNX Runtime registers it in ONNX's own domain."""
    return n.emit("rms_norm", n.tensor(0), n.tensor(1), axis=n.integer("axis", -1), eps=tidy(n.number("epsilon", 1e-5)))


@onnx_op("SkipLayerNormalization", domain=_MICROSOFT)
def _skip_layer_norm(n: Call) -> Results:
    total = _skipped(n, n.maybe(4))
    y = n.emit("layer_norm", total, n.tensor(2), n.maybe(3), axis=-1, eps=tidy(n.number("epsilon", 1e-12)))
    return y, None, None, total


@onnx_op("SkipSimplifiedLayerNormalization", domain=_MICROSOFT)
def _skip_rms_norm(n: Call) -> Results:
    total = _skipped(n, n.maybe(3))
    return n.emit("rms_norm", total, n.tensor(2), axis=-1, eps=tidy(n.number("epsilon", 1e-5))), None, None, total


def _skipped(n: Call, bias: Tensor | None) -> Tensor:
    total = n.emit("add", n.tensor(0), n.tensor(1), part="sum" if bias is None else "skip")
    return total if bias is None else n.emit("add", total, bias, part="sum")
