"""The cases that every generated kernel is held against: small, but with each shape of memory that a kernel treats
differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tests.backend.providers.codegen_harness import Array, Case
from tests.backend.providers.codegen_index_cases import CASES as INDEX_CASES
from tests.backend.providers.codegen_level_cases import CASES as LEVEL_CASES
from tests.backend.providers.codegen_net import Net, case
from tests.backend.providers.codegen_recurrent_cases import CASES as RECURRENT_CASES
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import Tensor
from trtn.dsl.ops.base import catalogue

__all__ = ["CASES", "Net", "case"]


def _away_from_zero(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    if dtype.is_float:
        return None
    low = 1 if dtype.kind == "u" else -5
    values = rng.integers(low, 6, shape)
    return np.where(values == 0, 3, values)


ATTRS: dict[str, dict[str, Any]] = {
    "cast": {"to": BY_NAME["i32"]},
    "clip": {"min": -0.5, "max": 0.75},
    "isinf": {"positive": True, "negative": False},
    "mod": {"fmod": True},
    "swish": {"alpha": 1.5},
}
LOOSE = {"pow": 12.0, "tan": 40.0, "acosh": 8.0, "atanh": 8.0, "gelu": 8.0, "floor_div": 1.0}
"""Functions whose f32 versions are off by more (their own error bounds, or a result near a pole)."""


def _every_op() -> Iterator[Case]:
    """Each pointwise op on a dtype of each kind that it takes, many in one region, on a size that leaves a tail."""
    for dtype in ("f16", "bf16", "f32", "f64", "i32", "i64", "i8", "u8", "u32", "bool"):
        takes = [
            name
            for name, op in catalogue().items()
            if op.pointwise
            and not op.view
            and all(_accepts(op, i.type, dtype) for i in op.spec.inputs)
            and (dtype == "bool" or any(i.type != "bool" for i in op.spec.inputs))
        ]
        names = [n for n in takes if dtype in ("f16", "f32", "i32", "i8", "u8", "bool") or n in SOME]
        for start in range(0, len(names), REGION):
            part = names[start : start + REGION]
            yield case(f"ops_{part[0]}_to_{part[-1]}_{dtype}", _ops(part, dtype), data=_away_from_zero, loose=LOOSE)


SOME = ("add", "cast", "div", "floor_div", "gelu", "less", "max", "mod", "pow", "sigmoid", "silu", "where")
"""For dtypes whose arithmetic another one has already shown."""
REGION = 30


def _accepts(op: Any, declared: str, dtype: str) -> bool:
    return declared in ("bool", "any") or (declared not in BY_NAME and BY_NAME[dtype] in op.dtypes(declared))


def _ops(names: Sequence[str], dtype: str) -> Callable[[Net], list[Tensor]]:
    def make(n: Net) -> list[Tensor]:
        x, y, z = (n.x(dtype, 7, 43, name=name) for name in "xyz")
        truth = n.x("bool", 7, 43, name="truth")
        first = n.not_(x) if dtype == "bool" else n.abs(x) if dtype.startswith("u") else n.neg(x)
        results = []
        for name in names:
            spec = catalogue()[name].spec
            given = spec.inputs if not spec.inputs[-1].variadic else spec.inputs * 3
            ready = iter([first, y, z] if len(given) > 1 and given[0].type != "bool" else [y, first, z])
            inputs = [truth if i.type == "bool" and dtype != "bool" else next(ready) for i in given]
            inputs = [first] if len(given) == 1 else inputs
            attrs = ATTRS.get(name, {})
            results.append(n.op(name, *inputs, name=name, **attrs))
        return results

    return make


def _region(n: Net) -> list[Tensor]:
    """Residual, scale per channel, GELU, a second result in another dtype, a comparison."""
    x, r = n.x("f16", "N", 24), n.x("f16", "N", 24, name="r")
    a = n.add(n.mul(x, n.random("f16", 24)), r)
    y = n.gelu(a, name="y")
    z = n.cast(n.sigmoid(y), to=BY_NAME["f32"], name="z")
    return [y, z, n.greater(y, n.w([0.25], "f16"), name="g")]


def _channels(dtype: str, c: int) -> Callable[[Net], Tensor]:
    """Bias and residual on an image."""

    def make(n: Net) -> Tensor:
        x, r = n.x(dtype, 2, c, 5, 7), n.x(dtype, 2, c, 5, 7, name="r")
        y: Tensor = n.relu(n.add(n.add(x, n.random(dtype, c, 1, 1)), r), name="y")
        return y

    return make


def _to(dtype: str, *shape: Any, source: str = "f32") -> Callable[[Net], Tensor]:
    def make(n: Net) -> Tensor:
        y: Tensor = n.cast(n.x(source, *shape), to=BY_NAME[dtype], name="y")
        return y

    return make


def _pointwise() -> Iterator[Case]:
    yield from _every_op()
    yield case("region", _region, sizes={"N": 5})
    yield case("region_wide", _region, sizes={"N": 300})
    for dtype in ("f16", "f32", "bf16"):
        yield case(f"image_{dtype}", _channels(dtype, 24))
        yield case(f"image_last_{dtype}", _channels(dtype, 24), layouts=dict.fromkeys("xry", "last"))
    yield case("image_last_odd_channels", _channels("f16", 21), layouts=dict.fromkeys("xry", "last"))
    yield case("image_mixed", _channels("f16", 40), layouts={"r": "last", "y": "last"})
    yield case("image_slice", _channels("f16", 24), layouts={"x": "last slice", "r": "last", "y": "last slice"})
    yield case("image_odd_address", _channels("f16", 24), layouts={"x": "last odd", "r": "last", "y": "last"})
    yield case("to_last_f16", _to("f16", 2, 40, 9, 13), layouts={"y": "last"})
    yield case("to_first_f32", _to("f32", 3, 70, 8, 8, source="f16"), layouts={"x": "last"})
    yield case("interleave", _to("f16", 2, 3, 16, 20), layouts={"y": "last"})
    yield case(
        "interleave_two",
        lambda n: n.mul(
            n.add(n.x("f32", 3, 2, 8, 8), n.x("f32", 3, 2, 8, 8, name="r")), n.random("f32", 2, 1, 1), name="y"
        ),
        layouts={"r": "last", "y": "last"},
    )
    yield case("interleave_odd", _to("f16", 2, 3, 5, 7), layouts={"y": "last"})
    yield case("to_last_three", _to("f16", 2, 3, 16, 16), layouts={"y": "last"})
    yield case("tail", lambda n: n.exp(n.x("f16", 1037), name="y"))
    yield case("tail_constant", lambda n: n.mul(n.x("f32", 999), n.x("f32", 1, name="s"), name="y"))
    yield case("scalar", lambda n: n.exp(n.x("f32"), name="y"))
    yield case("outer", lambda n: n.add(n.x("f32", 6, 1, 5), n.x("f32", 4, 1, name="r"), name="y"))
    yield case(
        "mask",
        lambda n: n.where(n.x("bool", 2, 1, 1, 33, name="m"), n.x("f16", 2, 4, 33, 33), n.w([-1e4], "f16"), name="y"),
    )
    yield case("square", lambda n: n.pow(n.x("f32", 64), n.w(2.0), name="y"))
    yield case("root", lambda n: n.pow(n.x("f32", 64), n.w(0.5), name="y"))
    yield case("half_root", lambda n: n.div(n.x("f16", 64), n.w(8.0, "f16"), name="y"))
    yield case("count_fraction", lambda n: n.floor(n.mul(n.x("f16", 640), n.w(10.0, "f16")), name="y"), stepwise=True)
    yield case("wrap", lambda n: n.add(n.x("i8", 64), n.w(125, "i8"), name="y"))
    yield case("to_i8", lambda n: n.cast(n.mul(n.x("f32", 64), n.w(150.0)), to=BY_NAME["i8"], name="y"))
    yield case("clip_int", lambda n: n.clip(n.x("i32", 64), min=-2.5, max=3.5, name="y"))


def _softmax() -> Iterator[Case]:
    def along(op: str, axis: int, dtype: str, *shape: int) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            y: Tensor = n.op(op, n.x(dtype, *shape), axis=axis, name="y")
            return y

        return make

    for dtype in ("f16", "f32", "bf16", "f64"):
        yield case(f"softmax_{dtype}", along("softmax", -1, dtype, 3, 5, 72))
        yield case(f"log_softmax_{dtype}", along("log_softmax", -1, dtype, 7, 31), tactic="auto", accumulated=8)
    yield case("softmax_short", along("softmax", -1, "f16", 300, 12), tactic="auto")
    yield case("softmax_one", along("softmax", -1, "f32", 5, 1), tactic="auto")
    yield case("softmax_long", along("softmax", -1, "f16", 2, 3000), tactic="auto")
    yield case("softmax_streamed", along("softmax", -1, "f32", 2, 70001), tactic="auto")
    yield case("softmax_channels", along("softmax", 1, "f16", 2, 21, 14, 11), tactic="auto")
    yield case("log_softmax_channels", along("log_softmax", 1, "f32", 1, 9, 20, 20), tactic="auto", accumulated=8)
    yield case(
        "softmax_channels_last",
        along("softmax", 1, "f16", 2, 24, 3, 5),
        layouts=dict.fromkeys("xy", "last"),
        tactic="auto",
    )
    yield case("softmax_first_axis", along("softmax", 0, "f32", 12, 9), tactic="auto")
    yield case("softmax_masked", along("softmax", -1, "f16", 6, 40), data=_some_infinite)
    yield case("softmax_masked_streamed", along("softmax", 1, "f32", 3, 40, 99), data=_some_infinite, tactic="auto")


def _some_infinite(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Rows with some elements at -inf, the first row with all."""
    values = np.where(rng.random(shape) < 0.5, -np.inf, rng.standard_normal(shape))
    values[0] = -np.inf
    return values


