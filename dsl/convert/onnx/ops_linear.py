"""Matrix products."""

from __future__ import annotations

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.network import Tensor

__all__: list[str] = []


@onnx_op("MatMul")
def _matmul(n: Call) -> Results:
    return n.emit("matmul", n.tensor(0), n.tensor(1))


@onnx_op("Gemm")
def _gemm(n: Call) -> Results:
    """`linear`, with the weight as [in, out]: a weight that the file holds the other way round is read transposed."""
    a, b, c = n.tensor(0), n.tensor(1), n.maybe(2)
    if a.rank != 2 or b.rank != 2:
        refuse(f"its matrices are {a.type} and {b.type}")
    alpha, beta = tidy(n.number("alpha", 1.0)), tidy(n.number("beta", 1.0))
    if n.flag("transA"):
        a = n.emit("transpose", a, part="x", perm=(1, 0))
    if n.flag("transB"):
        b = n.transposed(b)
    if beta == 0.0:
        c = None
    if c is not None and beta != 1.0:
        c = n.emit("mul", c, n.like(beta, c), part="bias")
    if alpha != 1.0:
        a = n.emit("mul", a, n.like(alpha, a), part="scaled")
    if c is None or _is_bias(c, b):
        return n.emit("linear", a, b, c)
    return n.emit("add", n.emit("linear", a, b, part="product"), c)


def _is_bias(c: Tensor, weight: Tensor) -> bool:
    """Whether c has one entry for each column, so that `linear` takes it."""
    return c.rank == 1 and c.shape[0] == weight.shape[1]


@onnx_op("Einsum")
def _einsum(n: Call) -> Results:
    return n.emit("einsum", *n.tensors(), equation=n.text("equation").replace(" ", ""))


@onnx_op("MatMulInteger")
def _matmul_integer(n: Call) -> Results:
    return n.emit("matmul_integer", n.tensor(0), n.tensor(1), n.maybe(2), n.maybe(3))
