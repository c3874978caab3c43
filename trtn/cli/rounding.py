"""What rounding alone may do to an output, however small its numbers are.

A relative error says nothing about a number that is small against those that it was made of. A sigmoid is made of
numbers of the size of 1 (1 + exp(-x); or, as ONNX Runtime has it, 1/2 plus a quotient of polynomials): the rounding
of f32 moves it by a few units of 2^-24, and where the result is 1e-8, that is all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Layer, Network, Tensor, walk

__all__ = ["rounding_floor"]

_ROUNDINGS: Final = 4
"""Of 1, in f32, between two sigmoids. ONNX Runtime's, the less exact one, is within 2.81 of the true value for all x from
-40 to 40."""
_UNIT: Final = 2.0**-24
_PICKING: Final = frozenset({
    "avg_pool", "clip", "concat", "expand", "flatten", "flip", "gather", "gather_elements", "gather_nd",
    "global_avg_pool", "global_max_pool", "identity", "max", "max_pool", "min", "pad", "reduce_max", "reduce_mean",
    "reduce_min", "reshape", "slice", "split", "squeeze", "tile", "transpose", "unsqueeze", "where",
})  # fmt: skip
"""Ops whose results are numbers of their inputs, or means of them."""


def rounding_floor(network: Network) -> Callable[[Tensor], float]:
    """A function: the absolute difference that is nothing but rounding, by tensor of the network; 0 where only the
    relative one counts.

    It is 4 * 2^-24 for sigmoids in f32, and for what is picked from them or is a mean of them.
    """
    makers = {id(t): (layer, n) for layer in walk(network.graph) for n, t in enumerate(layer.outputs)}
    known: dict[int, bool] = {}

    def of_sigmoids(tensor: Tensor) -> bool:
        if id(tensor) not in known:
            known[id(tensor)] = False
            layer, index = makers.get(id(tensor), (None, 0))
            known[id(tensor)] = layer is not None and _made_of(layer, index, of_sigmoids)
        return known[id(tensor)]

    return lambda tensor: _ROUNDINGS * _UNIT if tensor.dtype is BY_NAME["f32"] and of_sigmoids(tensor) else 0.0


def _made_of(layer: Layer, index: int, of_sigmoids: Callable[[Tensor], bool]) -> bool:
    if layer.op.name == "sigmoid":
        return True
    if layer.op.name == "if":
        return all(of_sigmoids(region.outputs[index]) for region in layer.regions)
    if layer.op.name not in _PICKING:
        return False
    sources = [t for t in layer.inputs if t is not None and t.dtype is layer.outputs[index].dtype]
    return any(map(of_sigmoids, sources)) and all(of_sigmoids(t) or t.weight is not None for t in sources)
