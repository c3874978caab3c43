"""Ops that draw random numbers: never folded, never merged."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dtypes import FLOATS, DType
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.sizes import UNBOUNDED, list_length, not_negative, told

__all__: list[str] = []


class Drawn(Op):
    """Independent random numbers in the given `shape` (or that of the rank-1 tensor `to`)."""

    deterministic = False

    def infer(self, i: Infer) -> Shape:
        if i["dtype"] not in FLOATS:
            i.fail("E0304", f"`dtype` of `{self.name}` is a float type, not {i['dtype']}", attr="dtype")
        sizes = told(i, 0, "shape")
        if sizes is None:
            return tuple(i.fresh(0, UNBOUNDED) for _ in range(list_length(i, 0)))
        not_negative(i, sizes)
        return sizes

    def generator(self, xp: Any, seed: int | None) -> Any:
        """A new stream: by the seed where there is one, else one that nobody can foresee."""
        return xp.random.default_rng(seed)


class RandomUniform(Drawn):
    """Numbers from `low` up to but without `high`, all alike. With a `seed` each run gives the same ones.

    Which ones differs between devices, and from other runtimes. ONNX RandomUniform.
    """

    signature = (
        "random_uniform(to: i64?, *, shape: dims?, low: float = 0.0, high: float = 1.0, seed: int?,"
        " dtype: dtype = f32) -> dtype"
    )

    def evaluate(self, xp: Any, to: Any, *, shape: Any, low: float, high: float, seed: int | None, dtype: DType) -> Any:
        sizes = tuple(int(d) for d in (shape if to is None else to))
        y = self.generator(xp, seed).random(sizes)
        return xp.asarray(y * (high - low) + low).astype(dtype.numpy)


class RandomNormal(Drawn):
    """Normally distributed numbers. With a `seed` each run gives the same ones.

    Which ones differs between devices, and from other runtimes. ONNX RandomNormal.
    """

    signature = (
        "random_normal(to: i64?, *, shape: dims?, mean: float = 0.0, std: float = 1.0, seed: int?,"
        " dtype: dtype = f32) -> dtype"
    )

    def evaluate(self, xp: Any, to: Any, *, shape: Any, mean: float, std: float, seed: int | None, dtype: DType) -> Any:
        sizes = tuple(int(d) for d in (shape if to is None else to))
        y = self.generator(xp, seed).standard_normal(sizes)
        return xp.asarray(y * std + mean).astype(dtype.numpy)
