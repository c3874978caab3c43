"""safetensors, npy, npz and raw files: what they hold comes back, mapped, and damage is told."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from trtn.dsl.dtypes import BY_NAME, from_numpy
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Weight
from trtn.dsl.weights.hashing import digest
from trtn.dsl.weights.mapped import StorageError
from trtn.dsl.weights.sources import array_weight, stored_weight, view
from trtn.dsl.weights.storages import FileTable
from trtn.dsl.weights.writer import write_safetensors

PLAIN = ["f64", "f32", "f16", "i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8", "bool"]
SMALL = ["bf16", "f8e4m3", "f8e5m2"]


def sample(dtype: str, shape: tuple[int, ...] = (2, 3)) -> np.ndarray:
    count = int(np.prod(shape))
    low = 0 if dtype.startswith(("u", "b")) else -2
    return (np.arange(low, low + count) % (2 if dtype == "bool" else 99)).astype(BY_NAME[dtype].numpy).reshape(shape)


def weight(path: Path, array: np.ndarray, key: str | None = None, offset: int | None = None, name: str = "w") -> Weight:
    dtype = from_numpy(array.dtype)
    assert dtype is not None
    return stored_weight(name, dtype, array.shape, path, FileTable(), key=key, offset=offset)


def check(found: Weight, wanted: np.ndarray) -> None:
    array = found.load()
    assert array.dtype == wanted.dtype and array.shape == wanted.shape
    assert array.flags.c_contiguous and array.flags.aligned and not array.flags.writeable
    assert array.tobytes() == np.ascontiguousarray(wanted).tobytes()


def failing(found: Weight) -> str:
    with pytest.raises(BuildError) as caught:
        found.load()
    [diagnostic] = caught.value.diagnostics
    return f"{diagnostic.code} {diagnostic.message} | {' '.join(diagnostic.notes)} | {diagnostic.help}"


# --- safetensors


@pytest.mark.parametrize("dtype", [*PLAIN, *SMALL])
def test_safetensors_of_the_package(tmp_path: Path, dtype: str) -> None:
    arrays = {"w": sample(dtype), "odd": sample("i8", (3,)), "scalar": sample(dtype, ())}
    safetensors.numpy.save_file(arrays, tmp_path / "a.safetensors", {"format": "np"})
    for key, array in arrays.items():
        check(weight(tmp_path / "a.safetensors", array, key), array)


@pytest.mark.parametrize("dtype", [*PLAIN, *SMALL, "i4", "u4"])
def test_safetensors_that_we_write(tmp_path: Path, dtype: str) -> None:
    arrays = {"b[10]": sample(dtype), "b[2]": sample("f16", (0, 4)), "x": sample("u8", (5,))}
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {key: array_weight(key, array) for key, array in arrays.items()})
    for key, array in arrays.items():
        check(weight(path, array, key), array)
    if dtype in PLAIN:
        theirs = safetensors.numpy.load_file(path)
        assert all(np.array_equal(theirs[key], array) for key, array in arrays.items())


def packed(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE = {
    "empty": b"",
    "short": b"\x08\0\0",
    "length over the file": struct.pack("<Q", 1 << 40) + b"{}",
    "length over the limit": struct.pack("<Q", (1 << 64) - 1) + b"{}",
    "no JSON": packed(b"{nope"),
    "no UTF-8": packed(b'{"\xff": 1}'),
    "deep": packed(b'{"a":' * 100_000),
    "huge number": packed(b'{"w":{"dtype":"F32","shape":[' + b"9" * 10_000 + b'],"data_offsets":[0,4]}}', b"1234"),
    "list": packed([]),
    "twice": packed(b'{"w":{},"w":{}}'),
    "no fields": packed({"w": 3}),
    "no dtype": packed({"w": tensor(dtype=4)}, b"1234"),
    "negative dim": packed({"w": tensor(shape=[-1])}, b"1234"),
    "float dim": packed({"w": tensor(shape=[1.0])}, b"1234"),
    "bool dim": packed({"w": tensor(shape=[True])}, b"1234"),
    "null shape": packed({"w": tensor(shape=None)}, b"1234"),
    "negative offset": packed({"w": tensor(offsets=[-4, 0])}, b"1234"),
    "backwards": packed({"w": tensor(offsets=[4, 0])}, b"1234"),
    "one offset": packed({"w": tensor(offsets=[4])}, b"1234"),
    "past the end": packed({"w": tensor(offsets=[0, 8], shape=[2])}, b"1234"),
    "size mismatch": packed({"w": tensor(shape=[2])}, b"1234"),
    "overflowing shape": packed({"w": tensor(shape=[1 << 62, 1 << 62])}, b"1234"),
    "overlap": packed({"w": tensor(), "v": tensor()}, b"1234"),
    "gap": packed({"w": tensor(offsets=[4, 8])}, b"12345678"),
    "tail": packed({"w": tensor()}, b"12345678"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_safetensors(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(HOSTILE[case])
    assert failing(weight(path, np.zeros(1, "f4"))).startswith("E0504 `a.safetensors` is damaged: ")


def test_a_dtype_that_the_language_lacks_spoils_only_its_tensor(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(packed({"c": tensor("C64", [1], [0, 8]), "w": tensor(offsets=[8, 12])}, bytes(12)))
    check(weight(path, np.zeros(1, "f4")), np.zeros(1, "f4"))
    assert "holds `c` as C64[1]" in failing(weight(path, np.zeros(1, "f4"), "c"))


def test_unaligned_tensors_are_copied(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(packed(b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} ', np.float32([1, 2]).tobytes()))
    check(weight(path, np.float32([1, 2])), np.float32([1, 2]))


# --- npy, npz


def saved(save: Callable[..., None], *args: Any, **kwargs: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, *args, **kwargs)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", PLAIN)
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_and_npz(tmp_path: Path, dtype: str, order: Any) -> None:
    array = np.array(sample(dtype), order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "b.npz", w=array, other=np.ones(3))
    np.savez_compressed(tmp_path / "c.npz", w=array, other=np.ones(3))
    check(weight(tmp_path / "a.npy", array), array)
    for name in ("b.npz", "c.npz"):
        check(weight(tmp_path / name, array), array)
        check(weight(tmp_path / name, np.ones(3), "other"), np.ones(3))


@pytest.mark.parametrize("dtype", ["bf16", "f8e4m3"])
def test_npy_of_types_that_numpy_has_no_word_for(tmp_path: Path, dtype: str) -> None:
    array = sample(dtype)
    np.save(tmp_path / "a.npy", array)
    check(weight(tmp_path / "a.npy", array), array)
    assert "holds `w` as" in failing(weight(tmp_path / "a.npy", sample("f16")))


def test_npy_in_the_other_byte_order(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(5, dtype=">i4"))
    check(weight(tmp_path / "a.npy", np.arange(5, dtype="i4")), np.arange(5, dtype="i4"))


def test_npy_scalar_and_empty(tmp_path: Path) -> None:
    for array in (np.array(2.5, "f4"), np.zeros((0, 3), "f4")):
        np.save(tmp_path / "a.npy", array)
        check(weight(tmp_path / "a.npy", array), array)


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("unpickled",)


HOSTILE_NPY = {
    "empty": b"",
    "no magic": b"\x93NUMPX\1\0" + bytes(100),
    "version": b"\x93NUMPY\x09\0" + bytes(100),
    "cut header": saved(np.save, np.zeros(4))[:40],
    "cut data": saved(np.save, np.zeros(4))[:-1],
    "huge shape": saved(np.save, np.zeros(4)).replace(b"(4,)", b"(9" + b"9" * 20 + b",)"),
    "negative shape": saved(np.save, np.zeros(4)).replace(b"(4,),", b"(-4,)"),
    "expression": saved(np.save, np.zeros(4)).replace(b"(4,)", b"f()"),
    "deep": b"\x93NUMPY\1\0" + struct.pack("<H", 9000) + b"(" * 9000,
}


@pytest.mark.parametrize("case", HOSTILE_NPY)
@pytest.mark.parametrize("kind", ["npy", "stored npz", "packed npz"])
def test_hostile_npy(tmp_path: Path, case: str, kind: str) -> None:
    path = tmp_path / f"a.{kind[-3:]}"
    if kind == "npy":
        path.write_bytes(HOSTILE_NPY[case])
    else:
        method = zipfile.ZIP_STORED if kind == "stored npz" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("w.npy", HOSTILE_NPY[case])
    message = failing(weight(path, np.zeros(4)))
    if case == "huge shape" and kind == "packed npz":  # told by its type alone, before anything is unpacked
        assert message.startswith("E0503 ")
    else:
        assert message.startswith(f"E0504 `{path.name}` is damaged: ")


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_pickles_are_never_read(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = np.array([Bomb()], dtype=object)
    if suffix == "npy":
        np.save(tmp_path / "a.npy", array, allow_pickle=True)
    else:
        np.savez(tmp_path / "a.npz", w=array)
    assert "holds `w` as a pickled object[1]" in failing(weight(tmp_path / f"a.{suffix}", np.zeros(1)))
    assert not (tmp_path / "unpickled").exists()


def npz(array: np.ndarray, compressed: bool = False) -> bytes:
    return saved(np.savez_compressed if compressed else np.savez, w=array)


HOSTILE_NPZ = {
    "no zip": b"hello",
    "cut": npz(np.zeros(100))[:-30],
    "header moved": npz(np.zeros(100)).replace(b"PK\x03\x04", b"PK\x03\x05"),
    "member past the end": npz(np.zeros(100)).replace(struct.pack("<I", 928) * 2, struct.pack("<I", 1 << 30) * 2),
    "broken deflate": npz(np.arange(100.0), True)[:60] + b"\xff" * 40 + npz(np.arange(100.0), True)[100:],
}


@pytest.mark.parametrize("case", HOSTILE_NPZ)
def test_hostile_npz(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(HOSTILE_NPZ[case])
    assert failing(weight(path, np.zeros(100))).startswith("E0504 `a.npz` is damaged: ")


def test_a_zip_bomb_takes_no_more_than_the_declared_tensor(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", saved(np.save, np.zeros(4)) + bytes(64 << 20))
    tracemalloc.start()
    try:
        check(weight(path, np.zeros(4)), np.zeros(4))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


# --- raw


def test_raw(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc" + np.arange(6, dtype="<f4").tobytes())
    array = np.arange(6, dtype="f4").reshape(2, 3)
    check(weight(path, array, offset=3), array)
    assert failing(weight(path, array, offset=4)).startswith("E0503 `a.bin` has 27 bytes, the tensor ends at byte 28")
    assert failing(weight(path, array, "w")).startswith("E0505 `a.bin` is a raw file")
    assert failing(weight(path, np.zeros((3, 4, 5)))).startswith("E0503")


def test_raw_4_bit_integers_take_a_byte_each(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"\xf8\x07\x00")
    check(weight(path, sample("i4", (3,))), np.array([-8, 7, 0]).astype(ml_dtypes.int4))
    assert "holds values outside 0..15" in failing(weight(path, sample("u4", (3,))))


# --- all of them


@pytest.fixture
def files(tmp_path: Path) -> Path:
    array = sample("f32", (4, 3))
    safetensors.numpy.save_file({"layer.0.w": array}, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **{"layer.0.w": array})
    np.savez_compressed(tmp_path / "b.npz", **{"layer.0.w": array})
    np.save(tmp_path / "a.npy", array)
    (tmp_path / "a.bin").write_bytes(array.tobytes())
    return tmp_path


NAMED = ["a.safetensors", "a.npz", "b.npz"]


@pytest.mark.parametrize("name", NAMED)
def test_missing_tensor(files: Path, name: str) -> None:
    message = failing(weight(files / name, sample("f32", (4, 3)), "layer.0.v"))
    assert message == (
        f"E0505 no tensor `layer.0.v` in `{name}` | the file holds `layer.0.w` | did you mean `layer.0.w`?"
    )


@pytest.mark.parametrize("name", [*NAMED, "a.npy"])
def test_other_type(files: Path, name: str) -> None:
    key = None if name == "a.npy" else "layer.0.w"
    for wrong, advice in (
        (sample("f16", (4, 3)), "declare what is stored, f32[4, 3]"),
        (sample("f32", (3, 4)), "`transpose` after the source"),
        (sample("f32", (12,)), "declare what is stored"),
    ):
        message = failing(weight(files / name, wrong, key))
        assert message.startswith("E0503") and "as f32[4, 3]" in message and advice in message


@pytest.mark.parametrize("name", [*NAMED, "a.npy"])
def test_offsets_are_for_raw_files(files: Path, name: str) -> None:
    assert "E0505" in failing(weight(files / name, sample("f32", (4, 3)), None, 8))


def test_npy_has_no_names(files: Path) -> None:
    assert "holds one array and no names" in failing(weight(files / "a.npy", sample("f32", (4, 3)), "w"))


def test_bytes_that_are_no_bool(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x00\x01\x02")
    assert "bytes other than 0 and 1" in failing(weight(tmp_path / "a.bin", np.zeros(3, bool)))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "outside"),
    ],
)
def test_files_that_are_none(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    path = tmp_path / "a.npy"
    make(path)
    assert why in failing(weight(path, np.zeros(3)))


@pytest.mark.parametrize("name", ["w.pt", "w.pkl", "w.safetensor", "w"])
def test_formats_without_a_reader(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    message = failing(weight(tmp_path / name, np.zeros(3)))
    assert message.startswith("E0504 no reader for ")
    assert ("safetensors" in message) == (name != "w" or "weight files are" in message)


def test_files_are_mapped_and_mapped_once(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    array = np.zeros((2048, 2048), "f4")
    safetensors.numpy.save_file({"w": array, "v": array}, path)
    table = FileTable()
    tracemalloc.start()
    try:
        weights = [stored_weight(key, BY_NAME["f32"], array.shape, path, table) for key in "wv"]
        loaded = [w.load() for w in weights]
        for w in weights:
            digest(view(w))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert np.shares_memory(loaded[0], weights[0].load())
    assert table.open(path.resolve()) is table.open(path.resolve())


def test_a_replaced_file_does_not_change_what_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(3))
    loaded = weight(path, np.zeros(3)).load()
    np.save(tmp_path / "b.npy", np.ones(3))
    os.replace(tmp_path / "b.npy", path)
    assert loaded.tolist() == [0, 0, 0]
    assert weight(path, np.zeros(3)).load().tolist() == [1, 1, 1]


def test_storage_errors_name_no_folder_in_their_message(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        FileTable().open(tmp_path / "gone.npy")
    assert str(tmp_path) not in caught.value.message
