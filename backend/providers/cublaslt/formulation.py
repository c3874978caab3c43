"""A problem as a matrix product of cuBLASLt's: which arrays are A, B, C and D, and how each lies in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd

from trtn.backend.problem import ArrayLayout, Problem, dense_strides
from trtn.backend.providers.cublaslt.epilogue import Cut
from trtn.backend.providers.cublaslt.gemm import Axis, Gemm, Matrix, NoGemmError, plan_gemm
from trtn.backend.providers.cublaslt.numbers import NUMBERS, Numbers
from trtn.backend.providers.cublaslt.products import K, Labels, N, product_of
from trtn.dsl.network import Tensor

__all__ = ["Formulation", "formulations"]


@dataclass(frozen=True, slots=True)
class Formulation:
    """`left`, `right`, `bias` and `added` are numbers of inputs of the group.

    `order` names the right side's memory: `kn` where neighbours share what is summed over, `nk` where they share the
    channel. `packed`, where the right side is a weight that lies in the other order, has the axes of the form that it
    is packed in, from the slowest to the fastest.
    """

    cut: Cut
    gemm: Gemm
    numbers: Numbers
    order: str
    left: int
    right: int
    bias: int | None
    added: int | None
    packed: tuple[int, ...] | None
    alignments: tuple[int, int, int, int]
    """What the addresses of A, B, C and D are multiples of, in bytes."""
    bias_alignment: int

    @property
    def name(self) -> str:
        """How the right side lies and what is computed: `kn.bias_relu`, `tf32.kn.bias`."""
        return ".".join(part for part in (self.numbers.name, self.order, str(self.cut.fused)) if part)


def formulations(problem: Problem, cut: Cut) -> list[Formulation]:
    """The problem with the right side as it lies and, where that is a weight, packed in the other order; then the same
    in less precision, where there is such a thing.

    Raises NoGemmError where there is no such product.
    """
    found: list[Formulation] = []
    reason: NoGemmError | None = None
    for layout, packed in _right_sides(problem):
        try:
            found.append(_formulation(problem, cut, layout, packed))
        except NoGemmError as e:
            reason = reason or e
    if not found and reason is not None:
        raise reason
    dtypes = problem.layout(_operand(problem, 0)).dtype.name, problem.outputs[0].dtype.name
    return [replace(plan, numbers=numbers) for numbers in NUMBERS[dtypes] for plan in found]


def _formulation(problem: Problem, cut: Cut, right: ArrayLayout, packed: tuple[int, ...] | None) -> Formulation:
    group, fused = problem.group, cut.fused
    layer = group.layers[0]
    number = {id(t): n for n, t in enumerate(group.inputs)}
    labels = _labels(problem)
    left, result = problem.layout(_operand(problem, 0)), problem.outputs[0]
    bias = problem.layout(fused.bias) if fused.bias is not None else None
    added = problem.layout(fused.added) if fused.added is not None else None
    own_bias = len(layer.inputs) > 2 and fused.bias is layer.inputs[2]
    steps = {
        "left": _steps(left, labels[0]),
        "right": _steps(right, labels[1]),
        "result": _steps(result, labels[2]),
        "bias": _steps(bias, (N,) if own_bias else labels[2][-len(bias.shape) :]) if bias is not None else {},
        "added": _steps(added, labels[2]) if added is not None else {},
    }
    outer = [
        Axis(size, **{name: step.get(label, 0) for name, step in steps.items()})
        for label, size in zip(labels[2], result.shape, strict=True)
        if label is not None
    ]
    summed = left.shape[labels[0].index(K)]
    inner = Axis(summed, left=steps["left"].get(K, 1), right=steps["right"].get(K, 1))
    gemm = plan_gemm(outer, inner, added=added is not None, bias=bias is not None, itemsize=left.dtype.itemsize)

    def alignment(name: str, layout: ArrayLayout, matrix: Matrix) -> int:
        """What every address that a matrix starts at, in any launch and batch, is a multiple of."""
        starts = (getattr(offsets, name) for offsets in gemm.calls)
        return gcd(layout.align, *(layout.dtype.itemsize * n for n in (*starts, matrix.batch_stride)))

    first, second = ("right", right), ("left", left)
    if not gemm.swapped:
        first, second = second, first
    d = alignment("result", result, gemm.d)
    return Formulation(
        cut=cut,
        gemm=gemm,
        numbers=NUMBERS[left.dtype.name, result.dtype.name][0],
        order=_order(right, labels[1]),
        left=number[id(_operand(problem, 0))],
        right=number[id(_operand(problem, 1))],
        bias=number[id(fused.bias)] if fused.bias is not None else None,
        added=number[id(fused.added)] if fused.added is not None else None,
        packed=packed,
        alignments=(
            alignment(*first, gemm.a),
            alignment(*second, gemm.b),
            alignment("added", added, gemm.c) if added is not None and gemm.c is not None else d,
            d,
        ),
        bias_alignment=bias.align if bias is not None else 16,
    )


def _labels(problem: Problem) -> tuple[Labels, Labels, Labels]:
    product = product_of(problem.group)
    assert product is not None, problem
    return product.labels(problem.group.layers[0])


def _operand(problem: Problem, number: int) -> Tensor:
    tensor = problem.group.layers[0].inputs[number]
    assert tensor is not None
    return tensor


def _right_sides(problem: Problem) -> Sequence[tuple[ArrayLayout, tuple[int, ...] | None]]:
    """Layouts of the right side: as it lies, and packed in the other order, with that order of its axes."""
    layout, labels = problem.layout(_operand(problem, 1)), _labels(problem)[1]
    if not layout.constant or not {K, N} <= _steps(layout, labels).keys():
        return [(layout, None)]
    last = (K, N) if _order(layout, labels) == "nk" else (N, K)
    axes = tuple(a for a, label in enumerate(labels) if label not in last) + tuple(labels.index(x) for x in last)
    dense = dense_strides([layout.shape[a] for a in axes])
    strides = tuple(dense[axes.index(a)] for a in range(len(axes)))
    return [(layout, None), (replace(layout, strides=strides, align=16), axes)]


def _order(layout: ArrayLayout, labels: Labels) -> str:
    step = _steps(layout, labels)
    return "nk" if step.get(K, 1) < step.get(N, 1) else "kn"


def _steps(layout: ArrayLayout, labels: Labels) -> dict[str | None, int]:
    """Strides by label. An axis of one place, which may stand for many, is not there."""
    return {x: s for x, s, d in zip(labels, layout.strides, layout.shape, strict=True) if x is not None and d != 1}
