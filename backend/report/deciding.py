"""Who would run each problem: what the lock pins, what is stale in it, what would be timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from trtn.backend.devices.cuda import unavailable as no_gpu
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers import AssistedProvider, Provider
from trtn.backend.report.model import Decision, LockPlan, PlannedLibrary, Refusal
from trtn.backend.tuner.lock import Entry, Lock
from trtn.backend.tuner.lock_check import changed_dependencies, missing_entries
from trtn.dsl.dependencies import Dependency

__all__ = ["Providers", "Tactics"]


class Providers:
    """The providers for a device: which takes which group. Where this machine has the device, those that are missing are
    missed by a build, too; where it has not, the device's machine is taken to have them all."""

    def __init__(self, found: Sequence[Provider], device: str) -> None:
        suited = [p for p in found if device.partition(":")[0] in p.devices]
        missing = {p.name: p.unavailable(device) or "" for p in suited}
        is_here = device == "cpu" or no_gpu() is None
        self.libraries = tuple(
            PlannedLibrary(p.name, "" if missing[p.name] else p.version(), missing[p.name]) for p in suited
        )
        self._used = [p for p in suited if not missing[p.name]] if is_here else [_assisted(p) for p in suited]
        self._absent = tuple(Refusal(p.name, missing[p.name]) for p in suited if is_here and missing[p.name])
        self._answers: dict[tuple[str, int], str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of those that take part."""
        return tuple(p.name for p in self._used)

    @property
    def versions(self) -> Mapping[str, str]:
        """Of those that are here."""
        return {p.name: p.version for p in self.libraries if p.version}

    def refusal(self, name: str, group: Group) -> str:
        """Why a provider takes no group like this one; "" where it does."""
        known = self._answers.get((name, id(group)))
        if known is None:
            provider = next((p for p in self._used if p.name == name), None)
            known = "it is not here" if provider is None else provider.refusal(group)
            self._answers[name, id(group)] = known
        return known

    def of(self, group: Group) -> tuple[tuple[str, ...], tuple[Refusal, ...]]:
        """Those that take a group, the most specialised first, and the refusals of the others."""
        answers = [(p.name, self.refusal(p.name, group)) for p in reversed(self._used)]
        return tuple(n for n, why in answers if not why), (
            *(Refusal(n, why) for n, why in answers if why),
            *self._absent,
        )


def _assisted(provider: Provider) -> Provider:
    return provider.assisted() if isinstance(provider, AssistedProvider) else provider


class Tactics:
    """Decisions about problems, equal ones once. `lock` is None where there is none at `path`, `section` is where it
    keeps the tactics; `timed`: whether a build times."""

    def __init__(self, providers: Providers, lock: Lock | None, path: str, section: str, *, timed: bool) -> None:
        self._providers = providers
        self._lock = lock
        self._entries = lock.section(section).entries if lock is not None else {}
        self._path = path
        self._timed = timed
        self._decided: dict[str, Decision] = {}
        self._problems: dict[str, Problem] = {}

    def decide(self, problem: Problem | None) -> Decision | None:
        """Who would run a problem, None where no kernel runs."""
        if problem is None:
            return None
        if problem.key not in self._decided:
            self._problems[problem.key] = problem
            self._decided[problem.key] = self._decide(problem)
        return self._decided[problem.key]

    def decide_all(self, problems: Iterable[Problem | None]) -> None:
        for problem in problems:
            self.decide(problem)

    def counts(self) -> dict[str, int]:
        """How many distinct problems are decided by whom."""
        return dict(Counter(d.by for d in self._decided.values()))

    @property
    def keys(self) -> frozenset[str]:
        """Of the problems that were decided."""
        return frozenset(self._decided)

    def lock_plan(self, dependencies: Sequence[Dependency] | None) -> LockPlan | None:
        if not self._path:
            return None
        decisions = self._decided.values()
        stale = sum(bool(d.stale) for d in decisions)
        pinned = sum(d.by == "lock" for d in decisions)
        unused = sum(key not in self._decided for key in self._entries)
        changed = changed_dependencies(self._lock, dependencies) if self._lock is not None else ()
        return LockPlan(
            self._path,
            self._lock is not None,
            pinned,
            stale,
            missing=len(self._decided) - pinned - stale,
            unused=unused,
            changed=tuple(d.message for d in changed),
        )

    def require_lock(self) -> None:
        """Raises BuildError, as a locked build does, where the lock lacks something that was decided."""
        missed = [p for key, p in self._problems.items() if self._decided[key].by != "lock"]
        if missed:
            raise missing_entries(missed, len(self._problems), self._entries, self._providers.versions)

    def _decide(self, problem: Problem) -> Decision:
        names, _ = self._providers.of(problem.group)
        entry = self._entries.get(problem.key)
        stale = "" if entry is None else self._stale(entry, problem.group)
        if entry is not None and not stale:
            return Decision(problem.key, "lock", entry.provider, entry.tactic)
        by = "only" if len(names) == 1 else "timing" if self._timed else "default"
        return Decision(problem.key, by, names[0], "", stale)

    def _stale(self, entry: Entry, group: Group) -> str:
        """Why an entry is of no use; "" where it is of use, as far as can be seen here."""
        library = next((p for p in self._providers.libraries if p.name == entry.provider), None)
        if library is None:
            return f"no provider is called `{entry.provider}`"
        if library.version and library.version != entry.version:
            return f"locked with {entry.provider} {entry.version}, here is {library.version}"
        why = self._providers.refusal(entry.provider, group)
        return f"{entry.provider} no longer takes it: {why}" if why else ""
