"""Providers and a clock for tests of the tuner: what tactics exist, how long they take and what they compute is a
table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trtn.backend.devices import Device
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers import Launch, Prepared, Tactic, TacticError
from trtn.backend.providers.reference import ReferenceKernel

__all__ = ["FakeBench", "FakeClock", "FakeProvider", "Numbers"]

Numbers = Mapping[str, float]


@dataclass
class FakeProvider:
    """Offers `tactics` for groups of `kinds`, in order. They compute what the reference does, but for `wrong` ones;
    `broken` ones can't be prepared."""

    name: str = "fake"
    tactics_: Sequence[Tactic] = ()
    kinds: Sequence[str] = ("softmax", "gemm")
    number: str = "1.0-1"
    wrong: Sequence[str] = ()
    broken: Sequence[str] = ()
    after: frozenset[str] = frozenset({"reference"})
    devices: frozenset[str] = frozenset({"cpu", "cuda"})
    is_reference: bool = False
    prepared: Counter[str] = field(default_factory=Counter)

    def unavailable(self, device: str) -> str | None:
        return None

    def version(self) -> str:
        return self.number

    def refusal(self, group: Group) -> str:
        return "" if group.kind in self.kinds else "another kind"

    def tactics(self, problem: Problem, device: Device, effort: int = 3) -> Sequence[Tactic]:
        return self.tactics_

    def prepare(self, problem: Problem, tactic: Tactic, device: Device) -> Prepared:
        if tactic.name in self.broken or all(t.name != tactic.name for t in self.tactics_):
            raise TacticError(f"{tactic.name} does not work")
        self.prepared[tactic.name] += 1
        workspace = next(t.workspace for t in self.tactics_ if t.name == tactic.name)
        return FakeKernel(problem, device, tactic.name, workspace, tactic.name in self.wrong)


class FakeKernel(ReferenceKernel):
    def __init__(self, problem: Problem, device: Device, name: str, workspace: int, is_wrong: bool) -> None:
        super().__init__(problem, device.xp)
        self.name = name
        self.workspace = workspace  # type: ignore[misc]
        self._is_wrong = is_wrong

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        right = super().bind(inputs, outputs, workspace)

        def launch() -> None:
            if workspace is not None:
                workspace[...] = 0xFF
            right()
            if self._is_wrong:
                outputs[0][...] *= 1.5

        return launch if self._is_wrong or self.workspace else right


@dataclass
class FakeClock:
    """Seconds by tactic; each sample of one is longer by the factors of `noise`, in turns. Counts what was asked."""

    seconds: Numbers
    noise: Sequence[float] = (1.0,)
    errors: Mapping[str, Exception] = field(default_factory=dict)
    """What comes of trying a tactic."""
    trials: Counter[str] = field(default_factory=Counter)
    samples: Counter[str] = field(default_factory=Counter)

    def __call__(self, problem: Problem, device: Device) -> FakeBench:
        return FakeBench(self)


@dataclass
class FakeBench:
    clock: FakeClock

    def check(self, prepared: Prepared, tactic: Tactic) -> None:
        self.clock.trials[tactic.name] += 1
        if tactic.name in self.clock.errors:
            raise self.clock.errors[tactic.name]

    def trial(self, prepared: Prepared, tactic: Tactic, limit: float) -> FakeTrial:
        self.clock.trials[tactic.name] += 1
        if tactic.name in self.clock.errors:
            raise self.clock.errors[tactic.name]
        if self.clock.seconds[tactic.name] > limit:
            raise TacticError("its first launch takes long")
        return FakeTrial(self.clock, tactic.name)


@dataclass
class FakeTrial:
    clock: FakeClock
    name: str

    def sample(self) -> float:
        count = self.clock.samples[self.name]
        self.clock.samples[self.name] += 1
        return self.clock.seconds[self.name] * self.clock.noise[count % len(self.clock.noise)]
