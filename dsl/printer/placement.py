"""Where constants go: into the text where they are short and nameless, under a path of the manifest otherwise."""

from __future__ import annotations

from trtn.dsl.network import Layer, Network, Tensor, Weight
from trtn.dsl.printer.attributes import follows_value
from trtn.dsl.printer.literals import constant_text

__all__ = ["Placement", "role"]


class Placement:
    """The manifest of a network, made while its layers are written: `weights` by path, each once."""

    def __init__(self, network: Network) -> None:
        self.weights: dict[str, Weight] = {}
        self._paths: dict[int, str] = {}
        self._texts: dict[int, str | None] = {}
        self._given = {t.weight.name for t in network.weights if t.weight is not None and t.weight.name}

    def literal(self, layer: Layer, index: int, tensor: Tensor) -> str | None:
        """The elements of a constant that the text holds where `layer` reads it; None for a weight of the manifest.

        index: which input of the layer; any number above theirs is a value that one of its bodies gives.
        """
        weight = tensor.weight
        assert weight is not None
        if not weight.name:
            return self._text(weight)
        # What a manifest holds is not known to the checker: elements that types depend on stay in the text.
        known = tensor.value is not None and index < len(layer.inputs) and follows_value(layer, index)
        return self._text(weight) if known else None

    def _text(self, weight: Weight) -> str | None:
        if id(weight) not in self._texts:
            short = weight.nbytes <= 16 * 8
            self._texts[id(weight)] = constant_text(weight.load(), weight.dtype) if short else None
        return self._texts[id(weight)]

    def path(self, weight: Weight, layer: Layer, index: int) -> str:
        """The path of a weight. One without a name is called after the layer that reads it, and its role there."""
        path = self._paths.get(id(weight))
        if path is None:
            path = self._free(weight.name or role(layer, index), weight)
            self._paths[id(weight)] = path
            self.weights[path] = weight
        return path

    def _free(self, wanted: str, weight: Weight) -> str:
        path, number = wanted, 2
        while not self._fits(path, weight):
            path = f"{wanted}_{number}"
            number += 1
        return path

    def _fits(self, path: str, weight: Weight) -> bool:
        """Whether a path is free for a weight: nobody has it, or one that is known to be the same tensor."""
        other = self.weights.get(path)
        if other is None:
            return path == weight.name or path not in self._given
        same = (other.dtype, other.shape) == (weight.dtype, weight.shape)
        return same and (other.source is weight.source or (weight.digest is not None and other.digest == weight.digest))


def role(layer: Layer, index: int) -> str:
    """The path of a constant without a name: the layer that reads it, and what it is to it."""
    declared = layer.op.spec.inputs
    if index >= len(layer.inputs) or not declared:
        return f"{layer.name}.value"
    declaration = declared[min(index, len(declared) - 1)]
    return f"{layer.name}.{declaration.name}{index - len(declared) + 1 if declaration.variadic else ''}"
