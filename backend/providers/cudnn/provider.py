"""What cuDNN takes, and its plans as tactics."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from itertools import chain, zip_longest

from trtn.backend.devices import Device
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.cudnn.graphs import forms_of
from trtn.backend.providers.cudnn.plans import CudnnKernel, PlanMaker, tactic_names
from trtn.backend.providers.cudnn.rules import refusal

__all__ = ["PROVIDER", "CudnnProvider"]

_log = logging.getLogger(__name__)

REVISION = "2"
"""Goes up when a tactic's name comes to mean another graph."""
PROBLEM_LIMIT = 1024
"""Problems whose lists of plans are kept."""


class CudnnProvider:
    """Convolutions, matrix products and attention through cuDNN's graphs."""

    name = "cudnn"
    after: frozenset[str] = frozenset({"reference"})
    devices = frozenset({"cuda"})
    is_reference = False

    def __init__(self) -> None:
        self._maker = PlanMaker()
        self._lists: dict[str, tuple[Tactic, ...]] = {}
        """Tactics by problem key: the library's heuristics take milliseconds."""

    def unavailable(self, device: str) -> str | None:
        if not device.startswith("cuda"):
            return "cuDNN runs on GPUs"
        return _missing()

    def version(self) -> str:
        import cudnn

        return f"{cudnn.backend_version()}-{REVISION}"

    def refusal(self, group: Group) -> str:
        return refusal(group)

    def tactics(self, problem: Problem, device: Device, effort: int = 3) -> Sequence[Tactic]:
        found = self._lists.get(problem.key)
        if found is None:
            if len(self._lists) >= PROBLEM_LIMIT:
                self._lists.clear()
            found = self._lists[problem.key] = () if refusal(problem.group) else _list_tactics(problem)
        return found

    def prepare(self, problem: Problem, tactic: Tactic, device: Device) -> CudnnKernel:
        if why := refusal(problem.group):
            raise TacticError(why)
        return self._maker.make(problem, tactic.name, device)

    def elastic(self, problem: Problem, chosen: Tactic | None, device: Device) -> Tactic | None:
        """Plans of attention come with the library. Those of products with an epilogue are compiled for each size, which
        takes a third of a second."""
        return chosen if problem.group.kind == "attention" else None

    def announce(self, wanted: Sequence[tuple[Problem, Tactic]], device: Device) -> None:
        self._maker.announce([(problem, tactic.name) for problem, tactic in wanted], device)


PROVIDER = CudnnProvider()


def _list_tactics(problem: Problem) -> tuple[Tactic, ...]:
    """The plans of all forms of a problem, each form's best guesses first."""
    numerics = "reduced" if problem.outputs[0].dtype.name == "f32" else "reassociated"
    lists = []
    for form in forms_of(problem):
        try:
            lists.append(tactic_names(problem, form))
        except TacticError as e:
            _log.debug("%r as %s: %s", problem, form, e)
    in_turns = chain.from_iterable(zip_longest(*lists))
    return tuple(Tactic(name, numerics=numerics) for name in in_turns if name is not None)


@cache
def _missing() -> str | None:
    try:
        import cudnn

        cudnn.backend_version()
    except (ImportError, OSError, RuntimeError) as e:
        return f"cuDNN or its frontend can't be loaded: {e}"
    return None
