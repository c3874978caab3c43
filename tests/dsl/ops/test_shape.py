from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import product, symbol
from trtn.dsl.ops.base import find_op
from trtn.dsl.ops.infer import InferFailure

B, S, H = symbol("B"), symbol("S"), symbol("H")
X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def shape_of(name: str, *tensors: Any, **attrs: Any) -> tuple[Any, ...]:
    return infer(name, *tensors, **attrs).types[0].shape


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ((B, S, 768), (B, S, 12, -1), (B, S, 12, 64)),
        ((B, S, 12, 64), (B, S, -1), (B, S, 768)),
        ((B * S, 768), (B, -1, 768), (B, S, 768)),
        ((B, S, 768), (-1, 768), (B * S, 768)),
        ((B, 3, 4), (-1,), (12 * B,)),
        ((2, 3, 4), (6, -1), (6, 4)),
        ((B, 4), (B, 2, 2), (B, 2, 2)),
        ((0, 4), (4, 0), (4, 0)),
    ],
)
def test_reshape_is_decided_by_structure(source: Any, target: Any, expected: Any) -> None:
    inferred = infer("reshape", tensor("f32", *source), shape=target)
    assert inferred.types[0].shape == expected
    assert inferred.requirements == ()
    assert inferred.attrs["shape"] == expected


def test_reshape_demands_what_it_can_not_see() -> None:
    inferred = infer("reshape", tensor("f32", S), shape=(4, -1))
    assert inferred.types[0].shape == (4, S // 4)
    assert [str(r.relation) for r in inferred.requirements] == ["S%4 == 0"]
    inferred = infer("reshape", tensor("f32", S), shape=(B,))
    assert inferred.requirements[0].relation.holds({"S": 3, "B": 3})
    assert not inferred.requirements[0].relation.holds({"S": 3, "B": 4})


@pytest.mark.parametrize(
    ("source", "target", "code"),
    [
        ((2, 3), (4, -1), "E0313"),
        ((2, 3), (5,), "E0312"),
        ((6,), (-1, -1), "E0304"),
        ((6,), (-2, 3), "E0304"),
        ((0, 3), (0, -1), "E0304"),
    ],
)
def test_reshape_refuses(source: Any, target: Any, code: str) -> None:
    with pytest.raises(InferFailure) as failure:
        infer("reshape", tensor("f32", *source), shape=target)
    assert failure.value.code == code


def test_reshape_to_a_tensor() -> None:
    known = tensor("i64", 2, value=(S, -1))
    assert shape_of("reshape", tensor("f32", S, 3, 4), known) == (S, 12)
    dynamic = infer("reshape", tensor("f32", 24), tensor("i64", 3))
    assert len(dynamic.types[0].shape) == 3
    (y,) = run_ours("reshape", X, np.array([4, -1]))
    assert y.shape == (4, 6)
    for attrs, tensors in (({}, []), ({"shape": (24,)}, [tensor("i64", 1)])):
        with pytest.raises(InferFailure) as failure:
            infer("reshape", tensor("f32", 24), *tensors, **attrs)
        assert failure.value.code == "E0207"
    with pytest.raises(InferFailure):
        infer("reshape", tensor("f32", 24), tensor("i64", S))


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("reshape", {"shape": (6, 4)}),
        ("transpose", {"perm": (2, 0, 1)}),
        ("unsqueeze", {"axes": (0, -1)}),
        ("expand", {"shape": (5, 2, 3, 4)}),
        ("flatten", {"axis": 2}),
        ("slice", {"start": (1,), "axes": (1,)}),
        ("flip", {}),
    ],
)
def test_views_are_views(name: str, attrs: dict[str, Any]) -> None:
    op = find_op(name)
    assert op is not None and op.view
    result = op.evaluate(np, *[X, *[None] * (len(op.spec.inputs) - 1)], **infer(name, tensor(X), **attrs).attrs)
    assert np.shares_memory(result, X)


def test_squeeze() -> None:
    assert shape_of("squeeze", tensor("f32", 1, S, 1)) == (S,)
    assert shape_of("squeeze", tensor("f32", 1, S, 1), axes=(-1,)) == (1, S)
    assert [str(r.relation) for r in infer("squeeze", tensor("f32", S, 2), axes=(0,)).requirements] == ["S == 1"]
    with pytest.raises(InferFailure) as failure:
        infer("squeeze", tensor("f32", 2, 3), axes=(0,))
    assert failure.value.code == "E0312"
    assert run_ours("squeeze", X[:, :1], axes=(1,))[0].shape == (2, 4)


def test_unsqueeze_and_transpose_match_onnxruntime() -> None:
    for axes in ((0,), (-1, 1), (2, 0)):
        (y,) = run_ours("unsqueeze", X, axes=axes)
        np.testing.assert_array_equal(y, run_ort("Unsqueeze", [X, np.array(axes)], {})[0])
    for perm in ((2, 1, 0), (1, 2, 0)):
        np.testing.assert_array_equal(
            run_ours("transpose", X, perm=perm)[0], run_ort("Transpose", [X], {"perm": perm})[0]
        )
    assert infer("transpose", tensor(X)).attrs["perm"] == (2, 1, 0)
    with pytest.raises(InferFailure) as failure:
        infer("transpose", tensor(X), perm=(0, 0, 1))
    assert failure.value.code == "E0304"


@pytest.mark.parametrize("target", [(3, 1), (2, 1, 1), (5, 2, 3, 4), (1,)])
def test_expand_matches_onnxruntime(target: tuple[int, ...]) -> None:
    expected = run_ort("Expand", [X, np.array(target)], {})[0]
    np.testing.assert_array_equal(run_ours("expand", X, shape=target)[0], expected)
    np.testing.assert_array_equal(run_ours("expand", X, np.array(target), known=[1])[0], expected)
    np.testing.assert_array_equal(run_ours("expand", X, np.array(target))[0], expected)


def test_expand_symbolic() -> None:
    assert shape_of("expand", tensor("f32", 1, 4), shape=(B, S, 4)) == (B, S, 4)
    assert shape_of("expand", tensor("f32", S, 1), shape=(1, H)) == (S, H)
    with pytest.raises(InferFailure) as failure:
        infer("expand", tensor("f32", 3), shape=(2,))
    assert failure.value.code == "E0311"


@pytest.mark.parametrize("axis", [0, 1, 3, -1])
def test_flatten_matches_onnxruntime(axis: int) -> None:
    np.testing.assert_array_equal(run_ours("flatten", X, axis=axis)[0], run_ort("Flatten", [X], {"axis": axis})[0])
    shape = shape_of("flatten", tensor("f32", B, 3, S), axis=axis)
    assert product(shape) == B * 3 * S


def test_known_elements_pass_through() -> None:
    scalar = tensor("i64", value=(S,))
    vector = tensor("i64", 2, value=(S, 4))
    assert infer("unsqueeze", scalar, axes=(0,)).value == (S,)
    assert infer("squeeze", tensor("i64", 1, value=(S,))).value == (S,)
    assert infer("reshape", vector, shape=(-1,)).value == (S, 4)
    assert infer("expand", scalar, shape=(3,)).value == (S, S, S)
    assert infer("transpose", vector).value == (S, 4)
