"""Whole small models with the oddities that exporters write, against ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from tests.dsl.convert.models import Array, check, codes, model, node, ops, refused, value
from tests.interpreter import evaluate_network
from trtn.dsl.builder import ArraySource
from trtn.dsl.convert.onnx import DEFAULT_RANGE, import_onnx
from trtn.dsl.convert.onnx.initializers import ExternalSource, InitializerSource, TransposedSource
from trtn.dsl.dims import Range
from trtn.dsl.errors import ImportModelError

RNG = np.random.default_rng(7)


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


# --- files ---


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x07" + b"\xff" * 40], ids=["empty", "text", "noise"])
def test_bytes_that_are_no_model(data: bytes) -> None:
    assert codes(refused(data)) == ["E0801"]


def test_missing_file_is_named(tmp_path: Path) -> None:
    error = refused(tmp_path / "none.onnx")
    assert codes(error) == ["E0801"] and "none.onnx" in str(error)


def test_path_bytes_and_proto_give_the_same(tmp_path: Path) -> None:
    proto = model([node("Relu", ["x"], ["y"])], [value("x", ["N", 3])], ["y"])
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    for source in (proto, proto.SerializeToString(), tmp_path / "m.onnx", str(tmp_path / "m.onnx")):
        assert ops(import_onnx(source)) == ["relu"]


def test_a_damaged_model_is_refused_and_never_crashes() -> None:
    proto = model(
        [
            node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
            node("Shape", ["c"], ["s"]),
            node("Slice", ["s", "a", "b"], ["n"]),
            node("Concat", ["n", "m"], ["t"], axis=0),
            node("Reshape", ["c", "t"], ["r"]),
            node("Gemm", ["r", "g"], ["y"], "gemm", transB=1, alpha=0.5),
        ],
        [value("x", ["N", 3, 4, 4])],
        ["y"],
        {
            "w": floats(2, 3, 3, 3),
            "a": np.asarray([0]),
            "b": np.asarray([1]),
            "m": np.asarray([-1]),
            "g": floats(5, 32),
        },
    )
    data = proto.SerializeToString()
    import_onnx(data)
    for number in range(300):
        broken = bytearray(data)
        for at in RNG.integers(0, len(data), size=1 + number % 3):
            broken[at] ^= int(RNG.integers(1, 256))
        try:
            import_onnx(bytes(broken))
        except ImportModelError as e:
            assert e.diagnostics
    for end in range(0, len(data), 7):
        try:
            import_onnx(data[:end])
        except ImportModelError as e:
            assert e.diagnostics


# --- graphs ---


def test_unsorted_nodes() -> None:
    proto = model([node("Relu", ["h"], ["y"]), node("Neg", ["x"], ["h"])], [value("x", [4])], ["y"])
    assert ops(import_onnx(proto)) == ["neg", "relu"]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Relu", ["h"], ["y"])], "reads `h`, which nothing defines"),
        ([node("Add", ["x", "y"], ["h"]), node("Relu", ["h"], ["y"])], "its own result"),
        ([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])], "`y` is defined twice"),
        ([node("Relu", ["x"], ["h"])], "output `y` of graph `small` is never computed"),
    ],
    ids=["undefined", "circle", "twice", "no output"],
)
def test_graphs_that_make_no_sense(nodes: list[onnx.NodeProto], words: str) -> None:
    error = refused(model(nodes, [value("x", [4])], ["y"]))
    assert codes(error) == ["E0801"] and words in str(error)


def test_newer_opset_and_unused_domain() -> None:
    nodes = [node("Relu", ["x"], ["y"])]
    assert "opset 9999" in str(refused(model(nodes, [value("x", [4])], ["y"], opset=9999)))
    assert ops(import_onnx(model(nodes, [value("x", [4])], ["y"], domains={"com.example": 3}))) == ["relu"]


def test_old_opset_broadcasts_along_an_axis() -> None:
    proto = model(
        [node("Add", ["x", "b"], ["y"], broadcast=1, axis=1)],
        [value("x", [2, 3, 4, 4])],
        [value("y", [2, 3, 4, 4])],
        {"b": floats(3)},
        opset=6,
    )
    x = floats(2, 3, 4, 4)
    b = numpy_helper.to_array(proto.graph.initializer[0])
    np.testing.assert_allclose(evaluate_network(import_onnx(proto), {"x": x})["y"], x + b[None, :, None, None])


def test_input_that_is_also_an_initialiser_is_a_weight() -> None:
    proto = model([node("Mul", ["x", "w"], ["y"])], [value("x", ["N", 3]), value("w", [3])], ["y"], {"w": floats(3)})
    network = import_onnx(proto)
    assert [t.name for t in network.inputs] == ["x"] and [t.name for t in network.weights] == ["w"]


def test_empty_optional_names() -> None:
    proto = model(
        [node("Clip", ["x", "", "hi"], ["y"]), node("Dropout", ["y"], ["z", ""])],
        [value("x", [4])],
        ["z"],
        {"hi": np.float32(0.5)},
    )
    network = check(proto, {"x": floats(4)})
    assert ops(network) == ["clip"] and network.layers[0].attrs["min"] is None


def test_names_of_inputs_and_outputs_stay() -> None:
    name = json.dumps({"head": "a b", "n": [1, 2]})
    proto = model([node("Relu", ["in put:0"], [name])], [value("in put:0", [2])], [name])
    network = import_onnx(proto)
    assert network.inputs[0].name == "in put:0" and network.outputs[0].name == name


def test_outputs_that_need_a_layer_of_their_own() -> None:
    proto = model(
        [
            node("Identity", ["x"], ["a"]),
            node("Identity", ["w"], ["b"]),
            node("Relu", ["x"], ["c"]),
            node("Identity", ["c"], ["d"]),
        ],
        [value("x", [2])],
        ["a", "b", "c", "d"],
        {"w": floats(2)},
    )
    check(proto, {"x": floats(2)})


def test_model_functions_are_inlined() -> None:
    body = helper.make_function(
        "local", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    proto = model(
        [node("Twice", ["x"], ["h"], domain="local"), node("Twice", ["h"], ["y"], domain="local")],
        [value("x", [2])],
        ["y"],
        functions=[body],
        domains={"local": 1},
    )
    assert ops(check(proto, {"x": floats(2)})) == ["add", "add"]


def test_function_that_calls_itself() -> None:
    body = helper.make_function(
        "local", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="local")], [helper.make_opsetid("", 17)]
    )
    proto = model(
        [node("F", ["x"], ["y"], domain="local")], [value("x", [2])], ["y"], functions=[body], domains={"local": 1}
    )
    assert "calls itself" in str(refused(proto))


def test_standard_op_without_handler_is_expanded_by_its_definition() -> None:
    proto = model(
        [node("HannWindow", ["n"], ["w"]), node("Mul", ["x", "w"], ["y"])],
        [value("x", [8])],
        ["y"],
        {"n": np.asarray(8)},
    )
    check(proto, {"x": floats(8)})


# --- what is not supported ---


def test_every_unsupported_node_is_listed_once() -> None:
    proto = model(
        [
            node("ImageDecoder", ["x"], ["u"], "first"),
            node("Relu", ["u"], ["r"]),
            node("RegexFullMatch", ["x"], ["n"], "second"),
            node("Quux", ["r"], ["y"], "third", domain="com.example"),
            node("Softmax", ["x"], ["s"], "fourth", axis=5),
        ],
        [value("x", [4])],
        ["y", "n", "s"],
        domains={"com.example": 1},
    )
    error = refused(proto)
    assert codes(error) == ["E0802"] * 4
    for diagnostic, words in zip(
        error.diagnostics,
        ("ImageDecoder `first`", "RegexFullMatch `second`", "com.example::Quux `third`", "Softmax `fourth`"),
        strict=True,
    ):
        assert diagnostic.message.startswith(words)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (helper.make_tensor_value_info("x", TensorProto.STRING, [2]), "STRING"),
        (helper.make_tensor_value_info("x", TensorProto.COMPLEX64, [2]), "COMPLEX64"),
        (helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [2]), "a list of tensors"),
        (helper.make_tensor_value_info("x", TensorProto.FLOAT, None), "rank"),
    ],
)
def test_inputs_that_can_not_be_expressed(declared: onnx.ValueInfoProto, words: str) -> None:
    error = refused(model([node("Identity", ["x"], ["y"])], [declared], ["y"]))
    assert codes(error) == ["E0803"] and words in str(error)


def test_a_model_without_outputs() -> None:
    error = refused(model([node("Relu", ["x"], ["y"])], [value("x", [2])], []))
    assert codes(error) == ["E0803"] and "no outputs" in str(error)


def test_sizes_that_no_spec_can_state() -> None:
    """The type of an input, that of an output, the range of a dim."""
    large = 1 << 31
    relu, x = node("Relu", ["x"], ["y"]), value("x", [large])
    assert f"input `x` has a dim of {large}; dims lie in 0..{large - 1}" in str(refused(model([relu], [x], ["y"])))
    grown = node("Expand", ["x", "to"], ["y"])
    proto = model([grown], [value("x", [1])], ["y"], {"to": np.asarray([large])})
    assert f"output `y` has a dim of {large}" in str(refused(proto))
    proto = model([relu], [value("x", ["N"])], ["y"])
    assert f"dim `N` goes to {large}" in str(refused(proto, dims={"N": Range(1, large)}))


def test_training_is_refused() -> None:
    names = ["x", "s", "b", "m", "v"]
    proto = model(
        [node("BatchNormalization", names, ["y"], training_mode=1)],
        [value("x", [1, 2, 3])],
        ["y"],
        {n: floats(2) for n in names[1:]},
    )
    assert "training" in str(refused(proto))


# --- weights ---


def test_weights_refer_to_the_model() -> None:
    proto = model(
        [node("MatMul", ["x", "layers.0.w"], ["y"])], [value("x", ["N", 3])], ["y"], {"layers.0.w": floats(3, 4)}
    )
    (tensor,) = import_onnx(proto).weights
    assert tensor.weight is not None and tensor.weight.name == "layers[0].w"
    assert isinstance(tensor.weight.source, (InitializerSource, ArraySource))
    assert not tensor.weight.load().flags.writeable


def test_gemm_reads_a_transposed_weight_lazily() -> None:
    proto = model(
        [node("Gemm", ["x", "fc.weight", "fc.bias"], ["y"], transB=1)],
        [value("x", ["N", 30])],
        ["y"],
        {"fc.weight": floats(4, 30), "fc.bias": floats(4)},
    )
    network = check(proto, {"x": floats(2, 30)})
    weight = network.weights[0].weight
    assert ops(network) == ["linear"] and weight is not None
    assert (weight.name, weight.shape) == ("fc.weight", (30, 4)) and isinstance(weight.source, TransposedSource)


def test_a_weight_that_is_read_both_ways_round_has_two_names() -> None:
    nodes = [
        node("Gather", ["table", "ids"], ["e"]),
        node("Transpose", ["table"], ["t"], perm=[1, 0]),
        node("MatMul", ["e", "t"], ["y"]),
    ]
    proto = model(nodes, [value("ids", ["S"], TensorProto.INT64)], ["y"], {"table": floats(9, 4)})
    network = check(proto, {"ids": np.asarray([3, 8, 0])})
    assert sorted(t.name for t in network.weights) == ["table", "table_transposed"]


@pytest.mark.parametrize(
    "attrs",
    [
        {"alpha": 0.5},
        {"beta": 2.0},
        {"beta": 0.0},
        {"transA": 1},
        {"transA": 1, "transB": 1, "alpha": 3.0, "beta": 0.25},
    ],
)
def test_gemm(attrs: dict[str, float]) -> None:
    a = floats(3, 2) if "transA" in attrs else floats(2, 3)
    b = floats(4, 3) if "transB" in attrs else floats(3, 4)
    for c in (floats(4), floats(2, 4), floats(2, 1), floats(1)):
        proto = model([node("Gemm", ["a", "b", "c"], ["y"], **attrs)], [value("a", a.shape)], ["y"], {"b": b, "c": c})
        check(proto, {"a": a})


def external(folder: Path, location: str) -> Path:
    """A model in `folder` whose weight lies in another file, at an offset."""
    proto = model([node("MatMul", ["x", "w"], ["y"])], [value("x", ["N", 3])], ["y"], {"w": floats(3, 4)})
    tensor = proto.graph.initializer[0]
    (folder / location).write_bytes(b"\0" * 64 + tensor.raw_data)
    external_data_helper.set_external_data(tensor, location, offset=64, length=len(tensor.raw_data))
    tensor.ClearField("raw_data")
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data_is_mapped(tmp_path: Path) -> None:
    network = import_onnx(external(tmp_path, "w.bin"))
    weight = network.weights[0].weight
    assert weight is not None and isinstance(weight.source, ExternalSource)
    stored = np.frombuffer((tmp_path / "w.bin").read_bytes()[64:], np.float32).reshape(3, 4)
    np.testing.assert_array_equal(weight.load(), stored)
    assert not weight.load().flags.writeable


def test_external_data_outside_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = external(folder, "../w.bin")
    error = refused(path)
    assert codes(error) == ["E0802"] and "outside" in str(error)
    assert ops(import_onnx(path, allow_outside=True)) == ["linear"]


def test_external_data_that_is_short_or_missing(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin")
    assert "not read from a file" in str(refused(path.read_bytes()))
    (tmp_path / "w.bin").write_bytes(b"\0" * 80)
    assert "ends before" in str(refused(path))
    (tmp_path / "w.bin").unlink()
    assert "no file `w.bin`" in str(refused(path))


def test_initialiser_of_a_wrong_size() -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"])], [value("x", ["N", 3])], ["y"], {"w": floats(3, 4)})
    proto.graph.initializer[0].dims[0] = 1 << 40
    assert "takes" in str(refused(proto))


# --- dims ---


def test_a_dim_param_is_a_dim_and_unset_dims_are_their_own() -> None:
    proto = model(
        [node("Concat", ["a", "b"], ["y"], axis=0)],
        [value("a", ["batch", None, 8]), value("b", ["batch", -1, 8])],
        ["y"],
    )
    network = import_onnx(proto)
    assert [str(t.type) for t in network.inputs] == ["f32[batch, S, 8]", "f32[batch, S, 8]"]  # concat makes S one
    assert network.dims == {"batch": DEFAULT_RANGE, "S": DEFAULT_RANGE}
    assert str(network.outputs[0].type) == "f32[2*batch, S, 8]"


def test_ranges_by_either_name() -> None:
    proto = model([node("Relu", ["x"], ["y"])], [value("x", ["unk__17", 3])], ["y"])
    for key in ("N", "unk__17"):
        assert import_onnx(proto, dims={key: Range(2, 8)}).dims == {"N": Range(2, 8)}
    fixed = import_onnx(proto, dims={"N": Range(4, 4)})
    assert fixed.dims == {} and fixed.inputs[0].shape == (4, 3)
    error = refused(proto, dims={"M": Range(1, 2)})
    assert codes(error) == ["E0803"] and "`N`" in error.diagnostics[0].notes[0]


def test_expressions_as_dim_params() -> None:
    long = "+".join(f"floor(x{n}/2 - 1/2)" for n in range(18))
    assert len(long) > 300
    proto = model([node("Relu", ["x"], ["y"])], [value("x", ["N", 3, long, 4])], [value("y", ["N", 3, long, 4])])
    assert str(import_onnx(proto).outputs[0].type) == "f32[N, 3, H, 4]"
    proto = model(
        [node("Concat", ["a", "b"], ["y"], axis=1)], [value("a", ["B", "past"]), value("b", ["B", "past + 1"])], ["y"]
    )
    network = import_onnx(proto)
    assert str(network.inputs[1].type) == "f32[B, past + 1]" and str(network.outputs[0].type) == "f32[B, 2*past + 1]"


def unet(depth: int) -> onnx.ModelProto:
    nodes = [node("MaxPool", ["x"], ["d0"], kernel_shape=[2, 2], strides=[2, 2])]
    nodes += [node("MaxPool", [f"d{n}"], [f"d{n + 1}"], kernel_shape=[2, 2], strides=[2, 2]) for n in range(depth - 1)]
    scale = float(2**depth)
    nodes += [node("Resize", [f"d{depth - 1}", "", "scales"], ["u"], mode="nearest"), node("Add", ["x", "u"], ["y"])]
    return model(
        nodes, [value("x", ["N", 3, "H", "W"])], ["y"], {"scales": np.asarray([1, 1, scale, scale], np.float32)}
    )


def test_dims_get_the_step_that_the_layers_need() -> None:
    network = check(unet(4), {"x": floats(1, 3, 32, 48)})
    assert network.dims == {"N": DEFAULT_RANGE, "H": Range(16, 4096, 16), "W": Range(16, 4096, 16)}
    assert network.asserts == () and network.guards == ()


def test_dims_get_the_lower_end_that_the_layers_need() -> None:
    proto = model([node("Conv", ["x", "w"], ["y"])], [value("x", ["N", 3, "L"])], ["y"], {"w": floats(2, 3, 7)})
    assert import_onnx(proto).dims["L"] == Range(7, 4096)


def test_what_ranges_can_not_say_is_asserted() -> None:
    proto = model([node("Reshape", ["x", "s"], ["y"])], [value("x", ["A", "B"])], ["y"], {"s": np.asarray([-1, 3, 5])})
    network = import_onnx(proto)
    assert [str(a.relation) for a in network.asserts] or network.dims != {"A": DEFAULT_RANGE, "B": DEFAULT_RANGE}
    x = floats(3, 20)
    if all(20 in network.dims["B"] and 3 in network.dims["A"] for _ in "1"):
        assert evaluate_network(network, {"x": x})["y"].shape == (4, 3, 5)


def test_dims_that_layers_join_become_one() -> None:
    proto = model([node("Add", ["a", "b"], ["y"])], [value("a", ["N", None]), value("b", ["M", None])], ["y"])
    network = import_onnx(proto, dims={"M": Range(2, 8)})
    assert len(network.dims) == 2 and network.inputs[0].shape == network.inputs[1].shape
    assert Range(2, 8) in network.dims.values()


def test_a_dim_with_one_value_becomes_it() -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"])], [value("x", ["N", "C"])], ["y"], {"w": floats(12, 4)})
    network = import_onnx(proto)
    assert str(network.inputs[0].type) == "f32[N, 12]" and list(network.dims) == ["N"]
