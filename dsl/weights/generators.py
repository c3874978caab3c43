"""Weights that need no file: zeros, ones, full(x), normal(seed, std), uniform(seed, low, high), inline."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dtypes import DType
from trtn.dsl.records import record

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["GENERATORS", "Generator", "Misuse", "Value", "format_value"]

Shape = tuple[int, ...]
Value = int | float | bool | tuple["Value", ...]
"""What the text writes: a number, `true`, `false`, or a list of these as a tuple."""

_LARGEST_EXACT = 1 << 53


class Misuse(ValueError):
    """A generator that can't make the tensor: no such name, wrong arguments, values that don't fit."""

    def __init__(self, message: str, help: str = "") -> None:  # noqa: A002
        super().__init__(message)
        self.help = help


@record()
class Generator:
    """A generator with its arguments. The elements depend on these, the dtype and the shape alone."""

    name: str
    args: tuple[Value, ...] = ()

    def __str__(self) -> str:
        """The canonical text, as a manifest writes it."""
        if self.name == "inline":
            return f"inline {format_value(self.args[0])}"
        return f"{self.name}({', '.join(map(format_value, self.args))})" if self.args else self.name

    def check(self, dtype: DType, shape: Shape) -> None:
        """Raises Misuse where `generate` could not make a tensor of this type. Makes none itself."""
        kind = GENERATORS.get(self.name)
        if kind is None:
            raise Misuse(
                f"no generator `{self.name}`",
                did_you_mean(self.name, GENERATORS) or f"generators are {', '.join(GENERATORS)}",
            )
        if len(self.args) != len(kind.parameters):
            raise Misuse(f"`{self.name}` takes {kind.usage}", f"write `{kind.example}`")
        kind.check(self.args, dtype, shape)

    def generate(self, dtype: DType, shape: Shape) -> npt.NDArray[Any]:
        """The tensor, new and in C order. Raises Misuse as `check` does."""
        self.check(dtype, shape)
        return GENERATORS[self.name].make(self.args, dtype, shape)


@record()
class _Kind:
    parameters: tuple[str, ...]
    example: str
    check: Callable[[tuple[Value, ...], DType, Shape], None]
    make: Callable[[tuple[Value, ...], DType, Shape], npt.NDArray[Any]]

    @property
    def usage(self) -> str:
        return f"({', '.join(self.parameters)})" if self.parameters else "no arguments"


def format_value(value: Value) -> str:
    """A value as the text writes it; floats in the shortest form that reads back."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(format_value, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


# --- values -------------------------------------------------------------------------------------------------


def _check_value(value: Value, dtype: DType) -> None:
    """Raises Misuse where the dtype can't hold the value. Rounding is fine, an overflow is not."""
    if isinstance(value, tuple):
        raise Misuse(f"expected a number, found the list `{format_value(value)}`")
    if isinstance(value, bool) != (dtype.name == "bool"):
        raise Misuse(f"`{format_value(value)}` is no value of {dtype}", "bool values are `true` and `false`")
    if dtype.is_integer:
        low = -(1 << dtype.bits - 1) if dtype.kind == "i" else 0
        high = low + (1 << dtype.bits) - 1
        if not isinstance(value, int):
            raise Misuse(f"`{format_value(value)}` is no integer, the dtype is {dtype}")
        if not low <= value <= high:
            raise Misuse(f"`{value}` does not fit {dtype} ({low}..{high})")
    elif dtype.is_float:
        number = _float(value)
        if dtype.name == "f8e8m0" and number <= 0:
            raise Misuse(f"`{format_value(value)}` is no value of f8e8m0, which has powers of two only")
        rounded = _rounded(number, dtype)
        if math.isfinite(number) and not math.isfinite(rounded):
            raise Misuse(f"`{format_value(value)}` is over the largest {dtype}")
        if math.isinf(number) and not math.isinf(rounded):
            raise Misuse(f"{dtype} has no infinity")


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Misuse(f"`{value}` is over the largest float") from None


def _rounded(number: float, dtype: DType) -> float:
    """The value of a float dtype that is nearest to the number. No NumPy for the dtypes that nearly all weights have."""
    if dtype.name == "f64":
        return number
    if dtype.name == "f32":
        try:
            return float(struct.unpack("f", struct.pack("f", number))[0])
        except OverflowError:
            return math.copysign(math.inf, number)
    return float(_array(number, dtype))


def _array(value: Any, dtype: DType) -> npt.NDArray[Any]:
    """Elements as an array: float types narrower than 32 bits are rounded to f32 first, as `streams` does."""
    import numpy as np

    with np.errstate(over="ignore"):
        if dtype.is_float and dtype.bits < 32:
            return np.array(value, np.float32).astype(dtype.numpy)
        if dtype.bits < 8:
            return np.array(value, np.int8).astype(dtype.numpy)
        return np.array(value, dtype.numpy)


