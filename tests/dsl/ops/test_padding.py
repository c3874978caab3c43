from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import Expr, symbol
from trtn.dsl.ops.base import find_op
from trtn.dsl.ops.infer import InferFailure

B, S = symbol("B"), symbol("S")
X = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad_matches_onnxruntime(mode: str) -> None:
    pads = [0, 1, 2, 1, 0, 3]
    value = np.float32(7) if mode == "constant" else None
    expected = run_ort("Pad", [X, np.array(pads), value], {"mode": mode})[0]
    np.testing.assert_array_equal(run_ours("pad", X, None, value, pads=pads, mode=mode)[0], expected)
    np.testing.assert_array_equal(run_ours("pad", X, np.array(pads), value, mode=mode, known=[1])[0], expected)


def test_pad_crops_with_negative_amounts() -> None:
    pads = [0, -1, 2, -1, 0, -3]
    expected = run_ort("Pad", [X, np.array(pads)], {})[0]
    np.testing.assert_array_equal(run_ours("pad", X, pads=pads)[0], expected)
    assert infer("pad", tensor("f32", B, S), pads=[1, 2], axes=[-1]).types[0].shape == (B, S + 3)
    (demand,) = infer("pad", tensor("f32", S), pads=[-2, 0]).requirements
    assert demand.relation.holds({"S": 2}) and not demand.relation.holds({"S": 1})


@pytest.mark.parametrize(
    ("attrs", "code"),
    [
        ({"pads": [1, 2, 3]}, "E0304"),
        ({"pads": [3, 0, 0, 0, 0, 0], "mode": "reflect"}, "E0313"),
        ({"pads": [-4, 0, 0, 0, 0, 0]}, "E0313"),
        ({}, "E0207"),
        ({"pads": [1], "mode": "mirror"}, "E0304"),
    ],
)
def test_pad_refuses(attrs: dict[str, Any], code: str) -> None:
    with pytest.raises(InferFailure) as failure:
        infer("pad", tensor(X), **attrs)
    assert failure.value.code == code


@settings(max_examples=100, deadline=None)
@given(data=st.data(), mode=st.sampled_from(["constant", "reflect", "edge"]))
def test_padded_dims_hold_wherever_the_demands_do(data: st.DataObject, mode: str) -> None:
    size = data.draw(st.integers(1, 6))
    pads = data.draw(st.lists(st.integers(-3, 6), min_size=2, max_size=2))
    inferred = infer("pad", tensor("f32", S), pads=pads, mode=mode)
    op = find_op("pad")
    assert op is not None
    if all(r.relation.holds({"S": size}) for r in inferred.requirements):
        y = op.evaluate(np, np.arange(size), None, None, **inferred.attrs)
        assert isinstance(inferred.types[0].shape[0], Expr)
        assert y.shape == (inferred.types[0].shape[0].evaluate({"S": size}),)


def test_tile() -> None:
    np.testing.assert_array_equal(
        run_ours("tile", X, times=[2, 1, 3])[0], run_ort("Tile", [X, np.array([2, 1, 3])], {})[0]
    )
    assert infer("tile", tensor("f32", B, 2), times=[S, 3]).types[0].shape == (B * S, 6)
    with pytest.raises(InferFailure):
        infer("tile", tensor("f32", B, 2), times=[S])
    assert infer("tile", tensor("i64", 1, value=(S,)), times=(2,)).value == (S, S)
