"""The reference provider: every op of the catalogue by its own evaluation. It takes every group, so none is ever
refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trtn.backend.devices import Device
from trtn.backend.evaluate import bind_layers
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Launch, Tactic, TacticError

__all__ = ["PROVIDER", "ReferenceProvider"]

EVALUATE = Tactic("eval")


class ReferenceProvider:
    """Evaluates a group layer by layer on the array namespace of its inputs."""

    name = "reference"
    after: frozenset[str] = frozenset()
    devices = frozenset({"cpu", "cuda"})
    is_reference = True

    def unavailable(self, device: str) -> str | None:
        return None

    def version(self) -> str:
        return "1"

    def refusal(self, group: Group) -> str:
        return ""

    def tactics(self, problem: Problem, device: Device, effort: int = 3) -> Sequence[Tactic]:
        return (EVALUATE,)

    def prepare(self, problem: Problem, tactic: Tactic, device: Device) -> ReferenceKernel:
        if tactic.name != EVALUATE.name:
            raise TacticError(f"there is no tactic `{tactic.name}`")
        return ReferenceKernel(problem, device.xp)


PROVIDER = ReferenceProvider()


class ReferenceKernel:
    """A group's layers, to be run one after another over a table of arrays. What lies between them is allocated by
    the array namespace."""

    workspace = 0

    def __init__(self, problem: Problem, xp: Any) -> None:
        group = problem.group
        self._inputs = [id(t) for t in group.inputs]
        self._outputs = [id(t) for t in group.outputs]
        self._sizes = problem.sizes
        self._is_fixed = not group.inputs and all(
            layer.op.deterministic and not layer.regions for layer in group.layers
        )
        """Whether the results depend on sizes alone: then they are the same in each run."""
        self._run = bind_layers(group.layers, group.outputs, problem.sizes, xp)

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        arrays = dict(zip(self._inputs, inputs, strict=True))
        targets = list(zip(self._outputs, outputs, strict=True))

        def evaluate() -> dict[int, Any]:
            table = dict(arrays)
            self._run(table, dict(self._sizes))
            return table

        results = evaluate() if self._is_fixed else None

        def launch() -> None:
            table = results or evaluate()
            for key, target in targets:
                target[...] = table[key]

        return launch
