"""The hash of a tensor is what its docstring says, in bounded memory."""

from __future__ import annotations

import hashlib
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from trtn.dsl.weights.hashing import combine, digest, is_digest, short


def reference(header: str, octets: bytes) -> str:
    return "sha256:" + hashlib.sha256(header.encode() + octets).hexdigest()


@pytest.mark.parametrize(
    ("array", "header", "octets"),
    [
        (np.array([[1.0, -0.0], [2.0, 3.0]], "f4"), "f32[2,2]\n", np.array([1, -0.0, 2, 3], "<f4").tobytes()),
        (np.array(7, "i8"), "i64[]\n", (7).to_bytes(8, "little")),
        (np.zeros((0, 3), "f2"), "f16[0,3]\n", b""),
        (np.array([True, False]), "bool[2]\n", b"\1\0"),
        (np.array([-1, 7, -8]).astype(ml_dtypes.int4), "i4[3]\n", b"\xff\x07\xf8"),
        (np.array([15, 1]).astype(ml_dtypes.uint4), "u4[2]\n", b"\x0f\x01"),
        (np.array([1.0]).astype(ml_dtypes.bfloat16), "bf16[1]\n", b"\x80\x3f"),
        (np.array([1.0]).astype(ml_dtypes.float8_e4m3fn), "f8e4m3[1]\n", b"\x38"),
    ],
)
def test_header_and_bytes(array: np.ndarray, header: str, octets: bytes) -> None:
    assert digest(array) == reference(header, octets)


def test_memory_layout_does_not_count() -> None:
    array = np.arange(3 * 5 * 7, dtype="i4").reshape(3, 5, 7)
    wanted = digest(array)
    assert digest(array.astype(">i4")) == wanted
    assert digest(np.asfortranarray(array)) == wanted
    assert digest(np.repeat(array, 2, axis=1)[:, ::2]) == wanted
    assert digest(array.reshape(3, 7, 5)) != wanted
    assert digest(array.astype("u4")) != wanted


def test_sign_of_zero_counts() -> None:
    assert digest(np.array([0.0], "f4")) != digest(np.array([-0.0], "f4"))


@pytest.mark.parametrize("shape", [(1024, 1500), (3, 1, 1200, 900), (1, 1, 1_500_000)])
def test_large_strided_arrays_hash_as_their_copies(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype="f4").reshape(shape).swapaxes(-1, -2)
    assert digest(array) == digest(np.ascontiguousarray(array))


@pytest.mark.parametrize("transposed", [False, True])
def test_hashing_64_mb_takes_little_memory(transposed: bool) -> None:
    array = np.zeros((4096, 4096), "f4")
    tracemalloc.start()
    try:
        digest(array.T if transposed else array)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_no_such_dtype() -> None:
    with pytest.raises(TypeError, match="complex64"):
        digest(np.zeros(2, "c8"))


def test_forms() -> None:
    whole = "sha256:" + "5d8b1c02" * 8
    assert is_digest(whole) and not is_digest(whole[:-1]) and not is_digest(whole.upper())
    assert short(whole) == "sha256:5d8b1c02.."


def test_combined_digest_is_independent_of_order_and_depends_on_names() -> None:
    a, b = ("a", digest(np.zeros(1))), ("b", digest(np.ones(1)))
    assert combine([a, b]) == combine([b, a])
    assert combine([a, b]) != combine([("a", b[1]), ("b", a[1])])
    assert combine([a]) == "sha256:" + hashlib.sha256(f"{a[1]} a\n".encode()).hexdigest()
