"""The reference provider: every op of the catalogue by its own evaluation. It takes every group, so none is ever
refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtn.backend.devices import Device
from trtn.backend.evaluate import bind_layers
from trtn.backend.group import Group
from trtn.backend.providers.base import Launch, Tactic

__all__ = ["PROVIDER", "ReferenceProvider"]

Sizes = Mapping[str, int]


class ReferenceProvider:
    """Evaluates a group layer by layer on the array namespace of its inputs."""

    name = "reference"
    after: frozenset[str] = frozenset()
    is_reference = True

    def unavailable(self, device: str) -> str | None:
        return None

    def version(self) -> str:
        return "1"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("eval"),)

    def refusal(self, group: Group) -> str:
        return "nothing is refused"

    def compile(self, group: Group, tactic: Tactic, device: Device) -> ReferenceKernel:
        return ReferenceKernel(group, device.xp)


PROVIDER = ReferenceProvider()


class ReferenceKernel:
    """A group's layers, to be run one after another over a table of arrays."""

    def __init__(self, group: Group, xp: Any) -> None:
        self.group = group
        self.xp = xp

    def bind(self, sizes: Sizes) -> Launch:
        group = self.group
        inputs = [id(t) for t in group.inputs]
        outputs = [id(t) for t in group.outputs]
        run = bind_layers(group.layers, group.outputs, sizes, self.xp)

        def launch(arrays: Sequence[Any], into: Sequence[Any]) -> Sequence[Any]:
            table = dict(zip(inputs, arrays, strict=True))
            run(table, dict(sizes))
            results: list[Any] = []
            for key, target in zip(outputs, into, strict=True):
                if target is None:
                    results.append(table[key])
                else:
                    target[...] = table[key]
                    results.append(target)
            return results

        return launch
