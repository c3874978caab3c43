"""One node at a time, at the opsets where its attributes became inputs or its meaning changed, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import trtn
from tests.dsl.convert.models import Array, check, ops, ort, refused, single
from trtn.dsl.convert.onnx.registry import known_ops

RNG = np.random.default_rng(11)


def f(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def i(*values: int) -> Array:
    return np.asarray(values, np.int64)


def case(op: str, opset: int, inputs: list[Any], known: tuple[int, ...] = (), outputs: int = 1, **attrs: Any) -> Any:
    return pytest.param(op, opset, inputs, known, outputs, attrs, id=f"{op}-{opset}")


SCALES = np.asarray([1, 1, 2, 3], np.float32)
VERSIONS = [
    case("Clip", 7, [f(3, 4)], min=-0.5, max=0.25),
    case("Clip", 13, [f(3, 4), np.float32(-0.5), np.float32(0.25)], (1, 2)),
    case("Clip", 13, [f(3, 4), np.float32(0.0)], (1,)),
    case("Clip", 13, [f(3, 4), np.float32(-0.5), np.float32(0.25)]),
    case("Clip", 13, [i(-7, 3, 2**60), i(-5).reshape(()), i(2**59 + 1).reshape(())], (1, 2)),
    case("Slice", 9, [f(5, 6)], starts=[1, -3], ends=[9, -1], axes=[0, 1]),
    case("Slice", 13, [f(5, 6), i(1, -3), i(9, -1), i(0, 1)], (1, 2, 3)),
    case("Slice", 13, [f(5, 6), i(-1), i(-(2**63) + 1), i(0), i(-2)], (1, 2, 3, 4)),
    case("Slice", 13, [f(5, 6), i(0, 2), i(2**63 - 1, 2**63 - 1)], (1, 2)),
    case("Slice", 13, [f(5, 6), i(1), i(4), i(-1)], (3,)),
    case("Squeeze", 11, [f(1, 3, 1)], axes=[-1]),
    case("Squeeze", 13, [f(1, 3, 1), i(0)], (1,)),
    case("Squeeze", 13, [f(1, 3, 1)]),
    case("Unsqueeze", 11, [f(3)], axes=[0, 2]),
    case("Unsqueeze", 13, [f(3), i(-1)], (1,)),
    case("Pad", 10, [f(2, 3)], pads=[0, 1, 1, 0], value=2.5),
    case("Pad", 13, [f(2, 3), i(0, 1, 1, 0), np.float32(2.5)], (1, 2)),
    case("Pad", 13, [f(4, 5), i(1, 2, 0, 1)], (1,), mode="reflect"),
    case("Pad", 18, [f(4, 5), i(2, 1), None, i(-1)], (1, 3)),
    case("ReduceSum", 11, [f(2, 3, 4)], axes=[1], keepdims=0),
    case("ReduceSum", 13, [f(2, 3, 4), i(-1, 0)], (1,)),
    case("ReduceSum", 13, [f(2, 3, 4)], noop_with_empty_axes=1),
    case("ReduceMean", 17, [f(2, 3, 4)], axes=[2]),
    case("ReduceMean", 18, [f(2, 3, 4), i(2)], (1,), keepdims=0),
    case("ReduceL2", 18, [f(2, 3), i()], (1,)),
    case("Softmax", 12, [f(2, 3, 4)], axis=1),
    case("Softmax", 12, [f(2, 3, 4)]),
    case("Softmax", 13, [f(2, 3, 4)], axis=1),
    case("LogSoftmax", 11, [f(2, 3, 4)], axis=0),
    case("TopK", 9, [f(3, 8)], outputs=2, k=3),
    case("TopK", 11, [f(3, 8), i(3)], (1,), 2, largest=0),
    case("Split", 12, [f(2, 6)], outputs=2, split=[2, 4], axis=1),
    case("Split", 13, [f(2, 6), i(1, 5)], (1,), 2, axis=-1),
    case("Split", 13, [f(4, 6)], outputs=2),
    case("Split", 18, [f(2, 7)], outputs=3, axis=1, num_outputs=3),
    case("Upsample", 7, [f(1, 2, 3, 3)], scales=[1.0, 1.0, 2.0, 2.0]),
    case("Upsample", 9, [f(1, 2, 3, 3), SCALES], (1,), mode="linear"),
    case("Resize", 10, [f(1, 2, 3, 3), SCALES], (1,)),
    case(
        "Resize",
        11,
        [f(1, 2, 3, 3), f(0), SCALES],
        (1, 2),
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    case(
        "Resize",
        13,
        [f(1, 2, 4, 4), None, None, i(1, 2, 7, 5)],
        (3,),
        mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    case("Resize", 13, [f(1, 2, 4, 4), None, SCALES], (2,), mode="cubic", cubic_coeff_a=-0.5),
    case("Resize", 18, [f(1, 2, 4, 4), None, None, i(8, 6)], (3,), axes=[2, 3], mode="linear"),
    case("BatchNormalization", 9, [f(2, 3, 4), f(3), f(3), f(3), np.abs(f(3))], (1, 2, 3, 4), epsilon=1e-3),
    case("Reshape", 13, [f(2, 3, 4), i(0, -1)], (1,)),
    case("Reshape", 13, [f(2, 3, 4), i(4, 0, -1)], (1,)),
    case("Reshape", 13, [f(2, 3, 4), i(0, -1)]),
    case("Shape", 15, [f(2, 3, 4)], start=1, end=-1),
    case("Expand", 13, [f(3, 1), i(2, 1, 4)], (1,)),
    case("Gather", 13, [f(5, 3), i(-1, 2)], (1,), axis=1),
    case("OneHot", 11, [i(0, 2, -1), i(3), f(2)], (1, 2)),
    case("Range", 11, [np.float32(1.0), np.float32(2.6), np.float32(0.5)], (0, 1, 2)),
    case("ConstantOfShape", 9, [i(2, 3)], (0,)),
    case("CumSum", 14, [f(2, 5), np.int32(1)], (1,), exclusive=1, reverse=1),
    case("MaxPool", 12, [f(1, 2, 7, 7)], outputs=2, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case(
        "AveragePool", 11, [f(1, 2, 7, 7)], kernel_shape=[3, 2], pads=[1, 0, 1, 1], strides=[2, 2], count_include_pad=1
    ),
    case("Conv", 11, [f(1, 4, 7, 7), f(6, 2, 3, 3), f(6)], (1, 2), group=2, auto_pad="SAME_LOWER", strides=[2, 2]),
    case("Conv", 11, [f(1, 4, 9), f(6, 4, 3)], (1,), pads=[2, 0], dilations=[2]),
    case(
        "ConvTranspose",
        11,
        [f(1, 4, 5, 5), f(4, 3, 3, 3)],
        (1,),
        strides=[2, 2],
        pads=[1, 0, 1, 1],
        output_padding=[1, 0],
    ),
    case("Sum", 13, [f(3), f(2, 3), f(1)]),
    case("Mean", 13, [f(3), f(2, 3), f(1)]),
    case("Mod", 13, [f(4), f(4)], fmod=1),
    case("Cast", 13, [f(4) * 5], to=6),
    case("LayerNormalization", 17, [f(2, 3, 4), f(4), f(4)], (1, 2), 3, axis=-1),
    case("GroupNormalization", 18, [f(2, 6, 3), f(3), f(3)], (1, 2), num_groups=3),
    case("Trilu", 14, [f(3, 4), np.asarray(1)], (1,), upper=0),
    case("Einsum", 12, [f(2, 3), f(3, 4)], equation="ij, jk -> ik"),
    case("DequantizeLinear", 13, [np.asarray([[3, 250]], np.uint8), np.float32(0.5), np.uint8(128)], (1, 2)),
    case(
        "QuantizeLinear",
        13,
        [f(2, 3) * 9, np.asarray([0.5, 0.25, 1], np.float32), np.asarray([1, -2, 3], np.int8)],
        (1, 2),
        axis=1,
    ),
    case("DynamicQuantizeLinear", 11, [f(3, 4)], outputs=3),
    case(
        "MatMulInteger", 10, [np.asarray([[1, 200]], np.uint8), np.asarray([[3], [100]], np.int8), np.uint8(4)], (1, 2)
    ),
    case(
        "LSTM",
        14,
        [f(5, 2, 3), f(1, 16, 3), f(1, 16, 4), f(1, 32), None, None, None, f(1, 12)],
        (1, 2, 3, 7),
        3,
        hidden_size=4,
    ),
    case(
        "GRU",
        14,
        [f(5, 2, 3), f(2, 12, 3), f(2, 12, 4)],
        (1, 2),
        2,
        hidden_size=4,
        direction="bidirectional",
        linear_before_reset=1,
    ),
    case(
        "RNN",
        14,
        [f(5, 2, 3), f(1, 4, 3), f(1, 4, 4)],
        (1, 2),
        2,
        hidden_size=4,
        activations=["Relu"],
        direction="reverse",
    ),
]


@pytest.mark.parametrize(("op", "opset", "inputs", "known", "outputs", "attrs"), VERSIONS)
def test_against_onnx_runtime(
    op: str, opset: int, inputs: list[Any], known: tuple[int, ...], outputs: int, attrs: dict[str, Any]
) -> None:
    proto, feeds = single(op, inputs, known, opset=opset, outputs=outputs, **attrs)
    check(proto, feeds, rtol=1e-4)


def test_clip_keeps_large_integers_exact() -> None:
    proto, _ = single("Clip", [i(1), None, i(2**59 + 1).reshape(())], (2,))
    assert ops(check(proto, {"x0": i(2**60)})) == ["min"]


@pytest.mark.parametrize(
    ("op", "inputs", "known", "attrs", "words"),
    [
        (
            "Resize",
            [f(1, 1, 2, 2), None, SCALES],
            (2,),
            {"coordinate_transformation_mode": "sideways"},
            "sideways",
        ),
        ("Resize", [f(1, 1, 2, 2)], (), {}, "neither scales nor sizes"),
        ("MaxPool", [f(1, 1, 4)], (), {}, "`kernel_shape` is missing"),
        ("Transpose", [f(2, 3)], (), {"perm": "01"}, "`perm` must be a list"),
        ("Cast", [f(2)], (), {"to": 8}, "STRING"),
        ("Concat", [f(2, 3), f(3, 4)], (), {"axis": 0}, "differ"),
        ("Conv", [f(1, 3, 4, 4), f(2, 4, 3, 3)], (1,), {}, "4"),
    ],
)
def test_refusals_say_why(
    op: str, inputs: list[Any], known: tuple[int, ...], attrs: dict[str, Any], words: str
) -> None:
    proto, _ = single(op, inputs, known, **attrs)
    error = refused(proto)
    assert error.diagnostics[0].code == "E0802"
    assert error.diagnostics[0].message.startswith(f"{op} `the_node`: ") and words in str(error)


def eight_bit_lstm(
    *,
    levels: Any = np.int8,
    columns: tuple[int, ...] = (),
    directions: int = 1,
    lengths: Any = None,
    states: bool = False,
) -> list[Any]:
    """The inputs of ONNX Runtime's op, hidden size 4.

    Levels below 60: sums of two products stay below 2^15, where some processors saturate it. With scales by column it
    wants zero points of 0.
    """
    x, bias = f(5, 3, 6), f(directions, 32)
    w, r = (RNG.integers(0 if levels is np.uint8 else -60, 60, (directions, n, 16)).astype(levels) for n in (6, 4))
    scales = [np.abs(f(directions, *columns)) / 50 + np.float32(0.005) for _ in "wr"]
    zeros = [(np.zeros if columns else np.ones)((directions, *columns), levels) for _ in "wr"]
    first = [f(directions, 3, 4) if states else None for _ in "hc"]
    peephole = f(directions, 12) if states else None
    return [x, w, r, bias, lengths, *first, peephole, scales[0], zeros[0], scales[1], zeros[1]]


@pytest.mark.parametrize(
    ("inputs", "attrs"),
    [
        (eight_bit_lstm(), {}),
        (eight_bit_lstm(levels=np.uint8), {"direction": "reverse"}),
        (eight_bit_lstm(columns=(16,), directions=2), {"direction": "bidirectional"}),
        (eight_bit_lstm(states=True), {"clip": 0.7}),
        (eight_bit_lstm(lengths=np.int32([5, 2, 4])), {"input_forget": 1}),
        (eight_bit_lstm(), {"activations": ["HardSigmoid", "Tanh", "Relu"], "activation_alpha": [0.3]}),
    ],
)
def test_quantised_lstm(inputs: list[Any], attrs: dict[str, Any]) -> None:
    """Its weights stay in 8 bits, and it goes back as what it was."""
    attrs |= {"hidden_size": 4}
    proto, feeds = single(
        "DynamicQuantizeLSTM", inputs, (1, 2, 3, 8, 9, 10, 11), outputs=3, domain="com.microsoft", **attrs
    )
    network = check(proto, feeds)
    (layer,) = network.layers
    for tensor, given in zip(layer.inputs[1:3], inputs[1:3], strict=True):
        assert tensor is not None and tensor.weight is not None
        np.testing.assert_array_equal(tensor.weight.load(), given, strict=True)
    back = trtn.export_onnx(network)
    for name, expected in ort(proto, feeds).items():
        np.testing.assert_array_equal(ort(back, feeds)[name], expected)


def test_every_handler_is_of_an_onnx_op() -> None:
    import onnx

    for domain, op in known_ops():
        assert domain == "com.microsoft" or op == "SimplifiedLayerNormalization" or onnx.defs.has(op, domain), op
