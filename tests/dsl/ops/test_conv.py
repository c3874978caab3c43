from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import ceildiv, evaluate, symbol
from trtn.dsl.ops import convolution
from trtn.dsl.ops.infer import InferFailure

B, H, W = symbol("B"), symbol("H"), symbol("W")
rng = np.random.default_rng(7)


def floats(*shape: int) -> Any:
    return rng.standard_normal(shape, dtype=np.float32)


def onnx_attrs(attrs: dict[str, Any], spatial: int) -> dict[str, Any]:
    """Our attributes under ONNX's names, with one entry standing for all spread out."""
    names = {
        "strides": spatial,
        "dilations": spatial,
        "pads": 2 * spatial,
        "output_pads": spatial,
        "output_shape": spatial,
    }
    renamed = {"groups": "group", "output_pads": "output_padding"}
    out: dict[str, Any] = {}
    for name, v in attrs.items():
        if name in names:
            v = list(v) if isinstance(v, tuple) else [v] * names[name]
        out[renamed.get(name, name)] = v.upper() if name == "auto_pad" else v
    return out


CASES = [
    ((2, 3, 14, 13), (4, 3, 3, 3), {"pads": 1}),
    ((2, 4, 9, 8), (6, 4, 3, 3), {}),
    ((1, 4, 9, 8), (6, 4, 3, 3), {"pads": 1, "strides": 2}),
    ((2, 4, 9, 8), (6, 4, 1, 1), {}),
    ((2, 4, 9, 8), (6, 4, 1, 1), {"strides": (2, 3)}),
    ((1, 4, 70, 8), (6, 4, 1, 1), {"pads": 1}),
    ((1, 4, 9, 8), (6, 4, 2, 3), {"pads": (1, 0, 2, 1), "dilations": (2, 1)}),
    ((2, 6, 9, 8), (4, 3, 3, 3), {"groups": 2, "pads": 1}),
    ((2, 6, 9, 8), (6, 1, 3, 3), {"groups": 6, "pads": 1}),
    ((2, 6, 9, 8), (12, 1, 3, 3), {"groups": 6, "strides": 2}),
    ((2, 48, 5, 6), (48, 1, 3, 3), {"groups": 48, "pads": 1, "strides": (1, 2)}),
    ((2, 4, 9), (6, 4, 3), {"auto_pad": "same_upper", "strides": 2}),
    ((2, 4, 9, 8), (6, 4, 4, 4), {"auto_pad": "same_lower", "strides": 2}),
    ((1, 3, 5, 6, 7), (4, 3, 2, 3, 2), {"strides": (1, 2, 1), "pads": 1}),
    ((0, 4, 9, 8), (6, 4, 3, 3), {}),
]


@pytest.mark.parametrize(("x", "weight", "attrs"), CASES)
def test_conv_matches_onnxruntime(x: Any, weight: Any, attrs: dict[str, Any]) -> None:
    inputs = [floats(*x), floats(*weight), floats(weight[0])]
    expected = run_ort("Conv", inputs, onnx_attrs(attrs, len(x) - 2))[0]
    np.testing.assert_allclose(run_ours("conv", *inputs, **attrs)[0], expected, rtol=1e-4, atol=1e-5)


def test_conv_of_strided_and_half_precision_arrays() -> None:
    x, weight = floats(2, 9, 8, 4).transpose(0, 3, 1, 2), floats(6, 4, 3, 3)
    expected = run_ort("Conv", [x, weight], {})[0]
    np.testing.assert_allclose(run_ours("conv", x, weight)[0], expected, rtol=1e-4, atol=1e-5)
    (half,) = run_ours("conv", x.astype(np.float16), weight.astype(np.float16))
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, expected, rtol=1e-2, atol=2e-2)


def test_large_convolutions_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = floats(2, 4, 9, 8), floats(6, 2, 3, 3)
    whole = run_ours("conv", x, weight, groups=2, strides=2)[0]
    monkeypatch.setattr(convolution, "_COLUMN_BYTES", 2000)
    np.testing.assert_allclose(run_ours("conv", x, weight, groups=2, strides=2)[0], whole, rtol=1e-5, atol=1e-5)


