"""arg_max, arg_min and top_k, against ONNX Runtime and sorting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.ops.infer import InferFailure

RNG = np.random.default_rng(5)
B, S = symbol("B"), symbol("S")


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(("name", "onnx"), [("arg_max", "ArgMax"), ("arg_min", "ArgMin")])
def test_arg_like_ort(name: str, onnx: str, axis: int, keepdims: bool, last: bool) -> None:
    x = RNG.integers(0, 4, (4, 5, 6)).astype(np.float32)  # with many ties
    attrs = {"axis": axis, "keepdims": int(keepdims), "select_last_index": int(last)}
    (y,) = run_ours(name, x, axis=axis, keepdims=keepdims, last=last)
    np.testing.assert_array_equal(y, run_ort(onnx, [x], attrs)[0])


def test_arg_of_rank_1() -> None:
    (y,) = run_ours("arg_max", np.array([3, 9, 9], np.int32))
    assert y.shape == ()
    assert y.tolist() == 1
    assert run_ours("arg_max", np.array([3, 9, 9], np.int32), last=True)[0].tolist() == 2


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("axis", [-1, 1, 0])
@pytest.mark.parametrize("dtype", ["float32", "int64", "int32"])
def test_top_k_like_ort(dtype: str, axis: int, k: int, largest: bool) -> None:
    x = RNG.integers(0, 50, (7, 8, 80)).astype(dtype)  # with many ties
    expected = run_ort("TopK", [x, np.array([k])], {"axis": axis, "largest": int(largest)}, outputs=2)
    for ours in (
        run_ours("top_k", x, k=k, axis=axis, largest=largest),
        run_ours("top_k", x, np.array([k]), axis=axis, largest=largest),
        run_ours("top_k", x, np.array(k), axis=axis, largest=largest, known=[1]),
    ):
        np.testing.assert_array_equal(ours[0], expected[0])
        np.testing.assert_array_equal(ours[1], expected[1])


def test_top_k_of_unsigned_and_of_few_among_many() -> None:
    x = RNG.integers(0, 3, 4000).astype(np.uint8)
    values, indices = run_ours("top_k", x, k=5)
    assert values.tolist() == [2] * 5
    assert indices.tolist() == np.nonzero(x == 2)[0][:5].tolist()
    _, indices = run_ours("top_k", x, k=5, largest=False)
    assert indices.tolist() == np.nonzero(x == 0)[0][:5].tolist()


def test_top_k_takes_nan_for_the_greatest() -> None:
    x = np.arange(100, dtype=np.float32)
    x[7] = np.nan
    values, indices = run_ours("top_k", x, k=3)
    assert indices.tolist() == [7, 99, 98]
    assert np.isnan(values[0])
    assert run_ours("top_k", x, k=3, largest=False)[1].tolist() == [0, 1, 2]
    x = np.where(np.isnan(x), x, np.float32(0))
    assert run_ours("top_k", x, k=3)[1].tolist() == [7, 0, 1], "beside equal elements, too"


@pytest.mark.parametrize(("shape", "k"), [((3, 4), 0), ((0, 4), 2), ((2, 0), 0)])
def test_top_k_of_nothing(shape: tuple[int, ...], k: int) -> None:
    values, indices = run_ours("top_k", np.zeros(shape, np.float32), k=k)
    assert values.shape == indices.shape == (shape[0], k)


def test_shapes() -> None:
    assert infer("arg_max", tensor("f32", B, S), axis=1).types[0].shape == (B,)
    assert str(infer("arg_max", tensor("f32", B, S), axis=1).requirements[0].relation) == "S >= 1"
    inferred = infer("top_k", tensor("f32", B, S), k=5)
    assert [str(t) for t in inferred.types] == ["f32[B, 5]", "i64[B, 5]"]
    assert str(inferred.requirements[0].relation) == "5 <= S"
    assert infer("top_k", tensor("f32", B, S), tensor("i64", 1, value=(S,))).types[0].shape == (B, S)
    assert infer("top_k", tensor("f32", B, S), tensor("i64", 1)).types[0].shape == (B, symbol("d0"))


@pytest.mark.parametrize(
    ("shape", "count", "attrs", "code"),
    [
        ((4,), None, {}, "E0304"),
        ((4,), (1,), {"k": 2}, "E0304"),
        ((4,), None, {"k": 5}, "E0313"),
        ((4,), None, {"k": -1}, "E0313"),
        ((4,), (2,), {}, "E0313"),
        ((4,), (1, 1), {}, "E0303"),
        ((4,), None, {"k": 1, "axis": 1}, "E0304"),
        ((), None, {"k": 1}, "E0303"),
    ],
)
def test_top_k_failures(
    shape: tuple[int, ...], count: tuple[int, ...] | None, attrs: dict[str, Any], code: str
) -> None:
    inputs = [tensor("f32", *shape), *([] if count is None else [tensor("i64", *count)])]
    with pytest.raises(InferFailure) as failure:
        infer("top_k", *inputs, **attrs)
    assert failure.value.code == code


def test_arg_of_an_empty_axis_fails() -> None:
    with pytest.raises(InferFailure) as failure:
        infer("arg_max", tensor("f32", 3, 0), axis=1)
    assert failure.value.code == "E0313"
