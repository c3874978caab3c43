"""Networks of a few layers in few words, for the cases of generated kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.backend.providers.codegen_harness import Case
from trtn.dsl.builder import Builder
from trtn.dsl.dims import symbol
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor

__all__ = ["Net", "case"]


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
