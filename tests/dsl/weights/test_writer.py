"""What is saved reads back bit for bit, and the same tensors give the same files."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.dsl.weights.test_storages import sample
from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.dtypes import ALL, BY_NAME
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Weight
from trtn.dsl.syntax.formatter import format_source
from trtn.dsl.weights.atomic import replacing
from trtn.dsl.weights.generators import Generator
from trtn.dsl.weights.hashing import digest
from trtn.dsl.weights.sources import array_weight, generated_weight, stored_weight
from trtn.dsl.weights.storages import FileTable
from trtn.dsl.weights.table import WeightTable
from trtn.dsl.weights.verify import verify_manifest
from trtn.dsl.weights.writer import save_weights

F32 = BY_NAME["f32"]


def reread(stem: Path, text: str) -> WeightTable:
    path = stem.with_name(f"{stem.name}.weights.trtn")
    assert path.read_text() == text == format_source(Source(str(path), text))
    sink = Sink()
    table = verify_manifest(Source(str(path), text), sink)
    assert not sink.diagnostics, list(map(str, sink.diagnostics))
    return table


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("  ")]


def test_round_trip_of_every_dtype(tmp_path: Path) -> None:
    arrays = {f"t.{d}": sample(d.name, (5, 7)) for d in ALL} | {f"u.{d}": sample(d.name, (2, 3)) for d in ALL}
    table = reread(tmp_path / "m", save_weights(tmp_path / "m", arrays.items()))
    assert set(table) == set(arrays)
    for name, array in arrays.items():
        loaded = table[name].load()
        assert loaded.dtype == array.dtype and loaded.tobytes() == array.tobytes(), name


def test_text(tmp_path: Path) -> None:
    array = np.arange(20, dtype="f4")
    tensors = {
        "layer[10].w": array,
        "layer[2].w": array.reshape(4, 5),
        "onnx::Mul_1": array,
        "zero": np.zeros((3, 4), "f4"),
        "one": np.ones(100, "i8"),
        "eps": np.array(0.1, "f4"),
        "mask": np.full((2, 2), -math.inf, "f2"),
        "scale": np.array([0.1, 0.25], "f4"),
        "flags": np.array([[True], [False]]),
        "none": np.zeros((0, 3), "f4"),
        "noise": generated_weight("noise", Generator("normal", (7, 0.02)), F32, (3, 3)),
    }
    text = save_weights(tmp_path / "net", tensors.items(), name="net-1")
    size = (tmp_path / "net.safetensors").stat().st_size
    assert text.splitlines()[:3] == ["trtn 1", "", "manifest `net-1` {"]
    assert lines(text) == [
        f'file f0 = "net.safetensors" size {size}',
        "tensor eps: f32[] = full(0.1)",
        "tensor flags: bool[2, 1] = inline [[true], [false]]",
        f"tensor layer[2].w: f32[4, 5] = f0 {digest(array.reshape(4, 5))}",
        f"tensor layer[10].w: f32[20] = f0 {digest(array)}",
        "tensor mask: f16[2, 2] = full(-inf)",
        "tensor noise: f32[3, 3] = normal(7, 0.02)",
        "tensor `none`: f32[0, 3] = zeros",
        "tensor one: i64[100] = ones",
        f"tensor `onnx::Mul_1`: f32[20] = f0 {digest(array)}",
        "tensor scale: f32[2] = inline [0.1, 0.25]",
        "tensor zero: f32[3, 4] = zeros",
    ]
    table = reread(tmp_path / "net", text)
    for name, value in tensors.items():
        wanted = value.load() if isinstance(value, Weight) else value
        assert table[name].load().tobytes() == wanted.tobytes(), name


@pytest.mark.parametrize(
    "array",
    [
        np.full(40, -0.0, "f4"),
        np.array([0.0, -0.0], "f4"),
        np.full(40, np.nextafter(np.float32(1), np.float32(2)), "f4"),
        np.array([7.038531e-26, 1e-45, 3.4028235e38], "f4"),
        np.array([0.1, 1 / 3], "f8"),
        np.array([65504, 6e-8], "f2"),
        np.array([2**63, 2**64 - 1], "u8"),
        np.frombuffer(np.uint32([0x7FC00001] * 20).tobytes(), "f4"),
        np.frombuffer(np.uint32([0xFFC00000, 0x7F800000]).tobytes(), "f4"),
    ],
)
def test_generators_only_where_they_give_the_same_bits(tmp_path: Path, array: np.ndarray) -> None:
    table = reread(tmp_path / "m", save_weights(tmp_path / "m", [("w", array)]))
    assert table["w"].load().tobytes() == array.tobytes()


def test_same_tensors_same_bytes(tmp_path: Path) -> None:
    arrays = {f"layer[{i}].{d}": sample(d, (5, 7)) for i in (0, 2, 10) for d in ("f16", "f32", "u8")}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    save_weights(tmp_path / "a" / "m", arrays.items())
    save_weights(tmp_path / "b" / "m", reversed(arrays.items()))
    for name in ("m.safetensors", "m.weights.trtn"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(os.listdir(tmp_path / "a")) == ["m.safetensors", "m.weights.trtn"]


def test_no_file_where_nothing_is_stored(tmp_path: Path) -> None:
    text = save_weights(tmp_path / "m", [("a", np.zeros(100, "f4"))])
    assert os.listdir(tmp_path) == ["m.weights.trtn"]
    assert lines(text) == ["tensor a: f32[100] = zeros"]


def test_saving_over_the_file_that_the_weights_come_from(tmp_path: Path) -> None:
    arrays = {"a": sample("f32", (50,)), "b": sample("f16", (50,))}
    first = save_weights(tmp_path / "m", arrays.items())
    table = reread(tmp_path / "m", first)
    assert save_weights(tmp_path / "m", reversed(list(table.items())), name="m") == first
    assert reread(tmp_path / "m", first)["a"].load().tobytes() == arrays["a"].tobytes()


def test_weights_stay_in_their_files(tmp_path: Path) -> None:
    array = sample("f32", (5, 5))
    (tmp_path / "models").mkdir()
    graph = helper.make_graph([], "g", [], [], [numpy_helper.from_array(array, "onnx::W")])
    model = tmp_path / "models" / "m.onnx"
    model.write_bytes(helper.make_model(graph).SerializeToString())
    raw = tmp_path / "r.bin"
    raw.write_bytes(bytes(8) + array.tobytes())
    files = FileTable()
    weights = [
        ("w", stored_weight("w", F32, (5, 5), model, files, key="onnx::W")),
        ("own", stored_weight("onnx::W", F32, (5, 5), model, files)),
        ("raw", stored_weight("raw", F32, (5, 5), raw, files, offset=8)),
        ("new", array_weight("new", array + 1)),
    ]
    text = save_weights(tmp_path / "net", weights, keep_files=True)
    table = reread(tmp_path / "net", text)
    assert [f.path for f in table.files.values()] == ["models/m.onnx", "r.bin", "net.safetensors"]
    for name, wanted in (("w", array), ("own", array), ("raw", array), ("new", array + 1)):
        assert np.array_equal(table[name].load(), wanted)
    assert 'tensor w: f32[5, 5] = f0["onnx::W"] sha256:' in text
    # And once more, from the manifest: the same lines.
    assert save_weights(tmp_path / "net", table.items(), name="net", keep_files=True) == text
    # From a folder that the files don't lie below, they are copied.
    (tmp_path / "else").mkdir()
    assert "net.safetensors" in save_weights(tmp_path / "else" / "net", table.items(), keep_files=True)


def test_transposed_weights_stay_and_move(tmp_path: Path) -> None:
    array = sample("f32", (5, 7))
    np.save(tmp_path / "x.npy", array)
    text = f'trtn 1\nmanifest m {{\nfile f0 = "x.npy"\ntensor t: f32[7, 5] = f0 transpose {digest(array.T)}\n}}\n'
    sink = Sink()
    table = verify_manifest(Source(str(tmp_path / "m.weights.trtn"), text), sink)
    kept = save_weights(tmp_path / "kept", table.items(), keep_files=True)
    moved = save_weights(tmp_path / "moved", table.items())
    assert "transpose" in kept and "transpose" not in moved
    for stem, written in (("kept", kept), ("moved", moved)):
        assert np.array_equal(reread(tmp_path / stem, written)["t"].load(), array.T)


def test_a_weight_that_is_not_what_its_hash_says_is_not_saved(tmp_path: Path) -> None:
    weight = array_weight("w", sample("f32", (5, 5)), digest="sha256:" + "0" * 64)
    with pytest.raises(BuildError) as caught:
        save_weights(tmp_path / "m", [("w", weight)])
    assert caught.value.diagnostics[0].code == "E0502"
    assert os.listdir(tmp_path) == []


def test_two_tensors_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two tensors"):
        save_weights(tmp_path / "m", [("w", np.zeros(1)), ("w", np.zeros(1))])


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_a_file_that_may_not_be_linked_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", forbidden)
    path = tmp_path / "a.bin"
    with replacing(path) as file:
        file.write(b"new" * 1000)
    assert path.read_bytes() == b"new" * 1000 and os.listdir(tmp_path) == ["a.bin"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_arrays_become_read_only_weights() -> None:
    array = np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3))
    weight = array_weight("w", array)
    loaded = weight.load()
    assert loaded.dtype == np.dtype("f4") and loaded.flags.c_contiguous and not loaded.flags.writeable
    assert np.array_equal(loaded, array) and array.flags.writeable
    with pytest.raises(TypeError):
        array_weight("w", np.zeros(2, "c8"))
