"""An engine's kernels: for each shape the problems of its groups, each prepared by the tactic that was chosen at the
nearest tuned point. Contexts share them."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TypeVar

from trtn.backend.binaries import BinaryKey
from trtn.backend.devices import Device
from trtn.backend.plan.arrays import plan_problems
from trtn.backend.plan.points import nearest
from trtn.backend.problem import Problem
from trtn.backend.providers import (
    BulkProvider,
    ElasticProvider,
    ForesightedProvider,
    Prepared,
    Provider,
    Tactic,
    TacticError,
    binaries_of,
    discover,
    find_provider,
    prepare_all,
    reference_provider,
)
from trtn.backend.runtime.foresight import scattered_sizes
from trtn.backend.tuner.choice import UNTUNED, Choice
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import EngineError

if TYPE_CHECKING:
    from trtn.backend.runtime.engine import Engine

__all__ = ["Kernels"]

_log = logging.getLogger(__name__)

SHAPE_LIMIT = 64
"""Shapes whose kernels are kept."""
Key = tuple[str, str, str]
"""A problem's key, a provider's name, a tactic's."""
V = TypeVar("V")


class Kernels:
    """Prepares and keeps kernels. Equal problems with equal tactics share one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.RLock()
        self._prepared: OrderedDict[Key, Prepared] = OrderedDict()
        self._shapes: OrderedDict[tuple[tuple[str, int], ...], tuple[Prepared | None, ...]] = OrderedDict()
        self._foreseen: dict[BinaryKey, bytes] = {}
        self.fallbacks: dict[str, str] = {}
        """Why groups run by another tactic than the chosen one, by the group's name."""

    def adopt(self, prepared: Mapping[Key, Prepared]) -> None:
        """Take kernels that the tuner has made already, on the engine's device."""
        self._prepared.update(prepared)

    def at(self, sizes: Mapping[str, int]) -> tuple[Prepared | None, ...]:
        """The kernel of each group, None for those that need none. Raises EngineError where a provider is missing."""
        shape = tuple(sorted(sizes.items()))
        with self._lock:
            found = self._shapes.get(shape)
            if found is None:
                found = self._shapes[shape] = self._prepare(sizes)
                _trim(self._shapes, SHAPE_LIMIT)
                _trim(self._prepared, SHAPE_LIMIT * len(self._engine.groups))
            self._shapes.move_to_end(shape)
            return found

    def binaries(self) -> dict[BinaryKey, bytes]:
        """The compiled code of what runs at the tuned points, and of what was foreseen."""
        at_points = [self.at(point.sizes) for point in self._engine.points]
        return self._foreseen | binaries_of(kernel for kernels in at_points for kernel in kernels if kernel is not None)

    def foresee(self) -> None:
        """Compile, side by side, what shapes all over the profiles ask for, so that few of them will wait for a
        compiler."""
        device = self._engine.hardware
        wanted: dict[str, dict[Key, tuple[Problem, Tactic]]] = {}
        for sizes in scattered_sizes(self._engine.network):
            with suppress(MemoryError):  # there is no room for such a shape
                for problem, choice in zip(*self.choices_at(sizes), strict=True):
                    if problem is not None and isinstance(find_provider(choice.provider), BulkProvider):
                        pair = problem, Tactic(choice.tactic)
                        wanted.setdefault(choice.provider, {})[_key(problem, choice)] = pair
        for name, pairs in wanted.items():
            provider = find_provider(name)
            assert provider is not None
            made = prepare_all(provider, list(pairs.values()), device)
            self._foreseen |= binaries_of(kernel for kernel in made if not isinstance(kernel, TacticError))
        device.binaries.keep(self._foreseen)

    def choices_at(self, sizes: Mapping[str, int]) -> tuple[Sequence[Problem | None], Sequence[Choice]]:
        """The problem of each group, and what takes it."""
        engine = self._engine
        problems = plan_problems(engine.network, engine.groups, engine.storage, sizes, engine.hardware.alignment)
        point = engine.points[nearest([p.sizes for p in engine.points], sizes)]
        choices = self._decided(problems, point.choices)
        is_tuned = point.sizes == sizes or engine.device == "cpu"
        return problems, choices if is_tuned else self._elastic(problems, choices)

    def _prepare(self, sizes: Mapping[str, int]) -> tuple[Prepared | None, ...]:
        problems, choices = self.choices_at(sizes)
        wanted = {
            _key(problem, choice): (problem, choice)
            for problem, choice in zip(problems, choices, strict=True)
            if problem is not None
        }
        self._make({key: pair for key, pair in wanted.items() if key not in self._prepared})
        for key in wanted:
            self._prepared.move_to_end(key)
        return tuple(
            None if problem is None else self._prepared[_key(problem, choice)]
            for problem, choice in zip(problems, choices, strict=True)
        )

    def _decided(self, problems: Sequence[Problem | None], choices: Sequence[Choice]) -> Sequence[Choice]:
        """Choices that were left open until there is a device: as a build decides them that times nothing."""
        if all(c.tactic != UNTUNED for c in choices):
            return choices
        from trtn.backend.tuner.tuner import Tuner  # with all that a build takes

        tuner = Tuner(discover(), self._engine.hardware, _no_bench, effort=0)
        defaults = tuner.choose([p if c.tactic == UNTUNED else None for p, c in zip(problems, choices, strict=True)])
        return [d if c.tactic == UNTUNED else c for c, d in zip(choices, defaults, strict=True)]

    def _elastic(self, problems: Sequence[Problem | None], choices: Sequence[Choice]) -> list[Choice]:
        """What takes problems of sizes that were not tuned: a tactic whose kernel need not be compiled for them. Generated
        kernels are asked before libraries': they know at which sizes they lead, which libraries don't. Where nobody has
        one it is what was chosen."""
        providers = [p for p in discover() if isinstance(p, ElasticProvider) and not self._missing(p.name)]
        found: dict[str, Choice] = {}
        for problem, choice in zip(problems, choices, strict=True):
            if problem is None or problem.key in found:
                continue
            found[problem.key] = choice
            if choice.provider == reference_provider().name:
                continue
            for provider in providers:
                if provider.refusal(problem.group):
                    continue
                chosen = Tactic(choice.tactic) if provider.name == choice.provider else None
                tactic = provider.elastic(problem, chosen, self._engine.hardware)
                if tactic is not None:
                    found[problem.key] = Choice(provider.name, tactic.name, choice.origin)
                    break
        return [
            choice if problem is None else found[problem.key] for problem, choice in zip(problems, choices, strict=True)
        ]

    def _make(self, wanted: Mapping[Key, tuple[Problem, Choice]]) -> None:
        """Prepare what is not there yet, provider by provider."""
        by_provider: dict[str, list[Key]] = {}
        for key, (problem, choice) in wanted.items():
            missing = self._missing(choice.provider)
            known = find_provider(choice.provider) is not None
            if missing and known and self._engine.device == "cpu":  # NumPy runs it anywhere, if slower
                self._prepared[key] = self._by_reference(problem, choice, missing)
                continue
            provider = self._provider(choice.provider, problem)
            refusal = provider.refusal(problem.group)
            if refusal:
                self._prepared[key] = self._fall_back(problem, choice, refusal)
            else:
                by_provider.setdefault(provider.name, []).append(key)
        pairs = {
            name: [(wanted[key][0], Tactic(wanted[key][1].tactic)) for key in keys]
            for name, keys in by_provider.items()
        }
        providers = {name: self._provider(name, wanted[keys[0]][0]) for name, keys in by_provider.items()}
        for name, provider in providers.items():
            if isinstance(provider, ForesightedProvider):
                provider.announce(pairs[name], self._engine.hardware)
        # one that compiles in threads of its own comes last: the others are at work meanwhile
        for name in sorted(by_provider, key=lambda n: isinstance(providers[n], BulkProvider)):
            results = prepare_all(providers[name], pairs[name], self._engine.hardware)
            for key, result in zip(by_provider[name], results, strict=True):
                if isinstance(result, TacticError):
                    result = self._fall_back(*wanted[key], str(result))
                self._engine.hardware.binaries.keep(binaries_of([result]))
                self._prepared[key] = result

    def _missing(self, name: str) -> str | None:
        """Why a provider can't be had here, or None."""
        provider = find_provider(name)
        return "this version does not have it" if provider is None else provider.unavailable(self._engine.device)

    def _provider(self, name: str, problem: Problem) -> Provider:
        provider = find_provider(name)
        reason = self._missing(name)
        if provider is None or reason is not None:
            message = f"group `{problem.group.name}` needs provider `{name}`: {reason}"
            raise EngineError(message, [Diagnostic("E0702", message)])
        return provider

    def _fall_back(self, problem: Problem, choice: Choice, reason: str) -> Prepared:
        """What runs a problem that the chosen tactic does not take: the provider's first other one, or the
        reference."""
        group, device = problem.group, self._engine.hardware
        provider = self._provider(choice.provider, problem)
        if not provider.refusal(group):
            offered = provider.tactics(problem, device)
            for tactic in offered:
                if tactic.name == choice.tactic or (tactic.numerics == "reduced" and not _reduces(choice, offered)):
                    continue
                try:
                    prepared = provider.prepare(problem, tactic, device)
                except TacticError as e:
                    _log.info("group `%s`: %s: %s", group.name, tactic.name, e)
                else:
                    self._note(problem, choice, reason)
                    return prepared
        return self._by_reference(problem, choice, reason)

    def _by_reference(self, problem: Problem, choice: Choice, reason: str) -> Prepared:
        self._note(problem, choice, reason)
        reference, device = reference_provider(), self._engine.hardware
        return reference.prepare(problem, reference.tactics(problem, device)[0], device)

    def _note(self, problem: Problem, choice: Choice, reason: str) -> None:
        """Why a group does not run by the chosen tactic."""
        name = problem.group.name
        self.fallbacks[name] = f"{choice.provider} {choice.tactic}: {reason}"
        _log.info("group `%s` at %s: %s", name, dict(problem.sizes), self.fallbacks[name])


def _no_bench(problem: Problem, device: Device) -> NoReturn:
    raise AssertionError("nothing is timed at effort 0")


def _reduces(choice: Choice, offered: Sequence[Tactic]) -> bool:
    """Whether what was chosen computes in less precision than the dtypes promise, which is allowed then."""
    chosen = [t for t in offered if t.name == choice.tactic]
    return all(t.numerics == "reduced" for t in chosen or offered)


def _key(problem: Problem, choice: Choice) -> Key:
    return problem.key, choice.provider, choice.tactic


def _trim(kept: OrderedDict[Key, V] | OrderedDict[tuple[tuple[str, int], ...], V], limit: int) -> None:
    while len(kept) > limit:
        kept.popitem(last=False)
