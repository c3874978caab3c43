"""Choices for a GPU that is not here: the lock's, and where it has none, nobody's yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trtn.backend.devices.cuda import CudaDevice
from trtn.backend.problem import Problem
from trtn.backend.providers import AssistedProvider, Prepared, Provider
from trtn.backend.tuner.choice import UNTUNED, Choice
from trtn.backend.tuner.lock import Entries
from trtn.backend.tuner.lock_check import missing_entries, stale_entries
from trtn.backend.tuner.tuner import NO_KERNEL
from trtn.dsl.diagnostics import Diagnostic

__all__ = ["AbsentGpu", "AheadTuner"]


@dataclass(frozen=True, slots=True)
class AbsentGpu:
    """What is known of a GPU by its name."""

    name: str
    alignment: int = CudaDevice.alignment


class AheadTuner:
    """Chooses as a tuner does, without a device. The machine that has it is taken to have every provider's library, in
    the versions that the lock names where this one has none."""

    effort = 0

    def __init__(self, providers: Sequence[Provider], device: str, lock: Entries, *, locked: bool) -> None:
        self.device = AbsentGpu(device)
        suited = [p for p in providers if device.partition(":")[0] in p.devices]
        self._providers = [p.assisted() if isinstance(p, AssistedProvider) else p for p in suited]
        self._lock = lock
        self._locked = locked
        self.versions = {p.name: p.version() for p in suited if p.unavailable(device) is None}
        """Of the providers whose libraries are here."""
        self.prepared: dict[tuple[str, str, str], Prepared] = {}
        self.warnings: list[Diagnostic] = []
        """What was found about the lock."""

    def choose(
        self,
        problems: Sequence[Problem | None],
        progress: Callable[[int, int], None] | None = None,
        effort: int | None = None,
    ) -> list[Choice]:
        """A choice for each problem. Raises BuildError listing every problem that the lock misses, where it has to
        have all."""
        found = [Choice(self._reference, NO_KERNEL) if p is None else self._choose(p) for p in problems]
        missed = {p.key: p for p, c in zip(problems, found, strict=True) if p is not None and c.tactic == UNTUNED}
        if self._locked and missed:
            total = len({p.key for p in problems if p is not None})
            raise missing_entries([*missed.values()], total, self._lock, self.versions)
        self.warnings += stale_entries([self._lock[key] for key in missed if key in self._lock], self.versions)
        return found

    @property
    def _reference(self) -> str:
        return next(p.name for p in self._providers if p.is_reference)

    def _choose(self, problem: Problem) -> Choice:
        takers = {p.name for p in self._providers if not p.refusal(problem.group)}
        entry = self._lock.get(problem.key)
        if entry is not None and entry.provider in takers and self._has(entry.provider, entry.version):
            return Choice(entry.provider, entry.tactic, "lock")
        return Choice(next(p.name for p in reversed(self._providers) if p.name in takers), UNTUNED, "default")

    def _has(self, provider: str, version: str) -> bool:
        """Whether a version of a provider may be the device's, as far as can be seen here."""
        return self.versions.get(provider, version) == version
