"""What kernels of recurrent layers have in common: which way they go, and where their arrays are."""

from __future__ import annotations

from trtn.backend.problem import ArrayLayout, Problem
from trtn.dsl.network import Layer, Tensor

__all__ = ["RecurrentLayer"]


class RecurrentLayer:
    """An lstm or gru of a group, by ONNX's inputs: x is the first."""

    def __init__(self, problem: Problem, layer: Layer) -> None:
        self.problem = problem
        self.layer = layer
        self.hidden: int = layer.attrs["hidden"]
        self.backwards = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[
            layer.attrs["direction"]
        ]
        group = problem.group
        self.arrays = {id(t): n for n, t in enumerate((*group.inputs, *group.outputs))}
        self.first: bool = layer.attrs["batch_first"]
        self.steps_axis, self.batch_axis = (1, 0) if self.first else (0, 1)
        shape = self._layout(0).shape
        self.steps, self.batch, self.features = shape[self.steps_axis], shape[self.batch_axis], shape[2]

    def _layout(self, index: int) -> ArrayLayout:
        tensor = self.layer.inputs[index]
        assert tensor is not None
        return self.problem.layout(tensor)

    def _number(self, tensor: Tensor | None) -> int | None:
        return None if tensor is None else self.arrays.get(id(tensor))

    def _input(self, index: int) -> int | None:
        return self._number(self.layer.inputs[index]) if len(self.layer.inputs) > index else None
