"""A one-layer network with feeds, and the means to write many of them down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trtn.dsl.builder import Builder
from trtn.dsl.dims import Dim, Expr, Range, parse_dim
from trtn.dsl.dtypes import from_numpy
from trtn.dsl.network import Graph, Network, Tensor

__all__ = ["Array", "Case", "Dimension", "case", "indices", "real", "truth", "whole"]

Array = np.ndarray[Any, Any]
_RNG = np.random.default_rng(7)
_RANGE = Range(1, 64)


@dataclass(frozen=True)
class Case:
    """An op with inputs (None: absent) and attributes. `shapes` are the declared ones, where they are not the arrays'.

    `regions` makes the bodies of control flow. `since` is the first opset that has it.
    """

    op: str
    arrays: Sequence[Array | None]
    attrs: dict[str, Any]
    shapes: Sequence[str | None] = ()
    regions: Callable[[Builder, Sequence[Tensor | None]], list[Graph]] | None = None
    used: int | None = None
    """How many of the arrays the layer takes; the others are inputs of the network alone. None: all."""
    since: int = 17
    rtol: float = 1e-5
    name: str = field(default="", compare=False)

    def __str__(self) -> str:
        dtype = next((a.dtype.name for a in self.arrays if a is not None), "none")
        return f"{self.op}-{dtype}{f'-{self.name}' if self.name else ''}"

    def network(self) -> Network:
        inputs: list[Tensor | None] = []
        shapes: list[tuple[Dim, ...]] = []
        for n, array in enumerate(self.arrays):
            text = self.shapes[n] if n < len(self.shapes) else None
            if text is not None:
                shapes.append(tuple(parse_dim(part) for part in text.split(",")))
            else:
                shapes.append(array.shape if array is not None else ())
        names = sorted({s for shape in shapes for d in shape if isinstance(d, Expr) for s in d.symbols})
        b = Builder("case", dims=dict.fromkeys(names, _RANGE))
        for n, (array, shape) in enumerate(zip(self.arrays, shapes, strict=True)):
            dtype = from_numpy(array.dtype) if array is not None else None
            inputs.append(b.input(f"x{n}", dtype, shape) if dtype is not None else None)
        attrs = {k: _dims(v) for k, v in self.attrs.items()}
        regions = self.regions(b, inputs) if self.regions is not None else ()
        results = b.layer(self.op, *inputs[: self.used], name="layer", regions=regions, **attrs)
        return b.finish([(f"y{n}", t) for n, t in enumerate(results)])

    def feeds(self) -> dict[str, Array]:
        return {f"x{n}": a for n, a in enumerate(self.arrays) if a is not None}


def _dims(value: Any) -> Any:
    """Texts in lists are dims."""
    if isinstance(value, Dimension):
        return parse_dim(value)
    return [_dims(v) for v in value] if isinstance(value, list) else value


class Dimension(str):
    """A dim expression as an attribute."""


def real(*shape: int, dtype: Any = np.float32, low: float = -2, high: float = 2) -> Array:
    return np.asarray(_RNG.uniform(low, high, shape)).astype(dtype)


def whole(*shape: int, dtype: Any = np.int64, low: int = -9, high: int = 9) -> Array:
    if np.dtype(dtype).kind == "u":
        low = max(low, 0)
    return np.asarray(_RNG.integers(low, high, shape)).astype(dtype)


def truth(*shape: int) -> Array:
    return np.asarray(_RNG.integers(0, 2, shape)).astype(bool)


def indices(*values: Any, dtype: Any = np.int64) -> Array:
    return np.asarray(values, dtype)


def case(op: str, *arrays: Array | None, **rest: Any) -> Case:
    own = {k: rest.pop(k) for k in ("shapes", "regions", "since", "rtol", "name", "used") if k in rest}
    return Case(op, arrays, rest, **own)
