"""Cases of kernels whose work is to find which elements count: resize, top_k, running sums, scattering."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.backend.providers.codegen_harness import Array, Case
from tests.backend.providers.codegen_net import Net, case
from trtn.dsl.dims import symbol
from trtn.dsl.dtypes import BY_NAME, DType
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


def _running() -> Iterator[Case]:
    def along(op: str, dtype: str, *shape: int, axis: int = -1, **attrs: Any) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            y: Tensor = n.op(op, n.x(dtype, *shape), name="y", axis=axis, **attrs)
            return y

        return make

    settings = {"accumulated": 60}
    for dtype in ("f16", "bf16", "f32", "f64", "i32", "i64", "u8", "i8"):
        yield case(f"cumsum_{dtype}", along("cumsum", dtype, 3, 70), **settings)
    for exclusive in (False, True):
        for reverse in (False, True):
            attrs = {"exclusive": exclusive, "reverse": reverse}
            yield case(f"cumsum_{exclusive}_{reverse}", along("cumsum", "f32", 2, 2500, **attrs), **settings)
            yield case(f"cumsum_{exclusive}_{reverse}_outer", along("cumsum", "f16", 3, 9, 40, axis=1, **attrs))
            yield case(f"cumprod_{exclusive}_{reverse}", along("cumprod", "i32", 2, 1100, **attrs))
    yield case("cumprod", along("cumprod", "f32", 4, 33), data=_near_one, accumulated=120)
    yield case("cumsum_last", along("cumsum", "f32", 2, 24, 3, 5, axis=2), layouts=dict.fromkeys("xy", "last"))
    yield case("cumsum_mixed", along("cumsum", "f32", 2, 24, 3, 5, axis=1), layouts={"x": "last"})
    yield case("cumsum_one", along("cumsum", "i64", 5))


def _near_one(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.uniform(0.9, 1.1, shape)


def _picks() -> Iterator[Case]:
    """By several indices a place, and the other way around, to places that don't repeat."""

    def gather(x: tuple[int, ...], at: tuple[int, ...], **attrs: Any) -> Callable[[Net], Tensor]:
        return lambda n: n.gather_nd(n.x("f16", *x), n.x("i64", *at, name="ids"), name="y", **attrs)  # type: ignore[no-any-return]

    def scatter(
        op: str, dtype: str, *shapes: tuple[int, ...], index: str = "i64", **attrs: Any
    ) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            x, at, updates = shapes
            y: Tensor = n.op(
                op, n.x(dtype, *x), n.x(index, *at, name="ids"), n.x(dtype, *updates, name="u"), name="y", **attrs
            )
            return y

        return make

    def places(*sizes: int) -> Callable[[str, DType, tuple[int, ...], np.random.Generator], Array | None]:
        """Places [.., M] of an array of such sizes, no two alike where there are enough, half counted from the end."""

        def make(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
            if name != "ids":
                return None
            chosen = np.resize(rng.permutation(int(np.prod(sizes))), int(np.prod(shape[:-1])))
            found = np.stack(np.unravel_index(chosen, sizes), axis=-1).reshape(shape)
            return np.where(rng.random(shape) < 0.5, found, found - sizes)

        return make

    yield case("gather_nd", gather((6, 5, 16), (3, 4, 2)), data=places(6, 5))
    yield case("gather_nd_whole", gather((6, 5), (9, 2)), data=places(6, 5))
    yield case("gather_nd_batch", gather((3, 7, 4, 5), (3, 6, 1), batch_dims=1), data=places(7))
    yield case("scatter_nd", scatter("scatter_nd", "f16", (6, 5, 16), (3, 4, 2), (3, 4, 16)), data=places(6, 5))
    yield case("scatter_nd_rows", scatter("scatter_nd", "f32", (9, 21), (4, 1), (4, 21)), data=places(9))
    yield case("scatter_nd_whole", scatter("scatter_nd", "i8", (6, 5), (9, 2), (9, 2)[:1]), data=places(6, 5))
    yield case("scatter_nd_nothing", scatter("scatter_nd", "f16", (6, 5), (0, 1), (0, 5)))
    yield case(
        "scatter_elements",
        scatter("scatter_elements", "f16", (5, 12, 4), (5, 3, 4), (5, 3, 4), index="i32", axis=1),
        data=_some_of_twelve,
    )


def _some_of_twelve(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    """For each column other places of an axis of 12."""
    if name != "ids":
        return None
    ranked = np.argsort(rng.random((shape[0], 12, shape[2])), axis=1)[:, : shape[1]]
    return np.where(rng.random(shape) < 0.5, ranked, ranked - 12)


def _generated() -> Iterator[Case]:
    for dtype in ("i64", "f32", "f16"):
        yield case(
            f"range_{dtype}", lambda n, dtype=dtype: n.range(first=3, end=300, step=2, dtype=BY_NAME[dtype], name="y")
        )
        yield case(
            f"fill_{dtype}", lambda n, dtype=dtype: n.fill(shape=(3, 7, 5), value=2.0, dtype=BY_NAME[dtype], name="y")
        )
    yield case("range_down", lambda n: n.range(first=5, end=-6, step=-3, dtype=BY_NAME["i32"], name="y"))
    yield case(
        "range_of_dim", lambda n: n.add(n.range(end=symbol("N"), dtype=BY_NAME["f32"]), n.x("f32", "N"), name="y"),
        sizes={"N": 9}, beside="pointwise",
    )  # fmt: skip
    for k in (-1, 0, 2):
        yield case(f"eye_like_{k}", lambda n, k=k: n.eye_like(n.x("f16", 6, 9), k=k, dtype=BY_NAME["i32"], name="y"))
        for upper in (False, True):
            yield case(
                f"trilu_{k}_{upper}",
                lambda n, k=k, upper=upper: n.trilu(n.x("f16", 2, 6, 9), k=k, upper=upper, name="y"),
            )
    yield case("trilu_last", lambda n: n.trilu(n.x("bool", 2, 3, 9, 6), name="y"), layouts={"x": "last", "y": "last"})
    for axis in (0, 1, -1):
        for dtype in ("i64", "f32"):
            hot = lambda n, axis=axis, dtype=dtype: n.one_hot(  # noqa: E731
                n.x(dtype, 5, 8), None, n.x("f16", 2, name="values"), size=5, axis=axis, name="y"
            )
            yield case(f"one_hot_{axis}_{dtype}", hot, data=_whole)


def _whole(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    """Indices, some of which are outside of -5 .. 4."""
    return None if name == "values" else rng.integers(-7, 7, shape)


def _samples() -> Iterator[Case]:
    def sample(dtype: str, x: tuple[int, ...], out: tuple[int, ...], **attrs: Any) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            grid = n.x("f32", x[0], *out, len(out), name="grid")
            y: Tensor = n.grid_sample(n.x(dtype, *x), grid, name="y", **attrs)
            return y

        return make

    last = dict.fromkeys("xy", "last")
    settings: dict[str, Any] = {"accumulated": 20, "data": _around}
    for mode in ("nearest", "linear", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            for align in (False, True):
                attrs = {"mode": mode, "padding": padding, "align_corners": align}
                make = sample("f32", (2, 3, 5, 6), (4, 7), **attrs)
                yield case(f"grid_sample_{mode}_{padding}_{align}", make, **settings)
        yield case(
            f"grid_sample_{mode}_last", sample("f16", (2, 16, 5, 6), (4, 7), mode=mode), layouts=last, **settings
        )
        yield case(f"grid_sample_{mode}_volume", sample("bf16", (1, 2, 3, 4, 5), (2, 3, 4), mode=mode), **settings)
        one = sample("f64", (1, 2, 1, 5), (3, 3), mode=mode, padding="reflection")
        yield case(
            f"grid_sample_{mode}_one", one, data=_around, accumulated=20 * 2.0**29
        )  # weights are f32 all the same


def _around(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    """Places inside and outside, at the edges, and in the middle of elements."""
    if name != "grid":
        return None
    return np.where(rng.random(shape) < 0.3, rng.integers(-4, 5, shape) / 2, rng.uniform(-1.5, 1.5, shape))


def _windows() -> Iterator[Case]:
    """Of channels."""

    def lrn(dtype: str, *shape: int, size: int = 5) -> Callable[[Net], Tensor]:
        return lambda n: n.lrn(n.x(dtype, *shape), size=size, alpha=0.3, beta=0.75, bias=1.5, name="y")  # type: ignore[no-any-return]

    for dtype in ("f16", "bf16", "f32", "f64"):
        yield case(f"lrn_{dtype}", lrn(dtype, 2, 9, 4, 8), accumulated=20)
        yield case(f"lrn_last_{dtype}", lrn(dtype, 2, 9, 3, 5), layouts=dict.fromkeys("xy", "last"), accumulated=20)
    yield case("lrn_even", lrn("f32", 2, 3, 7, size=4), accumulated=20)
    yield case("lrn_wide", lrn("f32", 3, 4, size=11), accumulated=20)


def _attention() -> Iterator[Case]:
    def attention(
        dtype: str,
        width: int,
        heads: int = 2,
        shared: int = 2,
        out: int = 0,
        mask: str = "",
        at: Any = (),
        **attrs: Any,
    ) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            q = n.x(dtype, 2, heads, 13, width, name="q")
            k, v = n.x(dtype, 2, shared, 40, width, name="k"), n.x(dtype, 2, shared, 40, out or width, name="v")
            masks = [n.x(mask, *at, name="mask")] if mask else []
            y: Tensor = n.attention(q, k, v, *masks, name="y", **attrs)
            return y

        return make

    settings: dict[str, Any] = {"family": "attention_any", "accumulated": 60}
    inside = dict.fromkeys("qkvy", "inside slice")
    for dtype in ("f16", "bf16", "f32", "f64"):
        yield case(f"attention_any_{dtype}", attention(dtype, 15), **settings)
    yield case("attention_any_inside", attention("f16", 40, out=24), layouts=inside, **settings)
    yield case("attention_any_wide", attention("f32", 160, 6, 2, 100, scale=0.3), layouts=inside, **settings)
    yield case("attention_any_causal", attention("f32", 32, 4, 1, causal=True), **settings)
    hidden = attention("f32", 8, mask="bool", at=(2, 1, 13, 40))
    yield case("attention_any_hidden", hidden, data=_hidden, **settings)
    added = attention("f16", 12, 4, 2, mask="f16", at=(4, 1, 40), causal=True)
    yield case("attention_any_added", added, **settings)
    flat = lambda n: n.attention(*(n.x("f32", 3, 9, 5, name=name) for name in "qkv"), name="y")  # noqa: E731
    yield case("attention_any_flat", flat, **settings)


def _hidden(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    """A mask that hides some keys, and all of them from the first query."""
    if name != "mask":
        return None
    mask = rng.random(shape) < 0.6
    mask[:, :, 0] = False
    return mask


CASES: list[Case] = [
    *_resizes(),
    *_ranks(),
    *_running(),
    *_picks(),
    *_generated(),
    *_samples(),
    *_windows(),
    *_attention(),
]
