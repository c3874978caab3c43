"""Names for the dims of a model's inputs: the model's own where they say something, else those of a usual layout."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from trtn.dsl.convert.onnx.model import ValueInfo
from trtn.dsl.dims import Dim, DimError, Range, parse_dim, symbol, symbols
from trtn.dsl.network import DataDim, Network, walk
from trtn.dsl.ops.sizes import UNBOUNDED

__all__ = ["DEFAULT_RANGE", "bounded_by_default", "dim_expressions", "name_dims"]

DEFAULT_RANGE = Range(1, 4096)
"""What an imported dim may be where nobody says: `trtn import onnx --dim N=1..64` does."""

_LARGEST_TENSOR = 60
"""Bits of the greatest number of elements that open sizes may multiply to."""
_MADE_UP = re.compile(
    r"(?:unk_*|dim_?|d|s|axis_?|dynamic_?axes?_?|DynamicDimension_?|.*DynamicDimension_?|n)?\d+|.*_dim_\d+",
    re.I | re.A,
)
_WORD = re.compile(r"[A-Za-z_]\w{0,31}", re.A)
_RESERVED = frozenset({"min", "max", "ceildiv"})


def name_dims(inputs: Sequence[ValueInfo], taken: Collection[str]) -> dict[str | tuple[str, int], str]:
    """A name for each open dim of the inputs, in order. The same dim_param is the same dim; an unset one is its own."""
    found: dict[str | tuple[str, int], str] = {}
    used = set(taken) | _RESERVED
    for value in inputs:
        for axis, dim in enumerate(value.shape or ()):
            if isinstance(dim, int):
                continue
            key: str | tuple[str, int] = dim if dim is not None else (value.name, axis)
            if key not in found:
                wish = dim if dim is not None and _says_something(dim) else _usual(value.shape or (), axis)
                name, number = wish, 2
                while name in used:
                    name, number = f"{wish}{number}", number + 1
                used.add(name)
                found[key] = name
    return found


def dim_expressions(inputs: Sequence[ValueInfo]) -> dict[str, Dim]:
    """The dim_params that are arithmetic over others (`past + 1`), as expressions over those."""
    params = {d for v in inputs for d in v.shape or () if isinstance(d, str)}
    found: dict[str, Dim] = {}
    for text in sorted(params):
        if _WORD.fullmatch(text):
            continue
        try:
            dim = parse_dim(text)
        except DimError:
            continue
        if not isinstance(dim, int) and dim != symbol(text) and symbols(dim) <= params:
            found[text] = dim
    return found


def _says_something(param: str) -> bool:
    return _WORD.fullmatch(param) is not None and _MADE_UP.fullmatch(param) is None


def _usual(shape: Sequence[int | str | None], axis: int) -> str:
    """N for a batch, then by layout: images H and W, volumes D, H, W, sequences S, signals T."""
    rank = len(shape)
    if axis == 0:
        return "N"
    last_is_channels = isinstance(shape[-1], int) and not isinstance(shape[1], int)
    spatial = axis - 1 if last_is_channels else axis - 2
    if rank in (4, 5) and 0 <= spatial < rank - 2:
        return ("H", "W")[spatial] if rank == 4 else ("D", "H", "W")[spatial]
    if rank in (4, 5) and axis == (rank - 1 if last_is_channels else 1):
        return "C"
    return "S" if axis == 1 else "T"


def bounded_by_default(network: Network) -> Network:
    """The network with an upper bound for each size that only the data decides, where nothing else bounds it.

    It is the default range's end, or less where a tensor has so many such sizes that it could grow beyond all memory.
    """
    free = {name for name, d in network.data_dims.items() if isinstance(d.high, int) and d.high >= UNBOUNDED}
    if not free:
        return network
    tensors = (t for layer in walk(network.graph) for t in layer.outputs)
    together = max(sum(len(symbols(d) & free) for d in t.shape) for t in tensors)
    high = min(DEFAULT_RANGE.high, 1 << (_LARGEST_TENSOR // max(1, together)))
    kept = {n: DataDim(d.low, high) if n in free else d for n, d in network.data_dims.items()}
    return replace(network, data_dims=kept)
