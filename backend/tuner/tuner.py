"""Decides the tactic of each problem: from the lock where it has one, else by time, the timing cache's or a new one.

Equal problems are decided once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from trtn.backend.devices import Device
from trtn.backend.problem import Problem
from trtn.backend.providers import (
    ForesightedProvider,
    Prepared,
    Provider,
    Tactic,
    TacticError,
    binaries_of,
    prepare_all,
)
from trtn.backend.tuner.bench import Bench, BenchMaker, DeviceLostError
from trtn.backend.tuner.cache import Record, TacticId, TimingCache
from trtn.backend.tuner.choice import Choice
from trtn.backend.tuner.effort import EFFORTS, Effort
from trtn.backend.tuner.lock import Entries, Entry, describe
from trtn.backend.tuner.lock_check import missing_entries, stale_entries
from trtn.backend.tuner.race import Candidate, Race, fastest
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import BuildError

__all__ = ["Tuner"]

_log = logging.getLogger(__name__)

NO_KERNEL = "none"
"""Stands for a tactic where no kernel runs."""
CHUNK = 4
"""Tactics of a provider that are prepared at once: after them it is seen whether more are worth it."""


SPARE = 4
"""Tactics of a provider that are checked, where nothing is timed, before the next provider's."""
CHEAP = 64 << 20
"""Bytes of arrays up to which a tactic that is not timed is checked."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A choice as it goes to the lock."""

    choice: Choice
    entry: Entry


