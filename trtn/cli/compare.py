"""How far an output is from its reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtn.dsl.network import Network, Tensor, walk

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Difference", "compare", "default_tolerance"]

_TOLERANCES = {
    "f16": 1e-2,
    "bf16": 5e-2,
    "f8e4m3": 0.2,
    "f8e5m2": 0.4,
    "f8e4m3fnuz": 0.2,
    "f8e5m2fnuz": 0.4,
    "f8e8m0": 1.0,
    "f4e2m1": 0.5,
}
_TOLERANCE = 1e-4
_QUANTIZED_TOLERANCE = 5e-2
"""Rounding to 8 bits turns the least difference before it into a whole step after it."""
_QUANTIZING = frozenset({"quantize_linear", "dynamic_quantize_linear", "dynamic_quantize_lstm"})


@dataclass(frozen=True, slots=True)
class Difference:
    """The greatest difference of an output's elements, as it is and relative to the reference's largest magnitude.

    Both are None where the arrays can't be compared element by element; `mismatch` says why.
    """

    tensor: Tensor
    shape: tuple[int, ...]
    tolerance: float
    max_abs: float | None = None
    max_rel: float | None = None
    at: tuple[int, ...] = ()
    mismatch: str = ""
    floor: float = 0.0
    """An absolute difference that is rounding, whatever the magnitudes are."""

    @property
    def ok(self) -> bool:
        if self.mismatch or self.max_rel is None or self.max_abs is None:
            return False
        return self.max_rel <= self.tolerance or self.max_abs <= self.floor

    @property
    def is_rounding(self) -> bool:
        """Whether it is fine only because it is below the floor."""
        return self.ok and self.max_rel is not None and self.max_rel > self.tolerance

    def reason(self) -> str:
        if self.mismatch:
            return self.mismatch
        where = f" at {list(self.at)}" if self.at else ""
        of_all = f"{self.max_rel:.2e} of its largest magnitude"
        allowed = f"{self.tolerance:.0e}" + (f", or {self.floor:.1e} of rounding" if self.floor else "")
        return f"by {self.max_abs:.3g}{where}, {of_all}; the tolerance is {allowed}"

    def json(self) -> dict[str, Any]:
        return {
            "output": self.tensor.name,
            "dtype": self.tensor.dtype.name,
            "shape": list(self.shape),
            "max_abs": self.max_abs,
            "max_rel": self.max_rel,
            "tolerance": self.tolerance,
            "floor": self.floor,
            "ok": self.ok,
        }


def default_tolerance(network: Network, tensor: Tensor) -> float:
    """What an output may differ by where nobody says: by its dtype, and more where the network quantizes as it runs."""
    by_dtype = _TOLERANCES.get(tensor.dtype.name, _TOLERANCE)
    quantizes = any(layer.op.name in _QUANTIZING for layer in walk(network.graph))
    return max(by_dtype, _QUANTIZED_TOLERANCE) if quantizes else by_dtype


def compare(
    tensor: Tensor,
    actual: np.ndarray[Any, Any],
    expected: np.ndarray[Any, Any],
    tolerance: float,
    floor: float = 0.0,
) -> Difference:
    """Elements that are NaN or infinite must be so in both, at the same places with the same sign.

    tolerance: of the largest magnitude in `expected`. floor: an absolute difference that counts as none.
    """
    import numpy as np

    if actual.shape != expected.shape:
        return Difference(
            tensor,
            actual.shape,
            tolerance,
            mismatch=f"shape {list(actual.shape)}, the model gives {list(expected.shape)}",
        )
    if not actual.size:
        return Difference(tensor, actual.shape, tolerance, 0.0, 0.0)
    a, b = (x.astype(np.float64) for x in (actual, expected))
    if not np.array_equal(np.where(np.isfinite(a), 0.0, a), np.where(np.isfinite(b), 0.0, b), equal_nan=True):
        count = int(np.sum(np.isfinite(a) != np.isfinite(b)))
        return Difference(
            tensor, actual.shape, tolerance, mismatch=f"{count:,} elements are NaN or infinite in one of them only"
        )
    finite = np.isfinite(b)
    difference = np.where(finite, np.abs(np.where(finite, a, 0.0) - np.where(finite, b, 0.0)), 0.0)
    worst = int(np.argmax(difference))
    largest = float(np.max(np.abs(b), where=finite, initial=0.0))
    greatest = float(difference.reshape(-1)[worst])
    relative = greatest / largest if largest > 0 else (0.0 if greatest == 0 else greatest)
    at = tuple(int(n) for n in np.unravel_index(worst, actual.shape))
    return Difference(tensor, actual.shape, tolerance, greatest, relative, at, floor=floor)
