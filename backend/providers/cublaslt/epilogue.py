"""What follows a product in its group, in the one form that cuBLASLt has: D = act(alpha * A B + bias + C).

Layers beyond that form are left over (`Cut.rest`), to be run over the result in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from trtn.backend.group import Group
from trtn.backend.providers.cublaslt.enums import Epilogue
from trtn.backend.providers.cublaslt.products import N, product_of
from trtn.dsl.network import Layer, Tensor

__all__ = ["Cut", "Fused", "cuts"]


@dataclass(frozen=True, slots=True)
class Fused:
    """An epilogue: `alpha` scales the product, `bias` has one number a channel, `added` the result's shape."""

    alpha: float = 1.0
    bias: Tensor | None = None
    added: Tensor | None = None
    activation: Epilogue | None = None

    @property
    def mode(self) -> Epilogue:
        """The library's number for bias and activation."""
        bias = Epilogue.BIAS if self.bias is not None else 0
        return Epilogue((self.activation or 0) | bias or Epilogue.DEFAULT)

    def __str__(self) -> str:
        parts = {"scale": self.alpha != 1, "bias": self.bias is not None, "add": self.added is not None}
        names = [name for name, there in parts.items() if there]
        return "_".join([*names, *([self.activation.name.lower()] if self.activation else [])]) or "plain"


@dataclass(frozen=True, slots=True)
class Cut:
    """A group as layers that cuBLASLt runs, in one go, and the `rest`."""

    fused: Fused
    result: Tensor
    rest: tuple[Layer, ...]


def cuts(group: Group) -> Iterator[Cut]:
    """The ways to cut a group that `refusal_of` has nothing against, those with the longest epilogue first.

    The rest reads nothing of the product but its last result, which has the type of the group's: it can be worked on in
    place.
    """
    first = group.layers[0]
    bias = first.inputs[2] if first.op.name in _BIASED and len(first.inputs) > 2 else None
    fused: Fused | None = Fused(bias=bias)
    found: list[Cut] = []
    value = first.output
    for number, layer in enumerate(group.layers, 1):
        if number > 1:
            reader = _READERS.get(layer.op.name)
            fused = reader(_Site(group, layer, value), fused) if reader is not None and fused is not None else None
            value = layer.output
        if fused is None:
            break
        rest = group.layers[number:]
        inside = {id(done.output) for done in group.layers[: number - 1]}
        if value.type == group.outputs[0].type and not any(id(t) in inside for other in rest for t in other.inputs):
            found.append(Cut(fused, value, rest))
    yield from reversed(found)


_BIASED = frozenset({"linear", "conv"})


@dataclass(frozen=True, slots=True)
class _Site:
    """A layer that reads `value`, the result so far."""

    group: Group
    layer: Layer
    value: Tensor

    @property
    def other(self) -> Tensor | None:
        """The other tensor of a layer that takes two."""
        others = [t for t in self.layer.inputs if t is not None and t is not self.value]
        return others[0] if len(others) == 1 else None

    @property
    def is_first(self) -> bool:
        return self.layer.inputs[0] is self.value

    @property
    def attrs(self) -> Mapping[str, Any]:
        return self.layer.attrs

    def runs_along_channels(self, tensor: Tensor) -> bool:
        """Whether a tensor has a number for each channel of the result, and the same everywhere else."""
        product = product_of(self.group)
        assert product is not None
        labels = product.labels(self.group.layers[0])[2]
        if N not in labels or tensor.rank > len(labels) or tensor.dtype is not self.value.dtype:
            return False
        padded = (1,) * (len(labels) - tensor.rank) + tensor.shape
        return all(
            d == (size if label == N else 1) for label, d, size in zip(labels, padded, self.value.shape, strict=True)
        )


_Reader = Callable[[_Site, Fused], Fused | None]


def _scale(invert: bool) -> _Reader:
    """A factor of one constant element, straight after the product."""

    def read(site: _Site, done: Fused) -> Fused | None:
        other = site.other
        if done != Fused() or other is None or (invert and not site.is_first):
            return None
        if other.weight is None or any(d != 1 for d in other.weight.shape) or other.rank > site.value.rank:
            return None
        number = float(other.weight.load().reshape(()))
        if not other.dtype.is_float or number in (0.0, inf, -inf) or number != number:
            return None  # 0 * inf and its kind: left to where they are computed as they are written
        return Fused(alpha=1 / number if invert else number)

    return read


def _add(site: _Site, done: Fused) -> Fused | None:
    other = site.other
    if other is None or done.activation is not None:
        return None
    if done.bias is None and site.runs_along_channels(other):
        return replace(done, bias=other)
    if done.added is None and other.type == site.value.type:
        return replace(done, added=other)
    return None


def _activation(mode: Epilogue, allowed: Callable[[Mapping[str, Any]], bool] = lambda attrs: True) -> _Reader:
    def read(site: _Site, done: Fused) -> Fused | None:
        return replace(done, activation=mode) if done.activation is None and allowed(site.attrs) else None

    return read


_READERS: Mapping[str, _Reader] = {
    "mul": _scale(invert=False),
    "div": _scale(invert=True),
    "add": _add,
    "relu": _activation(Epilogue.RELU),
    "clip": _activation(Epilogue.RELU, lambda attrs: attrs["min"] == 0 and attrs["max"] in (None, inf)),
    "gelu": _activation(Epilogue.GELU, lambda attrs: attrs["approximate"] == "tanh"),
}
"""By op: what it makes of an epilogue, or None where that is beyond the form."""
