"""A group's layers after its convolution or product, as the pointwise nodes of a cuDNN graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trtn.backend.group import Group
from trtn.dsl.network import Tensor

__all__ = ["EpilogueStep", "epilogue"]


@dataclass(frozen=True, slots=True)
class EpilogueStep:
    """`operand` is the other tensor of an add (a residual or a bias); `args` go to the cuDNN node."""

    node: str
    operand: Tensor | None = None
    args: tuple[tuple[str, float], ...] = ()


def epilogue(group: Group) -> list[EpilogueStep] | None:
    """The steps, or None where one has no node."""
    main = group.layers[0]
    steps: list[EpilogueStep] = []
    if len(main.inputs) > 2 and main.inputs[2] is not None:
        steps.append(EpilogueStep("bias", main.inputs[2]))
    value = main.outputs[0]
    for layer in group.layers[1:]:
        step = _step(layer.op.name, layer.attrs, [t for t in layer.inputs if t is not None and t is not value], value)
        if step is None:
            return None
        steps.append(step)
        value = layer.outputs[0]
    return steps


def _step(op: str, attrs: Any, others: list[Tensor], value: Tensor) -> EpilogueStep | None:
    if op == "add" and len(others) == 1 and others[0].shape == value.shape:
        return EpilogueStep("add", others[0])
    if others:
        return None
    match op:
        case "relu":
            return EpilogueStep("relu")
        case "clip" if attrs["min"] is not None and attrs["max"] is not None:
            return EpilogueStep("relu", args=(("lower_clip", attrs["min"]), ("upper_clip", attrs["max"])))
        case "gelu":
            return EpilogueStep("gelu" if attrs["approximate"] == "none" else "gelu_approx_tanh")
        case "silu":
            return EpilogueStep("swish")
        case "sigmoid" | "tanh":
            return EpilogueStep(op)
    return None