def _norms() -> Iterator[Case]:
    def norm(
        op: str, dtype: str, *shape: Any, residual: bool = False, leaves: bool = False, **attrs: Any
    ) -> Callable[[Net], list[Tensor]]:
        def make(n: Net) -> list[Tensor]:
            x = n.x(dtype, *shape)
            total = n.add(x, n.x(dtype, *shape, name="r"), name="s") if residual else x
            width = shape[attrs.get("axis", -1) :]
            parameters = [n.random(dtype, *width, seed=k) for k in range(2 if op == "layer_norm" else 1)]
            y = n.op(op, total, *parameters, name="y", **attrs)
            return [total, y] if leaves else [y]

        return make

    for dtype in ("f16", "f32", "bf16", "f64"):
        yield case(
            f"layer_norm_{dtype}", norm("layer_norm", dtype, "B", 5, 72, residual=True), sizes={"B": 3}, accumulated=12
        )
        yield case(f"rms_norm_{dtype}", norm("rms_norm", dtype, 7, 31), tactic="auto")
    yield case("layer_norm_768", norm("layer_norm", "f16", 6, 768, residual=True, leaves=True), accumulated=12)
    yield case("layer_norm_many", norm("layer_norm", "f16", 600, 40), tactic="auto", accumulated=12)
    yield case("layer_norm_long", norm("layer_norm", "f32", 2, 70001), tactic="auto", accumulated=12)
    yield case(
        "layer_norm_image",
        norm("layer_norm", "f32", 2, 24, 5, 5, axis=1, residual=True, leaves=True),
        tactic="auto",
        accumulated=12,
    )
    last = dict.fromkeys("xrsy", "last")
    yield case(
        "layer_norm_image_last",
        norm("layer_norm", "f16", 2, 24, 5, 5, axis=1, leaves=True, residual=True),
        layouts=last,
        tactic="auto",
    )
    yield case("rms_norm_plain", lambda n: n.rms_norm(n.x("f16", 9, 64), name="y"))
    yield case(
        "layer_norm_plain", lambda n: n.layer_norm(n.x("f32", 9, 64), n.w(1.5), eps=1e-3, name="y"), accumulated=12
    )
    yield case("layer_norm_offset", norm("layer_norm", "f32", 4, 256), data=_far_from_zero, accumulated=3000)

    def looked_up(n: Net) -> list[Tensor]:
        """Words, positions that all samples share, segments; the sum is read elsewhere, too."""
        words = n.embedding(n.x("i64", "B", "S", name="ids"), n.random("f16", 11, 96))
        segments = n.gather(n.random("f16", 3, 96, seed=1), n.x("i32", "B", "S", name="ids2"), axis=0)
        x = n.add(n.add(words, n.x("f16", "S", 96, name="positions")), segments, name="x")
        y = n.layer_norm(x, n.random("f16", 96, seed=2), n.random("f16", 96, seed=3), name="y")
        return [x, y]

    yield case("layer_norm_of_embeddings", looked_up, sizes={"B": 3, "S": 7}, data=_row_numbers, accumulated=12)
    yield case(
        "rms_norm_of_embedding",
        lambda n: n.rms_norm(n.embedding(n.x("i32", 5, name="ids"), n.random("f32", 11, 21)), name="y"),
        data=_row_numbers,
        tactic="auto",
    )
    yield case(
        "rms_norm_of_cast_embedding",
        lambda n: n.rms_norm(
            n.cast(n.embedding(n.x("i32", 5, name="ids"), n.random("bf16", 11, 64)), to=BY_NAME["f32"]), name="y"
        ),
        data=_row_numbers,
        tactic="auto",
    )


