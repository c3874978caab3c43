"""Shape arithmetic becomes dims: no layer of it is left where it only fed shapes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from tests.dsl.convert.models import Array, check, model, node, ops, value

RNG = np.random.default_rng(3)
C = {
    "zero": np.asarray(0),
    "one": np.asarray(1),
    "two": np.asarray(2),
    "axis0": np.asarray([0]),
    "minus": np.asarray([-1]),
}


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def test_shape_gather_concat_reshape() -> None:
    proto = model(
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"]),
            node("Gather", ["s", "one"], ["l"]),
            node("Mul", ["n", "l"], ["nl"]),
            node("Unsqueeze", ["nl", "axis0"], ["nl1"]),
            node("Concat", ["nl1", "minus"], ["t"], axis=0),
            node("Reshape", ["x", "t"], ["y"]),
        ],
        [value("x", ["B", "S", 4, 3])],
        ["y"],
        C,
    )
    network = check(proto, {"x": floats(2, 5, 4, 3)})
    assert ops(network) == ["reshape"] and str(network.outputs[0].type) == "f32[B*S, 12]"


def test_a_shape_that_is_data_is_one_layer() -> None:
    proto = model(
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "one"], ["n"]),
            node("Mul", ["n", "two"], ["m"]),
            node("Cast", ["m"], ["f"], to=1),
            node("Div", ["x", "f"], ["y"]),
        ],
        [value("x", ["B", "S"])],
        ["y"],
        C,
    )
    network = check(proto, {"x": floats(2, 5)})
    assert ops(network) == ["dims", "cast", "div"]
    assert str(network.layers[0].attrs["values"][0]) == "2*S" and network.layers[0].name == "m"


def torch_pad() -> list[NodeProto]:
    """How torch exports F.pad with amounts that it computes: rank-2 integers, reversed."""
    return [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "one"], ["l"]),
        node("Mod", ["l", "two"], ["odd"]),
        node("Unsqueeze", ["odd", "axis0"], ["odd1"]),
        node("Concat", ["axis0", "odd1"], ["amounts"], axis=0),
        node("ConstantOfShape", ["two1"], ["rest"], value=helper.make_tensor("v", TensorProto.INT64, [1], [0])),
        node("Concat", ["amounts", "rest"], ["all"], axis=0),
        node("Reshape", ["all", "pairs"], ["p"]),
        node("Slice", ["p", "minus", "far", "axis0", "minus"], ["flipped"]),
        node("Transpose", ["flipped"], ["t"], perm=[1, 0]),
        node("Reshape", ["t", "minus"], ["flat"]),
        node("Pad", ["x", "flat"], ["y"]),
    ]


@pytest.mark.parametrize("length", [4, 5])
def test_torch_padding(length: int) -> None:
    weights = {**C, "two1": np.asarray([2]), "pairs": np.asarray([-1, 2]), "far": np.asarray([-(2**63) + 1])}
    network = check(model(torch_pad(), [value("x", ["B", "S"])], ["y"], weights), {"x": floats(2, length)})
    assert ops(network) == ["pad"] and str(network.outputs[0].type) == "f32[B, S + S%2]"


@pytest.mark.parametrize(("rounding", "size"), [("Floor", "W//2"), ("Ceil", "ceildiv(W, 2)")])
def test_sizes_by_way_of_floats(rounding: str, size: str) -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "at", "end"], ["w"]),
        node("Cast", ["w"], ["wf"], to=1),
        node("Mul", ["wf", "half"], ["h"]),
        node(rounding, ["h"], ["r"]),
        node("Cast", ["r"], ["i"], to=7),
        node("Slice", ["s", "axis0", "at"], ["front"]),
        node("Concat", ["front", "i"], ["sizes"], axis=0),
        node(
            "Resize", ["x", "", "", "sizes"], ["y"], coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        ),
    ]
    weights = {**C, "at": np.asarray([3]), "end": np.asarray([4]), "half": np.asarray([0.5], np.float32)}
    network = check(model(nodes, [value("x", [1, 2, 3, "W"])], ["y"], weights), {"x": floats(1, 2, 3, 7)})
    assert ops(network) == ["resize"] and str(network.outputs[0].shape[3]) == size


def test_range_over_a_dim_as_float() -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Squeeze", ["s"], ["n"]),
        node("Cast", ["n"], ["f"], to=1),
        node("Range", ["z", "f", "o"], ["r"]),
        node("Add", ["x", "r"], ["y"]),
    ]
    network = check(
        model(nodes, [value("x", ["N"])], ["y"], {"z": np.float32(0), "o": np.float32(1)}), {"x": floats(6)}
    )
    assert ops(network) == ["range", "add"] and str(network.layers[0].output.type) == "f32[N]"


def test_constants_are_folded_and_dead_layers_dropped() -> None:
    nodes = [
        node("Constant", [], ["k"], value_floats=[1.0, 2.0, 3.0]),
        node("Unsqueeze", ["k", "axis0"], ["k2"]),
        node("Mul", ["k2", "k2"], ["k4"]),
        node("Relu", ["x"], ["unused"]),
        node("Add", ["x", "k4"], ["y"]),
    ]
    network = check(model(nodes, [value("x", ["N", 3])], ["y"], C), {"x": floats(2, 3)})
    assert ops(network) == ["add"] and [w.shape for w in network.weights] == [(1, 3)]


def test_large_constants_stay_layers() -> None:
    weights = {"w": floats(600, 600)}
    network = check(
        model([node("Exp", ["w"], ["e"]), node("MatMul", ["x", "e"], ["y"])], [value("x", ["N", 600])], ["y"], weights),
        {"x": floats(1, 600)},
        rtol=1e-3,
    )
    assert ops(network) == ["exp", "matmul"]


def test_layers_that_do_nothing_are_not_made() -> None:
    nodes = [
        node("Identity", ["x"], ["a"]),
        node("Reshape", ["a", "same"], ["b"]),
        node("Expand", ["b", "ones"], ["c"]),
        node("Slice", ["c", "axis0", "end"], ["d"]),
        node("Transpose", ["d"], ["e"], perm=[0, 1]),
        node("Cast", ["e"], ["f"], to=1),
        node("Concat", ["f"], ["g"], axis=0),
        node("Relu", ["g"], ["y"]),
    ]
    weights = {**C, "same": np.asarray([0, 0]), "ones": np.asarray([1, 1]), "end": np.asarray([2**31 - 1])}
    network = check(model(nodes, [value("x", ["N", "M"])], ["y"], weights), {"x": floats(2, 3)})
    assert ops(network) == ["relu"]


@pytest.mark.parametrize("rank", [0, 1])
def test_squeeze_of_an_open_dim_follows_the_declared_rank(rank: int) -> None:
    proto = model(
        [node("Squeeze", ["x"], ["h"]), node("Relu", ["h"], ["y"])], [value("x", ["N", 1])], [value("y", ["M"][:rank])]
    )
    network = check(proto, {"x": floats(1 if rank == 0 else 4, 1)})
    assert network.outputs[0].rank == rank and len(network.dims) == rank
