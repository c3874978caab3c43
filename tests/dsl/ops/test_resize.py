from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.ops import resize
from trtn.dsl.ops.infer import InferFailure

B, H, W = symbol("B"), symbol("H"), symbol("W")
X = np.random.default_rng(5).standard_normal((1, 2, 6, 7), dtype=np.float32)
PLACES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]


def check(x: Any, *, sizes: Any = None, scales: Any = None, **attrs: Any) -> None:
    names = {
        "coordinates": "coordinate_transformation_mode",
        "nearest": "nearest_mode",
        "cubic_a": "cubic_coeff_a",
    }
    theirs = {names.get(k, k): int(v) if isinstance(v, bool) else v for k, v in attrs.items()}
    given = [
        x,
        None,
        None if scales is None else np.array(scales, np.float32),
        None if sizes is None else np.array(sizes),
    ]
    expected = run_ort("Resize", given[: 4 if sizes is not None else 3], theirs, opset=19)[0]
    ours = run_ours("resize", x, sizes=sizes, scales=scales, **attrs)[0]
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("coordinates", "nearest"),
    list(product(PLACES, ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])),
)
def test_nearest_matches_onnxruntime(coordinates: str, nearest: str) -> None:
    for sizes in ([1, 2, 12, 14], [1, 2, 9, 5], [1, 2, 1, 21]):
        check(X, sizes=sizes, coordinates=coordinates, nearest=nearest)
    check(X, scales=[1, 1, 2.5, 0.55], coordinates=coordinates, nearest=nearest)


@pytest.mark.parametrize(("mode", "coordinates"), list(product(["linear", "cubic"], PLACES)))
def test_interpolation_matches_onnxruntime(mode: str, coordinates: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        check(X, sizes=[1, 2, 12, 14], mode=mode, coordinates=coordinates)
        check(X, sizes=[1, 2, 4, 9], mode=mode, coordinates=coordinates)
        check(X, scales=[1, 1, 2.5, 0.6], mode=mode, coordinates=coordinates)
        monkeypatch.setattr(resize, "_DENSE", 0)  # the second time tap by tap


def test_cubic_options_match_onnxruntime() -> None:
    check(X, sizes=[1, 2, 12, 14], mode="cubic", cubic_a=-0.5)
    check(X, sizes=[1, 2, 12, 5], mode="cubic", exclude_outside=True)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_antialias_matches_onnxruntime(mode: str) -> None:
    check(X, sizes=[1, 2, 3, 4], mode=mode, antialias=True)
    check(X, sizes=[1, 2, 3, 4], mode=mode, antialias=True, exclude_outside=True)
    check(X, sizes=[1, 2, 12, 14], mode=mode, antialias=True, exclude_outside=True)


def test_dtypes_and_layouts() -> None:
    (y,) = run_ours("resize", X.astype(np.float16), scales=[1, 1, 2, 2], mode="linear")
    np.testing.assert_allclose(y, run_ours("resize", X, scales=[1, 1, 2, 2], mode="linear")[0], atol=5e-3)
    pixels = np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4)
    (y,) = run_ours("resize", pixels, scales=[1, 1, 2, 1])
    np.testing.assert_array_equal(y, np.repeat(pixels, 2, axis=2))
    (same,) = run_ours("resize", pixels, sizes=[1, 2, 3, 4])
    assert not np.shares_memory(same, pixels)
    line = np.arange(6, dtype=np.float32).reshape(1, 1, 6)
    check(line, sizes=[1, 1, 9], mode="linear")
    (y,) = run_ours("resize", X, np.array([1, 2, 3, 3]), mode="linear")
    assert y.shape == (1, 2, 3, 3)


def test_factors_that_are_computed() -> None:
    factors = np.array([1, 1, 2.5, 0.6], np.float32)
    for mode in ("nearest", "linear", "cubic"):
        expected = run_ours("resize", X, scales=[1, 1, 2.5, 0.6], mode=mode)[0]
        np.testing.assert_array_equal(run_ours("resize", X, None, factors, mode=mode)[0], expected)
        (y,) = run_ours("resize", X, np.array([1, 2, 16, 4]), factors, mode=mode)  # sizes say how many
        np.testing.assert_array_equal(y[:, :, :15], expected)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_crop_matches_onnxruntime(mode: str) -> None:
    region = np.array([0, 0, 0.2, -0.1, 1, 1, 0.9, 1.2], np.float32)
    attrs = {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0}
    for sizes in ([1, 2, 5, 9], [1, 2, 1, 3]):
        (expected,) = run_ort("Resize", [X, region, None, np.array(sizes)], attrs, opset=19)
        (y,) = run_ours("resize", X, None, None, region, sizes=sizes, mode=mode, coordinates="crop", extrapolation=7.0)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_shapes() -> None:
    x = tensor("f32", B, 3, H, W)
    assert infer("resize", x, scales=[1.0, 1.0, 2.0, 0.5]).types[0].shape == (B, 3, 2 * H, W // 2)
    assert infer("resize", x, sizes=[B, 3, 224, 224]).types[0].shape == (B, 3, 224, 224)
    assert infer("resize", x, tensor("i64", 4, value=(B, 3, 2 * H, W))).types[0].shape == (B, 3, 2 * H, W)
    assert len(infer("resize", x, tensor("i64", 4)).types[0].shape) == 4
    f32_scale = float(np.float32(0.7))
    assert infer("resize", tensor("f32", 10), scales=[f32_scale]).types[0].shape == (7,)
    for attrs, code in (
        ({}, "E0207"),
        ({"sizes": [1, 2, 3, 4], "coordinates": "crop"}, "E0207"),
        ({"scales": [2.0, 2.0]}, "E0304"),
        ({"scales": [1.0, 1.0, 0.0, 1.0]}, "E0304"),
    ):
        with pytest.raises(InferFailure) as failure:
            infer("resize", x, **attrs)
        assert failure.value.code == code
