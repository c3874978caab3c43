from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import dim_min, evaluate, symbol
from trtn.dsl.ops.infer import InferFailure

B, S, T = symbol("B"), symbol("S"), symbol("T")
X = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


def sliced(size: Any, **attrs: Any) -> Any:
    return infer("slice", tensor("f32", size), **attrs).types[0].shape[0]


def test_slices_of_symbolic_dims_come_out_simple() -> None:
    assert sliced(S, start=[1]) == S - 1
    assert sliced(S, start=[0], end=[S]) == S
    assert sliced(S) == S
    assert sliced(S, end=[2**63 - 1]) == S
    assert sliced(S, end=[-1]) == S - 1
    assert sliced(S, end=[512]) == dim_min(S, 512)
    assert sliced(S, start=[-3]) == dim_min(S, 3)
    assert sliced(S + T, end=[S]) == S
    assert sliced(S + T, start=[S]) == T
    assert sliced(512, end=[S]) == dim_min(S, 512)
    assert sliced(2 * S, step=[2]) == S
    assert sliced(S, start=[-1], end=[-(2**63)], step=[-1]) == S
    assert sliced(S, end=[S - 1]) == S - 1
    assert sliced(S, start=[1], end=[-1]) == S - 2
    assert sliced(S, start=[-S + 1]) == 1 or sliced(S, start=[S - 1]) == 1


def test_slices_demand_what_makes_them_right() -> None:
    (demand,) = infer("slice", tensor("f32", S), start=[5]).requirements
    assert demand.relation.holds({"S": 5}) and not demand.relation.holds({"S": 4})
    assert infer("slice", tensor("f32", S), end=[7]).requirements == ()


@settings(max_examples=300, deadline=None)
@given(
    size=st.integers(1, 9),
    start=st.none() | st.integers(-12, 12),
    end=st.none() | st.integers(-12, 12) | st.just(2**31) | st.just(-(2**63)),
    step=st.sampled_from([1, 2, 3, -1, -2]),
)
def test_slice_lengths_hold_wherever_the_demands_do(size: int, start: int | None, end: int | None, step: int) -> None:
    attrs = {
        "start": None if start is None else [start],
        "end": None if end is None else [end],
        "step": [step],
    }
    x = np.arange(size)
    (y,) = run_ours("slice", x, **attrs)
    np.testing.assert_array_equal(y, x[start:end:step])
    inferred = infer("slice", tensor("f32", S), **attrs)
    if all(r.relation.holds({"S": size}) for r in inferred.requirements):
        assert evaluate(inferred.types[0].shape[0], {"S": size}) == len(y)


