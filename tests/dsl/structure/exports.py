"""ONNX models of the shapes that torch's exporters write, made by hand: small, with the exporters' habits and names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from tests.dsl.convert.models import model, node, value

__all__ = ["Export", "bottlenecks", "cached_decoder", "dense_net", "encoder", "residual_net", "stacked_heads"]

HEADS, WIDTH = 2, 8


class Export:
    """A model under construction; names of values are running numbers, as torch's are."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, Any] = {}
        self.random = np.random.default_rng(5)

    def weight(self, name: str, *shape: int) -> str:
        self.weights[name] = (self.random.standard_normal(shape) * 0.3).astype(np.float32)
        return name

    def known(self, values: Any, dtype: Any = np.int64) -> str:
        name = f"const_{len(self.weights)}"
        self.weights[name] = np.asarray(values, dtype)
        return name

    def of(self, op: str, *inputs: str, name: str = "", **attrs: Any) -> str:
        result = name or f"val_{len(self.nodes)}"
        self.nodes.append(node(op, list(inputs), [result], f"node_{result}", **attrs))
        return result

    def linear(self, x: str, path: str, given: int, made: int, *, weight: str = "") -> str:
        product = self.of("MatMul", x, self.weight(weight or f"{path}.weight", given, made))
        return self.of("Add", product, self.weight(f"{path}.bias", made))

    def norm(self, x: str, path: str) -> str:
        scale, bias = self.weight(f"{path}.weight", WIDTH), self.weight(f"{path}.bias", WIDTH)
        return self.of("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)

    def heads(self, x: str, perm: Sequence[int]) -> str:
        apart = self.of("Reshape", x, self.known([0, 0, HEADS, WIDTH // HEADS]))
        return self.of("Transpose", apart, perm=perm)

    def attention(self, q: str, k: str, v: str, mask: str = "", zero_nan: bool = False) -> str:
        """As torch exports scaled_dot_product_attention: the root of the scale on q and on k, k turned through rows."""
        width = WIDTH // HEADS
        root = self.known(np.float32(width**-0.25), np.float32)
        rows = self.of("Reshape", k, self.known([-1, 5, width]))
        turned = self.of("Transpose", rows, perm=[0, 2, 1])
        keys = self.of("Reshape", turned, self.known([-1, HEADS, width, 5]))
        scores = self.of("MatMul", self.of("Mul", q, root), self.of("Mul", keys, root))
        weights = self.of("Softmax", self.of("Add", scores, mask) if mask else scores, axis=-1)
        if zero_nan:
            weights = self.of("Where", self.of("IsNaN", weights), self.known(np.float32(0), np.float32), weights)
        context = self.of("MatMul", weights, v)
        return self.of("Reshape", self.of("Transpose", context, perm=[0, 2, 1, 3]), self.known([0, 0, WIDTH]))

    def layer(self, x: str, path: str, mask: str = "", made_up: bool = False) -> str:
        """A post-norm encoder layer. `made_up`: the matrices have lost their names."""
        q, k, v = (
            self.linear(
                x, f"{path}.self.{n}", WIDTH, WIDTH, weight=f"onnx::MatMul_{len(self.nodes)}" if made_up else ""
            )
            for n in ("query", "key", "value")
        )
        q, k, v = (self.heads(t, [0, 2, 1, 3]) for t in (q, k, v))
        a = self.linear(self.attention(q, k, v, mask, zero_nan=bool(mask)), f"{path}.output", WIDTH, WIDTH)
        a = self.norm(self.of("Add", a, x), f"{path}.output.norm")
        f = self.linear(a, f"{path}.fc1", WIDTH, 16)
        half = self.of("Mul", f, self.known(np.float32(0.5), np.float32))
        erf = self.of("Erf", self.of("Div", f, self.known(np.float32(2**0.5), np.float32)))
        one = self.of("Add", erf, self.known(np.float32(1), np.float32))
        f = self.linear(self.of("Mul", half, one), f"{path}.fc2", 16, WIDTH)
        return self.norm(self.of("Add", f, a), f"{path}.norm")

    def conv(self, x: str, path: str, given: int, made: int, kernel: int = 1, stride: int = 1) -> str:
        weight, bias = self.weight(f"{path}.weight", made, given, kernel, kernel), self.weight(f"{path}.bias", made)
        pads = [kernel // 2] * 4
        return self.of("Conv", x, weight, bias, pads=pads, strides=[stride, stride], kernel_shape=[kernel, kernel])


def encoder(count: int, *, inserted: int | None = None, made_up: bool = False, masked: bool = True) -> ModelProto:
    """Embedding, `count` layers, a head. `inserted`: the layer behind which one more op stands."""
    e = Export()
    inputs = [value("ids", ["batch", 5], TensorProto.INT64)]
    mask = ""
    if masked:
        inputs.append(value("attention_mask", ["batch", 5], TensorProto.INT64))
        kept = e.of("Unsqueeze", e.of("Cast", "attention_mask", to=TensorProto.BOOL), e.known([1, 2]))
        zero, low = e.known(np.float32(0), np.float32), e.known(np.float32(-3.4028235e38), np.float32)
    x = e.norm(e.of("Gather", e.weight("embeddings.word.weight", 20, WIDTH), "ids"), "embeddings.norm")
    if masked:
        mask = e.of("Where", kept, zero, low)
    for n in range(count):
        x = e.layer(x, f"encoder.layer.{n}", mask, made_up)
        if n == inserted:
            x = e.of("Tanh", x, name="inserted")
    e.of("Tanh", e.linear(x, "head", WIDTH, 3), name="scores")
    return model(e.nodes, inputs, ["scores"], e.weights)


def stacked_heads() -> ModelProto:
    """Attention as torch's MultiheadAttention has it: sequence first, one product for q, k and v, batch and heads in one."""
    e = Export()
    width = WIDTH // HEADS
    x = e.of("Transpose", e.norm("x", "norm"), perm=[1, 0, 2])
    qkv = e.of("Reshape", e.linear(x, "in_proj", WIDTH, 3 * WIDTH), e.known([5, -1, 3, WIDTH]))
    apart = e.of("Transpose", e.of("Unsqueeze", qkv, e.known([0])), perm=[3, 1, 2, 0, 4])
    parts = e.of("Squeeze", apart, e.known([3]))
    q, k, v = (e.of("Gather", parts, e.known(n), axis=0) for n in range(3))
    q, k, v = (e.of("Transpose", e.of("Reshape", t, e.known([5, -1, width])), perm=[1, 0, 2]) for t in (q, k, v))
    q, k, v = (e.of("Reshape", t, e.known([-1, HEADS, 5, width])) for t in (q, k, v))
    root = e.known(np.float32(width**-0.5), np.float32)
    scores = e.of("Mul", e.of("MatMul", q, e.of("Transpose", k, perm=[0, 1, 3, 2])), root)
    context = e.of("Transpose", e.of("MatMul", e.of("Softmax", scores, axis=-1), v), perm=[2, 0, 1, 3])
    rows = e.of("Reshape", context, e.known([-1, WIDTH]))
    weight, bias = e.weight("out_proj.weight", WIDTH, WIDTH), e.weight("out_proj.bias", WIDTH)
    y = e.of("Reshape", e.of("Gemm", rows, weight, bias, transB=1), e.known([5, -1, WIDTH]))
    e.of("Transpose", y, perm=[1, 0, 2], name="y")
    return model(e.nodes, [value("x", ["batch", 5, WIDTH])], ["y"], e.weights)


def residual_net(depth: int = 3) -> ModelProto:
    """A ResNet in small: stages of a projection and residual blocks, `depth` in all, widths and strides that vary."""
    e = Export()
    x = e.of("Relu", e.conv("image", "conv1", 3, 8, 3, 2))
    given = 8
    for stage, (width, stride) in enumerate(((4, 1), (8, 2), (12, 2)), 1):
        for n in range(depth):
            path = f"layer{stage}.{n}"
            a = e.of("Relu", e.conv(x, f"{path}.conv1", given, width))
            b = e.of("Relu", e.conv(a, f"{path}.conv2", width, width, 3, stride if n == 0 else 1))
            c = e.conv(b, f"{path}.conv3", width, 4 * width)
            skip = x if n else e.conv(x, f"{path}.downsample.0", given, 4 * width, 1, stride)
            x = e.of("Relu", e.of("Add", c, skip))
            given = 4 * width
    pooled = e.of("ReduceMean", x, axes=[2, 3], keepdims=1)
    rows = e.of("Reshape", pooled, e.known([-1, given]))
    e.of("Gemm", rows, e.weight("fc.weight", 5, given), e.weight("fc.bias", 5), transB=1, name="logits")
    return model(e.nodes, [value("image", ["batch", 3, 32, 32])], ["logits"], e.weights)


def dense_net(count: int) -> ModelProto:
    """Layers that each read the results of all before them."""
    e = Export()
    parts = [e.conv("image", "stem", 3, 8)]
    for n in range(count):
        joined = e.of("Concat", *parts, axis=1) if n else parts[0]
        narrow = e.of("Relu", e.conv(joined, f"layers.{n}.conv1", 8 + 4 * n, 8))
        parts.append(e.of("Relu", e.conv(narrow, f"layers.{n}.conv2", 8, 4, 3)))
    e.of("Concat", *parts, axis=1, name="y")
    return model(e.nodes, [value("image", ["batch", 3, 8, 8])], ["y"], e.weights)


def bottlenecks() -> ModelProto:
    """Stages of modules with one core, of which only some add what they are given."""
    e = Export()
    x = e.conv("image", "stem", 3, 8)
    for stage in range(3):
        for n in range(4):
            path = f"stages.{stage}.{n}"
            h = e.of("Relu", e.conv(x, f"{path}.up", 8, 16))
            h = e.of("Sigmoid", e.conv(h, f"{path}.spatial", 16, 16, 3, 2 if n == 0 else 1))
            h = e.conv(h, f"{path}.down", 16, 8)
            x = e.of("Add", h, x) if n else h
    e.of("Identity", x, name="y")
    return model(e.nodes, [value("image", ["batch", 3, 32, 32])], ["y"], e.weights)


def cached_decoder(count: int) -> ModelProto:
    """Layers that give their keys and values to the caller: each has results of its own."""
    e = Export()
    x = "x"
    outputs = []
    for n in range(count):
        path = f"layers.{n}"
        h = e.norm(x, f"{path}.norm")
        names = {"q": "", "k": f"present.{n}.key", "v": f"present.{n}.value"}
        q, k, v = (e.linear(h, f"{path}.{m}", WIDTH, WIDTH) for m in names)
        q = e.heads(q, [0, 2, 1, 3])
        k = e.of(
            "Transpose", e.of("Reshape", k, e.known([0, 0, HEADS, WIDTH // HEADS])), perm=[0, 2, 1, 3], name=names["k"]
        )
        v = e.of(
            "Transpose", e.of("Reshape", v, e.known([0, 0, HEADS, WIDTH // HEADS])), perm=[0, 2, 1, 3], name=names["v"]
        )
        x = e.of("Add", x, e.linear(e.attention(q, k, v), f"{path}.out", WIDTH, WIDTH))
        x = e.of("Add", x, e.linear(e.of("Relu", e.linear(x, f"{path}.up", WIDTH, 16)), f"{path}.down", 16, WIDTH))
        outputs += [names["k"], names["v"]]
    e.of("Identity", x, name="y")
    return model(e.nodes, [value("x", ["batch", 5, WIDTH])], ["y", *outputs], e.weights)
