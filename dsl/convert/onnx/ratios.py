"""Follows dims through float arithmetic: exporters compute sizes as `int(floor(float(h) * 0.5))`.

A tensor whose elements are `dim * p / q` for known integers p and q is remembered, until a floor, a ceil or a cast
makes integers of them again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from trtn.dsl.dims import Dim, ceildiv, floordiv
from trtn.dsl.network import Tensor
from trtn.dsl.ops.infer import VALUE_LIMIT

__all__ = ["Ratio", "Ratios"]

_LARGEST = 1 << 20
"""The greatest numerator or denominator of a factor that is followed: 0.1 in binary is none that anybody meant."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """top / bottom, bottom > 0."""

    top: Dim
    bottom: int = 1

    def __add__(self, other: Ratio) -> Ratio:
        return _reduced(self.top * other.bottom + other.top * self.bottom, self.bottom * other.bottom)

    def __sub__(self, other: Ratio) -> Ratio:
        return _reduced(self.top * other.bottom - other.top * self.bottom, self.bottom * other.bottom)

    def __mul__(self, other: Ratio) -> Ratio:
        return _reduced(self.top * other.top, self.bottom * other.bottom)

    def __truediv__(self, other: Ratio) -> Ratio | None:
        if not isinstance(other.top, int) or other.top <= 0:
            return None
        return _reduced(self.top * other.bottom, self.bottom * other.top)

    def floor(self) -> Ratio:
        return Ratio(floordiv(self.top, self.bottom))

    def ceil(self) -> Ratio:
        return Ratio(ceildiv(self.top, self.bottom))


def _reduced(top: Dim, bottom: int) -> Ratio:
    whole = top // bottom
    return Ratio(whole) if whole * bottom == top else Ratio(top, bottom)


_ARITHMETIC: dict[str, Callable[[Ratio, Ratio], Ratio | None]] = {
    "Add": Ratio.__add__,
    "Sub": Ratio.__sub__,
    "Mul": Ratio.__mul__,
    "Div": Ratio.__truediv__,
}


class Ratios:
    """The ratios that float tensors are known to hold."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Tensor, tuple[Ratio, ...]]] = {}

    def remember(self, tensor: Tensor, values: tuple[Ratio, ...] | None) -> None:
        if values is not None:
            self._known[id(tensor)] = (tensor, values)

    def of(self, tensor: Tensor) -> tuple[Ratio, ...] | None:
        """The elements of a tensor of rank 1 or 0, where dims and constants decide them."""
        if id(tensor) in self._known:
            return self._known[id(tensor)][1]
        if tensor.value is not None:
            return tuple(map(Ratio, tensor.value))
        if tensor.weight is None or tensor.rank > 1 or not tensor.dtype.is_float:
            return None
        array = tensor.weight.load() if tensor.weight.nbytes <= 8 * VALUE_LIMIT else None
        return None if array is None else _constants(array)

    def dims(self, tensor: Tensor) -> tuple[Dim, ...] | None:
        """The elements of a tensor, where they are whole."""
        ratios = self.of(tensor)
        return None if ratios is None or any(r.bottom != 1 for r in ratios) else tuple(r.top for r in ratios)

    def arithmetic(self, op: str, a: Tensor, b: Tensor) -> tuple[Ratio, ...] | None:
        """The elements of `a op b`, where those of both are known and one at least is not constant."""
        left, right = self.of(a), self.of(b)
        if left is None or right is None or not (id(a) in self._known or id(b) in self._known):
            return None
        count = max(len(left), len(right))
        if not {len(left), len(right)} <= {1, count}:
            return None
        pairs = zip(left * (count // len(left)), right * (count // len(right)), strict=True)
        values = [_ARITHMETIC[op](x, y) for x, y in pairs]
        return None if any(v is None for v in values) else tuple(v for v in values if v is not None)


def _constants(array: np.ndarray[Any, Any]) -> tuple[Ratio, ...] | None:
    found = []
    for value in array.reshape(-1).tolist():
        if not np.isfinite(value):
            return None
        fraction = Fraction(value)
        if max(abs(fraction.numerator), fraction.denominator) > _LARGEST:
            return None
        found.append(Ratio(fraction.numerator, fraction.denominator))
    return tuple(found)
