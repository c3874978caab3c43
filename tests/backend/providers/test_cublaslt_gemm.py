"""Sums of products over arrays of any strides as matrix products: each plan, read as BLAS reads it, gives NumPy's
einsum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backend.providers.cublaslt_cases import Array, Lie
from trtn.backend.providers.cublaslt.gemm import Axis, Gemm, Matrix, NoGemmError, Offsets, plan_gemm


@dataclass(frozen=True)
class Sum:
    """Arrays with an axis for each of their labels; `k` is summed over."""

    arrays: dict[str, tuple[str, Array]]

    def plan(self, itemsize: int = 2) -> Gemm:
        labels, result = self.arrays["result"]
        outer = [
            Axis(d, **{name: _step(label, *of) for name, of in self.arrays.items()})
            for label, d in zip(labels, result.shape, strict=True)
        ]
        k = {n: _step("k", *self.arrays[n]) for n in ("left", "right")}
        size = self.arrays["left"][1].shape[self.arrays["left"][0].index("k")]
        there = {n: n in self.arrays for n in ("added", "bias")}
        return plan_gemm(outer, Axis(size, **k), itemsize=itemsize, **there)

    def expected(self) -> Array:
        (a, x), (b, y), (d, _) = (self.arrays[n] for n in ("left", "right", "result"))
        terms = [np.einsum(f"{a},{b}->{d}", x, y)]
        for labels, array in (self.arrays[n] for n in ("added", "bias") if n in self.arrays):
            terms.append(array.reshape([array.shape[labels.index(c)] if c in labels else 1 for c in d]))
        return np.asarray(sum(terms))

    def run(self, gemm: Gemm) -> Array:
        """Follow a plan as BLAS would, on the arrays' memory."""
        result = self.arrays["result"][1]
        for start in gemm.calls:
            left, right = self._side("left", gemm, start), self._side("right", gemm, start)
            value = right @ left if gemm.swapped else left @ right
            assert value.shape == (gemm.batch, gemm.m, gemm.n)
            if gemm.c is not None:
                value = value + _memory(self.arrays["added"][1], gemm.c, gemm.batch, start.added)
            if "bias" in self.arrays:
                value = value + np.lib.stride_tricks.as_strided(self.arrays["bias"][1], (gemm.m, 1), (8, 0))
            assert not gemm.d.transposed and not (gemm.c and gemm.c.transposed)
            _memory(result, gemm.d, gemm.batch, start.result)[...] = value
        return result

    def _side(self, name: str, gemm: Gemm, start: Offsets) -> Array:
        matrix = gemm.a if (name == "right") == gemm.swapped else gemm.b
        seen = _memory(self.arrays[name][1], matrix, gemm.batch, getattr(start, name))
        return seen.swapaxes(1, 2) if matrix.transposed else seen


def _step(label: str, labels: str, array: Array) -> int:
    axis = labels.find(label)
    return array.strides[axis] // array.itemsize if axis >= 0 and array.shape[axis] > 1 else 0


def _memory(array: Array, matrix: Matrix, batch: int, start: int) -> Array:
    raw = np.lib.stride_tricks.as_strided(array, (1,), (8,))
    first: Any = np.lib.stride_tricks.as_strided(raw, (start + 1,), (8,))[start:]
    assert matrix.ld >= matrix.rows
    return np.lib.stride_tricks.as_strided(
        first, (batch, matrix.rows, matrix.cols), (matrix.batch_stride * 8, 8, matrix.ld * 8)
    )


SIZES = {"b": 2, "c": 3, "m": 4, "n": 5, "k": 6}


@st.composite
def sums(draw: st.DrawFn) -> Sum:
    """A product of arrays whose axes are in any order in memory, some with gaps, some axes of one place."""
    sizes = {label: draw(st.sampled_from([1, d, d])) for label, d in SIZES.items()}
    batch = draw(st.sampled_from(["", "b", "bc"]))
    left = "".join(x for x in batch if draw(st.booleans())) + draw(st.sampled_from(["mk", "mk", "k"]))
    right = "".join(x for x in batch if x not in left or draw(st.booleans())) + draw(st.sampled_from(["kn", "kn", "k"]))
    result = batch + "".join(x for x in "mn" if x in left + right)
    labels = {"left": left, "right": right, "result": result}
    if draw(st.booleans()):
        labels["added"] = result
    if "n" in result and draw(st.booleans()):
        labels["bias"] = "n"
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    arrays = {}
    for name, text in labels.items():
        plain = name == "bias" or draw(st.booleans())
        order = tuple(range(len(text))) if plain else tuple(draw(st.permutations(range(len(text)))))
        gap = 0 if name == "bias" else draw(st.sampled_from([0, 0, 3]))
        arrays[name] = (text, Lie(order, gap).place(rng.standard_normal([sizes[x] for x in text])))
    return Sum(arrays)


@given(sums())
@settings(max_examples=200, deadline=None)
def test_a_plan_gives_the_sum(case: Sum) -> None:
    try:
        gemm = case.plan()
    except NoGemmError:
        return
    case.arrays["result"][1][...] = np.nan
    np.testing.assert_allclose(case.run(gemm), case.expected(), rtol=1e-12, atol=1e-12)


@given(sums())
@settings(max_examples=100, deadline=None)
def test_dense_arrays_always_have_a_plan(case: Sum) -> None:
    dense = {name: (labels, np.array(array, order="C")) for name, (labels, array) in case.arrays.items()}
    assert len(Sum(dense).plan().calls) <= 6


def _arrays(**given: tuple[str, tuple[int, ...], Lie]) -> Sum:
    return Sum({n: (labels, lie.place(np.ones(shape))) for n, (labels, shape, lie) in given.items()})


def test_a_batch_before_one_matrix_is_more_rows() -> None:
    case = _arrays(left=("bmk", (5, 24, 16), Lie()), right=("kn", (16, 32), Lie()), result=("bmn", (5, 24, 32), Lie()))
    assert case.plan() == Gemm(
        32, 120, 16, 1, Matrix(32, 16, 32), Matrix(16, 120, 16), None, Matrix(32, 120, 32), swapped=True
    )


def test_columns_of_the_result_side_by_side_need_no_swap() -> None:
    case = _arrays(left=("mk", (24, 16), Lie()), right=("kn", (16, 32), Lie()), result=("mn", (24, 32), Lie((1, 0))))
    plan = case.plan()
    assert not plan.swapped and plan.a == Matrix(16, 24, 16, True) and plan.d == Matrix(24, 32, 24)


def test_a_bias_wants_channels_side_by_side() -> None:
    case = _arrays(
        left=("mk", (24, 16), Lie()),
        right=("kn", (16, 32), Lie()),
        bias=("n", (32,), Lie()),
        result=("mn", (24, 32), Lie((1, 0))),
    )
    with pytest.raises(NoGemmError, match="neighbours"):
        case.plan()


def test_an_array_that_runs_backwards_is_refused() -> None:
    rows, cols = Axis(24, left=-16, result=32), Axis(32, right=1, result=1)
    with pytest.raises(NoGemmError, match="backwards"):
        plan_gemm([rows, cols], Axis(16, left=1, right=32), added=False, bias=False, itemsize=2)


def test_nothing_is_not_a_product() -> None:
    with pytest.raises(NoGemmError, match="empty"):
        plan_gemm([Axis(0, left=4, result=4)], Axis(4, left=1, right=1), added=False, bias=False, itemsize=2)
