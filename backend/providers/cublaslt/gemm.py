"""A sum of products over arrays with strides, as matrix products in BLAS's terms. Plain numbers: no library, no arrays.

What comes in are axes, each with its stride in every array (0 where the array has no such axis, or repeats along it).
Axes of the result that only the left side has are rows, those that only the right side has are columns, those that both
have are a batch. What comes out is D = op(A) op(B) + C over column-major matrices, once or a few times, nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product

__all__ = ["Axis", "Gemm", "Matrix", "NoGemmError", "Offsets", "plan_gemm"]

CALL_LIMIT = 16
"""Launches for one product, where its batch has strides that no single one can follow."""
VECTOR = 16
"""Bytes: the widest access of a thread. Columns that start at multiples of it are read fastest."""


class NoGemmError(Exception):
    """Arrays that lie in memory in a way that no matrix product can take; the message says which."""


@dataclass(frozen=True, slots=True)
class Axis:
    """`size` places, and the distance between two neighbours in each array, in elements."""

    size: int
    left: int = 0
    right: int = 0
    added: int = 0
    """In the array that is added to the result (a residual)."""
    bias: int = 0
    result: int = 0

    def absorbs(self, other: Axis) -> bool:
        """Whether this axis and the one inside it are one axis to every array."""
        return all(getattr(self, n) == other.size * getattr(other, n) for n in _STRIDES)


_STRIDES = tuple(f.name for f in fields(Axis) if f.name != "size")


@dataclass(frozen=True, slots=True)
class Matrix:
    """Element (i, j) of `rows` x `cols` lies at i + j * ld; `transposed` says that the product takes (j, i)."""

    rows: int
    cols: int
    ld: int
    transposed: bool = False
    batch_stride: int = 0


@dataclass(frozen=True, slots=True)
class Offsets:
    """Where a launch starts in each array, in elements."""

    left: int = 0
    right: int = 0
    added: int = 0
    result: int = 0


@dataclass(frozen=True, slots=True)
class Gemm:
    """D[m, n] = op(A)[m, k] op(B)[k, n] + C[m, n], `batch` times, for each of `calls`.

    `swapped`: A is the right array and B the left one, so that D is the result seen transposed, as a row-major
    result must be. A bias then runs along the rows of D, where cuBLASLt wants it.
    """

    m: int
    n: int
    k: int
    batch: int
    a: Matrix
    b: Matrix
    c: Matrix | None
    d: Matrix
    swapped: bool
    calls: tuple[Offsets, ...] = (Offsets(),)


def plan_gemm(outer: Sequence[Axis], inner: Axis, *, added: bool, bias: bool, itemsize: int) -> Gemm:
    """The product over axes of the result (`outer`) and the one that is summed over (`inner`).

    added, bias: whether there are such arrays. itemsize: of an element of the operands, in bytes; decides between
    equals. Raises NoGemmError.
    """
    if any(axis.size == 0 for axis in (*outer, inner)):
        raise NoGemmError("it is empty")
    if any(getattr(axis, n) < 0 for axis in (*outer, inner) for n in _STRIDES):
        raise NoGemmError("an array runs backwards")
    axes = [axis for axis in sorted(outer, key=lambda a: -a.result) if axis.size > 1]
    rows = _joined([a for a in axes if not a.right])
    cols = _joined([a for a in axes if a.right and not a.left])
    batch = [a for a in axes if a.right and a.left]
    one = Axis(1)
    found: list[Gemm] = []
    for row, col, swapped in product([*rows, one], [*cols, one], (True, False)):
        others = [a for a in (*rows, *cols) if a is not row and a is not col]
        rest = _joined(sorted([*batch, *others], key=lambda a: -a.result))
        along, across = (col, row) if swapped else (row, col)
        if bias and (across.bias or any(a.bias for a in rest) or (along.size > 1 and along.bias != 1)):
            continue
        found += _over(row, col, inner, rest, swapped, added)
    if not found:
        raise NoGemmError("its arrays are not matrices with neighbours along rows or columns")
    return min(found, key=lambda g: (len(g.calls), -g.m * g.n, _misaligned(g, itemsize), not g.swapped))


def _joined(axes: Sequence[Axis]) -> list[Axis]:
    """The axes, from the slowest to the fastest, with neighbours made one where every array allows it."""
    joined: list[Axis] = []
    for axis in axes:
        if joined and joined[-1].absorbs(axis):
            axis = replace(axis, size=axis.size * joined.pop().size)
        joined.append(axis)
    return joined


def _over(row: Axis, col: Axis, inner: Axis, rest: Sequence[Axis], swapped: bool, added: bool) -> Iterator[Gemm]:
    """The product with `row` and `col` as its rows and columns, the `rest` as a batch and several calls."""
    left = _matrix(row.size, row.left, inner.size, inner.left)
    right = _matrix(inner.size, inner.right, col.size, col.right)
    d = _target(row, col, swapped, "result")
    c = _target(row, col, swapped, "added") if added else None
    if left is None or right is None or d is None or (added and c is None):
        return
    wide = max(rest, key=lambda a: a.size, default=Axis(1))
    calls = tuple(_offsets([a for a in rest if a is not wide]))
    if len(calls) > CALL_LIMIT:
        return
    left, right = replace(left, batch_stride=wide.left), replace(right, batch_stride=wide.right)
    d = replace(d, batch_stride=wide.result)
    c = replace(c, batch_stride=wide.added) if c is not None else None
    a, b = (_turned(right), _turned(left)) if swapped else (left, right)
    m, n = (col.size, row.size) if swapped else (row.size, col.size)
    yield Gemm(m, n, inner.size, wide.size, a, b, c, d, swapped, calls)


def _matrix(rows: int, row_stride: int, cols: int, col_stride: int) -> Matrix | None:
    """A matrix of any strides as a column-major one, itself or transposed; None where it is neither."""
    plain = Matrix(rows, cols, col_stride if cols > 1 else rows) if row_stride == 1 or rows == 1 else None
    turned = Matrix(cols, rows, row_stride if rows > 1 else cols, True) if col_stride == 1 or cols == 1 else None
    fitting = [m for m in (plain, turned) if m is not None and m.ld >= m.rows]
    return max(fitting, key=lambda m: m.ld, default=None)  # a vector lies along its columns, not across them


def _turned(matrix: Matrix) -> Matrix:
    return replace(matrix, transposed=not matrix.transposed)


def _target(row: Axis, col: Axis, swapped: bool, name: str) -> Matrix | None:
    """C or D, which cuBLASLt doesn't transpose."""
    across, along = (row, col) if swapped else (col, row)
    step, ld = getattr(along, name), getattr(across, name) if across.size > 1 else along.size
    return Matrix(along.size, across.size, ld) if (step == 1 or along.size == 1) and ld >= along.size else None


def _offsets(axes: Sequence[Axis]) -> Iterator[Offsets]:
    for places in product(*(range(a.size) for a in axes)):
        steps = {
            n: sum(p * getattr(a, n) for p, a in zip(places, axes, strict=True))
            for n in ("left", "right", "added", "result")
        }
        yield Offsets(**steps)


def _misaligned(gemm: Gemm, itemsize: int) -> int:
    """How many matrices have columns that start anywhere."""
    matrices = [m for m in (gemm.a, gemm.b, gemm.c, gemm.d) if m is not None]
    return sum(1 for m in matrices if m.ld * itemsize % VECTOR)
