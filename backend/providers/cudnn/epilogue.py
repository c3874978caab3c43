"""A group's layers after its convolution or product, as the pointwise nodes of a cuDNN graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trtn.backend.group import Group
from trtn.dsl.network import Layer, Tensor

__all__ = ["EpilogueStep", "epilogue"]

Arguments = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class EpilogueStep:
    """One node. `operand` is the other tensor of a binary one; `by_channel` says that it is a vector along the
    channels (or columns). `arguments` go to the node."""

    node: str
    operand: Tensor | None = None
    by_channel: bool = False
    arguments: Arguments = ()


def _plain(node: str) -> Callable[[Mapping[str, Any]], tuple[str, Arguments] | None]:
    return lambda attrs: (node, ())


def _clip(attrs: Mapping[str, Any]) -> tuple[str, Arguments] | None:
    if attrs["min"] is None or attrs["max"] is None:
        return None
    return "relu", (("lower_clip", attrs["min"]), ("upper_clip", attrs["max"]))


UNARY: Mapping[str, Callable[[Mapping[str, Any]], tuple[str, Arguments] | None]] = {
    "clip": _clip,
    "gelu": lambda attrs: ("gelu" if attrs["approximate"] == "none" else "gelu_approx_tanh", ()),
    "leaky_relu": lambda attrs: ("leaky_relu", (("negative_slope", attrs["alpha"]),)),
    "relu": _plain("relu"),
    "sigmoid": _plain("sigmoid"),
    "silu": _plain("swish"),
    "tanh": _plain("tanh"),
}
"""Node and arguments of each op of one argument, by its attributes; None where no node does the same."""
BINARY = frozenset({"add", "mul"})
"""Ops whose nodes are called like them. The other argument is of the result's shape."""


def epilogue(group: Group) -> list[EpilogueStep] | None:
    """The steps, or None where one has no node."""
    main = group.layers[0]
    steps: list[EpilogueStep] = []
    if len(main.inputs) > 2 and main.inputs[2] is not None:
        steps.append(EpilogueStep("add", main.inputs[2], by_channel=True))
    value = main.outputs[0]
    for layer in group.layers[1:]:
        step = _step(layer, value)
        if step is None:
            return None
        steps.append(step)
        value = layer.outputs[0]
    return steps


def _step(layer: Layer, value: Tensor) -> EpilogueStep | None:
    others = [t for t in layer.inputs if t is not None and t is not value]
    if len(others) == 1 and len(layer.inputs) == 2 and layer.op.name in BINARY and others[0].shape == value.shape:
        return EpilogueStep(layer.op.name, others[0])
    find = UNARY.get(layer.op.name)
    found = find(layer.attrs) if find is not None and len(layer.inputs) == 1 and not others else None
    return None if found is None else EpilogueStep(found[0], arguments=found[1])
