"""Types of the rarer ops over symbolic dims, and what they refuse. Their numbers: see test_onnx_rare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.dsl.ops.ort_case import infer, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.network import Tensor
from trtn.dsl.ops.infer import InferFailure

B, H, W, S = (symbol(n) for n in "BHWS")


def shapes(op: str, *tensors: Tensor | None, **attrs: Any) -> list[str]:
    return [str(t) for t in infer(op, *tensors, **attrs).types]


def test_symbolic_shapes() -> None:
    image, signal = tensor("f32", B, 3, H, W), tensor("f32", B, S, 1)
    assert shapes("grid_sample", image, tensor("f32", B, S, 7, 2)) == ["f32[B, 3, S, 7]"]
    assert shapes("affine_grid", tensor("f32", B, 2, 3), shape=[B, 3, H, W]) == ["f32[B, H, W, 2]"]
    assert shapes("det", tensor("f64", B, S, S)) == ["f64[B]"]
    assert shapes("bit_cast", image, to="i32") == ["i32[B, 3, H, W]"]
    assert shapes("dft", signal, length=S + 1) == ["f32[B, S + 1, 2]"]
    assert shapes("dft", signal, onesided=True) == ["f32[B, S//2 + 1, 2]"]
    assert shapes("stft", signal, None, tensor("f32", 8), step=4) == ["f32[B, S//4 - 1, 5, 2]"]
    assert shapes("col2im", tensor("f32", B, 12, S), image=[H, W], block=[2, 3]) == ["f32[B, 2, H, W]"]
    assert shapes("max_unpool", image, tensor("i64", B, 3, H, W), kernel=2, strides=2) == ["f32[B, 3, 2*H, 2*W]"]
    assert shapes("roi_align", image, tensor("f32", S, 4), tensor("i64", S), height=2, width=5) == ["f32[S, 3, 2, 5]"]
    assert shapes("unique", image, axis=1)[0] == "f32[B, d0, H, W]"
    assert shapes("tf_idf", tensor("i32", B, S), pool=[1, 2, 3], starts=[0, 1], columns=[0, 4]) == ["f32[B, 5]"]
    assert shapes("reduce_by", image, tensor("i64", 1), function="max") == ["f32[d0, d1, d2]"]
    assert shapes("reduce_by", tensor("f32", B, B), tensor("i64", 1), function="sum") == ["f32[B]"]
    assert shapes("reduce_by", image, tensor("i64", 1, value=(-1,)), function="l1") == ["f32[B, 3, H]"]
    assert shapes("non_max_suppression", tensor("f32", B, S, 4), tensor("f32", B, 2, S)) == ["i64[d0, 3]"]


@pytest.mark.parametrize(
    ("op", "tensors", "attrs", "code"),
    [
        ("grid_sample", [tensor("f32", 1, 1, 4, 4), tensor("f32", 1, 2, 2, 3)], {}, "E0313"),
        ("grid_sample", [tensor("f32", 1, 1, 4, 4), tensor("f32", 2, 2, 2, 2)], {}, "E0312"),
        ("affine_grid", [tensor("f32", 1, 2, 3)], {}, "E0207"),
        (
            "deform_conv",
            [tensor("f32", 1, 2, 5, 5), tensor("f32", 1, 2, 3, 3), tensor("f32", 1, 18, 2, 3)],
            {},
            "E0312",
        ),
        ("roi_align", [tensor("f32", 1, 2, 5, 5), tensor("f32", 2, 4), tensor("i64", 3)], {}, "E0312"),
        ("non_max_suppression", [tensor("f32", 1, 5, 3), tensor("f32", 1, 1, 5)], {}, "E0313"),
        ("dft", [tensor("f32", 4, 3)], {}, "E0303"),
        ("dft", [tensor("f32", 4, 5, 1)], {"axis": 2}, "E0304"),
        ("stft", [tensor("f32", 1, 9, 1)], {}, "E0207"),
        ("stft", [tensor("f32", 1, 9, 1)], {"step": 2, "length": 12}, "E0313"),
        ("bit_cast", [tensor("f32", 3)], {"to": "i16"}, "E0302"),
        ("col2im", [tensor("f32", 1, 7, 4)], {"image": [3, 3], "block": [2, 2]}, "E0313"),
        ("max_unpool", [tensor("f32", 1, 1, 2), tensor("i64", 1, 1, 3)], {"kernel": 2}, "E0312"),
        ("tf_idf", [tensor("i32", 5)], {"pool": [1, 2], "starts": [0], "columns": [0]}, "E0304"),
        ("reduce_by", [tensor("f32", 5), tensor("i64", 2)], {"function": "sum"}, "E0304"),
        ("reduce_by", [tensor("bool", 5), tensor("i64", 1)], {"function": "sum"}, "E0302"),
        ("cumsum", [tensor("f32", 5), tensor("i64")], {"axis": 0}, "E0207"),
        ("det", [tensor("f32", 2, 3)], {}, "E0312"),
    ],
)
def test_refusals(op: str, tensors: list[Tensor], attrs: dict[str, Any], code: str) -> None:
    with pytest.raises(InferFailure) as failure:
        infer(op, *tensors, **attrs)
    assert failure.value.code == code


def test_small_dtypes_are_cast_like_their_ranges_say() -> None:
    x = np.float32([-9, -1.5, 0.25, 3, 1e6, np.inf])
    for name, expected in (
        ("f8e4m3fnuz", [-9, -1.5, 0.25, 3, 240, 240]),
        ("f8e5m2fnuz", [-8, -1.5, 0.25, 3, 57344, 57344]),
        ("f4e2m1", [-6, -1.5, 0, 3, 6, 6]),
    ):
        (y,) = run_ours("cast", x, to=name)
        np.testing.assert_array_equal(y.astype(np.float32), np.float32(expected), name)
    (y,) = run_ours("cast", np.float32([0.75, 1, 1.1, 5]), to="f8e8m0")
    np.testing.assert_array_equal(y.astype(np.float32), [1, 1, 2, 8])
    (y,) = run_ours("cast", np.int32([-3, -1, 0, 3]), to="i2")
    np.testing.assert_array_equal(y.astype(np.int8), [1, -1, 0, -1])
