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
    settings = {"accumulated": 20, "family": "resize"}
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
        yield case(
            f"resize_{mode}_u8_last",
            resize("u8", 1, 3, 8, 6, to=(4, 3), mode=mode),
            data=_bytes,
            layouts=last,
            **settings,
        )
        yield case(f"resize_{mode}_line", resize("f16", 2, 3, 11, to=(30,), mode=mode), **settings)
        yield case(f"resize_{mode}_volume", resize("f16", 1, 8, 3, 4, 5, to=(5, 7, 4), mode=mode), **settings)
        yield case(f"resize_{mode}_one", resize("f32", 1, 2, 5, 5, to=(1, 1), mode=mode), **settings)
        yield case(
            f"resize_{mode}_mixed", resize("f16", 2, 16, 4, 4, to=(7, 8), mode=mode), layouts={"y": "last"}, **settings
        )
        yield case(
            f"resize_{mode}_pytorch_one",
            resize("f32", 1, 2, 5, 5, to=(1, 3), mode=mode, coordinates="pytorch_half_pixel"),
            **settings,
        )
    for nearest in ("round_prefer_ceil", "floor", "ceil"):
        yield case(
            f"resize_{nearest}",
            resize("f32", 1, 2, 6, 7, to=(9, 14), nearest=nearest, coordinates="asymmetric"),
            **settings,
        )
    yield case("resize_far", resize("f32", 1, 1, 130, 97, to=(331, 83), mode="linear"), **settings)
    yield case(
        "resize_excluding",
        resize("f32", 1, 2, 5, 6, to=(9, 11), mode="cubic", cubic_a=-0.5, exclude_outside=True),
        **settings,
    )
    yield case("resize_channels", resize("f32", 2, 8, 4, scales=(1, 2, 1), mode="linear"), **settings)
    yield case(
        "resize_slice", resize("f16", 1, 16, 4, 4, to=(8, 8)), layouts={"x": "last slice", "y": "last"}, **settings
    )
    yield case("resize_alike", resize("f16", 1, 16, 4, 4, to=(4, 4), mode="linear"), **settings)


def _bytes(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    """Whole numbers that stay in range where cubic weights overshoot."""
    return None if dtype.is_float else rng.integers(60, 180, shape)


def _ranks() -> Iterator[Case]:
    def top_k(dtype: str, *shape: int, which: str = "both", **attrs: Any) -> Callable[[Net], list[Tensor]]:
        def make(n: Net) -> list[Tensor]:
            values, indices = n.top_k(n.x(dtype, *shape), name="y", **attrs)
            return {"both": [values, indices], "values": [values], "indices": [indices]}[which]

        return make

    for dtype in ("f16", "bf16", "f32", "i32", "u8", "i8", "u16", "u32"):
        for largest in (True, False):
            yield case(f"top_k_{dtype}_{largest}", top_k(dtype, 5, 300, k=37, largest=largest), data=_with_ties)
    yield case("top_k_values", top_k("f32", 3, 40, k=5, which="values"))
    yield case("top_k_indices", top_k("f16", 3, 40, k=5, which="indices"), data=_with_ties)
    yield case("top_k_all", top_k("f32", 4, 100, k=100), data=_with_ties)
    yield case("top_k_one", top_k("f32", 40, 9, k=1), data=_with_ties)
    yield case("top_k_single", top_k("f32", 7, 1, k=1))
    yield case("top_k_axis", top_k("f16", 2, 50, 3, 3, k=4, axis=1), data=_with_ties)
    yield case("top_k_last", top_k("f16", 2, 24, 5, 3, k=4, axis=1), layouts={"x": "last", "y.values": "last"})
    yield case(
        "top_k_alike", top_k("i32", 1, 5000, k=300), data=lambda n, d, shape, rng: np.ones(shape), tactic="select"
    )
    yield case("top_k_sorted", top_k("f32", 2, 1500, k=1030), tactic="sort")
    yield case("top_k_long", top_k("f32", 1, 70001, k=100), tactic="select")
    yield case("top_k_long_ties", top_k("f16", 2, 4500, k=70, largest=False), data=_with_ties, tactic="select")
    yield case("top_k_no_rows", top_k("f32", 0, 9, k=3))


def _with_ties(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Many equal elements, zeros of both signs; in floats infinities, a NaN, and in the last row many."""
    values = rng.integers(0 if dtype.kind == "u" else -9, 10, shape).astype(np.float64)
    if dtype.is_float:
        values *= np.where(rng.random(shape) < 0.5, 1, -1)
        values[0, ::7] = np.inf
        values[0, 3::7] = -np.inf
        values[1, 5] = values[-1, 2::5] = np.nan
    return values


CASES: list[Case] = [*_resizes(), *_ranks()]
