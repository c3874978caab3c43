from __future__ import annotations

import numpy as np
import pytest

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.ops.infer import InferFailure

B, C, H, W = symbol("B"), symbol("C"), symbol("H"), symbol("W")
X = np.arange(2 * 8 * 4 * 6, dtype=np.float32).reshape(2, 8, 4, 6)


def test_blocks_match_onnxruntime() -> None:
    for mode in ("dcr", "crd"):
        expected = run_ort("DepthToSpace", [X], {"blocksize": 2, "mode": mode.upper()})[0]
        np.testing.assert_array_equal(run_ours("depth_to_space", X, block=2, mode=mode)[0], expected)
    np.testing.assert_array_equal(
        run_ours("space_to_depth", X, block=2)[0], run_ort("SpaceToDepth", [X], {"blocksize": 2})[0]
    )


def test_block_shapes() -> None:
    assert infer("depth_to_space", tensor("f32", B, 4 * C, H, W), block=2).types[0].shape == (
        B,
        C,
        2 * H,
        2 * W,
    )
    inferred = infer("space_to_depth", tensor("f32", B, 3, H, 2 * W), block=2)
    assert inferred.types[0].shape == (B, 12, H // 2, W)
    assert [str(r.relation) for r in inferred.requirements] == ["H%2 == 0"]
    for name, block, code in (("depth_to_space", 3, "E0313"), ("space_to_depth", 0, "E0304")):
        with pytest.raises(InferFailure) as failure:
            infer(name, tensor(X), block=block)
        assert failure.value.code == code


def test_flip_and_roll() -> None:
    np.testing.assert_array_equal(run_ours("flip", X, axes=[-1, 0])[0], X[::-1, :, :, ::-1])
    np.testing.assert_array_equal(run_ours("flip", X)[0], X[::-1, ::-1, ::-1, ::-1])
    np.testing.assert_array_equal(run_ours("roll", X, shifts=[1, -2], axes=[0, 2])[0], np.roll(X, (1, -2), (0, 2)))
    assert infer("flip", tensor("i64", 2, value=(B, C))).value == (C, B)


@pytest.mark.parametrize(("time", "batch"), [(0, 1), (1, 0)])
def test_reverse_sequence_matches_onnxruntime(time: int, batch: int) -> None:
    x = np.arange(48, dtype=np.float32).reshape(4, 4, 3)
    lengths = np.array([4, 3, 1, 2])
    expected = run_ort("ReverseSequence", [x, lengths], {"time_axis": time, "batch_axis": batch})[0]
    np.testing.assert_array_equal(
        run_ours("reverse_sequence", x, lengths, time_axis=time, batch_axis=batch)[0], expected
    )
    for tensors, attrs, code in (
        ((tensor(x), tensor("i64", 3)), {}, "E0312"),
        ((tensor(x), tensor("i64", 4)), {"time_axis": 1}, "E0304"),
    ):
        with pytest.raises(InferFailure) as failure:
            infer("reverse_sequence", *tensors, **attrs)
        assert failure.value.code == code
