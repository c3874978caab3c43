"""Feeds that nobody gave: shapes from a profile, values that the network can work with.

Integers that choose rows of a table (ids of an embedding, indices of a gather) stay inside the table; those that are
read as shapes keep to the profile; masks are mostly true. What an input is for is found by following it through the
network.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trtn.dsl.dims import evaluate
from trtn.dsl.dims.solve import solve_dims
from trtn.dsl.network import Layer, Network, Profile, Tensor, walk

if TYPE_CHECKING:
    import numpy as np

__all__ = ["make_up", "shapes_for"]

_INDEX_INPUTS = {"embedding": (0, 1), "gather": (1, 0), "gather_elements": (1, 0), "scatter_elements": (1, 0)}
"""Ops that take indices: the indices' input, and the input whose elements they choose."""
_COMPARED_LIMIT = 1 << 16
"""Bytes of a constant that is looked at because an input is compared with it: a one-hot code is often made so."""
_PASS_ON = frozenset(
    {
        "identity",
        "cast",
        "reshape",
        "squeeze",
        "unsqueeze",
        "expand",
        "flatten",
        "transpose",
        "slice",
        "tile",
        "concat",
        "split",
        "flip",
    }
)
"""Ops whose results have the values of input 0, at other places."""
_TRUE = 0.9
"""How likely an element of a mask is true."""


def shapes_for(
    network: Network, profiles: Sequence[Profile], known: Mapping[str, tuple[int, ...]], wanted: str | None = None
) -> dict[str, tuple[int, ...]]:
    """The shape of every input: those that are known, and for the rest the optimum of the profile that the known ones
    fit.

    Inputs whose known shape has another rank than declared say nothing about dims; the engine refuses them.
    """
    pairs = [(t.shape, known[t.name]) for t in network.inputs if t.name in known and len(known[t.name]) == len(t.shape)]
    sizes = solve_dims(pairs)
    candidates = [p for p in profiles if wanted in (None, p.name)]
    fitting = [
        p for p in candidates if all(r.minimum <= sizes.get(n, r.minimum) <= r.maximum for n, r in p.dims.items())
    ]
    corner = next((p.corner("optimum") for p in [*fitting, *candidates]), {})
    sizes = {**corner, **sizes}
    return {t.name: known.get(t.name) or tuple(evaluate(d, sizes) for d in t.shape) for t in network.inputs}


def make_up(
    network: Network,
    tensor: Tensor,
    shape: tuple[int, ...],
    *,
    seed: int = 0,
    sizes: Mapping[str, int],
    values: Mapping[str, Sequence[int]] | None = None,
) -> np.ndarray[Any, Any]:
    """An array for an input, the same for the same seed whatever other inputs there are.

    sizes: the dims' values. values: the elements of inputs that are read as shapes.
    """
    import numpy as np

    if values is not None and tensor.name in values:
        return np.array(values[tensor.name], tensor.dtype.numpy).reshape(shape)
    generator = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
    if tensor.dtype.kind == "f":
        return generator.standard_normal(shape, np.float32).astype(tensor.dtype.numpy)
    if tensor.dtype.kind == "b":
        return generator.random(shape) < _TRUE
    low, high = _integers(network, tensor, sizes)
    return generator.integers(low, high, shape, np.int64, endpoint=True).astype(tensor.dtype.numpy)


def _integers(network: Network, tensor: Tensor, sizes: Mapping[str, int]) -> tuple[int, int]:
    """The least and greatest value for an integer input: the rows of the smallest table that it chooses from, or what
    suits the dtype.
    """
    limits = list(_table_sizes(network, tensor, sizes))
    if limits:
        return 0, max(min(limits) - 1, 0)
    bits = tensor.dtype.bits
    if bits <= 8:
        return (0, 2**bits - 1) if tensor.dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return 0, 1


def _table_sizes(network: Network, tensor: Tensor, sizes: Mapping[str, int]) -> Iterable[int]:
    same = {id(tensor)}
    for layer in walk(network.graph):
        places = [n for n, t in enumerate(layer.inputs) if t is not None and id(t) in same]
        if not places:
            continue
        if layer.op.name in _PASS_ON:
            same |= {id(t) for t in layer.outputs}
        indices, table = _INDEX_INPUTS.get(layer.op.name, (None, 0))
        if indices in places:
            yield from _rows(layer, table, sizes)
        if layer.op.name == "equal":
            yield from _codes(layer)


def _rows(layer: Layer, table: int, sizes: Mapping[str, int]) -> Iterable[int]:
    chosen_from = layer.inputs[table]
    if chosen_from is None or not chosen_from.shape:
        return
    axis = layer.attrs.get("axis", 0)
    try:
        yield evaluate(chosen_from.shape[axis], sizes)
    except ValueError:  # a size that only the data decides
        return


def _codes(layer: Layer) -> Iterable[int]:
    """One more than the greatest element of a small constant that the input is compared with."""
    for t in layer.inputs:
        if t is not None and t.weight is not None and 0 < t.weight.nbytes <= _COMPARED_LIMIT:
            yield int(t.weight.load().max()) + 1
