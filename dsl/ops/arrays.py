"""What the reference evaluations share: wider accumulation, indexing along one axis."""

from __future__ import annotations

from typing import Any

__all__ = ["along", "filled", "wide"]


def wide(x: Any) -> Any:
    """`x` in the dtype that sums over it are made in: f16 becomes f32, everything else stays."""
    return x.astype("float32") if x.dtype.name == "float16" else x


def along(axis: int, index: Any) -> tuple[Any, ...]:
    """The subscript that applies `index` to axis `axis` (counted from the front) and takes all of the axes
    before it.
    """
    return (*(slice(None),) * axis, index)


def filled(xp: Any, shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
    """A new array of one value. Zeros come from the allocator, which is cheaper than writing them."""
    return xp.zeros(shape, dtype=dtype) if value == 0 else xp.full(shape, value, dtype=dtype)
