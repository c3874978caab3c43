"""Products of 8-bit levels: exactly what the op's own evaluation gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.backend.providers.onednn_harness import check, group_of
from trtn.backend.providers.onednn import library

pytestmark = pytest.mark.skipif(library.unavailable() is not None, reason=str(library.unavailable()))

EXACT = {"rtol": 0.0, "atol": 0.0}


def levels(dtype: str, *shape: int) -> Any:
    low, high = (-128, 127) if dtype == "i8" else (0, 255)
    drawn = np.random.default_rng(sum(shape)).integers(low, high, shape, endpoint=True)
    drawn.flat[: min(drawn.size, 600)] = high  # the largest sums there are
    return drawn.astype("int8" if dtype == "i8" else "uint8")


@pytest.mark.parametrize("a", ["u8", "i8"])
@pytest.mark.parametrize("b", ["u8", "i8"])
@pytest.mark.parametrize("zeros", ["", "a", "b", "ab"])
@pytest.mark.parametrize("inner", [30, 1100])
def test_matmul(a: str, b: str, zeros: str, inner: int) -> None:
    group = group_of(
        lambda n: n.matmul_integer(
            n.x(a, 2, 5, inner),
            n.w(levels(b, inner, 7), b),
            n.x(a, name="zero") if "a" in zeros else None,
            n.w(3, b) if "b" in zeros else None,
        )
    )
    assert not check(group, values={"x": levels(a, 2, 5, inner), "zero": levels(a)}, **EXACT)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("order", [None, (0, 2, 3, 1)])
def test_conv(groups: int, zeros: bool, order: Any) -> None:
    group = group_of(
        lambda n: n.conv_integer(
            n.x("u8", 2, 8, 9, 7),
            n.w(levels("i8", 6, 8 // groups, 3, 3), "i8"),
            n.x("u8", name="zero") if zeros else None,
            n.w(-4, "i8") if zeros else None,
            **{"pads": (1, 0, 1, 2), "strides": (2, 1), "groups": groups},
        )
    )
    values = {"x": levels("u8", 2, 8, 9, 7), "zero": levels("u8")}
    assert not check(group, values=values, out=order, **EXACT)


def test_sums_that_f32_does_not_hold_are_refused() -> None:
    group = group_of(lambda n: n.conv_integer(n.x("u8", 1, 300, 4, 4), n.w(levels("i8", 2, 300, 3, 3), "i8")))
    assert "f32 does not hold" in str(check(group)["primitive"])


def test_several_zero_points_are_refused() -> None:
    group = group_of(
        lambda n: n.matmul_integer(n.x("u8", 4, 8), n.w(levels("i8", 8, 3), "i8"), None, n.w([1, 2, 3], "i8"))
    )
    assert "zero points" in str(check(group)["primitive"])
