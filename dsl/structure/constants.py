"""Questions about constant tensors. Large weights are not read for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import Tensor, Weight

if TYPE_CHECKING:
    import numpy as np

__all__ = ["across", "is_uniform", "literal_bytes", "rounded", "uniform", "wide"]

LITERAL_BYTES = 16 * 8
"""Constants up to this size may be in the text."""

_READ_LIMIT = 1 << 16
"""Weights above this many bytes are not looked into for being all zeros or all ones."""


def uniform(tensor: Tensor | None) -> int | float | None:
    """The value that all elements of a constant tensor have, or None."""
    if tensor is None:
        return None
    if tensor.value:
        first = tensor.value[0]
        return first if isinstance(first, int) and all(v == first for v in tensor.value) else None
    weight = tensor.weight
    if weight is None or weight.nbytes > _READ_LIMIT or 0 in weight.shape:
        return None
    flat = weight.load().reshape(-1)
    if not bool((flat == flat[0]).all()):
        return None
    return float(flat[0]) if tensor.dtype.is_float else int(flat[0])


def is_uniform(tensor: Tensor | None, value: float) -> bool:
    """Whether a constant tensor holds nothing but `value`."""
    return uniform(tensor) == value


def wide(tensor: Tensor) -> np.ndarray[Any, Any]:
    """The elements of a weight in f64."""
    assert tensor.weight is not None
    return tensor.weight.load().astype(BY_NAME["f64"].numpy)


def across(tensor: Tensor, rank: int, axis: int, channels: int) -> np.ndarray[Any, Any] | None:
    """The f64[channels] that a weight is along `axis` of a tensor of rank `rank` that it broadcasts to; None
    where it varies along another axis, too.
    """
    import numpy as np

    if tensor.weight is None or tensor.rank > rank:
        return None
    shape = (1,) * (rank - tensor.rank) + tensor.weight.shape
    if any(size != 1 for n, size in enumerate(shape) if n != axis) or shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(wide(tensor).reshape(-1), (channels,))


def literal_bytes(weight: Weight) -> tuple[str, tuple[int, ...], bytes] | None:
    """What tells a constant that the text holds from others; None for a weight of the manifest."""
    if weight.name or weight.nbytes > LITERAL_BYTES:
        return None
    return weight.dtype.name, weight.shape, weight.load().tobytes()


def rounded(value: float, dtype: DType) -> float:
    """The number with the fewest digits that a value of a float dtype stands for: 1e-6 for f32's
    9.999999974752427e-7."""
    return float(str(dtype.numpy.type(value)))
