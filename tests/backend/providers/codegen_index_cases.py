"""Cases of kernels whose work is to find which elements count: resize, top_k."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.backend.providers.codegen_harness import Array, Case
from tests.backend.providers.codegen_net import Net, case
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Tensor

__all__ = ["CASES"]


def _resizes() -> Iterator[Case]:
    def resize(dtype: str, *shape: int, to: tuple[int, ...] = (), **attrs: Any) -> Callable[[Net], Tensor]:
        """To `to`, the last axes' sizes, unless scales are given."""

        def make(n: Net) -> Tensor:
            given = {"sizes": (*shape[: len(shape) - len(to)], *to)} if to else {}
            y: Tensor = n.resize(n.x(dtype, *shape), name="y", **given, **attrs)
            return y

        return make

    last = dict.fromkeys("xy", "last")
    settings = {"accumulated": 20}
    for mode in ("nearest", "linear", "cubic"):
        for coordinates in (
            "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric",
        ):  # fmt: skip
            attrs = {"mode": mode, "coordinates": coordinates}
            yield case(f"resize_{mode}_{coordinates}", resize("f32", 2, 3, 5, 7, to=(9, 4), **attrs), **settings)
            scaled = resize("f16", 2, 16, 6, 5, scales=(1, 1, 1.7, 0.6), **attrs)
            yield case(f"resize_{mode}_{coordinates}_last", scaled, layouts=last, **settings)
        for dtype in ("bf16", "f64", "u8", "i32"):
            doubled = resize(dtype, 1, 16, 4, 6, to=(8, 12), mode=mode)
            yield case(f"resize_{mode}_{dtype}", doubled, data=_bytes, **settings)
        yield case(f"resize_{mode}_u8_last", resize("u8", 1, 3, 8, 6, to=(4, 3), mode=mode), data=_bytes, layouts=last)
        yield case(f"resize_{mode}_line", resize("f16", 2, 3, 11, to=(30,), mode=mode), **settings)
        yield case(f"resize_{mode}_volume", resize("f16", 1, 8, 3, 4, 5, to=(5, 7, 4), mode=mode), **settings)
        yield case(f"resize_{mode}_one", resize("f32", 1, 2, 5, 5, to=(1, 1), mode=mode), **settings)
        yield case(f"resize_{mode}_mixed", resize("f16", 2, 16, 4, 4, to=(7, 8), mode=mode), layouts={"y": "last"}, **settings)
        yield case(f"resize_{mode}_pytorch_one", resize(
            "f32", 1, 2, 5, 5, to=(1, 3), mode=mode, coordinates="pytorch_half_pixel"), **settings)
    for nearest in ("round_prefer_ceil", "floor", "ceil"):
        yield case(f"resize_{nearest}", resize("f32", 1, 2, 6, 7, to=(9, 14), nearest=nearest, coordinates="asymmetric"))
    yield case("resize_far", resize("f32", 1, 1, 130, 97, to=(331, 83), mode="linear"), **settings)
    yield case("resize_excluding", resize(
        "f32", 1, 2, 5, 6, to=(9, 11), mode="cubic", cubic_a=-0.5, exclude_outside=True), **settings)
    yield case("resize_channels", resize("f32", 2, 8, 4, scales=(1, 2, 1), mode="linear"), **settings)
    yield case("resize_slice", resize("f16", 1, 16, 4, 4, to=(8, 8)), layouts={"x": "last slice", "y": "last"})
    yield case("resize_alike", resize("f16", 1, 16, 4, 4, to=(4, 4), mode="linear"))


def _bytes(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    """Whole numbers that stay in range where cubic weights overshoot."""
    return None if dtype.is_float else rng.integers(60, 180, shape)


CASES: list[Case] = [*_resizes()]