def test_conv_shapes_are_formulas() -> None:
    x, weight = tensor("f32", B, 3, H, W), tensor("f32", 64, 3, 7, 7)
    inferred = infer("conv", x, weight, strides=2, pads=3)
    assert inferred.types[0].shape == (B, 64, (H - 1) // 2 + 1, (W - 1) // 2 + 1)
    assert inferred.requirements == ()
    assert inferred.attrs["pads"] == (3, 3, 3, 3) and inferred.attrs["dilations"] == (1, 1)
    inferred = infer("conv", x, tensor("f32", 8, 3, 3, 3))
    assert inferred.types[0].shape == (B, 8, H - 2, W - 2)
    assert [str(r.relation) for r in inferred.requirements] == ["H >= 3", "W >= 3"]


def test_same_padding_is_settled_where_it_can_be() -> None:
    weight = tensor("f32", 8, 3, 4, 3)
    inferred = infer("conv", tensor("f32", B, 3, H, W), weight, auto_pad="same_upper")
    assert inferred.types[0].shape == (B, 8, H, W)
    assert inferred.attrs["auto_pad"] == "none" and inferred.attrs["pads"] == (1, 1, 2, 1)
    inferred = infer("conv", tensor("f32", B, 3, H, W), weight, auto_pad="same_upper", strides=2)
    assert inferred.types[0].shape == (B, 8, ceildiv(H, 2), ceildiv(W, 2))
    assert inferred.attrs["auto_pad"] == "same_upper"
    assert (
        infer("conv", tensor("f32", B, 3, 8, 8), weight, auto_pad="same_lower", strides=2).attrs["auto_pad"] == "none"
    )


@settings(max_examples=100, deadline=None)
@given(
    size=st.integers(1, 12), kernel=st.integers(1, 5), stride=st.integers(1, 3), dilation=st.integers(1, 3),
    pads=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    auto=st.sampled_from(["none", "same_upper", "same_lower"]),
)  # fmt: skip
def test_conv_dims_hold_wherever_the_demands_do(
    size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int], auto: str
) -> None:
    attrs = {"strides": stride, "dilations": dilation, "pads": pads, "auto_pad": auto}
    inferred = infer("conv", tensor("f32", 1, 1, H), tensor("f32", 1, 1, kernel), **attrs)
    fits = size + sum(pads) >= dilation * (kernel - 1) + 1 or auto != "none"
    assert all(r.relation.holds({"H": size}) for r in inferred.requirements) == fits
    if fits:
        y = run_ours("conv", np.ones((1, 1, size)), np.ones((1, 1, kernel)), **attrs)[0]
        assert y.shape[2] == evaluate(inferred.types[0].shape[2], {"H": size})


X, WEIGHT = tensor("f32", 1, 4, 9, 9), tensor("f32", 8, 4, 3, 3)


@pytest.mark.parametrize(
    ("inputs", "attrs", "code"),
    [
        ([X, tensor("f32", 8, 3, 3, 3)], {}, "E0312"),
        ([X, tensor("f32", 8, 4, 3)], {}, "E0303"),
        ([tensor("f32", 4, 9), WEIGHT], {}, "E0303"),
        ([X, tensor("f32", 8, 4, 11, 3)], {}, "E0313"),
        ([X, WEIGHT, tensor("f32", 7)], {}, "E0312"),
        ([X, WEIGHT], {"strides": 0}, "E0304"),
        ([X, WEIGHT], {"pads": -1}, "E0304"),
        ([X, WEIGHT], {"pads": (1, 1, 1)}, "E0304"),
        ([X, WEIGHT], {"groups": 3}, "E0313"),
        ([X, WEIGHT], {"groups": 0}, "E0304"),
        ([X, WEIGHT], {"auto_pad": "valid"}, "E0304"),
        ([tensor("i32", 1, 4, 9, 9), tensor("i32", 8, 4, 3, 3)], {}, "E0302"),
        ([X, tensor("f16", 8, 4, 3, 3)], {}, "E0302"),
    ],
)
def test_conv_refuses(inputs: Any, attrs: dict[str, Any], code: str) -> None:
    with pytest.raises(InferFailure) as failure:
        infer("conv", *inputs, **attrs)
    assert failure.value.code == code