def _finite(value: Value, what: str) -> float:
    if isinstance(value, bool | tuple) or not math.isfinite(number := _float(value)):
        raise Misuse(f"{what} is a finite number, not `{format_value(value)}`")
    return number


def _seed(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64:
        raise Misuse(f"the seed is an integer from 0 to 2^64 - 1, not `{format_value(value)}`")
    return value


# --- the generators -----------------------------------------------------------------------------------------


def _check_nothing(args: tuple[Value, ...], dtype: DType, shape: Shape) -> None:
    pass


def _check_zeros(args: tuple[Value, ...], dtype: DType, shape: Shape) -> None:
    if 0 not in shape and dtype.name == "f8e8m0":
        _check_value(0, dtype)


def _check_full(args: tuple[Value, ...], dtype: DType, shape: Shape) -> None:
    _check_value(args[0], dtype)


def _check_normal(args: tuple[Value, ...], dtype: DType, shape: Shape) -> None:
    if not dtype.is_float:
        raise Misuse(f"`normal` makes floats, the dtype is {dtype}", "`uniform(seed, low, high)` makes integers too")
    _seed(args[0])
    if _finite(args[1], "the standard deviation") < 0:
        raise Misuse(f"the standard deviation is not below 0: `{format_value(args[1])}`")


def _check_uniform(args: tuple[Value, ...], dtype: DType, shape: Shape) -> None:
    _seed(args[0])
    low, high = _finite(args[1], "the low end"), _finite(args[2], "the high end")
    if dtype.name == "bool":
        raise Misuse("`uniform` makes numbers, the dtype is bool")
    if low >= high or not math.isfinite(high - low):
        raise Misuse(f"no range from {format_value(args[1])} to {format_value(args[2])}")
    if dtype.is_integer:
        for value in args[1:]:
            if not isinstance(value, int) or abs(value) > _LARGEST_EXACT:
                raise Misuse(f"the ends of a range of {dtype} are integers within 2^53, not `{format_value(value)}`")
        _check_value(args[1], dtype)
        _check_value(int(high) - 1, dtype)
    else:
        _check_value(args[1], dtype)
        _check_value(args[2], dtype)


def _check_inline(args: tuple[Value, ...], dtype: DType, shape: Shape) -> None:
    def visit(value: Value, sizes: Shape, axis: int) -> None:
        if not sizes:
            _check_value(value, dtype)
        elif not isinstance(value, tuple):
            raise Misuse(f"axis {axis} has size {sizes[0]}, found the number `{format_value(value)}` and no list")
        elif len(value) != sizes[0]:
            raise Misuse(f"axis {axis} has size {sizes[0]}, the list has {len(value)} elements")
        else:
            for item in value:
                visit(item, sizes[1:], axis + 1)

    if not shape:
        raise Misuse("a scalar is no list", "write `full(x)`")
    visit(args[0], shape, 0)


def _full(value: Value, dtype: DType, shape: Shape) -> npt.NDArray[Any]:
    import numpy as np

    return np.full(shape, _array(value, dtype))


def _zeros(args: tuple[Value, ...], dtype: DType, shape: Shape) -> npt.NDArray[Any]:
    import numpy as np

    return np.zeros(shape, dtype.numpy)


def _uniform(args: tuple[Value, ...], dtype: DType, shape: Shape) -> npt.NDArray[Any]:
    from trtn.dsl.weights import streams

    seed, low, high = args
    assert isinstance(seed, int) and not isinstance(low, tuple) and not isinstance(high, tuple)
    return streams.uniform(seed, float(low), float(high), math.prod(shape), dtype.numpy).reshape(shape)


def _normal(args: tuple[Value, ...], dtype: DType, shape: Shape) -> npt.NDArray[Any]:
    from trtn.dsl.weights import streams

    seed, std = args
    assert isinstance(seed, int) and not isinstance(std, tuple)
    return streams.normal(seed, float(std), math.prod(shape), dtype.numpy).reshape(shape)


GENERATORS: dict[str, _Kind] = {
    "zeros": _Kind((), "zeros", _check_zeros, _zeros),
    "ones": _Kind((), "ones", _check_nothing, lambda args, dtype, shape: _full(1, dtype, shape)),
    "full": _Kind(("x",), "full(0.5)", _check_full, lambda args, dtype, shape: _full(args[0], dtype, shape)),
    "normal": _Kind(("seed", "std"), "normal(7, 0.02)", _check_normal, _normal),
    "uniform": _Kind(("seed", "low", "high"), "uniform(7, -1.0, 1.0)", _check_uniform, _uniform),
    "inline": _Kind(
        ("list",),
        "inline [1, 2]",
        _check_inline,
        lambda args, dtype, shape: _array(args[0], dtype).reshape(shape),
    ),
}
"""The generators by name."""