def _row_numbers(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    bound = {"ids": 11, "ids2": 3}.get(name)
    return None if bound is None else rng.integers(-bound, bound, shape)


def _far_from_zero(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """A mean of 1000 deviations: a variance by the difference of two large sums would be lost."""
    return 1000 + rng.standard_normal(shape)


def _reductions() -> Iterator[Case]:
    def over(op: str, dtype: str, *shape: Any, **attrs: Any) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            y: Tensor = n.op(op, n.x(dtype, *shape), name="y", **attrs)
            return y

        return make

    for op in ("sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "log_sum_exp"):
        dtypes = {
            "sum": ("f16", "f32", "f64", "i32", "i8"),
            "mean": ("bf16", "i64", "u8"),
            "max": ("f16", "i32", "bool"),
            "l1": ("f16", "i32"),
        }
        for dtype in dtypes.get(op, ("f32",)):
            wide = {"accumulated": 20, "data": _positive if op == "log_sum" else _away_from_zero}
            yield case(f"reduce_{op}_{dtype}", over(f"reduce_{op}", dtype, 5, 72, axes=(1,)), **wide)
            yield case(
                f"reduce_{op}_outer_{dtype}", over(f"reduce_{op}", dtype, 3, 37, 40, axes=(1,), keepdims=True), **wide
            )
    for op in ("arg_max", "arg_min"):
        for last in (False, True):
            yield case(f"{op}_{last}", over(op, "f16", 5, 300, axis=1, last=last), data=_coarse)
            yield case(f"{op}_{last}_outer", over(op, "i32", 5, 30, 24, axis=1, last=last, keepdims=True), data=_coarse)
    yield case("reduce_both", over("reduce_sum", "f32", 4, 6, 5, 7, axes=(0, 2)), accumulated=20)
    yield case("reduce_all", over("reduce_mean", "f16", 4, 6, 35), accumulated=20)
    yield case("reduce_long", over("reduce_sum", "f32", 2, 50001), accumulated=600)
    yield case("reduce_max_long", over("reduce_max", "f16", 1, 65536, axes=(1,)))
    yield case("arg_max_long", over("arg_max", "f16", 2, 40000, axis=1), data=_coarse)
    yield case("reduce_nothing", over("reduce_max", "f32", 3, 0, axes=(1,)))
    last = {"x": "last"}
    bounded = lambda n: n.global_avg_pool(n.clip(n.x("f16", 2, 40, 7, 7), max=0.5), name="y")  # noqa: E731
    yield case("global_avg_pool_bounded", bounded, accumulated=20)
    yield case("global_avg_pool_bounded_last", bounded, accumulated=20, layouts=last)
    for dtype in ("f16", "f32"):
        yield case(
            f"reduce_mean_of_gelu_{dtype}",
            lambda n, dtype=dtype: n.reduce_mean(
                n.gelu(n.cast(n.x(dtype, 5, 72), to=BY_NAME["f32"])), axes=(1,), name="y"
            ),
            accumulated=20,
        )
    yield case("global_avg_pool", over("global_avg_pool", "f16", 2, 40, 7, 7))
    yield case("global_avg_pool_last", over("global_avg_pool", "f16", 2, 40, 7, 7), layouts={"x": "last"})
    yield case("global_max_pool_last", over("global_max_pool", "f16", 1, 21, 3, 5), layouts={"x": "last"})
    for dtype in ("f16", "f32"):
        yield case(
            f"masked_mean_{dtype}",
            lambda n, dtype=dtype: n.masked_mean(n.x(dtype, 3, 50, 24), n.x("bool", 3, 50, name="m"), axis=1, name="y"),
            accumulated=20,
        )
    yield case(
        "masked_mean_rows",
        lambda n: n.masked_mean(n.x("f32", 3, 50), n.x("bool", 3, 50, name="m"), axis=1, name="y"),
        accumulated=20,
    )


def _coarse(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Many equal elements; in floats some NaN in the last row."""
    values = rng.integers(-2, 3, shape).astype(np.float64)
    if dtype.is_float:
        values[-1, 7::5] = np.nan
    return values


def _positive(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return rng.random(shape) + 0.5


def _group_norms() -> Iterator[Case]:
    def norm(dtype: str, *shape: int, groups: int = 0) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            x, scale, bias = n.x(dtype, *shape), n.random(dtype, shape[1]), n.random(dtype, shape[1], seed=1)
            attrs = {"groups": groups} if groups else {}
            y: Tensor = n.op("group_norm" if groups else "instance_norm", x, scale, bias, name="y", **attrs)
            return y

        return make

    last = dict.fromkeys("xy", "last")
    for dtype in ("f16", "f32", "bf16", "f64"):
        yield case(f"group_norm_{dtype}", norm(dtype, 2, 24, 6, 7, groups=4), accumulated=20)
        yield case(f"group_norm_last_{dtype}", norm(dtype, 2, 24, 6, 7, groups=4), layouts=last, accumulated=20)
    yield case("instance_norm", norm("f16", 3, 21, 40), accumulated=20)
    yield case("instance_norm_last", norm("f32", 3, 40, 5, 5), layouts=last, accumulated=20)
    yield case("group_norm_far", norm("f32", 2, 8, 9, 9, groups=2), data=_far_from_zero, accumulated=3000)
    yield case(
        "group_norm_far_last", norm("f32", 2, 8, 9, 9, groups=2), layouts=last, data=_far_from_zero, accumulated=3000
    )
    yield case("group_norm_flat", norm("f32", 5, 64, groups=8), accumulated=20)


def _pools() -> Iterator[Case]:
    def pool(op: str, dtype: str, *shape: int, **attrs: Any) -> Callable[[Net], list[Tensor]]:
        def make(n: Net) -> list[Tensor]:
            results = n.op(op, n.x(dtype, *shape), name="y", **attrs)
            return list(results) if isinstance(results, tuple) else [results]

        return make

    last = {"x": "last", "y": "last", "y.indices": "last"}
    window = {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}
    for dtype in ("f16", "f32", "bf16", "i32"):
        yield case(f"max_pool_{dtype}", pool("max_pool", dtype, 2, 24, 11, 9, **window))
        yield case(f"max_pool_last_{dtype}", pool("max_pool", dtype, 2, 24, 11, 9, **window), layouts=last)
    for include in (False, True):
        attrs = {**window, "count_include_pad": include, "ceil_mode": True}
        yield case(f"avg_pool_{include}", pool("avg_pool", "f16", 2, 24, 10, 9, **attrs))
        yield case(f"avg_pool_last_{include}", pool("avg_pool", "f16", 1, 21, 10, 9, **attrs), layouts=last)
    yield case("avg_pool_plain", pool("avg_pool", "f32", 1, 8, 8, 8, kernel=(2, 2), strides=(2, 2)), layouts=last)
    yield case("avg_pool_1d", pool("avg_pool", "f32", 2, 5, 30, kernel=(4,), strides=(3,), pads=(2,)))
    yield case("max_pool_3d", pool("max_pool", "f32", 1, 3, 6, 7, 8, kernel=(2, 3, 2), dilations=(2, 1, 2)))
    yield case(
        "max_pool_same",
        pool("max_pool", "f16", 1, 8, 7, 7, kernel=(3, 3), strides=(2, 2), auto_pad="same_upper"),
        layouts=last,
    )
    yield case("lp_pool", pool("lp_pool", "f32", 1, 8, 7, 7, kernel=(3, 3), p=2))
    yield case("lp_pool_3", pool("lp_pool", "f32", 1, 8, 7, 7, kernel=(3, 3), p=3), layouts=last, accumulated=12)
    yield case("max_pool_indices", pool("max_pool_with_indices", "f16", 2, 8, 7, 9, **window))
    yield case("max_pool_indices_last", pool("max_pool_with_indices", "f16", 2, 8, 7, 9, **window), layouts=last)


def _depthwise() -> Iterator[Case]:
    def conv(
        dtype: str,
        *shape: int,
        kernel: Sequence[int] = (3, 3),
        bias: bool = True,
        after: str = "relu6",
        below: bool = False,
        **attrs: Any,
    ) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            c = shape[1]
            x, w = n.x(dtype, *shape), n.random(dtype, c, 1, *kernel, scale=0.3)
            x = n.clip(x, max=1.25) if below else x
            h = n.conv(x, w, n.random(dtype, c, seed=1) if bias else None, groups=c, **attrs)
            if after == "relu6":
                return n.clip(h, min=0.0, max=6.0, name="y")  # type: ignore[no-any-return]
            if after == "silu":
                return n.silu(h, name="y")  # type: ignore[no-any-return]
            scaled = n.mul(h, n.random(dtype, c, 1, 1, seed=2))
            return n.relu(n.add(scaled, n.x(dtype, *shape, name="r")), name="y")  # type: ignore[no-any-return]

        return make

    last = dict.fromkeys("xyr", "last")
    same = {"pads": (1, 1, 1, 1)}
    for dtype in ("f16", "f32", "bf16"):
        yield case(f"depthwise_{dtype}", conv(dtype, 2, 24, 9, 11, **same), layouts=last)
        yield case(f"depthwise_bounded_{dtype}", conv(dtype, 1, 16, 7, 9, below=True, **same), layouts=last)
    yield case("depthwise_bounded_odd", conv("f16", 1, 21, 5, 9, below=True, **same), layouts=last, tactic="auto")
    yield case("depthwise_stride", conv("f16", 2, 24, 11, 12, strides=(2, 2), **same), layouts=last)
    yield case("depthwise_residual", conv("f16", 2, 24, 9, 11, after="residual", bias=False, **same), layouts=last)
    yield case("depthwise_five", conv("f16", 1, 16, 9, 9, kernel=(5, 5), pads=(2, 2, 2, 2), after="silu"), layouts=last)
    yield case(
        "depthwise_five_stride",
        conv("f16", 1, 16, 13, 13, kernel=(5, 5), pads=(1, 1, 2, 2), strides=(2, 2)),
        layouts=last,
    )
    yield case("depthwise_first", conv("f16", 2, 24, 9, 11, **same), family="depthwise")
    yield case("depthwise_odd", conv("f16", 1, 21, 9, 11, **same), layouts=last, tactic="auto")
    yield case(
        "depthwise_line",
        conv("f32", 2, 16, 40, kernel=(5,), pads=(4, 0)),
        layouts=dict.fromkeys("xy", "last"),
        tactic="auto",
    )
    yield case(
        "depthwise_dilated", conv("f32", 1, 8, 12, 12, dilations=(2, 2), pads=(2, 2, 2, 2)), layouts=last, tactic="auto"
    )
    yield case(
        "depthwise_sparse", conv("f16", 1, 8, 12, 12, kernel=(1, 1), strides=(2, 2)), layouts=last, tactic="auto"
    )
    yield case("depthwise_wide_steps", conv("f16", 1, 8, 14, 14, kernel=(2, 2), strides=(3, 3)), layouts=last)


def _copies() -> Iterator[Case]:
    def one(op: str, dtype: str, *shape: int, **attrs: Any) -> Callable[[Net], list[Tensor]]:
        def make(n: Net) -> list[Tensor]:
            results = n.op(op, n.x(dtype, *shape), name="y", **attrs)
            return list(results) if isinstance(results, tuple) else [results]

        return make

    last = {"x": "last"}
    yield case(
        "concat", lambda n: n.concat(n.x("f16", 2, 8, 5, 5), n.x("f16", 2, 21, 5, 5, name="r"), axis=1, name="y")
    )
    yield case(
        "concat_last",
        lambda n: n.concat(n.x("f16", 2, 8, 5, 5), n.x("f16", 2, 16, 5, 5, name="r"), axis=1, name="y"),
        layouts=dict.fromkeys("xry", "last"),
    )
    yield case("flatten_last", one("flatten", "f16", 2, 24, 5, 7), layouts=last)
    yield case("flatten_small", one("flatten", "f32", 2, 40, 1, 1), layouts=last)
    yield case(
        "reshape_last", one("reshape", "f16", 2, 24, 4, 6, shape=(2, 48, 12)), layouts={"x": "last", "y": "last"}
    )
    yield case("transpose", one("transpose", "f16", 3, 40, 50, perm=(0, 2, 1)))
    yield case("transpose_heads", one("transpose", "f16", 2, 9, 4, 16, perm=(0, 2, 1, 3)))
    yield case("transpose_reversed", one("transpose", "i64", 3, 5, 7))
    yield case("slice_steps", one("slice", "f32", 5, 33, start=(1, 30), end=(4, 2), step=(1, -3), axes=(0, 1)))
    yield case("split", one("split", "f16", 2, 24, 5, axis=1, sizes=(8, 16)))
    yield case("flip", one("flip", "f16", 4, 33, axes=(1,)))
    yield case("expand", one("expand", "f32", 4, 1, 9, shape=(2, 4, 5, 9)))
    yield case("tile", one("tile", "f16", 2, 3, 8, times=(2, 1, 3)))
    for mode in ("dcr", "crd"):
        yield case(f"depth_to_space_{mode}", one("depth_to_space", "f16", 2, 24, 5, 3, block=2, mode=mode))
    yield case(
        "space_to_depth_last", one("space_to_depth", "f16", 2, 8, 6, 4, block=2), layouts={"x": "last", "y": "last"}
    )
    for mode in ("constant", "edge", "reflect", "wrap"):
        yield case(f"pad_{mode}", one("pad", "f32", 2, 5, 7, pads=(1, 3, 2, 4), axes=(1, 2), mode=mode, fill=1.5))
    yield case(
        "pad_last", one("pad", "f16", 1, 16, 6, 5, pads=(1, 2, 1, 0), axes=(2, 3)), layouts={"x": "last", "y": "last"}
    )
    yield case("pad_crop", one("pad", "i32", 6, 9, pads=(-1, 2, -2, -3)))
    yield case("roll", one("roll", "f16", 6, 40, shifts=(2, -7), axes=(0, 1)))

    def embedding(ids: str, dtype: str, width: int) -> Callable[[Net], Tensor]:
        return lambda n: n.embedding(n.x(ids, 3, 9, name="ids"), n.random(dtype, 11, width), name="y")  # type: ignore[no-any-return]

    yield case("embedding_f16", embedding("i64", "f16", 64), data=_indices)
    yield case("embedding_odd", embedding("i32", "f32", 21), data=_indices)
    for axis in (0, 1, 2):
        yield case(
            f"gather_{axis}",
            lambda n, axis=axis: n.gather(n.x("f16", 11, 12, 16), n.x("i64", 2, 5, name="ids"), axis=axis, name="y"),
            data=_indices,
        )
    yield case(
        "gather_scalar", lambda n: n.gather(n.x("f32", 11, 8), n.x("i32", name="ids"), axis=0, name="y"), data=_indices
    )
    yield case(
        "gather_elements",
        lambda n: n.gather_elements(n.x("bf16", 4, 12, 6), n.x("i64", 4, 7, 6, name="ids"), axis=1, name="y"),
        data=_indices,
    )


def _indices(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    return rng.integers(-11, 11, shape) if name == "ids" else None


def _stems() -> Iterator[Case]:
    def stem(
        dtype: str, *shape: int, out: int, kernel: int, after: str = "relu", **attrs: Any
    ) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            w = n.random(dtype, out, shape[1], kernel, kernel, scale=0.2)
            h = n.conv(n.x(dtype, *shape), w, n.random(dtype, out, seed=1), **attrs)
            if after == "scale":
                h = n.mul(h, n.random(dtype, out, 1, 1, seed=2))
            return n.silu(h, name="y") if after == "silu" else n.relu(h, name="y")  # type: ignore[no-any-return]

        return make

    both = {"x": "last", "y": "last"}
    seven = {"kernel": 7, "strides": (2, 2), "pads": (3, 3, 3, 3)}
    three_by = {"strides": (2, 2), "pads": (1, 1, 1, 1)}
    three = {"kernel": 3, **three_by}
    yield case("stem_seven", stem("f16", 1, 3, 37, 40, out=64, **seven), layouts=both, accumulated=20)
    yield case(
        "stem_seven_planar",
        stem("bf16", 1, 3, 20, 36, out=64, **seven),
        layouts={"y": "last"},
        accumulated=20,
        tactic="auto",
    )
    yield case("stem_three", stem("f16", 2, 3, 21, 35, out=32, after="silu", **three), layouts=both, accumulated=20)
    yield case("stem_logical", stem("f16", 1, 3, 16, 16, out=24, after="scale", **three), accumulated=20, tactic="auto")
    yield case(
        "stem_wide",
        stem("f16", 1, 4, 12, 16, out=128, kernel=4, strides=(4, 4)),
        layouts=both,
        accumulated=20,
        tactic="auto",
    )
    for image in ("f32", "u8"):
        yield case(
            f"stem_of_{image}",
            lambda n, image=image: n.clip(
                n.conv(
                    n.cast(n.x(image, 2, 3, 21, 35), to=BY_NAME["f16"]),
                    n.random("f16", 32, 3, 3, 3, scale=0.1),
                    **three_by,
                ),
                min=0.0,
                max=6.0,
                name="y",
            ),
            layouts={"y": "last"},
            accumulated=20,
        )

    def pooled(dtype: str, out: int, kernel: int, **attrs: Any) -> Callable[[Net], Tensor]:
        """Without an activation: that windows at the border take nothing from outside shows in negative values."""

        def make(n: Net) -> Tensor:
            x = n.cast(n.x("f32", 1, 3, 21, 39), to=BY_NAME[dtype])
            h = n.conv(x, n.random(dtype, out, 3, 7, 7, scale=0.2), n.w(np.full(out, -40.0), dtype), strides=2, pads=3)
            return n.max_pool(h, kernel=kernel, name="y", **attrs)  # type: ignore[no-any-return]

        return make

    written = {"layouts": {"y": "last"}, "accumulated": 20}
    yield case("stem_pool", pooled("f16", 64, 3, strides=2, pads=1), **written)
    yield case("stem_pool_bf16", pooled("bf16", 24, 2, strides=2), tactic="rows2", **written)
    yield case("stem_pool_logical", pooled("f16", 16, 3, strides=1, pads=1), tactic="rows1", accumulated=20)
    yield case(
        "stem_outside", stem("f16", 1, 3, 16, 36, out=8, **three), layouts=both, accumulated=20, data=_one_infinite
    )


def _excitations() -> Iterator[Case]:
    def excitation(dtype: str, given: int, middle: int, made: int, *, flat: bool = False) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            def product(x: Tensor, inputs: int, outputs: int, seed: int) -> Any:
                bias = n.random(dtype, outputs, seed=seed + 9) if seed else None
                if flat:
                    return n.linear(x, n.random(dtype, inputs, outputs, seed=seed, scale=0.2), bias)
                return n.conv(x, n.random(dtype, outputs, inputs, 1, 1, seed=seed, scale=0.2), bias)

            shape = ("N", given, 1, 1)
            x = n.global_avg_pool(n.x(dtype, *shape))
            x = n.flatten(x) if flat else x
            h = n.silu(product(x, given, middle, 1))
            scale = n.random(dtype, made) if flat else n.random(dtype, made, 1, 1)
            return n.sigmoid(n.mul(product(h, middle, made, 0), scale), name="y")  # type: ignore[no-any-return]

        return make

    settings = {"accumulated": 60, "beside": "pooling"}
    for dtype in ("f16", "bf16", "f32"):
        yield case(f"excitation_{dtype}", excitation(dtype, 96, 10, 96), sizes={"N": 3}, **settings)
    yield case("excitation_odd", excitation("f16", 21, 5, 33), sizes={"N": 2}, **settings)
    yield case("excitation_wide", excitation("f16", 1152, 48, 1152), sizes={"N": 1}, **settings)
    yield case("excitation_flat", excitation("f16", 64, 16, 40, flat=True), sizes={"N": 3}, **settings)


def _squeezes() -> Iterator[Case]:
    def squeeze(
        dtype: str,
        channels: int,
        middle: int,
        high: int,
        wide: int,
        kernel: int = 3,
        *,
        after: str = "silu",
        **attrs: Any,
    ) -> Callable[[Net], Tensor]:
        """With other activations as in MobileNetV3, whose images are scaled before they are activated."""

        def make(n: Net) -> Tensor:
            x = n.x(dtype, "N", channels, high, wide)
            taps = n.random(dtype, channels, 1, kernel, kernel, scale=0.2)
            h = n.conv(x, taps, n.random(dtype, channels, seed=1), groups=channels, **attrs)
            h = n.silu(h) if after == "silu" else h
            weights = (n.random(dtype, middle, channels, 1, 1, seed=2), n.random(dtype, channels, middle, 1, 1, seed=3))
            bias = (n.random(dtype, middle, seed=4),) if after == "silu" else ()
            e = n.relu(n.conv(n.global_avg_pool(h), weights[0], *bias))
            e = n.conv(e, weights[1], n.random(dtype, channels, seed=5))
            if after == "silu":
                return n.mul(n.sigmoid(e), h, name="y")  # type: ignore[no-any-return]
            scaled = n.mul(n.mul(h, n.hard_sigmoid(e)), n.random(dtype, channels, 1, 1, seed=6))
            return n.hard_swish(scaled, name="y")  # type: ignore[no-any-return]

        return make

    # Step by step, the image, its averages, the excitation and the result are rounded to 11 bits: 4 * 2^-11 is 2^15 * 2^-24.
    settings: dict[str, Any] = {"layouts": {"x": "last", "y": "last"}, "sizes": {"N": 2}, "accumulated": 2**15}
    one, two = (1, 1, 1, 1), (2, 2, 2, 2)
    yield case("squeeze_f16", squeeze("f16", 48, 10, 7, 7, pads=one), **settings)
    yield case("squeeze_five", squeeze("f16", 72, 4, 9, 14, 5, pads=two), tactic="cluster16", **settings)
    yield case("squeeze_pair", squeeze("f16", 200, 5, 9, 14, 5, pads=two), tactic="pair", **settings)
    stride = squeeze("bf16", 24, 6, 13, 12, 5, pads=two, strides=(2, 2), after="swish")
    yield case("squeeze_stride", stride, tactic="cluster8", **settings)
    yield case("squeeze_few", squeeze("f16", 8, 6, 5, 5, pads=one), tactic="pair", **settings)


def _few_rows() -> Iterator[Case]:
    def product(dtype: str, *shape: Any, columns: int, after: str = "") -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            x, w = n.x(dtype, *shape), n.random(dtype, shape[-1], columns, scale=0.2)
            if not after:
                return n.linear(x, w, name="y")  # type: ignore[no-any-return]
            h = n.linear(x, w, n.random(dtype, columns, seed=1))
            h = n.add(h, n.x(dtype, *shape[:-1], columns, name="r")) if after == "residual" else h
            return n.gelu(h, name="y")  # type: ignore[no-any-return]

        return make

    for rows in (1, 3, 8):
        yield case(
            f"gemv_{rows}", product("f16", "N", 136, columns=37, after="gelu"), sizes={"N": rows}, accumulated=60
        )
    yield case("gemv_plain", product("bf16", "N", 1024, columns=24), sizes={"N": 1}, accumulated=200)
    yield case("gemv_odd", product("f16", "N", 75, columns=10, after="gelu"), sizes={"N": 2}, accumulated=60)
    yield case(
        "gemv_cast",
        lambda n: n.cast(product("f16", 3, 136, columns=21, after="gelu")(n), to=BY_NAME["f32"], name="y"),
        accumulated=2e4,
    )
    yield case("gemv_step", product("f16", "N", 1, 64, columns=40, after="residual"), sizes={"N": 4}, accumulated=60)


def _attention() -> Iterator[Case]:
    """Weights are rounded to the dtype before the second product: off by half a unit in the last place of f16 (bf16) each, that is
    by 2^13 (2^16) roundings of f32 of the largest of v at most, which is below 4 here."""
    heads = dict.fromkeys(("q", "k", "v", "y"), "inside slice")

    def attention(
        dtype: str,
        width: int,
        heads: int = 2,
        shared: int = 2,
        out: int = 0,
        mask: str = "",
        shape: Sequence[Any] = (),
        **attrs: Any,
    ) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            q = n.x(dtype, "B", heads, "S", width, name="q")
            k = n.x(dtype, "B", shared, "L", width, name="k")
            v = n.x(dtype, "B", shared, "L", out or width, name="v")
            masks = [n.x(mask, *shape, name="mask")] if mask else []
            return n.attention(q, k, v, *masks, name="y", **attrs)  # type: ignore[no-any-return]

        return make

    def sizes(queries: int, keys: int, batch: int = 1) -> dict[str, int]:
        return {"B": batch, "S": queries, "L": keys}

    loose = {"accumulated": 2.0**14}
    yield case("attention_plain", attention("f16", 64), sizes=sizes(37, 70), **loose)
    yield case(
        "attention_inside", attention("f16", 64), sizes=sizes(33, 96, 2), layouts=heads, tactic="q16x1.k32x4", **loose
    )
    yield case(
        "attention_bf16",
        attention("bf16", 32, scale=0.3),
        sizes=sizes(20, 45),
        tactic="q32x1.k32x4",
        accumulated=2.0**17,
    )
    yield case("attention_widest", attention("f16", 128, out=48), sizes=sizes(18, 67), tactic="q16x1.k16x4", **loose)
    yield case("attention_narrow", attention("f16", 80, out=112), sizes=sizes(40, 25), tactic="q16x2.k16x2", **loose)
    yield case("attention_least", attention("f16", 16, 1, 1), sizes=sizes(1, 1), tactic="q16x1.k16x1", **loose)
    yield case(
        "attention_shared", attention("f16", 48, 6, 2, 16), sizes=sizes(20, 33, 2), tactic="q16x2.k32x4", **loose
    )
    yield case(
        "attention_below_zero", attention("f16", 64, scale=-0.2), sizes=sizes(20, 40), tactic="q16x1.k16x2", **loose
    )
    for queries, keys, tile in ((70, 70, "q16x1.k32x8"), (20, 75, "q16x1.k16x4"), (60, 24, "q16x4.k32x1")):
        causal = attention("f16", 64, causal=True)
        yield case(
            f"attention_causal_{queries}_{keys}",
            causal,
            sizes=sizes(queries, keys),
            tactic=tile,
            layouts=heads,
            **loose,
        )
    for width, out, tile in (
        (64, 64, "q16x4.k32x1.s4"),
        (128, 48, "q16x2.k16x4.s4"),
        (80, 112, "q16x4.k32x1.s4"),
        (32, 96, "q32x2.k32x4.s4"),
    ):
        staged = attention("f16", width, out=out)
        yield case(f"attention_staged_{width}", staged, sizes=sizes(50, 300), tactic=tile, layouts=heads, **loose)
    causal = attention("bf16", 64, 4, 2, mask="bool", shape=("S", "L"), causal=True)
    staged_causal = {"tactic": "q16x4.k64x2.s2", "data": _some_hidden, "accumulated": 2.0**17}
    yield case("attention_staged_causal", causal, sizes=sizes(100, 290), **staged_causal)
    hidden = attention("f16", 64, mask="bool", shape=("B", 1, 1, "L"))
    yield case("attention_padded", hidden, sizes=sizes(19, 72, 2), data=_some_hidden, tactic="q16x1.k32x4", **loose)
    pairs = attention("f16", 64, mask="bool", shape=("B", 2, "S", "L"), causal=True)
    yield case("attention_bool", pairs, sizes=sizes(34, 51), data=_some_hidden, tactic="q32x1.k32x8.s2", **loose)
    added = attention("f16", 64, mask="f16", shape=(2, "S", "L"), scale=0.25)
    yield case("attention_added", added, sizes=sizes(21, 64, 2), tactic="q16x2.k32x4", **loose)
    added = attention("bf16", 32, mask="bf16", shape=("S", "L"))
    yield case(
        "attention_added_odd",
        added,
        sizes=sizes(17, 35),
        layouts={"mask": "odd"},
        tactic="q16x1.k16x2",
        accumulated=2.0**17,
    )

    # TF32 has the mantissa of f16, to which the operands of both products are about rounded: v and the weights by 1.3 * 2^13 roundings of
    # f32 each.
    looser = {"accumulated": 2.0**15}
    yield case("attention_f32", attention("f32", 64), sizes=sizes(37, 70), **looser)
    for width, out, tile in ((128, 48, "q16x1.k16x4"), (32, 80, "q16x1.k32x4"), (16, 112, "q32x4.k16x1.s4")):
        wide = attention("f32", width, 4, 2, out)
        yield case(f"attention_f32_{width}", wide, sizes=sizes(33, 75, 2), tactic=tile, layouts=heads, **looser)
    causal = attention("f32", 64, mask="bool", shape=("S", "L"), causal=True)
    yield case(
        "attention_f32_causal", causal, sizes=sizes(100, 140), tactic="q16x4.k32x1.s4", data=_some_hidden, **looser
    )
    added = attention("f32", 64, mask="f32", shape=("B", 1, 1, "L"), scale=0.25)
    yield case("attention_f32_added", added, sizes=sizes(21, 64, 2), tactic="q32x2.k16x2.s3", **looser)
    yield from _large_attention(attention, sizes)


def _large_attention(
    attention: Callable[..., Callable[[Net], Tensor]], sizes: Callable[..., dict[str, int]]
) -> Iterator[Case]:
    """Tiles for many queries."""
    loose, looser = {"accumulated": 2.0**14}, {"accumulated": 2.0**17}
    heads = dict.fromkeys(("q", "k", "v", "y"), "inside slice")
    plain = attention("f16", 64, 3, 3)
    for queries, keys, tile in (
        (1, 1, "w64.k64"), (17, 63, "w64.k128"), (63, 65, "w128.k64"), (197, 197, "w128.k112"), (200, 390, "w192.k128"),
    ):  # fmt: skip
        found = sizes(queries, keys, 2 if queries < 100 else 1)
        yield case(f"attention_large_{queries}_{keys}", plain, sizes=found, tactic=tile, layouts=heads, **loose)
    shared = attention("bf16", 128, 4, 2, causal=True)
    yield case("attention_large_shared", shared, sizes=sizes(70, 100), tactic="w128.k64", layouts=heads, **looser)
    mixed = attention("f16", 64, 2, 1, out=128, scale=1.5)
    yield case("attention_large_mixed", mixed, sizes=sizes(65, 150), tactic="w128.k96", **loose)
    for queries, keys, tile in ((192, 192, "w192.k64"), (20, 300, "w128.k96"), (300, 24, "w64.k64")):
        causal = attention("f16", 64, causal=True)
        yield case(f"attention_large_causal_{queries}_{keys}", causal, sizes=sizes(queries, keys), tactic=tile, **loose)
    hidden = attention("f16", 64, 3, 3, mask="bool", shape=("B", 1, 1, "L"))
    yield case("attention_large_padded", hidden, sizes=sizes(70, 270, 2), data=_some_hidden, tactic="w192.k96", **loose)
    pairs = attention("f16", 64, mask="bool", shape=("B", 2, "S", "L"), causal=True)
    yield case("attention_large_bool", pairs, sizes=sizes(80, 137), data=_some_hidden, tactic="w64.k64", **loose)
    added = attention("f16", 64, mask="f16", shape=(2, "S", "L"), scale=0.25)
    yield case("attention_large_added", added, sizes=sizes(70, 140), tactic="w128.k128", **loose)
    added = attention("bf16", 64, mask="bf16", shape=(1, "L"))
    odd = {"layouts": {"mask": "odd"}, "tactic": "w64.k112"}
    yield case("attention_large_added_odd", added, sizes=sizes(20, 99), **odd, **looser)


def _some_hidden(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
    """Masks that hide some keys, and all of them from the first query or sample."""
    if name != "mask":
        return None
    mask = rng.random(shape) < 0.6
    mask[(0,) * (mask.ndim - 1)] = False
    return mask


def _products() -> Iterator[Case]:
    """Rows, columns and K that leave tails; windows; each kind of epilogue."""

    def linear(dtype: str, inner: int, columns: int, after: str = "", bias: bool = True) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            w = n.random(dtype, inner, columns, scale=inner**-0.5)
            y = n.linear(n.x(dtype, "N", inner), w, n.random(dtype, columns, seed=1) if bias else None)
            y = n.add(y, n.x(dtype, "N", columns, name="r")) if "residual" in after else y
            return n.gelu(y) if "gelu" in after else y  # type: ignore[no-any-return]

        return make

    def conv(
        channels: int, out: int, kernel: int, size: tuple[int, int], residual: bool = False, **attrs: int
    ) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            w = n.random("f16", out, channels, kernel, kernel, scale=(channels * kernel**2) ** -0.5)
            y = n.conv(n.x("f16", 2, channels, *size), w, n.random("f16", out, seed=1), **attrs)
            y = n.add(y, n.x("f16", *y.shape, name="r")) if residual else y
            return n.relu(y, name="y")  # type: ignore[no-any-return]

        return make

    # Tensor cores cut sums of products off where f32 arithmetic rounds them.
    settings: dict[str, Any] = {"family": "matmul", "accumulated": 120}
    yield case("matmul_tails", linear("f16", 200, 72), sizes={"N": 70}, **settings)
    yield case("matmul_gelu", linear("bf16", 64, 40, "gelu", bias=False), sizes={"N": 33}, **settings)
    yield case("matmul_residual", linear("f16", 584, 136, "residual"), sizes={"N": 130}, **settings)
    yield case("matmul_residual_gelu", linear("bf16", 320, 208, "residual gelu"), sizes={"N": 49}, **settings)
    # Both operands are rounded to TF32: products are off by 2^-10, that is by 2^14 roundings of f32, in whichever direction.
    in_tf32: dict[str, Any] = {"family": "matmul", "accumulated": 2.0**13}
    yield case("matmul_f32", linear("f32", 200, 72), sizes={"N": 70}, **in_tf32)
    yield case("matmul_f32_gelu", linear("f32", 136, 40, "residual gelu"), sizes={"N": 133}, **in_tf32)
    last = dict.fromkeys("xry", "last")
    for name, make in (
        ("point", conv(40, 48, 1, (7, 9), residual=True)),
        ("same", conv(24, 40, 3, (7, 9), residual=True, pads=1)),
        ("strided", conv(72, 32, 3, (9, 8), strides=2, pads=1)),
        ("dilated", conv(64, 72, 3, (9, 11), dilations=2)),
        ("sparse", conv(64, 32, 1, (8, 7), strides=2)),
        ("wide", conv(136, 24, 5, (6, 6), pads=2)),
    ):
        yield case(f"matmul_conv_{name}", make, layouts=last, **settings)
    yield case("matmul_conv_slice", conv(72, 40, 1, (5, 7)), layouts={**last, "x": "last slice"}, **settings)


def _convolutions() -> Iterator[Case]:
    """Windows, groups and epilogues; channels last and first, in fours, in twos, and odd; each tile in one of them."""

    def conv(
        dtype: str, *shape: int, out: int, kernel: Sequence[int], after: str = "", bias: bool = True, **attrs: Any
    ) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            op = attrs.pop("op", "conv")
            groups = attrs.get("groups", 1)
            sizes = (out, shape[1] // groups) if op == "conv" else (shape[1], out // groups)
            scale = float(np.prod(kernel) * shape[1] / groups) ** -0.5
            w = n.random(dtype, *sizes, *kernel, scale=scale)
            y = n.op(op, n.x(dtype, *shape), w, n.random(dtype, out, seed=1) if bias else None, **attrs)
            y = n.add(y, n.x(dtype, *y.shape, name="r")) if "residual" in after else y
            if "prelu" in after:
                return n.prelu(y, n.random(dtype, out, *(1,) * len(kernel), seed=2), name="y")  # type: ignore[no-any-return]
            return n.silu(y, name="y") if "silu" in after else n.leaky_relu(y, alpha=0.2, name="y")  # type: ignore[no-any-return]

        return lambda n: make(n)

    settings: dict[str, Any] = {"family": "conv", "accumulated": 40}
    last = dict.fromkeys("xry", "last")
    pads = {"pads": (1, 1, 1, 1)}
    for tile in (
        "128x128.8x8.k1", "128x64.8x8.k2", "64x64.8x4.k3", "128x32.8x4.k1", "64x32.4x4.k4", "32x64.4x4.k1", "32x32.4x4.k4",
        "16x64.2x4.k2", "128x16.4x4.k1", "128x8.2x4.k3", "128x4.1x4.k1",
    ):  # fmt: skip
        make = conv("f32", 2, 12, 9, 8, out=68, kernel=(3, 3), after="residual silu", **pads)
        yield case(f"conv_{tile}", make, layouts=last, tactic=tile, **settings)
    few, one = ({**settings, "tactic": f"32x32.4x4.k{parts}"} for parts in (2, 1))
    yield case("conv_planes", conv("f32", 1, 3, 13, 14, out=10, kernel=(3, 3), strides=(2, 2)), **one)
    yield case(
        "conv_planes_wide", conv("f32", 1, 3, 13, 14, out=10, kernel=(3, 3)), **{**few, "tactic": "128x16.4x4.k2"}
    )
    yield case("conv_planes_few", conv("f32", 1, 2, 5, 14, out=10, kernel=(3, 3)), **{**few, "tactic": "16x64.2x4.k1"})
    yield case("conv_odd", conv("f32", 2, 5, 6, 7, out=7, kernel=(3, 3), **pads), layouts=last, **few)
    yield case("conv_twos", conv("f32", 2, 6, 6, 7, out=6, kernel=(3, 3), dilations=(2, 1)), layouts=last, **few)
    yield case(
        "conv_slices", conv("f32", 1, 16, 6, 7, out=8, kernel=(3, 3)), layouts=dict.fromkeys("xy", "last slice"), **few
    )
    yield case(
        "conv_unaligned", conv("f32", 1, 16, 6, 7, out=8, kernel=(3, 3)), layouts=dict.fromkeys("xy", "last odd"), **few
    )
    yield case("conv_line", conv("f32", 2, 20, 33, out=12, kernel=(5,), strides=(2,), pads=(3, 1)), layouts=last, **few)
    yield case("conv_volume", conv("f32", 1, 8, 4, 5, 6, out=12, kernel=(2, 3, 3), pads=1), layouts=last, **few)
    yield case("conv_groups", conv("f32", 1, 12, 7, 8, out=18, kernel=(3, 3), groups=3, **pads), layouts=last, **few)
    yield case(
        "conv_same",
        conv("f32", 1, 8, 7, 8, out=8, kernel=(4, 4), strides=(2, 3), auto_pad="same_lower"),
        layouts=last,
        **few,
    )
    yield case(
        "conv_groups_f16", conv("f16", 1, 16, 7, 8, out=24, kernel=(3, 3), groups=2, **pads), layouts=last, **few
    )

    def linear(*shape: Any, columns: int) -> Callable[[Net], Tensor]:
        def make(n: Net) -> Tensor:
            w = n.random("f32", shape[-1], columns, scale=shape[-1] ** -0.5)
            y = n.linear(n.x("f32", *shape), w, n.random("f32", columns, seed=1))
            return n.silu(n.add(y, n.x("f32", *y.shape, name="r")), name="y")  # type: ignore[no-any-return]

        return make

    def given(n: Net) -> Tensor:
        return n.relu(n.conv(n.x("f32", 1, 8, 6, 5), n.x("f32", 12, 8, 3, 3, name="w"), pads=1), name="y")  # type: ignore[no-any-return]

    yield case("conv_given", given, layouts=last, **few)
    yield case("conv_linear", linear("N", 3, 40, columns=36), sizes={"N": 5}, **few)
    yield case("conv_linear_odd", linear("N", 35, columns=7), sizes={"N": 9}, **few)
    up = {"op": "deconv", "strides": (2, 3)}
    yield case("deconv", conv("f32", 2, 8, 5, 4, out=6, kernel=(3, 4), after="prelu", **up), layouts=last, **few)
    yield case(
        "deconv_cut",
        conv("f32", 1, 8, 5, 4, out=8, kernel=(3, 4), pads=(1, 0, 1, 2), output_pads=1, **up),
        layouts=last,
        **few,
    )
    yield case(
        "deconv_groups",
        conv("bf16", 1, 8, 5, 6, out=8, kernel=(1, 3), groups=8, **up),
        layouts=last,
        **{**few, "tactic": "128x4.1x4.k1"},
    )
    yield case(
        "deconv_shape",
        conv("f32", 1, 6, 5, 6, out=4, kernel=(3, 3), output_shape=(10, 16), dilations=(2, 1), **up),
        **few,
    )
    yield case(
        "deconv_line", conv("f32", 1, 6, 9, out=4, kernel=(4,), op="deconv", strides=(2,), auto_pad="same_upper"), **one
    )


def _one_infinite(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """One element is infinite: results whose windows it is in are, no others."""
    values = rng.random(shape)
    values[0, 1, 8, 20] = np.inf
    return values


CASES: list[Case] = [
    *_pointwise(), *_softmax(), *_norms(), *_reductions(), *_group_norms(), *_pools(), *_depthwise(), *_copies(), *_stems(),
    *_excitations(), *_squeezes(), *_few_rows(), *_attention(), *_products(), *_convolutions(), *INDEX_CASES, *LEVEL_CASES,
    *RECURRENT_CASES,
]  # fmt: skip
