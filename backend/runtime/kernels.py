"""An engine's kernels: for each shape the problems of its groups, each prepared by the tactic that was chosen at the
nearest tuned point. Contexts share them."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from trtn.backend.plan.arrays import plan_problems
from trtn.backend.plan.points import nearest
from trtn.backend.problem import Problem
from trtn.backend.providers import (
    ForesightedProvider,
    Keepable,
    Prepared,
    Provider,
    Tactic,
    TacticError,
    find_provider,
    prepare_all,
    reference_provider,
)
from trtn.backend.tuner.choice import Choice
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

    def _prepare(self, sizes: Mapping[str, int]) -> tuple[Prepared | None, ...]:
        engine = self._engine
        device = engine.hardware
        problems = plan_problems(engine.network, engine.groups, engine.storage, sizes, device.alignment)
        point = engine.points[nearest([p.sizes for p in engine.points], sizes)]
        wanted = {
            _key(problem, choice): (problem, choice)
            for problem, choice in zip(problems, point.choices, strict=True)
            if problem is not None
        }
        self._make({key: pair for key, pair in wanted.items() if key not in self._prepared})
        for key in wanted:
            self._prepared.move_to_end(key)
        return tuple(
            None if problem is None else self._prepared[_key(problem, choice)]
            for problem, choice in zip(problems, point.choices, strict=True)
        )

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
        for name, keys in by_provider.items():
            pairs = [(wanted[key][0], Tactic(wanted[key][1].tactic)) for key in keys]
            provider = self._provider(name, pairs[0][0])
            if isinstance(provider, ForesightedProvider):
                provider.announce(pairs, self._engine.hardware)
            results = prepare_all(provider, pairs, self._engine.hardware)
            for key, result in zip(keys, results, strict=True):
                if isinstance(result, TacticError):
                    result = self._fall_back(*wanted[key], str(result))
                if isinstance(result, Keepable):
                    result.keep()
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
            for tactic in provider.tactics(problem, device):
                if tactic.name == choice.tactic:
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


def _key(problem: Problem, choice: Choice) -> Key:
    return problem.key, choice.provider, choice.tactic


def _trim(kept: OrderedDict[Key, V] | OrderedDict[tuple[tuple[str, int], ...], V], limit: int) -> None:
    while len(kept) > limit:
        kept.popitem(last=False)
