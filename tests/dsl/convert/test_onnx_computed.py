"""Nodes whose axes, bounds, sizes or scales are inputs of the model: nothing but ranks is known before the run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.dsl.convert.models import Array, check, ops, single

RNG = np.random.default_rng(13)


def f(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def i(*values: int) -> Array:
    return np.asarray(values, np.int64)


def case(op: str, opset: int, inputs: list[Any], outputs: int = 1, **attrs: Any) -> Any:
    """The first input is data; the others are computed."""
    return pytest.param(op, opset, inputs, outputs, attrs, id=f"{op}-{opset}")


SCALES = np.asarray([1, 1, 1.5, 0.6], np.float32)
CASES = [
    *(case(f"Reduce{r}", 18, [np.abs(f(2, 3, 4)) + 0.1, i(-2, 0)], keepdims=k)
      for r in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare") for k in (0, 1)),
    case("ReduceSum", 13, [f(2, 3), i()]),
    case("ReduceSum", 13, [f(2, 3), i()], noop_with_empty_axes=1),
    case("ReduceMax", 18, [f(2, 3), i(0, 1)], keepdims=0),
    case("CumSum", 14, [f(2, 5), np.asarray(-2)], exclusive=1),
    case("CumSum", 14, [f(2, 5), np.asarray([1], np.int32)], reverse=1),
    case("Squeeze", 13, [f(1, 3, 1, 2), i(-2, 0)]),
    case("Unsqueeze", 13, [f(3, 2), i(3, 0)]),
    case("Unsqueeze", 13, [f(3, 2), i(-1)]),
    case("Slice", 13, [f(5, 6, 7), i(1, -1), i(9, -7), i(0, -1), i(2, -3)]),
    case("Slice", 13, [f(5, 6), i(1), i(4), i(-1)]),
    case("Pad", 18, [f(4, 5), i(2, 1), np.float32(3), i(-1)]),
    case("Pad", 18, [f(4, 5), i(2, 1, 0, 3), None, i(1, 0)], mode="edge"),
    case("Split", 13, [f(7, 6), i(2, 0, 5)], 3),
    case("Split", 13, [f(2, 6), i(1, 5)], 2, axis=-1),
    *(case("Trilu", 14, [f(2, 3, 4), np.asarray(k)], upper=u) for k in (-2, 0, 2) for u in (0, 1)),
    case("Upsample", 9, [f(1, 2, 3, 3), np.asarray([1, 1, 2, 2], np.float32)]),
    case("Resize", 13, [f(1, 2, 5, 5), None, SCALES], mode="linear"),
    case("Resize", 18, [f(1, 2, 5, 5), None, SCALES[2:]], mode="cubic", axes=[2, 3]),
    case("Resize", 18, [f(1, 2, 5, 4), None, None, i(9, 3)], axes=[3, 2]),
    case("Resize", 18, [f(1, 2, 5, 4), None, None, i(7, 7)], axes=[2, 3], keep_aspect_ratio_policy="not_larger"),
    case("Resize", 18, [f(1, 2, 5, 4), None, None, i(7, 7)], axes=[2, 3], keep_aspect_ratio_policy="not_smaller"),
    case("Resize", 18, [f(1, 1, 5, 4), np.float32([0.1, 0.2, 0.9, 1.3]), None, i(3, 5)], axes=[2, 3], mode="linear",
         coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=2.0),
]  # fmt: skip


@pytest.mark.parametrize(("op", "opset", "inputs", "outputs", "attrs"), CASES)
def test_against_onnx_runtime(op: str, opset: int, inputs: list[Any], outputs: int, attrs: dict[str, Any]) -> None:
    proto, feeds = single(op, inputs, (), opset=opset, outputs=outputs, **attrs)
    network = check(proto, feeds, rtol=1e-4)
    assert [str(d) for d in network.inputs[0].shape] == [str(d) for d in inputs[0].shape]


def test_known_axes_leave_no_trace_of_this() -> None:
    for op, axes in (("ReduceSum", i(1)), ("Unsqueeze", i(0)), ("CumSum", np.asarray(1)), ("Trilu", np.asarray(1))):
        proto, feeds = single(op, [f(2, 3), axes], (1,), opset=17)
        assert len(ops(check(proto, feeds))) == 1


def test_a_reduction_over_computed_axes_has_bounded_dims() -> None:
    proto, feeds = single("ReduceSum", [f(2, 3, 4), i(1)], (), opset=13, keepdims=0)
    network = check(proto, feeds)
    assert [(d.low, d.high) for d in network.data_dims.values()] == [(2, 3), (3, 4)]
