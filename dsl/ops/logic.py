"""Comparisons, truth values, bits and choices, element by element.

Results for known integers are known where they are the same for all sizes.
"""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import ALL
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.pointwise import INTS, NUMBERS, Binary, combine, settle

__all__: list[str] = []


class Equal(Binary):
    """Whether x is y. NaN equals nothing."""

    signature = "equal(x: T, y: T) -> bool"
    where = {"T": ALL}
    function = "equal"

    def known(self, x: Dim, y: Dim) -> Dim | None:
        return _bit(settle("==", x, y))


class NotEqual(Binary):
    """Whether x differs from y. NaN differs from everything."""

    signature = "not_equal(x: T, y: T) -> bool"
    where = {"T": ALL}
    function = "not_equal"

    def known(self, x: Dim, y: Dim) -> Dim | None:
        return _bit(settle("==", x, y), flip=True)


class Less(Binary):
    """Whether x < y."""

    signature = "less(x: T, y: T) -> bool"
    where = {"T": NUMBERS}
    function = "less"

    def known(self, x: Dim, y: Dim) -> Dim | None:
        return _bit(settle("<", x, y))


class LessEqual(Binary):
    """Whether x <= y."""

    signature = "less_equal(x: T, y: T) -> bool"
    where = {"T": NUMBERS}
    function = "less_equal"

    def known(self, x: Dim, y: Dim) -> Dim | None:
        return _bit(settle("<=", x, y))


class Greater(Binary):
    """Whether x > y."""

    signature = "greater(x: T, y: T) -> bool"
    where = {"T": NUMBERS}
    function = "greater"

    def known(self, x: Dim, y: Dim) -> Dim | None:
        return _bit(settle("<", y, x))


class GreaterEqual(Binary):
    """Whether x >= y."""

    signature = "greater_equal(x: T, y: T) -> bool"
    where = {"T": NUMBERS}
    function = "greater_equal"

    def known(self, x: Dim, y: Dim) -> Dim | None:
        return _bit(settle("<=", y, x))


class And(Binary):
    """Whether both are true."""

    signature = "and(x: bool, y: bool) -> bool"
    function = "logical_and"

    def known(self, x: Dim, y: Dim) -> Dim:
        return int(x == 1 and y == 1)


class Or(Binary):
    """Whether one is true, or both."""

    signature = "or(x: bool, y: bool) -> bool"
    function = "logical_or"

    def known(self, x: Dim, y: Dim) -> Dim:
        return int(x == 1 or y == 1)


class Xor(Binary):
    """Whether one is true, but not both."""

    signature = "xor(x: bool, y: bool) -> bool"
    function = "logical_xor"

    def known(self, x: Dim, y: Dim) -> Dim:
        return int(x != y)


class BitwiseAnd(Binary):
    """The bits that both have."""

    signature = "bitwise_and(x: T, y: T) -> T"
    where = {"T": INTS}
    function = "bitwise_and"


class BitwiseOr(Binary):
    """The bits that one or both have."""

    signature = "bitwise_or(x: T, y: T) -> T"
    where = {"T": INTS}
    function = "bitwise_or"


class BitwiseXor(Binary):
    """The bits that one has and the other has not."""

    signature = "bitwise_xor(x: T, y: T) -> T"
    where = {"T": INTS}
    function = "bitwise_xor"


class Shift(Binary):
    """Shifts by y bits. A shift by the width or more leaves no bit of x: 0, or the sign in a right shift."""

    where = {"T": INTS}


class ShiftLeft(Shift):
    """x times 2 to the power y, without the bits that leave at the top."""

    signature = "shift_left(x: T, y: T) -> T"
    function = "left_shift"


class ShiftRight(Shift):
    """x divided by 2 to the power y and rounded down."""

    signature = "shift_right(x: T, y: T) -> T"
    function = "right_shift"


class Where(Op):
    """x where `condition` is true, y elsewhere."""

    signature = "where(condition: bool, x: T, y: T) -> T"
    pointwise = True
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        return i.broadcast(0, 1, 2)

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        return combine(i, lambda condition, x, y: x if condition else y, 0, 1, 2)

    def evaluate(self, xp: Any, condition: Any, x: Any, y: Any) -> Any:
        return xp.asarray(xp.where(condition, x, y))


def _bit(decided: bool | None, *, flip: bool = False) -> int | None:
    """A truth value as known values write it: 0 or 1."""
    return None if decided is None else int(decided is not flip)