@settings(max_examples=100, deadline=None)
@given(size=st.integers(1, 9), start=st.integers(0, 9), end=st.integers(0, 12), step=st.sampled_from([1, 2]))
def test_slices_between_symbolic_bounds(size: int, start: int, end: int, step: int) -> None:
    inferred = infer("slice", tensor("f32", S), start=[B], end=[T], step=[step])
    env = {"S": size, "B": start, "T": end}
    if all(r.relation.holds(env) for r in inferred.requirements):
        assert evaluate(inferred.types[0].shape[0], env) == len(range(size)[start:end:step])


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1], [3], [1], [1]),
        ([0, -3], [10, -1], [0, 2], [2, 1]),
        ([-1], [-(2**63)], [2], [-2]),
        ([3], [1], [1], [1]),
        ([2, 1], [9, 9], [2, 0], [1, 1]),
    ],
)
def test_slice_matches_onnxruntime(starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> None:
    bounds = [np.array(v) for v in (starts, ends, steps)]
    expected = run_ort("Slice", [X, bounds[0], bounds[1], np.array(axes), bounds[2]], {})[0]
    np.testing.assert_array_equal(run_ours("slice", X, start=starts, end=ends, axes=axes, step=steps)[0], expected)
    np.testing.assert_array_equal(run_ours("slice", X, *bounds, known=[1, 2, 3], axes=axes)[0], expected)
    np.testing.assert_array_equal(run_ours("slice", X, *bounds, axes=axes)[0], expected)


@pytest.mark.parametrize(
    ("attrs", "code"),
    [
        ({"start": [0], "step": [0]}, "E0304"),
        ({"start": [0], "end": [1, 2]}, "E0304"),
        ({"start": [0, 0], "axes": [1, 1]}, "E0304"),
        ({"start": [0], "axes": [7]}, "E0304"),
    ],
)
def test_slice_refuses(attrs: dict[str, Any], code: str) -> None:
    with pytest.raises(InferFailure) as failure:
        infer("slice", tensor(X), **attrs)
    assert failure.value.code == code


def test_known_elements_follow() -> None:
    shape = tensor("i64", 4, value=(B, S, T, 3))
    assert infer("slice", shape, start=[1], end=[-1]).value == (S, T)
    assert infer("slice", shape, step=[-1]).value == (3, T, S, B)
    assert infer("concat", shape, tensor("i64", 1, value=(7,)), axis=0).value == (B, S, T, 3, 7)
    assert infer("concat", shape, tensor("i64", 1), axis=0).value is None
    assert infer("split", shape, sizes=(1, 3)).value == (B,)


def test_concat() -> None:
    a, b = X, X[:, :2]
    np.testing.assert_array_equal(run_ours("concat", a, b, axis=-2)[0], run_ort("Concat", [a, b], {"axis": 1})[0])
    inferred = infer("concat", tensor("f32", B, S, 4), tensor("f32", B, T, 4), tensor("f32", B, 2, 4), axis=1)
    assert inferred.types[0].shape == (B, S + T + 2, 4) and inferred.requirements == ()
    for other, code in (
        (tensor("f32", 2, 4, 4), "E0312"),
        (tensor("f32", 3, 4), "E0303"),
        (tensor("f16", 3, 4, 5), "E0302"),
    ):
        with pytest.raises(InferFailure) as failure:
            infer("concat", tensor(X), other, axis=1)
        assert failure.value.code == code


def test_split() -> None:
    for ours, theirs in (
        (
            run_ours("split", X, axis=1, sizes=[1, 3]),
            run_ort("Split", [X, np.array([1, 3])], {"axis": 1}, outputs=2),
        ),
        (
            run_ours("split", X, axis=2, parts=2),
            run_ort("Split", [X], {"axis": 2, "num_outputs": 2}, outputs=2),
        ),
    ):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.shares_memory(a, a.base)
    assert [t.shape for t in infer("split", tensor("f32", 3 * S, 2), wanted=3).types] == [(S, 2)] * 3
    assert [t.shape for t in infer("split", tensor("f32", 2, 3 * S), axis=1, parts=1).types] == [(2, 3 * S)]
    inferred = infer("split", tensor("f32", S), parts=2)
    assert [evaluate(t.shape[0], {"S": 7}) for t in inferred.types] == [4, 3]
    again = infer("split", tensor("f32", S), **inferred.attrs)
    assert again.types == inferred.types
    for attrs, code in (
        ({"sizes": [1, 1]}, "E0312"),
        ({}, "E0304"),
        ({"sizes": [4, -1]}, "E0304"),
        ({"sizes": [3], "parts": 1}, "E0304"),
    ):
        with pytest.raises(InferFailure) as failure:
            infer("split", tensor(X), **attrs)
        assert failure.value.code == code


def test_the_first_piece_of_too_few_elements_has_no_known_value() -> None:
    """Whether there are enough depends on the other piece: that is asked, and nothing is known till then."""
    inferred = infer("split", tensor("i64", 2, value=(7, 8)), sizes=[3, S])
    assert inferred.value is None and [str(r.relation) for r in inferred.requirements][-1] == "S + 3 == 2"