class Tuner:
    """Chooses among the tactics of the providers that a device has. `locked` forbids every choice that the lock
    doesn't hold; `workspace` is the most scratch memory, in bytes, that a tactic may take; `reduced` lets tactics
    compute f32 in lower precision (TF32); `checked` has tactics that are taken without being timed run once, where that
    is cheap, and held against the reference."""

    def __init__(
        self,
        providers: Sequence[Provider],
        device: Device,
        bench: BenchMaker,
        *,
        cache: TimingCache | None = None,
        lock: Entries | None = None,
        effort: int = 3,
        locked: bool = False,
        workspace: int | None = None,
        reduced: bool = False,
        checked: bool = False,
    ) -> None:
        self.device = device
        self.providers = [p for p in providers if p.unavailable(device.name) is None]
        self.warnings: list[Diagnostic] = []
        """What was found about the lock."""
        self.prepared: dict[tuple[str, str, str], Prepared] = {}
        """Kernels that were made on the way and chosen, by problem key, provider and tactic."""
        self.versions = {p.name: p.version() for p in self.providers}
        self._bench = bench
        self._cache = cache or TimingCache(None, device.name)
        self._lock = lock or {}
        self.effort = effort
        self._level = effort
        self._locked = locked
        self._workspace = workspace
        self._reduced = reduced
        self._checked = checked
        self._decisions: dict[str, Decision] = {}

    @property
    def entries(self) -> Entries:
        """What was decided, to be locked."""
        return {key: decision.entry for key, decision in self._decisions.items()}

    def choose(
        self,
        problems: Sequence[Problem | None],
        progress: Callable[[int, int], None] | None = None,
        effort: int | None = None,
    ) -> list[Choice]:
        """A choice for each problem; where there is None, no kernel runs, and the reference stands for what does.
        `effort` may be less than the tuner's.

        Raises BuildError listing every problem that the lock misses, where `locked`.
        """
        self._level = self.effort if effort is None else effort
        new = {p.key: p for p in problems if p is not None and p.key not in self._decisions}
        locked = self._from_lock(new)
        if self._locked and len(locked) < len(new):
            missed = [p for key, p in new.items() if key not in locked]
            raise missing_entries(missed, len(new), self._lock, self.versions)
        stale = [self._lock[key] for key in new if key in self._lock and key not in locked]
        self.warnings += stale_entries(stale, self.versions)
        self._announce([p for key, p in new.items() if key not in locked])
        try:
            for number, (key, problem) in enumerate(new.items()):
                choice = locked.get(key) or self._decide(problem)
                version = self.versions[choice.provider]
                entry = Entry(problem.group.kind, key, choice.provider, version, choice.tactic, describe(problem))
                self._decisions[key] = Decision(choice, entry)
                if progress is not None:
                    progress(number + 1, len(new))
        finally:
            self._announce([])
        none = Choice(next(p for p in self.providers if p.is_reference).name, NO_KERNEL)
        return [none if p is None else self._decisions[p.key].choice for p in problems]

    def _from_lock(self, problems: Mapping[str, Problem]) -> dict[str, Choice]:
        """The lock's choices by problem key, where the provider is here in the locked version and still makes the
        tactic."""
        found: dict[str, Choice] = {}
        for provider in self.providers:
            entries = [
                e
                for key, problem in problems.items()
                if (e := self._lock.get(key)) is not None
                and (e.provider, e.version) == (provider.name, self.versions[provider.name])
                and not provider.refusal(problem.group)
            ]
            wanted = [(problems[e.key], Tactic(e.tactic)) for e in entries]
            if isinstance(provider, ForesightedProvider):
                provider.announce(wanted, self.device)
            results = prepare_all(provider, wanted, self.device)
            for entry, result in zip(entries, results, strict=True):
                if isinstance(result, TacticError):
                    _log.warning("the lock's tactic %s %s can't be made: %s", entry.provider, entry.tactic, result)
                    continue
                self.prepared[entry.key, entry.provider, entry.tactic] = result
                self.device.binaries.keep(binaries_of([result]))
                found[entry.key] = Choice(entry.provider, entry.tactic, "lock")
        return found

    def _announce(self, problems: Sequence[Problem]) -> None:
        """Tell the providers what is going to be tried."""
        if not self._effort.candidates and not self._checked:
            return
        wanted: dict[str, list[tuple[Problem, Tactic]]] = {}
        for problem in problems:
            candidates = self._candidates(problem)
            if len(candidates) > 1:
                tried = self._unknown(candidates, self._cache.read(problem.key)) if self._level else candidates[:1]
                for c in tried:
                    wanted.setdefault(c.id.provider, []).append((problem, c.tactic))
        for provider in self.providers:
            if isinstance(provider, ForesightedProvider):
                provider.announce(wanted.get(provider.name, ()), self.device)

    @property
    def _effort(self) -> Effort:
        return EFFORTS[self._level]

    # --- one problem ---

    def _decide(self, problem: Problem) -> Choice:
        candidates = self._candidates(problem)
        if len(candidates) == 1:
            return Choice(candidates[0].id.provider, candidates[0].id.tactic, "only")
        if not self._effort.candidates:
            first = self._first_right(problem, candidates)
            return Choice(first.id.provider, first.id.tactic, "default")
        known: Mapping[TacticId, Record] = self._cache.read(problem.key)
        origin = "cache"
        if self._unknown(candidates, known):
            with self._cache.measuring():
                known = self._cache.read(problem.key)  # who held the lock before may have been at the same
                if self._unknown(candidates, known):
                    known, origin = self._measure(problem, candidates, known), "measured"
        winner = fastest(candidates, known, self._workspace)
        if winner is None:
            _log.warning("no tactic was seen to run %r: %s", problem, {i.tactic: r.reason for i, r in known.items()})
            return Choice(candidates[-1].id.provider, candidates[-1].id.tactic, "default")
        seconds = known[winner.id].seconds
        assert seconds is not None
        _log.info("%r: %s %s, %.2f us (%s)", problem, winner.id.provider, winner.id.tactic, seconds * 1e6, origin)
        return Choice(winner.id.provider, winner.id.tactic, origin, seconds)

    def _first_right(self, problem: Problem, candidates: Sequence[Candidate]) -> Candidate:
        """The first candidate whose results are right; the first one where nothing is checked."""
        arrays = (*problem.inputs, *problem.outputs)
        bench = self._make_bench(problem) if self._checked and sum(a.nbytes for a in arrays) <= CHEAP else None
        if bench is None:
            return candidates[0]
        try:
            for c in candidates[:-1]:
                try:
                    provider = next(p for p in self.providers if p.name == c.id.provider)
                    prepared = provider.prepare(problem, c.tactic, self.device)
                    bench.check(prepared, c.tactic)
                except (TacticError, MemoryError) as e:
                    _log.warning("%r: %s %s is left out: %s", problem, c.id.provider, c.id.tactic, e)
                    continue
                self.prepared[problem.key, c.id.provider, c.id.tactic] = prepared
                self.device.binaries.keep(binaries_of([prepared]))
                return c
        except DeviceLostError as e:
            raise _lost(
                problem, e, "build with an effort of 1 or more: tactics that do it are noted and left out"
            ) from None
        finally:
            self.device.forget_packed()
        return candidates[-1]

    def _candidates(self, problem: Problem) -> list[Candidate]:
        """What the providers offer for a problem: the most specialised provider's first, the reference's last."""
        found: list[Candidate] = []
        for provider in reversed(self.providers):
            if provider.refusal(problem.group):
                continue
            tactics = provider.tactics(problem, self.device, self._level)
            fitting = (t for t in tactics if self._is_allowed(t))
            version = self.versions[provider.name]
            few = islice(fitting, self._effort.candidates or (SPARE if self._checked else 1))
            found += [Candidate(TacticId(provider.name, version, tactic.name), tactic) for tactic in few]
        assert found, f"no provider takes {problem!r}, not even the reference"
        return found

    def _is_allowed(self, tactic: Tactic) -> bool:
        within = self._workspace is None or tactic.workspace <= self._workspace
        return within and (self._reduced or tactic.numerics != "reduced")

    def _unknown(self, candidates: Sequence[Candidate], known: Mapping[TacticId, Record]) -> list[Candidate]:
        """The candidates to be tried: those without a record, and those that a smaller effort left."""
        return [
            c
            for c in candidates
            if (r := known.get(c.id)) is None or (r.left_at is not None and r.left_at < self._level)
        ]

    def _measure(
        self, problem: Problem, candidates: Sequence[Candidate], known: Mapping[TacticId, Record]
    ) -> Mapping[TacticId, Record]:
        """Records of all candidates, those that are missing measured."""
        bench = self._make_bench(problem)
        if bench is None:
            return known
        race = Race(self._effort, known)
        unknown = self._unknown(candidates, known)
        made: dict[TacticId, Prepared] = {}
        try:
            for provider in reversed(self.providers):
                mine = [c for c in unknown if c.id.provider == provider.name]
                self._try_provider(race, bench, provider, problem, mine, made)
            race.finish()
        except DeviceLostError as e:
            raise _lost(
                problem, e, "build again in a new process: the tactic that did it is noted and left out"
            ) from None
        finally:
            self._cache.add(problem.key, race.records)
            self.device.forget_packed()
        winner = fastest(candidates, race.records, self._workspace)
        if winner is not None and winner.id in made:
            prepared = self.prepared[problem.key, winner.id.provider, winner.id.tactic] = made[winner.id]
            self.device.binaries.keep(binaries_of([prepared]))
        return race.records

    def _make_bench(self, problem: Problem) -> Bench | None:
        try:
            with np.errstate(all="ignore"):  # made-up inputs overflow
                return self._bench(problem, self.device)
        except (MemoryError, ValueError, TypeError, LookupError, ArithmeticError) as e:
            # The reference can't evaluate made-up inputs, or there is no room for them: nothing can be checked.
            _log.warning("%r can't be timed: %s: %s", problem, type(e).__name__, e)
            return None

    def _try_provider(
        self,
        race: Race,
        bench: Bench,
        provider: Provider,
        problem: Problem,
        candidates: Sequence[Candidate],
        made: dict[TacticId, Prepared],
    ) -> None:
        """Try a provider's candidates in its order, until so many of them in a row were no better than what is there
        that the others are left."""
        idle = 0
        for chunk in _chunks(candidates, CHUNK):
            if idle >= self._effort.patience:
                race.leave(chunk, self._level)
                continue
            results = prepare_all(provider, [(problem, c.tactic) for c in chunk], self.device)
            made.update((c.id, r) for c, r in zip(chunk, results, strict=True) if not isinstance(r, TacticError))
            idle = 0 if race.enter(bench, zip(chunk, results, strict=True)) else idle + len(chunk)


def _lost(problem: Problem, error: DeviceLostError, cure: str) -> BuildError:
    message = f"the device reported an error while tactics of `{problem.group.name}` were tried: {error}"
    return BuildError(message, [Diagnostic("E0701", message, help=cure)])


def _chunks(items: Sequence[Candidate], size: int) -> Iterator[Sequence[Candidate]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
