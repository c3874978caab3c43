"""Rarer ops, one node each, against ONNX Runtime: sampling, boxes, spectra, windows put back, caches."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest

from tests.dsl.convert.models import Array, check, codes, model, node, ops, refused, single, value
from tests.interpreter import evaluate_network
from trtn.dsl.convert.onnx import import_onnx

RNG = np.random.default_rng(17)


def f(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def i(*values: int) -> Array:
    return np.asarray(values, np.int64)


def case(op: str, opset: int, inputs: list[Any], known: tuple[int, ...] = (), outputs: int = 1, **attrs: Any) -> Any:
    return pytest.param(op, opset, inputs, known, outputs, attrs, id=f"{op}-{opset}")


BOXES = np.abs(f(2, 12, 4))
POOLED = np.asarray([[[[0, 8], [10, 15]], [[16, 20], [26, 31]]]], np.int64)
ROIS = np.asarray([[0.5, 1, 6, 5], [2, 2, 2.4, 8], [0, 0, 7, 7]], np.float32)
CASES = [
    *(case("GridSample", 20, [f(2, 3, 5, 4), f(2, 3, 6, 2)], mode=m, padding_mode=p, align_corners=a)
      for m in ("linear", "nearest", "cubic") for p in ("zeros", "border", "reflection") for a in (0, 1)),
    case("GridSample", 16, [f(1, 1, 5, 4), f(1, 3, 6, 2)], mode="bicubic"),
    case("GridSample", 20, [f(1, 2, 3, 4, 5), f(1, 2, 2, 2, 3)], mode="linear", padding_mode="border"),
    *(case("AffineGrid", 20, [f(2, 2, 3), i(2, 1, 4, 5)], k, align_corners=a) for k in ((), (1,)) for a in (0, 1)),
    case("AffineGrid", 20, [f(1, 3, 4), i(1, 2, 3, 4, 5)], (1,)),
    case("DeformConv", 19, [f(2, 4, 6, 5), f(6, 2, 3, 2), f(2, 24, 6, 4), f(6), f(2, 12, 6, 4)], (1,),
         group=2, offset_group=2, pads=[1, 0, 1, 0], kernel_shape=[3, 2]),
    case("DeformConv", 19, [f(1, 2, 7, 7), f(3, 2, 2, 2), f(1, 8, 3, 3)], (), strides=[2, 2], dilations=[2, 2]),
    *(case("RoiAlign", 16, [f(2, 3, 9, 8), ROIS, i(1, 0, 1)], (), output_height=3, output_width=2, mode=m,
           sampling_ratio=s, spatial_scale=0.5, coordinate_transformation_mode=c)
      for m in ("avg", "max") for s in (0, 2) for c in ("half_pixel", "output_half_pixel")),
    case("RoiAlign", 10, [f(2, 3, 9, 8), ROIS, i(1, 0, 1)], (), output_height=2, output_width=2),
    *(case("NonMaxSuppression", 11, [BOXES, f(2, 3, 12), i(4), np.float32([0.3]), np.float32([-0.5])], k,
           center_point_box=c) for c in (0, 1) for k in ((), (2, 3, 4))),
    case("NonMaxSuppression", 11, [BOXES, f(2, 3, 12), i(20)], (2,)),
    case("NonMaxSuppression", 11, [BOXES, f(2, 3, 12)]),
    case("Unique", 11, [i(3, 1, 1, -2, 3, 0)], (), 4),
    case("Unique", 11, [i(3, 1, 1, -2, 3, 0)], (), 4, sorted=0),
    case("Unique", 11, [np.asarray([[1, 0], [1, 0], [0, 3]], np.float32)], (), 4, axis=0),
    case("Det", 11, [f(2, 3, 4, 4)]),
    case("Col2Im", 18, [f(2, 12, 9), i(4, 5), i(2, 3)], (1, 2)),
    case("Col2Im", 18, [f(1, 8, 16), i(6, 7), i(2, 2)], (), strides=[2, 2], pads=[1, 0, 1, 1]),
    case("MaxUnpool", 11, [f(1, 2, 2, 2), POOLED], (), kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxPool", 12, [f(2, 2, 5, 6)], (), 2, kernel_shape=[2, 2], storage_order=1),
    *(case("DFT", 17, [f(2, 8, 6, parts) / 8], (), axis=a, **more)
      for a in (1, -2) for parts, more in ((1, {}), (2, {}), (2, {"inverse": 1}), (1, {"onesided": 1}))),
    case("DFT", 20, [f(2, 8, 6, 1) / 8, i(5).reshape(()), i(1).reshape(())], (1, 2)),
    case("DFT", 20, [f(2, 8, 1) / 8, i(11).reshape(())], (1,)),
    case("STFT", 17, [f(2, 20, 1) / 8, i(3).reshape(()), f(8)], (1, 2)),
    case("STFT", 17, [f(2, 20, 1) / 8, i(4).reshape(()), None, i(8).reshape(())], (1, 3), onesided=0),
    case("STFT", 17, [f(2, 20, 1) / 8, i(3).reshape(()), f(8)]),
    case("MelWeightMatrix", 17, [i(8).reshape(()), i(16).reshape(()), i(8192).reshape(()), np.float32(0),
                                 np.float32(4096)]),
    *(case("TfIdfVectorizer", 9, [np.asarray([[1, 1, 3, 3, 3, 7], [8, 6, 7, 5, 6, 8]], np.int32)], (),
           pool_int64s=[2, 3, 5, 4, 5, 6, 7, 8, 6, 7], ngram_counts=[0, 4], ngram_indexes=list(range(7)),
           min_gram_length=1, max_gram_length=2, max_skip_count=s, mode=m, weights=[1.0, 2.0, 0.5, 1.0, 3.0, 1.0, 2.0])
      for s in (0, 3) for m in ("TF", "IDF", "TFIDF")),
]  # fmt: skip


@pytest.mark.parametrize(("op", "opset", "inputs", "known", "outputs", "attrs"), CASES)
def test_against_onnx_runtime(
    op: str, opset: int, inputs: list[Any], known: tuple[int, ...], outputs: int, attrs: dict[str, Any]
) -> None:
    proto, feeds = single(op, inputs, known, opset=opset, outputs=outputs, **attrs)
    check(proto, feeds, rtol=1e-4)


@pytest.mark.parametrize(
    ("op", "opset", "inputs", "attrs"),
    [
        ("TensorScatter", 24, [f(2, 3, 6, 4), f(2, 3, 2, 4), i(1, 4)], {}),
        ("TensorScatter", 24, [f(2, 6, 4), f(2, 3, 4), i(4, 5)], {"mode": "circular"}),
        ("TensorScatter", 24, [f(2, 6, 4), f(2, 3, 4)], {"axis": 1}),
        ("CumProd", 26, [f(2, 5), i(-1).reshape(())], {"exclusive": 1}),
        ("BitCast", 26, [f(2, 5)], {"to": onnx.TensorProto.INT32}),
        ("SpaceToDepth", 28, [f(1, 2, 4, 6)], {"blocksize": 2, "mode": "CRD"}),
        ("Attention", 24, [f(2, 4, 3, 8), f(2, 2, 5, 8), f(2, 2, 5, 8), None, None, None, i(2, 5)], {"is_causal": 1}),
        ("LinearAttention", 27, [f(1, 3, 8), f(1, 3, 4), f(1, 3, 4), None, None, f(1, 3, 1)],
         {"q_num_heads": 4, "kv_num_heads": 2, "update_rule": "delta"}),
        ("SoftmaxCrossEntropyLoss", 13, [f(3, 5), i(0, 4, 2)], {"reduction": "sum"}),
    ],
)  # fmt: skip
def test_newest_ops_against_their_definition(op: str, opset: int, inputs: list[Any], attrs: dict[str, Any]) -> None:
    outputs = 2 if op == "LinearAttention" else 1
    proto, feeds = single(op, inputs, (), opset=opset, outputs=outputs, **attrs)
    expected = onnx.reference.ReferenceEvaluator(proto).run(None, feeds)
    actual = evaluate_network(import_onnx(proto), feeds)
    for y, name in zip(expected, actual, strict=True):
        np.testing.assert_allclose(actual[name], y, rtol=1e-4, atol=1e-6)


def test_bodies_within_bodies_are_unfolded() -> None:
    proto, _ = single("SoftmaxCrossEntropyLoss", [f(3, 5), i(0, 4, 2)], (), opset=13)
    assert "log_softmax" in ops(import_onnx(proto))


def test_inputs_and_nodes_are_refused_in_one_report() -> None:
    text = onnx.TensorProto.STRING
    nodes = [node("StringConcat", ["t", "t"], ["u"], "one"), node("Relu", ["x"], ["y"])]
    error = refused(model(nodes, [value("t", [2], text), value("x", [2])], ["u", "y"], opset=20))
    assert codes(error) == ["E0803", "E0802"]
    assert "`t`" in error.diagnostics[0].message and "StringConcat `one`" in error.diagnostics[1].message


def test_optional_values_are_typed_away() -> None:
    tensor = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [3])
    declared = onnx.helper.make_value_info("x", onnx.helper.make_optional_type_proto(tensor))
    nodes = [
        node("OptionalHasElement", ["x"], ["there"]),
        node("OptionalGetElement", ["x"], ["got"]),
        node("Optional", ["got"], ["again"]),
        node("OptionalGetElement", ["again"], ["same"]),
        node("Neg", ["same"], ["y"]),
        node("OptionalHasElement", [""], ["absent"]),
    ]
    network = import_onnx(model(nodes, [declared], ["there", "y", "absent"], opset=18))
    x = f(3)
    found = evaluate_network(network, {"x": x})
    assert found["there"] and not found["absent"]
    np.testing.assert_array_equal(found["y"], -x)


def test_a_map_over_a_list_is_unrolled() -> None:
    body = onnx.helper.make_graph(
        [node("Mul", ["item", "factor"], ["z"])], "body", [value("item", [2]), value("factor", [2])], [value("z", [2])]
    )
    nodes = [
        node("SequenceConstruct", ["a", "b"], ["list"]),
        node("SequenceMap", ["list", "c"], ["mapped"], "map", body=body),
        node("ConcatFromSequence", ["mapped"], ["y"], axis=0),
    ]
    a, b, c = f(2), f(2), f(2)
    network = import_onnx(model(nodes, [value(n, [2]) for n in "abc"], ["y"], opset=17))
    np.testing.assert_allclose(evaluate_network(network, {"a": a, "b": b, "c": c})["y"], np.concatenate([a * c, b * c]))


@pytest.mark.parametrize(
    ("op", "inputs", "attrs"),
    [
        ("Binarizer", [f(3, 4)], {"threshold": 0.25}),
        ("ArrayFeatureExtractor", [f(2, 3, 4), i(2, 0, 3)], {}),
        ("ArrayFeatureExtractor", [f(2, 4), i(1, 2).reshape(1, 2)], {}),
        ("ArrayFeatureExtractor", [f(4), i(3)], {}),
    ],
)
def test_arithmetic_of_the_ml_domain(op: str, inputs: list[Any], attrs: dict[str, Any]) -> None:
    proto, feeds = single(op, inputs, domain="ai.onnx.ml", **attrs)
    check(proto, feeds)


def test_every_kind_of_refusal_has_its_reason() -> None:
    proto = model(
        [
            node("StringConcat", ["x", "x"], ["a"], "one"),
            node("ImageDecoder", ["x"], ["b"], "two"),
            node("Adam", ["x"], ["c"], "three", domain="ai.onnx.preview.training"),
            node("Normalizer", ["x"], ["d"], "four", domain="ai.onnx.ml"),
        ],
        [value("x", [4])],
        ["a", "b", "c", "d"],
        domains={"ai.onnx.preview.training": 1, "ai.onnx.ml": 3},
        opset=20,
    )
    error = refused(proto)
    assert codes(error) == ["E0802"] * 4
    for diagnostic, words in zip(error.diagnostics, ("text", "image", "training", "ai.onnx.ml"), strict=True):
        assert words in diagnostic.message
