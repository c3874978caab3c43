from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import ceildiv, evaluate, symbol
from trtn.dsl.ops.infer import InferFailure

B, H, W = symbol("B"), symbol("H"), symbol("W")
rng = np.random.default_rng(11)
X = rng.standard_normal((2, 3, 9, 8), dtype=np.float32)

WINDOWS: list[dict[str, Any]] = [
    {"kernel": (3, 2)},
    {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)},
    {"kernel": (2, 3), "strides": (2, 3), "ceil_mode": True},
    {"kernel": (3, 3), "strides": (3, 2), "pads": (0, 1, 2, 0), "ceil_mode": True},
    {"kernel": (3, 2), "dilations": (2, 3)},
    {"kernel": (3, 3), "strides": (2, 2), "auto_pad": "same_upper"},
    {"kernel": (4, 3), "strides": (2, 1), "auto_pad": "same_lower"},
    {"kernel": (1, 1)},
    {"kernel": (1, 1), "strides": (2, 2)},
    {"kernel": (9, 8)},
]


def onnx_attrs(attrs: dict[str, Any]) -> dict[str, Any]:
    out = {("kernel_shape" if k == "kernel" else k): (int(v) if isinstance(v, bool) else v) for k, v in attrs.items()}
    if "auto_pad" in out:
        out["auto_pad"] = out["auto_pad"].upper()
    return out


@pytest.mark.parametrize("attrs", WINDOWS)
def test_max_pool_matches_onnxruntime(attrs: dict[str, Any]) -> None:
    y, indices = run_ort("MaxPool", [X], onnx_attrs(attrs), outputs=2)
    np.testing.assert_array_equal(run_ours("max_pool", X, **attrs)[0], y)
    ours = run_ours("max_pool_with_indices", X, **attrs)
    np.testing.assert_array_equal(ours[0], y)
    np.testing.assert_array_equal(ours[1], indices)


@pytest.mark.parametrize("attrs", WINDOWS)
@pytest.mark.parametrize("include", [False, True])
def test_avg_pool_matches_onnxruntime(attrs: dict[str, Any], include: bool) -> None:
    expected = run_ort("AveragePool", [X], {**onnx_attrs(attrs), "count_include_pad": int(include)})[0]
    ours = run_ours("avg_pool", X, count_include_pad=include, **attrs)[0]
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("attrs", [w for w in WINDOWS if "ceil_mode" not in w])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_lp_pool_matches_onnxruntime(attrs: dict[str, Any], p: int) -> None:
    expected = run_ort("LpPool", [X], {**onnx_attrs(attrs), "p": p}, opset=18)[0]
    np.testing.assert_allclose(run_ours("lp_pool", X, p=p, **attrs)[0], expected, rtol=1e-5, atol=1e-6)


def test_other_ranks_and_dtypes() -> None:
    for shape, kernel in (((2, 3, 9), (2,)), ((1, 2, 5, 4, 6), (2, 3, 2))):
        x = rng.standard_normal(shape, dtype=np.float32)
        expected = run_ort("MaxPool", [x], {"kernel_shape": kernel})[0]
        np.testing.assert_array_equal(run_ours("max_pool", x, kernel=kernel)[0], expected)
    x = rng.integers(-128, 127, (1, 2, 5, 5), dtype=np.int8)
    expected = run_ort("MaxPool", [x], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]})[0]
    np.testing.assert_array_equal(run_ours("max_pool", x, kernel=3, pads=1)[0], expected)
    (half,) = run_ours("avg_pool", np.full((1, 1, 40, 40), 100, np.float16), kernel=40)
    assert half.reshape(()) == 100  # the sum does not fit into f16


def test_global_pools() -> None:
    np.testing.assert_allclose(
        run_ours("global_avg_pool", X)[0], run_ort("GlobalAveragePool", [X], {})[0], rtol=1e-5, atol=1e-7
    )
    np.testing.assert_array_equal(run_ours("global_max_pool", X)[0], run_ort("GlobalMaxPool", [X], {})[0])
    assert infer("global_avg_pool", tensor("f32", B, 8, H, W)).types[0].shape == (B, 8, 1, 1)


def test_pool_shapes_are_formulas() -> None:
    inferred = infer("max_pool", tensor("f32", B, 64, H, W), kernel=3, strides=2, pads=1)
    assert inferred.types[0].shape == (B, 64, (H - 1) // 2 + 1, (W - 1) // 2 + 1)
    assert inferred.requirements == ()
    inferred = infer("max_pool", tensor("f32", B, 64, H), kernel=2, strides=2, ceil_mode=True)
    assert inferred.types[0].shape[2] == ceildiv(H, 2)


@settings(max_examples=150, deadline=None)
@given(
    size=st.integers(1, 12), kernel=st.integers(1, 5), stride=st.integers(1, 4), dilation=st.integers(1, 2),
    pads=st.tuples(st.integers(0, 2), st.integers(0, 2)), ceil=st.booleans(),
    auto=st.sampled_from(["none", "same_upper"]),
)  # fmt: skip
def test_pool_dims_hold_wherever_the_demands_do(
    size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int], ceil: bool, auto: str
) -> None:
    attrs = {
        "kernel": kernel,
        "strides": stride,
        "dilations": dilation,
        "pads": pads,
        "ceil_mode": ceil,
        "auto_pad": auto,
    }
    assume(max(pads) < dilation * (kernel - 1) + 1)
    inferred = infer("max_pool", tensor("f32", 1, 1, H), **attrs)
    if all(r.relation.holds({"H": size}) for r in inferred.requirements):
        y = run_ours("max_pool", np.ones((1, 1, size)), **attrs)[0]
        assert y.shape[2] == evaluate(inferred.types[0].shape[2], {"H": size})


@pytest.mark.parametrize(
    ("attrs", "code"),
    [
        ({"kernel": 0}, "E0304"),
        ({"kernel": 2, "pads": 2}, "E0304"),
        ({"kernel": 10}, "E0313"),
        ({"kernel": (2, 2, 2)}, "E0304"),
        ({}, "E0212"),
        ({"kernel": 2, "dilations": 0}, "E0304"),
    ],
)
def test_pool_refuses(attrs: dict[str, Any], code: str) -> None:
    with pytest.raises(InferFailure) as failure:
        infer("max_pool", tensor(X), **attrs)
    assert failure.value.code == code
