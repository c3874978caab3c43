"""Small networks for the tests of passes and fusion, and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.interpreter import evaluate_network
from trtn.backend.passes import run_passes, verify
from trtn.backend.passes.base import Pass
from trtn.dsl.builder import Builder
from trtn.dsl.dims import Range, symbol
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Layer, Network, Tensor, walk

F16, F32, F64, I32, I64, BOOL = (BY_NAME[n] for n in ("f16", "f32", "f64", "i32", "i64", "bool"))
N = symbol("N")


class Net(Builder):
    """A builder over one dim N in 1..8, with constants from a fixed seed; `of` adds a layer, gives its first result."""

    def __init__(self) -> None:
        super().__init__("test", dims={"N": Range(1, 8)})
        self.random = np.random.default_rng(7)
        self.count = 0

    def x(self, *shape: Any, name: str = "x", dtype: Any = F32) -> Tensor:
        return self.input(name, dtype, (N, *shape))

    def c(self, *shape: int, positive: bool = False) -> Tensor:
        values = self.random.standard_normal(shape).astype(np.float32)
        return self.constant(np.abs(values) + 0.5 if positive else values)

    def k(self, value: Any, dtype: Any = np.float32) -> Tensor:
        return self.constant(np.array(value, dtype))

    def of(self, op: str, *inputs: Tensor | None, name: str = "", **attrs: Any) -> Tensor:
        self.count += 1
        return self.layer(op, *inputs, name=name or f"{op}{self.count}", **attrs)[0]

    def done(self, *outputs: Tensor) -> Network:
        network = self.finish([(f"y{n or ''}", t) for n, t in enumerate(outputs)])
        verify(network)
        return network


def ops(network: Network) -> list[str]:
    return [layer.op.name for layer in walk(network.graph)]


def only(network: Network, op: str) -> Layer:
    (layer,) = [layer for layer in walk(network.graph) if layer.op.name == op]
    return layer


def feeds_for(network: Network, n: int = 2, seed: int = 3) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    feeds = {}
    for t in network.inputs:
        shape = tuple(d if isinstance(d, int) else n for d in t.shape)
        if t.dtype is BOOL:
            feeds[t.name] = random.random(shape) < 0.5
        else:
            feeds[t.name] = (random.standard_normal(shape) * 2).astype(t.dtype.numpy)
    return feeds


def assert_same(before: Network, after: Network, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    """The interface is the same and so are the results: exactly, unless tolerances say otherwise."""
    assert [(t.name, t.dtype, t.shape) for t in before.inputs] == [(t.name, t.dtype, t.shape) for t in after.inputs]
    assert [(t.name, t.dtype, t.shape) for t in before.outputs] == [(t.name, t.dtype, t.shape) for t in after.outputs]
    feeds = feeds_for(before)
    expected, actual = evaluate_network(before, feeds), evaluate_network(after, feeds)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_allclose(actual[name], array, rtol=rtol, atol=atol, err_msg=name)


def rewritten(network: Network, *passes: Pass, rtol: float = 0.0, atol: float = 0.0, **options: Any) -> Network:
    """The network after passes, checked against what it was."""
    result = run_passes(network, passes or None, verify=True, **options)
    assert_same(network, result, rtol=rtol, atol=atol)
    return result


def _unary(b: Net, pool: Sequence[Tensor], pick: Any) -> Tensor:
    name = pick(
        ["relu", "neg", "sigmoid", "tanh", "abs", "identity", "floor", "softmax", "square", "halve", "plus", "times"]
    )
    x = pick(pool)
    if name == "square":
        return b.of("pow", x, b.k(2.0))
    if name == "halve":
        return b.of("div", x, b.k(2.0))
    if name in ("plus", "times"):
        value = pick([0.0, 1.0, 0.5])
        operands = [x, b.k(value)]
        return b.of("add" if name == "plus" else "mul", *(operands if pick([True, False]) else operands[::-1]))
    return b.of(name, x)


def _shaped(b: Net, pool: Sequence[Tensor], pick: Any) -> Tensor:
    x = pick(pool)
    kind = pick(["transpose", "reshape", "unsqueeze", "pad", "slice", "concat", "cast", "size"])
    if kind == "transpose":
        return b.of("transpose", x, perm=pick([(0, 1, 2), (0, 2, 1)]))
    if kind == "reshape":
        return b.of("reshape", x, shape=pick([(N, 4, 4), (N, 16), (N, 2, 8)]))
    if kind == "unsqueeze":
        return b.of("squeeze", b.of("unsqueeze", x, axes=(1,)), axes=(1,))
    if kind == "pad":
        amount = pick([0, 1])
        padded = b.of("pad", x, pads=(0, amount, 0, 0, 0, 0))
        return b.of("slice", padded, start=(amount,), axes=(1,))
    if kind == "slice":
        return b.of("slice", x, start=(0,), end=(4,), axes=(2,))
    if kind == "concat":
        both = b.of("concat", x, pick(pool), axis=1)
        return b.layer("split", both, axis=1, sizes=(4, 4), name=f"split{b.count}")[pick([0, 1])]
    if kind == "cast":
        return b.of("cast", b.of("cast", x, to=F64), to=F32)
    length = b.of("dims", values=(N, 4))
    return b.of("reshape", x, b.of("concat", length, b.k([4], np.int64), axis=0))


def _product(b: Net, pool: Sequence[Tensor], pick: Any) -> Tensor:
    x = pick(pool)
    kind = pick(["matmul", "linear", "conv", "norm", "layer_norm", "weights"])
    if kind == "matmul":
        return b.of("add", b.of("matmul", x, b.c(4, 4)), b.c(4))
    if kind == "linear":
        return b.of("mul", b.of("linear", x, b.c(4, 4), b.c(4)), b.c(4))
    if kind == "conv":
        return b.of("conv", x, b.c(4, 4, 3), pads=1)
    if kind == "norm":
        return b.of("batch_norm", x, b.c(4), b.c(4), b.c(4), b.c(4, positive=True))
    if kind == "layer_norm":
        return b.of("layer_norm", b.of("add", x, pick(pool)), b.c(4), b.c(4))
    return b.of("add", x, b.of("matmul", b.c(4, 4), b.c(4, 4)))


@st.composite
def networks(draw: Any) -> Network:
    """Random networks over tensors of [N, 4, 4], with one to three outputs, dead ends included."""
    b = Net()
    pool = [b.x(4, 4), b.x(4, 4, name="z")]

    def pick(options: Sequence[Any]) -> Any:
        return options[draw(st.integers(0, len(options) - 1))]

    for _ in range(draw(st.integers(1, 12))):
        kind = pick(["unary", "unary", "binary", "shape", "product"])
        if kind == "binary":
            y = b.of(pick(["add", "sub", "mul", "max"]), pick(pool), pick(pool))
        else:
            y = {"unary": _unary, "shape": _shaped, "product": _product}[kind](b, pool, pick)
        if y.shape != (N, 4, 4):
            y = b.of("reshape", y, shape=(N, 4, 4))
        pool.append(y)
    outputs = [pool[-1], *(pick(pool) for _ in range(draw(st.integers(0, 2))))]
    return b.done(*outputs)
