"""Cases of 8-bit levels for the generated kernels: products and convolutions of them, and rounding to them and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.backend.providers.codegen_harness import Array, Case
from tests.backend.providers.codegen_net import Net, case
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import Tensor

__all__ = ["CASES"]


def _levels() -> Iterator[Case]:
    """Products of 8-bit integers with each kind of zero point; rounding to levels and back."""

    def some(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
        if dtype.is_float:
            return rng.standard_normal(shape) * 3
        limits = np.iinfo(dtype.numpy)
        return rng.integers(limits.min, int(limits.max) + 1, shape)

    def product(
        a: tuple[str, tuple[Any, ...]],
        b: tuple[str, tuple[Any, ...]],
        zeros: tuple[tuple[int, ...] | None, tuple[int, ...] | None] = (None, None),
    ) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            x = n.x(a[0], *a[1])
            w = n.x(b[0], *b[1], name="w")
            given = [
                None if shape is None else n.x(dtype, *shape, name=name)
                for name, shape, dtype in zip("uv", zeros, (a[0], b[0]), strict=True)
            ]
            return n.matmul_integer(x, w, *given, name="y")  # type: ignore[no-any-return]

        return make

    kinds = {"data": some, "family": "integers"}
    yield case("integers", product(("u8", (70, 65)), ("i8", (65, 73))), **kinds)
    yield case("integers_zeros", product(("u8", (2, 35, 64)), ("i8", (64, 40)), ((), ())), **kinds)
    yield case("integers_rows", product(("i8", (33, 31)), ("u8", (31, 9)), ((33,), (9,))), **kinds)
    yield case("integers_batch", product(("i8", (3, 5, 40)), ("i8", (3, 40, 66)), ((), (3, 1, 66))), **kinds)
    yield case("integers_one", product(("u8", (1, 3)), ("u8", (3, 1)), ((1,), (1,))), **kinds)
    turned = {"layouts": {"x": "odd", "w": "slice"}}
    yield case("integers_odd", product(("u8", (5, 2, 300)), ("i8", (300, 17)), ((), None)), **turned, **kinds)

    def conv(x: str, w: str, size: tuple[int, ...], zeros: bool, **attrs: Any) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            out, taps = 9, (3,) * len(size)
            levels = np.random.default_rng(1).integers(0, 120, (out, 5, *taps))
            low = n.w(np.arange(out) if attrs.get("pads") else 3, w) if zeros else None
            given = [n.x(x, name="u") if zeros else None, low]
            return n.conv_integer(n.x(x, 2, 5, *size), n.w(levels, w), *given, name="y", **attrs)  # type: ignore[no-any-return]

        return make

    kinds = {"data": some, "family": "integers_conv"}
    yield case("integers_conv", conv("u8", "i8", (9, 8), True, pads=(1, 0, 2, 1), strides=(2, 1)), **kinds)
    yield case("integers_conv_line", conv("i8", "u8", (21,), False, dilations=(2,), auto_pad="same_upper"), **kinds)
    yield case("integers_conv_last", conv("u8", "u8", (7, 9), True), layouts={"x": "last"}, **kinds)

    def rounded(n: Net) -> list[Tensor]:
        return list(n.op("dynamic_quantize_linear", n.x("f32", 3, "N", 24), name="y"))

    # Steps of 2^-5 over a range of 255 of them have an exact scale, whatever the floats are.
    def on_a_grid(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
        values = rng.integers(-100, 156, shape)
        values.flat[:2] = -100, 155
        return values / 32

    dynamic = {"family": "quantize", "data": on_a_grid, "accumulated": 0.0}
    yield case("levels_dynamic", rounded, sizes={"N": 5}, **dynamic)
    yield case("levels_dynamic_large", rounded, sizes={"N": 300}, layouts={"x": "odd"}, **dynamic)
    yield case("levels_dynamic_last", rounded, sizes={"N": 7}, layouts={"x": "last"}, **dynamic)

    def quantize(real: str, levels: str, shape: tuple[int, ...], zero: bool = True) -> Callable[[Net], list[Tensor]]:
        def make(n: Net) -> list[Tensor]:
            scale = n.w(np.full(shape, 0.125) if not shape else 2.0 ** -(np.arange(shape[0]) % 3 + 3), real)
            low = n.w(np.arange(scale.type.shape[0] if shape else 1).reshape(shape) % 5, levels) if zero else None
            if real == "f32" and levels in ("i8", "u8"):
                return [n.quantize_linear(n.x(real, 4, 6, 10), scale, low, dtype=BY_NAME[levels], name="y")]
            return [n.dequantize_linear(n.x(levels, 4, 6, 10), scale, low, name="y")]

        return make

    fixed = {"family": "quantize", "data": some}
    yield case("quantize_one", quantize("f32", "u8", ()), **fixed)
    yield case("quantize_axis", quantize("f32", "i8", (6,)), **fixed)
    yield case("quantize_no_zero", quantize("f32", "u8", (), zero=False), **fixed)
    yield case("dequantize_axis", quantize("f16", "u8", (6,)), **fixed)
    yield case("dequantize_i32", quantize("f32", "i32", (), zero=False), **fixed)


CASES: list[Case] = list(_levels())
