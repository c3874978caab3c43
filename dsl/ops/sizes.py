"""Sizes that a layer is told: by an attribute of dims, or by an integer tensor whose elements may or may not
be known.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from trtn.dsl.dims import Dim, DimError, Domain, Range, bounds, symbols
from trtn.dsl.network import Shape
from trtn.dsl.ops.infer import MAX_RANK, Infer

__all__ = ["UNBOUNDED", "list_length", "not_negative", "one_way", "sign_of", "told"]

UNBOUNDED = 2**31 - 1
"""The upper bound of a size that only the data decides, where nothing smaller follows from the inputs."""


def one_way(i: Infer, index: int, attr: str) -> bool:
    """Whether the sizes come as the attribute `attr`. Exactly one of it and input `index` must be given
    (E0207).
    """
    by_attr = i[attr] is not None
    if by_attr == i.has(index):
        names = f"the attribute `{attr}` and the tensor `{i.input_name(index)}`"
        words = f"not both {names}" if by_attr else f"one of {names}"
        i.fail(
            "E0207",
            f"`{i.op.name}` takes {words}",
            inputs=[index] if by_attr else [],
            attr=attr if by_attr else None,
        )
    return by_attr


def told(i: Infer, index: int, attr: str) -> Shape | None:
    """The sizes of a layer from attribute `attr` or from the rank-1 input `index`; None where only the data
    tells them.
    """
    if one_way(i, index, attr):
        return tuple(i[attr])
    i.rank(index, 1)
    return i.value(index)


def list_length(i: Infer, index: int) -> int:
    """How many elements the rank-1 input `index` has. That number decides ranks, so it must be a constant
    (E0303).
    """
    i.rank(index, 1)
    length = i.shape(index)[0]
    if not isinstance(length, int):
        i.fail(
            "E0303",
            f"the length of `{i.input_name(index)}` of `{i.op.name}` must be a constant, not {length}",
            inputs=[index],
        )
    if length > MAX_RANK:
        words = f"`{i.input_name(index)}` of `{i.op.name}` has {length} elements; ranks go up to {MAX_RANK}"
        i.fail("E0303", words, inputs=[index])
    return length


def not_negative(i: Infer, sizes: Sequence[Dim]) -> None:
    """Demand that sizes are at least 0."""
    for d in sizes:
        if sign_of(d) <= 0:
            i.require(">=", d, 0, f"a size of `{i.op.name}` is negative")


@lru_cache(maxsize=1 << 12)
def sign_of(dim: Dim, least: int = 0) -> int:
    """1 where `dim` is at least 0 for all values of its symbols from `least` up, -1 where it is always
    negative, 0 otherwise.
    """
    if isinstance(dim, int):
        return -1 if dim < 0 else 1
    try:
        low, high = bounds(dim, Domain({name: Range(least, UNBOUNDED) for name in symbols(dim)}))
    except DimError:  # a divisor that may be 0
        return 0
    return 1 if low >= 0 else -1 if high < 0 else 0
