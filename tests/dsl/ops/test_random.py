"""Random numbers: their distributions, their seeds, and that nobody folds or merges them."""

from __future__ import annotations

import numpy as np
import pytest

import trtn
from tests.dsl.convert.models import model, node, ops, value
from tests.dsl.ops.ort_case import infer, run_ours, tensor
from trtn.dsl.convert.onnx import import_onnx
from trtn.dsl.dims import symbol
from trtn.dsl.ops.infer import InferFailure


def test_uniform_numbers_fill_their_range() -> None:
    (y,) = run_ours("random_uniform", shape=[100, 200], low=-2.0, high=3.0, seed=1)
    assert y.dtype == np.float32 and y.min() >= -2 and y.max() <= 3
    assert abs(y.mean() - 0.5) < 0.05 and y.min() < -1.99 and y.max() > 2.99


def test_normal_numbers_have_mean_and_deviation() -> None:
    (y,) = run_ours("random_normal", np.asarray([100, 200]), mean=4.0, std=0.5, seed=1, dtype="f64")
    assert y.dtype == np.float64 and abs(y.mean() - 4) < 0.02 and abs(y.std() - 0.5) < 0.02


@pytest.mark.parametrize("op", ["random_uniform", "random_normal"])
def test_only_a_seed_repeats_them(op: str) -> None:
    first, again = (run_ours(op, shape=[8], seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (run_ours(op, shape=[8], seed=4)[0] != first).any()
    first, again = (run_ours(op, shape=[8])[0] for _ in range(2))
    assert (first != again).any()


def test_types() -> None:
    assert infer("random_normal", shape=[symbol("B"), 3]).types[0].shape == (symbol("B"), 3)
    assert len(infer("random_normal", tensor("i64", 2)).types[0].shape) == 2
    for attrs, code in (({"shape": [2], "dtype": "i32"}, "E0304"), ({}, "E0207"), ({"shape": [-1]}, "E0313")):
        with pytest.raises(InferFailure) as failure:
            infer("random_uniform", **attrs)
        assert failure.value.code == code


def test_two_draws_stay_two() -> None:
    nodes = [node("RandomNormalLike", ["x"], [n], n) for n in ("a", "b")]
    nodes += [node("Sub", ["a", "b"], ["y"]), node("Bernoulli", ["p"], ["chosen"], "chosen")]
    network = import_onnx(model(nodes, [value("x", [50]), value("p", [50])], ["y", "chosen"]))
    assert ops(network).count("random_normal") == 2
    engine = trtn.build(network, device="cpu")
    feeds = {"x": np.zeros(50, np.float32), "p": np.repeat(np.float32([0, 1]), 25)}
    first, again = (engine.run(feeds) for _ in range(2))
    assert (first["y"] != 0).all() and (first["y"] != again["y"]).any()
    np.testing.assert_array_equal(first["chosen"], feeds["p"])