@pytest.mark.parametrize(
    ("x", "weight", "attrs"),
    [
        ((2, 4, 5, 6), (4, 3, 3, 3), {}),
        ((2, 4, 5, 6), (4, 3, 3, 3), {"strides": 2, "pads": 1, "output_pads": 1}),
        ((1, 4, 5, 6), (4, 3, 2, 3), {"strides": (3, 2), "pads": (1, 0, 0, 2), "dilations": (1, 2)}),
        ((2, 4, 5, 6), (4, 2, 3, 3), {"groups": 2, "strides": 2}),
        ((2, 4, 5), (4, 3, 4), {"strides": 2, "auto_pad": "same_upper"}),
        ((2, 4, 5), (4, 3, 4), {"strides": 3, "auto_pad": "same_lower"}),
        ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": 2, "output_shape": (10, 12)}),
        ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": 2, "output_shape": (10, 12), "auto_pad": "same_upper"}),
        ((1, 4, 5, 6), (4, 3, 2, 2), {"strides": 3, "output_pads": 1}),
        ((1, 2, 3, 4, 3), (2, 3, 2, 2, 2), {"strides": 2}),
    ],
)
def test_deconv_matches_onnxruntime(x: Any, weight: Any, attrs: dict[str, Any]) -> None:
    outputs = weight[1] * attrs.get("groups", 1)
    inputs = [floats(*x), floats(*weight), floats(outputs)]
    expected = run_ort("ConvTranspose", inputs, onnx_attrs(attrs, len(x) - 2))[0]
    np.testing.assert_allclose(run_ours("deconv", *inputs, **attrs)[0], expected, rtol=1e-4, atol=1e-5)


def test_deconv_shapes_are_formulas() -> None:
    x = tensor("f32", B, 16, H, W)
    assert infer("deconv", x, tensor("f32", 16, 8, 2, 2), strides=2).types[0].shape == (B, 8, 2 * H, 2 * W)
    with pytest.raises(InferFailure) as failure:
        infer("deconv", x, tensor("f32", 8, 8, 2, 2))
    assert failure.value.code == "E0312"


@pytest.mark.parametrize("zeros", [(), (3,), (3, 9)])
def test_conv_integer_matches_onnxruntime(zeros: tuple[int, ...]) -> None:
    x = rng.integers(0, 255, (2, 40, 6, 5), dtype=np.uint8)
    weight = rng.integers(0, 255, (4, 40, 3, 3), dtype=np.uint8)
    inputs = [x, weight, *(np.array(z, np.uint8) for z in zeros)]
    expected = run_ort("ConvInteger", inputs, {"pads": [1, 1, 1, 1]}, opset=10)[0]
    np.testing.assert_array_equal(run_ours("conv_integer", *inputs, pads=1)[0], expected)


def test_conv_integer_with_a_zero_point_for_each_output() -> None:
    x = rng.integers(-128, 127, (1, 3, 6, 5), dtype=np.int8)
    weight = rng.integers(-128, 127, (4, 3, 3, 3), dtype=np.int8)
    zeros = np.array([1, -2, 3, 4], np.int8)
    shifted = weight.astype(np.float64) - zeros.reshape(4, 1, 1, 1)
    expected = run_ours("conv", x.astype(np.float64) - 5, shifted, pads=1)[0]
    ours = run_ours("conv_integer", x, weight, np.array(5, np.int8), zeros, pads=1)[0]
    np.testing.assert_array_equal(ours, expected)
    with pytest.raises(InferFailure) as failure:
        infer("conv_integer", tensor(x), tensor(weight), tensor("u8"))
    assert failure.value.code == "E0302"
