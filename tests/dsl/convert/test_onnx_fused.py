"""Attention, lists of tensors, and the ops that ONNX Runtime's optimiser writes, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto

from tests.dsl.convert.models import Array, check, codes, model, node, ops, refused, single, value
from trtn.dsl.convert.onnx import import_onnx
from trtn.dsl.convert.onnx.names import network_name

RNG = np.random.default_rng(13)
MICROSOFT = "com.microsoft"


def f(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


U8 = RNG.integers(0, 99, (2, 3)).astype(np.uint8)
S8 = RNG.integers(-60, 60, (4, 5)).astype(np.int8)
"""Small enough for ONNX Runtime, whose sums of two products saturate at 16 bits on processors without VNNI."""


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "expected"),
    [
        ("Gelu", [f(3, 4)], {}, ["gelu"]),
        ("BiasGelu", [f(3, 4), f(4)], {}, ["add", "gelu"]),
        ("FastGelu", [f(3, 4)], {}, ["gelu"]),
        ("QuickGelu", [f(3, 4)], {"alpha": 1.5}, ["swish"]),
        ("FusedMatMul", [f(2, 3, 4), f(2, 5, 4)], {"transB": 1, "alpha": 0.25}, ["transpose", "matmul", "mul"]),
        ("FusedMatMul", [f(4, 3), f(4, 5)], {"transA": 1}, ["transpose", "matmul"]),
        ("FusedConv", [f(1, 2, 5, 5), f(3, 2, 3, 3)], {"activation": "Relu", "pads": [1, 1, 1, 1]}, ["conv", "relu"]),
        (
            "FusedConv",
            [f(1, 2, 5), f(3, 2, 3)],
            {"activation": "LeakyRelu", "activation_params": [0.2]},
            ["conv", "leaky_relu"],
        ),
        (
            "SkipLayerNormalization",
            [f(2, 3, 8), f(2, 3, 8), f(8), f(8), f(8)],
            {"epsilon": 1e-3},
            ["add"] * 2 + ["layer_norm"],
        ),
        ("SkipSimplifiedLayerNormalization", [f(2, 3, 8), f(2, 3, 8), f(8)], {"epsilon": 1e-3}, ["add", "rms_norm"]),
        (
            "DynamicQuantizeMatMul",
            [f(3, 4), S8, np.asarray([0.02], np.float32)],
            {},
            ["dynamic_quantize_linear", "matmul_integer", "mul", "cast", "mul"],
        ),
        (
            "QLinearAdd",
            [U8, np.float32(0.1), np.uint8(3)] * 2 + [np.float32(0.3), np.uint8(9)],
            {},
            ["dequantize_linear", "dequantize_linear", "add", "quantize_linear"],
        ),
        ("MultiHeadAttention", [f(2, 3, 8), f(2, 5, 8), f(2, 5, 8), f(24)], {"num_heads": 2}, None),
        ("Attention", [f(2, 5, 6), f(6, 24), f(24)], {"num_heads": 2}, None),
        ("Attention", [f(2, 5, 6), f(6, 24), f(24)], {"num_heads": 4, "unidirectional": 1, "scale": 0.3}, None),
        ("Attention", [f(2, 5, 6), f(6, 20), f(20)], {"num_heads": 2, "qkv_hidden_sizes": [8, 8, 4]}, None),
        (
            "Attention",
            [f(2, 5, 6), f(6, 24), f(24), np.int32([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])],
            {"num_heads": 2},
            None,
        ),
        ("Attention", [f(2, 5, 6), f(6, 24), f(24), np.int32([2, 5])], {"num_heads": 2}, None),
    ],
)
def test_microsoft(op: str, inputs: list[Any], attrs: dict[str, Any], expected: list[str] | None) -> None:
    proto, feeds = single(op, [np.asarray(a) for a in inputs], domain=MICROSOFT, **attrs)
    network = check(proto, feeds, rtol=1e-3)
    if expected is not None:
        assert sorted(ops(network)) == sorted(expected)


def test_sum_of_a_skip_connection_is_a_result_of_its_own() -> None:
    nodes = [node("SkipLayerNormalization", ["x", "s", "g"], ["y", "", "", "sum"], domain=MICROSOFT)]
    proto = model(
        nodes, [value("x", ["B", 3, 8]), value("s", ["B", 3, 8])], ["y", "sum"], {"g": f(8)}, domains={MICROSOFT: 1}
    )
    check(proto, {"x": f(2, 3, 8), "s": f(2, 3, 8)})


@pytest.mark.parametrize(
    ("inputs", "attrs", "outputs"),
    [
        ([f(2, 4, 3, 8), f(2, 4, 5, 8), f(2, 4, 5, 6)], {}, 1),
        ([f(2, 4, 3, 8), f(2, 2, 3, 8), f(2, 2, 3, 8)], {"is_causal": 1, "scale": 0.5}, 1),
        ([f(2, 4, 3, 8), f(2, 4, 5, 8), f(2, 4, 5, 8)], {"is_causal": 1}, 1),
        ([f(2, 3, 32), f(2, 5, 16), f(2, 5, 16), RNG.random((3, 5)) > 0.3], {"q_num_heads": 4, "kv_num_heads": 2}, 1),
        ([f(2, 4, 3, 8), f(2, 4, 3, 8), f(2, 4, 3, 8), None, f(2, 4, 2, 8), f(2, 4, 2, 8)], {"is_causal": 1}, 3),
        ([f(2, 4, 3, 8), f(2, 4, 5, 8), f(2, 4, 5, 8), f(3, 5)], {"softcap": 2.0}, 1),
    ],
    ids=["plain", "grouped causal", "causal of another length", "flat with a mask", "with a past", "soft cap"],
)
def test_attention(inputs: list[Any], attrs: dict[str, Any], outputs: int) -> None:
    proto, feeds = single("Attention", inputs, opset=23, outputs=outputs, **attrs)
    network = check(proto, feeds, rtol=1e-4)
    assert ("attention" in ops(network)) == ("softcap" not in attrs)


def test_lists_of_tensors_are_taken_apart() -> None:
    nodes: list[NodeProto] = [
        node("SplitToSequence", ["x", "two"], ["parts"], axis=1),
        node("SplitToSequence", ["x"], ["rows"], axis=0, keepdims=0),
        node("SequenceAt", ["parts", "last"], ["tail"]),
        node("SequenceAt", ["rows", "one"], ["row"]),
        node("SequenceInsert", ["parts", "tail", "zero"], ["longer"]),
        node("SequenceErase", ["longer", "one"], ["shorter"]),
        node("SequenceLength", ["longer"], ["count"]),
        node("ConcatFromSequence", ["shorter"], ["y"], axis=1),
        node("SequenceConstruct", ["row", "row"], ["pair"]),
        node("ConcatFromSequence", ["pair"], ["z"], axis=0, new_axis=1),
    ]
    weights = {"zero": np.asarray(0), "one": np.asarray(1), "two": np.asarray(2), "last": np.asarray(-1)}
    network = check(model(nodes, [value("x", [3, 5])], ["y", "z", "count"], weights), {"x": f(3, 5)})
    assert set(ops(network)) <= {"split", "squeeze", "unsqueeze", "concat", "identity"}


def test_lists_that_only_the_dims_or_the_data_decide() -> None:
    split = node("SplitToSequence", ["x"], ["rows"])
    at = node("SequenceAt", ["rows", "i"], ["y"])
    proto = model([split, at], [value("x", ["N", 2])], ["y"], {"i": np.asarray(0)})
    assert "length depends on the dims" in str(refused(proto))
    proto = model([split, at], [value("x", [3, 2]), value("i", [], 7)], ["y"])
    assert "the position must be constant" in str(refused(proto))
    proto = model([split], [value("x", [3, 2])], ["rows"])
    assert codes(refused(proto)) == ["E0803"]


def test_a_network_is_called_as_its_graph_or_else_as_its_file(tmp_path: Path) -> None:
    assert network_name("resnet50", "m") == "resnet50"
    for graph in ("main_graph", "torch-jit-export", "tf2onnx", "Model from PaddlePaddle.", ""):
        assert network_name(graph, "silero-vad") == "silero_vad"
    proto = model([node("Relu", ["x"], ["y"])], [value("x", [2])], ["y"], name="main_graph")
    (tmp_path / "my net.onnx").write_bytes(proto.SerializeToString())
    assert import_onnx(tmp_path / "my net.onnx").name == "my_net"
    assert import_onnx(tmp_path / "my net.onnx", name="other").name == "other"
    assert import_onnx(proto).name == "main_graph"
