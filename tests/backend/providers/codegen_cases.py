"""The cases that every generated kernel is held against: small, but with each shape of memory that a kernel treats differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tests.backend.providers.codegen_harness import Array, Case
from trtn.dsl.builder import Builder
from trtn.dsl.dims import symbol
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import Tensor
from trtn.dsl.ops.base import catalogue

__all__ = ["CASES", "Net"]


class Net:
    """A builder with fewer words: `n.x("f16", 3, 40)` is an input, `n.relu(x)` a layer, `n.w(array)` a constant."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    def x(self, dtype: str, *shape: Any, name: str = "x") -> Tensor:
        dims = tuple(symbol(d) if isinstance(d, str) else d for d in shape)
        return self._builder.input(name, BY_NAME[dtype], dims)

    def w(self, array: Any, dtype: str = "f32") -> Tensor:
        return self._builder.constant(np.asarray(array).astype(BY_NAME[dtype].numpy))

    def random(self, dtype: str, *shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
        return self.w(np.random.default_rng(seed).standard_normal(shape) * scale, dtype)

    def op(self, op: str, *inputs: Tensor | None, name: str = "", **attrs: Any) -> Any:
        results = self._builder.layer(op, *inputs, name=name or self._builder.unique(op), **attrs)
        return results[0] if len(results) == 1 else results

    def __getattr__(self, op: str) -> Callable[..., Any]:
        return lambda *inputs, **attrs: self.op(op.rstrip("_"), *inputs, **attrs)


def case(name: str, make: Callable[[Net], Tensor | Sequence[Tensor]], **settings: Any) -> Case:
    def build(builder: Builder) -> Sequence[Tensor]:
        made = make(Net(builder))
        return (made,) if isinstance(made, Tensor) else made

    return Case(name, build, **settings)


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
    """Each pointwise op on one dtype of each kind that it takes, on a size that leaves a tail."""
    for name, op in catalogue().items():
        if not op.pointwise or op.view:
            continue
        kinds: dict[str, str] = {}
        for dtype in ("f16", "f32", "f64", "bf16", "i32", "i64", "i8", "u8", "u32", "bool"):
            if all(_accepts(op, i.type, dtype) for i in op.spec.inputs):
                kinds.setdefault(BY_NAME[dtype].kind + ("h" if dtype in ("f16", "bf16") else "") + str(dtype in ("f64", "i8")), dtype)
        for dtype in kinds.values():
            yield case(f"{name}_{dtype}", _one_op(name, dtype), data=_away_from_zero, accumulated=LOOSE.get(name, 4.0))


def _accepts(op: Any, declared: str, dtype: str) -> bool:
    return declared == "bool" or declared == "any" or (declared not in BY_NAME and BY_NAME[dtype] in op.dtypes(declared))


def _one_op(name: str, dtype: str) -> Callable[[Net], Tensor]:
    def make(n: Net) -> Tensor:
        spec = catalogue()[name].spec
        given = [*spec.inputs] * (3 if spec.inputs[-1].variadic else 1)
        inputs = [n.x("bool" if i.type == "bool" else dtype, 7, 43, name=f"x{k}") for k, i in enumerate(given)]
        result: Tensor = n.op(name, *inputs, name="y", **ATTRS.get(name, {}))
        return result

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
    yield case("to_last_three", _to("f16", 2, 3, 16, 16), layouts={"y": "last"})
    yield case("tail", lambda n: n.exp(n.x("f16", 1037), name="y"))
    yield case("tail_constant", lambda n: n.mul(n.x("f32", 999), n.x("f32", 1, name="s"), name="y"))
    yield case("scalar", lambda n: n.exp(n.x("f32"), name="y"))
    yield case("outer", lambda n: n.add(n.x("f32", 6, 1, 5), n.x("f32", 4, 1, name="r"), name="y"))
    yield case("mask", lambda n: n.where(n.x("bool", 2, 1, 1, 33, name="m"), n.x("f16", 2, 4, 33, 33), n.w([-1e4], "f16"), name="y"))
    yield case("square", lambda n: n.pow(n.x("f32", 64), n.w(2.0), name="y"))
    yield case("root", lambda n: n.pow(n.x("f32", 64), n.w(0.5), name="y"))
    yield case("half_root", lambda n: n.div(n.x("f16", 64), n.w(8.0, "f16"), name="y"))
    yield case("count_fraction", lambda n: n.floor(n.mul(n.x("f16", 640), n.w(10.0, "f16")), name="y"))
    yield case("wrap", lambda n: n.add(n.x("i8", 64), n.w(125, "i8"), name="y"))
    yield case("to_i8", lambda n: n.cast(n.mul(n.x("f32", 64), n.w(150.0)), to=BY_NAME["i8"], name="y"))
    yield case("clip_int", lambda n: n.clip(n.x("i32", 64), min=-2.5, max=3.5, name="y"))


CASES: list[Case] = [*_pointwise()]
