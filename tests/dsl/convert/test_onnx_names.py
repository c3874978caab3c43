"""Readable paths from exporters' names."""

from __future__ import annotations

import numpy as np
import pytest

from tests.dsl.convert.models import model, node, value
from trtn.dsl.convert.onnx import import_onnx
from trtn.dsl.convert.onnx.inputdims import name_dims
from trtn.dsl.convert.onnx.model import ValueInfo
from trtn.dsl.convert.onnx.names import path_of, snake, value_path, weight_path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/layers.0/attn/MatMul_output_0", "layers[0].attn.MatMul"),
        ("conv1.weight", "conv1.weight"),
        ("/layer1/layer1.0/conv1/Conv_output_0", "layer1[0].conv1.Conv"),
        ("StatefulPartitionedCall/model/dense/MatMul:0", "model.dense.MatMul"),
        ("model/dense/BiasAdd/ReadVariableOp/resource:0", "model.dense.BiasAdd"),
        ("a/conv1d_1;a/conv1d_1__55:0", "a.conv1d_1"),
        ("F0::If_0_then_branch__Inline_0__/stft/padding/Slice", "stft.padding.Slice"),
        ("0/weird name/(x)", "n0.weird_name.x"),
        ("encoder.layer.10.0.w", "encoder.layer[10][0].w"),
        ("p2o.Mul.1", "p2o.Mul[1]"),
        ("/Split_output_1", "Split_output_1"),
        ("///", ""),
        ("...", ""),
    ],
)
def test_paths(name: str, path: str) -> None:
    assert path_of(name) == path


def test_a_long_name_is_cut_and_stays_distinct() -> None:
    a, b = path_of("x" * 300), path_of("x" * 299 + "y")
    assert a != b and len(a) < 100 and len(b) < 100


@pytest.mark.parametrize(
    ("value", "node", "op", "path"),
    [
        ("123", "", "Conv", "conv_123"),
        ("onnx::Add_497", "", "MatMul", "mat_mul_497"),
        ("123", "/enc/attn/Softmax", "Softmax", "enc.attn.softmax"),
        ("input.8", "Conv_4", "Conv", "conv_8"),
        ("hidden", "Conv_4", "Conv", "hidden"),
        ("", "", "Relu", "relu"),
        ("/attn/MatMul_1_output_0", "", "MatMul", "attn.mat_mul_1"),
        ("/attn/Add_x", "", "Add", "attn.Add_x"),
    ],
)
def test_values(value: str, node: str, op: str, path: str) -> None:
    assert value_path(value, node, op) == path


@pytest.mark.parametrize(
    ("value", "module", "path"),
    [
        ("linear_17", "encoder.layer.3.fc", "encoder.layer[3].fc.linear"),
        ("val_88", "encoder", "encoder.add"),
        ("conv2d_1x1", "stem", "stem.conv2d_1x1"),
    ],
)
def test_a_value_in_a_module_has_no_number(value: str, module: str, path: str) -> None:
    assert value_path(value, "node_3", "Add", module) == path


def test_weights_that_an_exporter_named_take_their_readers_path() -> None:
    assert weight_path("onnx::Conv_497", "/layer1/layer1.0/conv1/Conv", "Conv", "weight") == "layer1[0].conv1.weight"
    assert weight_path("onnx::LSTM_3", "/lstm/LSTM_1", "LSTM", "w") == "lstm.LSTM_1.w"
    assert weight_path("onnx::MatMul_9", "", "MatMul", "weight") == "mat_mul_9.weight"
    assert weight_path("fc.weight", "/other/Gemm", "Gemm", "weight") == "fc.weight"


def test_ops_in_snake_case() -> None:
    expected = {
        "Conv": "conv",
        "GlobalAveragePool": "global_average_pool",
        "LSTM": "lstm",
        "QLinearConv": "q_linear_conv",
    }
    assert {op: snake(op) for op in expected} == expected


def test_a_new_node_renames_nothing_else() -> None:
    weights = {"onnx::MatMul_7": np.eye(40, dtype=np.float32)}
    before = [
        node("Relu", ["x"], ["5"]),
        node("MatMul", ["5", "onnx::MatMul_7"], ["9"], "/fc/MatMul"),
        node("Neg", ["9"], ["y"]),
    ]
    after = [
        node("Relu", ["x"], ["5"]),
        node("Exp", ["5"], ["6"]),
        node("MatMul", ["6", "onnx::MatMul_7"], ["9"], "/fc/MatMul"),
        node("Neg", ["9"], ["y"]),
    ]
    names = []
    for nodes in (before, after):
        network = import_onnx(model(nodes, [value("x", [2, 40])], ["y"], weights))
        names.append([layer.name for layer in network.layers] + [w.name for w in network.weights])
    assert names[0] == ["relu_5", "fc", "y", "fc.weight"]
    assert [n for n in names[1] if n != "exp_6"] == names[0]


def test_names_that_collide() -> None:
    nodes = [
        node("Relu", ["x"], ["a/b"]),
        node("Neg", ["a/b"], ["a.b"]),
        node("Exp", ["a.b"], ["y"]),
        node("Abs", ["x"], ["/y"]),
        node("Sin", ["/y"], ["z"]),
    ]
    network = import_onnx(model(nodes, [value("x", [2])], ["y", "z"]))
    names = [layer.name for layer in network.layers]
    assert len(set(names)) == 5 and network.outputs[0].name == "y" and names[:2] == ["a.b", "a_b"]


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        (("unk__1", 3, "unk__2", "unk__3"), ["N", "H", "W"]),
        (("p2o.DynamicDimension.0", 3, None, "p2o.DynamicDimension.1"), ["N", "H", "W"]),
        (("N", "M1", "M2", 3), ["N", "M1", "M2"]),
        ((None, None, None, 3), ["N", "H", "W"]),
        ((None, None), ["N", "S"]),
        ((None, None, 512), ["N", "S"]),
        ((None, 64, None), ["N", "T"]),
        ((None, 1, None, None, None), ["N", "D", "H", "W"]),
        (("batch", "seq_len"), ["batch", "seq_len"]),
        (("min", "x y"), ["min2", "S"]),
        (("s0", "s0"), ["N"]),
    ],
)
def test_dims(shape: tuple[int | str | None, ...], names: list[str]) -> None:
    assert (
        list(name_dims([ValueInfo("x", 1, shape)], ())) != []
        and list(name_dims([ValueInfo("x", 1, shape)], ()).values()) == names
    )


def test_dims_avoid_the_names_of_inputs() -> None:
    assert list(name_dims([ValueInfo("N", 1, (None, "S"))], ("N", "S")).values()) == ["N2", "S2"]
