"""ONNX models as weight files: every way that a tensor is kept in one, and damage."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.dsl.weights.test_storages import check, failing, sample, weight
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.weights.sources import stored_weight
from trtn.dsl.weights.storages import FileTable

RAW = ["f64", "f32", "f16", "bf16", "f8e4m3", "f8e5m2", "i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8", "bool"]
WORDS = {
    "f64": "DOUBLE", "f32": "FLOAT", "f16": "FLOAT16", "bf16": "BFLOAT16", "f8e4m3": "FLOAT8E4M3FN",
    "f8e5m2": "FLOAT8E5M2", "i64": "INT64", "i32": "INT32", "i16": "INT16", "i8": "INT8", "u64": "UINT64",
    "u32": "UINT32", "u16": "UINT16", "u8": "UINT8", "bool": "BOOL", "i4": "INT4", "u4": "UINT4",
}  # fmt: skip


def write(path: Path, *initializers: TensorProto, nodes: tuple[Any, ...] = ()) -> Path:
    graph = helper.make_graph(list(nodes), "g", [], [], list(initializers))
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def typed(array: np.ndarray, dtype: str) -> TensorProto:
    return helper.make_tensor("w", getattr(TensorProto, WORDS[dtype]), array.shape, array.astype("f8").ravel())


@pytest.mark.parametrize("dtype", [*RAW, "i4", "u4"])
@pytest.mark.parametrize("shape", [(2, 3), (5,), (), (0, 2)])
def test_raw_data(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = sample(dtype, shape)
    path = write(tmp_path / "m.onnx", numpy_helper.from_array(np.ones(7), "x"), numpy_helper.from_array(array, "w"))
    check(weight(path, array), array)


@pytest.mark.parametrize("dtype", [*RAW, "i4", "u4"])
def test_typed_data(tmp_path: Path, dtype: str) -> None:
    array = sample(dtype, (3, 3))
    proto = typed(array, dtype)
    assert not proto.raw_data
    check(weight(write(tmp_path / "m.onnx", proto), array), array)


def external(location: str, array: np.ndarray, **place: int | str) -> TensorProto:
    proto = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=array.shape)
    proto.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **place}.items():
        proto.external_data.add(key=key, value=str(value))
    return proto


def test_external_data(tmp_path: Path) -> None:
    array = sample("f32", (4, 5))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "m.data").write_bytes(bytes(4096) + array.tobytes() + b"tail")
    check(weight(write(tmp_path / "m.onnx", external("data/m.data", array, offset=4096, length=80)), array), array)
    (tmp_path / "whole.data").write_bytes(array.tobytes())
    check(weight(write(tmp_path / "n.onnx", external("whole.data", array)), array), array)


def test_external_data_that_onnx_writes(tmp_path: Path) -> None:
    array = sample("f32", (64, 65))
    model = helper.make_model(helper.make_graph([], "g", [], [], [numpy_helper.from_array(array, "w")]))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    assert (tmp_path / "m.onnx.data").stat().st_size >= array.nbytes
    check(weight(tmp_path / "m.onnx", array), array)


def test_large_external_data_is_mapped_by_offset(tmp_path: Path) -> None:
    array = sample("f32", (4, 5))
    offset = 3 << 30
    with open(tmp_path / "m.data", "wb") as file:  # sparse: takes no room
        file.seek(offset)
        file.write(array.tobytes())
    path = write(tmp_path / "m.onnx", external("m.data", array, offset=offset, length=80))
    tracemalloc.start()
    try:
        check(weight(path, array), array)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("location", ["../secret.data", "/etc/passwd", "link.data", "sub/../../secret.data"])
def test_external_data_stays_below_the_model(tmp_path: Path, location: str) -> None:
    array = sample("f32", (2, 3))
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.data").write_bytes(array.tobytes())
    (folder / "link.data").symlink_to(tmp_path / "secret.data")
    path = write(folder / "m.onnx", external(location, array))
    assert failing(weight(path, array)).startswith("E0506 `m.onnx` keeps `w` in `")
    if not location.startswith("/"):
        allowed = FileTable(allow_outside=True)
        check(stored_weight("w", BY_NAME["f32"], (2, 3), path, allowed), array)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"location": "m.data", "offset": 4}, "E0504 `m.data` is damaged: `w` lies at bytes 4..28 of 24"),
        ({"location": "m.data", "offset": -4}, "is damaged"),
        ({"location": "m.data", "length": 20}, "has 20 bytes"),
        ({"location": "m.data", "offset": "x"}, "no valid offset"),
        ({"location": "m.data", "offset": 1 << 70}, "is damaged"),
        ({"location": "gone.data"}, "does not exist"),
        ({"location": ""}, "is not a path"),
        ({"location": "a\0b"}, "is not a path"),
        ({"location": "."}, "not a regular file"),
    ],
)
def test_bad_external_data(tmp_path: Path, place: dict[str, Any], message: str) -> None:
    array = sample("f32", (2, 3))
    (tmp_path / "m.data").write_bytes(array.tobytes())
    place = dict(place)
    path = write(tmp_path / "m.onnx", external(place.pop("location"), array, **place))
    assert message in failing(weight(path, array))


def test_constant_nodes_by_the_name_of_their_output(tmp_path: Path) -> None:
    array = sample("i64", (4,))
    nodes = (
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(array)),
        helper.make_node("ConstantOfShape", ["c"], ["z"], value=numpy_helper.from_array(np.zeros(1, "f4"))),
    )
    path = write(tmp_path / "m.onnx", nodes=nodes)
    check(weight(path, array, "c"), array)
    assert "E0505" in failing(weight(path, np.zeros(1, "f4"), "z"))


def test_missing_and_other_types(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", numpy_helper.from_array(sample("f32"), "onnx::MatMul_12"))
    assert failing(weight(path, sample("f32"), "onnx::MatMul_13")).endswith("did you mean `onnx::MatMul_12`?")
    assert failing(weight(path, sample("f32", (3, 2)), "onnx::MatMul_12")).startswith(
        "E0503 `m.onnx` holds `onnx::MatMul_12` as f32[2, 3]"
    )
    text = write(tmp_path / "t.onnx", helper.make_tensor("w", TensorProto.STRING, (1,), [b"x"]))
    assert "as ONNX type 8[1]" in failing(weight(text, np.zeros(1)))


def test_raw_data_of_the_wrong_size(tmp_path: Path) -> None:
    proto = numpy_helper.from_array(sample("f32"), "w")
    proto.raw_data = proto.raw_data[:-1]
    assert "has 23 bytes" in failing(weight(write(tmp_path / "m.onnx", proto), sample("f32")))
    proto = typed(sample("f32"), "f32")
    del proto.float_data[0]
    assert "is damaged: `w`" in failing(weight(write(tmp_path / "m.onnx", proto), sample("f32")))


def test_two_tensors_of_one_name(tmp_path: Path) -> None:
    proto = numpy_helper.from_array(sample("f32"), "w")
    path = write(tmp_path / "m.onnx", proto, proto)
    assert "two tensors are named `w`" in failing(weight(path, sample("f32")))


def test_damaged_models_never_raise_anything_else(tmp_path: Path) -> None:
    array = sample("f32")
    whole = write(tmp_path / "m.onnx", typed(array, "f32"), numpy_helper.from_array(array, "v")).read_bytes()
    random = np.random.default_rng(1)
    seen = set()
    for trial in range(300):
        octets = bytearray(whole)
        if trial < len(whole):
            octets = octets[:trial]
        else:
            octets[random.integers(len(octets))] = random.integers(256)
        path = tmp_path / "x.onnx"
        path.write_bytes(octets)
        try:
            weight(path, array).load()
        except Exception as error:
            seen.add(type(error).__name__)
        os.unlink(path)
    assert seen == {"BuildError"}
