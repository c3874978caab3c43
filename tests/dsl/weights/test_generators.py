"""Generators: the same bits everywhere, the distributions that they claim, misuse told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trtn.dsl.dtypes import ALL, BY_NAME
from trtn.dsl.weights import streams
from trtn.dsl.weights.generators import Generator, Misuse, Value
from trtn.dsl.weights.hashing import digest

MASK = (1 << 64) - 1


def mix(z: int) -> int:
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def word(seed: int, i: int) -> int:
    return mix(mix(seed) + (i + 1) * 0x9E3779B97F4A7C15 & MASK)


def box_muller(w: int) -> tuple[float, float]:
    """The specification, with the library's logarithm and cosine."""
    r = math.sqrt(-math.log((2 * (w >> 32) + 1) / 2**33))
    p = ((w & (1 << 30) - 1) + 0.5 - 2**29) * math.pi / 2**31
    first, second = r * (math.cos(p) - math.sin(p)), r * (math.cos(p) + math.sin(p))
    return (-first if w >> 31 & 1 else first), (-second if w >> 30 & 1 else second)


GOLDEN = {
    "normal f32": (
        "normal",
        (7, 0.02),
        "f32",
        (100, 333),
        "38f45ff1185445df36f722d4688ca4668d82db8056c9951ef10bb27701395a97",
    ),
    "normal f64": (
        "normal",
        (7, 0.02),
        "f64",
        (33,),
        "6c3a0a1dc18d2614e4ed020b6cb7ba7ee8298ce780eee713219bda04a3b9bae0",
    ),
    "normal f16": (
        "normal",
        (0, 1.0),
        "f16",
        (3, 5),
        "f4700a649285f72ea3acb6045ed73488cb45ca084ec4e5d55d39c58938cfd791",
    ),
    "normal bf16": (
        "normal",
        (MASK, 1.0),
        "bf16",
        (40000,),
        "b5875a38de8790178000cbbaba3ac6256b208dea55057b6ed5ee12475652e11a",
    ),
    "uniform f32": (
        "uniform",
        (7, -1.0, 2.5),
        "f32",
        (40000,),
        "a5958c1af03f0c2b142992df9ad2611f4c7c50bcdef93d6f6b8a06039aa536a5",
    ),
    "uniform i8": (
        "uniform",
        (7, -128, 128),
        "i8",
        (1000,),
        "163c83f2d925ca9ae11881a252cc55194b40164bc4d43025a36e4a12020f0e37",
    ),
    "uniform i4": (
        "uniform",
        (7, -8, 8),
        "i4",
        (1000,),
        "26ac8f5650ab8b070a765c3260355902a78c25c246a6b827bde2cb94f7721f01",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_digests(case: str) -> None:
    name, args, dtype, shape, wanted = GOLDEN[case]
    assert digest(Generator(name, args).generate(BY_NAME[dtype], shape)) == "sha256:" + wanted


def test_normal_is_the_specified_stream() -> None:
    found = streams.normal(11, 2.0, 4001, np.dtype("f8"))
    expected = [2.0 * x for i in range(2001) for x in box_muller(word(11, i))][:4001]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def test_uniform_is_the_specified_stream() -> None:
    found = streams.uniform(11, -3.0, 5.0, 1000, np.dtype("f8"))
    assert found.tolist() == [8.0 * ((word(11, i) >> 11) * 2.0**-53) + -3.0 for i in range(1000)]


@pytest.mark.parametrize("words", [0, 1, MASK, 0xFFFFFFFF, 0xFFFFFFFF << 32, 0x3FFFFFFF, 1 << 31, 1 << 30])
def test_extreme_words_give_finite_normals(words: int) -> None:
    first, second = streams._box_muller(np.array([words], np.uint64))
    np.testing.assert_allclose([first[0], second[0]], box_muller(words), rtol=0, atol=1e-9)


def test_normal_is_normal() -> None:
    x = streams.normal(3, 1.0, 200_000, np.dtype("f8"))
    assert abs(x.mean()) < 0.01 and abs(x.std() - 1) < 0.01
    assert abs((x**3).mean()) < 0.05 and abs((x**4).mean() - 3) < 0.1
    assert abs(np.corrcoef(x[::2], x[1::2])[0, 1]) < 0.01


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [streams.normal(5, 1.0, 4099, np.dtype("f4")), streams.uniform(5, 0.0, 1.0, 4099, np.dtype("f4"))]
    monkeypatch.setattr(streams, "_CHUNK", 64)
    assert np.array_equal(streams.normal(5, 1.0, 4099, np.dtype("f4")), wanted[0])
    assert np.array_equal(streams.uniform(5, 0.0, 1.0, 4099, np.dtype("f4")), wanted[1])


def test_a_stream_depends_on_the_seed_and_not_on_the_shape() -> None:
    f32 = BY_NAME["f32"]
    long = Generator("normal", (7, 1.0)).generate(f32, (10, 10))
    assert np.array_equal(Generator("normal", (7, 1.0)).generate(f32, (5, 5)).ravel(), long.ravel()[:25])
    assert not np.array_equal(Generator("normal", (8, 1.0)).generate(f32, (10, 10)), long)


def test_uniform_integers_reach_both_ends() -> None:
    x = Generator("uniform", (1, -2, 3)).generate(BY_NAME["i32"], (1000,))
    assert set(x.tolist()) == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_zeros_and_ones_of_every_dtype(dtype) -> None:
    for name, value in (("zeros", 0), ("ones", 1)):
        if dtype.name == "f8e8m0" and not value:  # it has powers of two only
            with pytest.raises(Misuse):
                Generator(name).generate(dtype, (2, 3))
            continue
        array = Generator(name).generate(dtype, (2, 3))
        assert array.dtype == dtype.numpy and array.shape == (2, 3) and (array.astype("f8") == value).all()


@pytest.mark.parametrize(
    ("name", "args", "dtype", "shape", "expected"),
    [
        ("full", (0.5,), "bf16", (2,), [0.5, 0.5]),
        ("full", (-math.inf,), "f16", (1, 1), [[-math.inf]]),
        ("full", (True,), "bool", (), True),
        ("full", (MASK,), "u64", (1,), [MASK]),
        ("inline", (((1, 2), (3, -4)),), "i4", (2, 2), [[1, 2], [3, -4]]),
        ("inline", ((True, False),), "bool", (2,), [True, False]),
        ("inline", (((), ()),), "f32", (2, 0), [[], []]),
        ("inline", ((1, 2.5),), "f32", (2,), [1.0, 2.5]),
    ],
)
def test_values(name: str, args: tuple[Value, ...], dtype: str, shape: tuple[int, ...], expected: object) -> None:
    array = Generator(name, args).generate(BY_NAME[dtype], shape)
    assert array.dtype == BY_NAME[dtype].numpy and array.shape == shape and array.tolist() == expected


@pytest.mark.parametrize(
    ("name", "args", "dtype", "shape", "message"),
    [
        ("zeroes", (), "f32", (1,), "no generator `zeroes`"),
        ("zeros", (1,), "f32", (1,), "no arguments"),
        ("normal", (0.02,), "f32", (1,), r"takes \(seed, std\)"),
        ("normal", (7, 0.02), "i32", (1,), "makes floats"),
        ("normal", (-1, 0.02), "f32", (1,), "seed"),
        ("normal", (1 << 64, 0.02), "f32", (1,), "seed"),
        ("normal", (1.5, 0.02), "f32", (1,), "seed"),
        ("normal", (7, -1), "f32", (1,), "not below 0"),
        ("normal", (7, math.inf), "f32", (1,), "finite"),
        ("normal", (7, (1,)), "f32", (1,), "finite"),
        ("uniform", (7, 1, 1), "f32", (1,), "no range"),
        ("uniform", (7, 0, 1), "bool", (1,), "bool"),
        ("uniform", (7, 0, 1.5), "i32", (1,), "integers"),
        ("uniform", (7, 0, 257), "u8", (1,), "does not fit u8"),
        ("uniform", (7, -1e308, 1e308), "f64", (1,), "no range"),
        ("full", (1e9,), "f16", (1,), "over the largest f16"),
        ("full", (10**400,), "f64", (1,), "over the largest float"),
        ("full", (math.inf,), "f8e4m3", (1,), "no infinity"),
        ("full", (256,), "u8", (1,), "does not fit"),
        ("full", (1.0,), "i32", (1,), "no integer"),
        ("full", (1,), "bool", (1,), "no value of bool"),
        ("full", (True,), "f32", (1,), "no value of f32"),
        ("full", ((1,),), "f32", (1,), "found the list"),
        ("inline", ((1, 2),), "f32", (3,), "axis 0 has size 3"),
        ("inline", ((1, (2,)),), "f32", (2,), "found the list"),
        ("inline", ((1, 2),), "f32", (2, 1), "found the number"),
        ("inline", ((1,),), "f32", (), "scalar"),
        ("inline", ((8,),), "i4", (1,), "does not fit i4"),
    ],
)
def test_misuse(name: str, args: tuple[Value, ...], dtype: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(Misuse, match=message):
        Generator(name, args).generate(BY_NAME[dtype], shape)


def test_text() -> None:
    assert str(Generator("zeros")) == "zeros"
    assert str(Generator("normal", (7, 0.02))) == "normal(7, 0.02)"
    assert str(Generator("full", (-math.inf,))) == "full(-inf)"
    assert str(Generator("inline", (((1, 2.5), (True, -3)),))) == "inline [[1, 2.5], [true, -3]]"
