"""Which groups have generated kernels for the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from trtn.backend import machine_code
from trtn.backend.devices import Device
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError

if TYPE_CHECKING:
    from trtn.backend.providers.llvm.family import Written
    from trtn.backend.providers.llvm.kernel import LlvmKernel

__all__ = ["PROVIDER", "LlvmProvider"]

_log = logging.getLogger(__name__)

REVISION = 1
"""Goes up with every change of what a tactic's name stands for."""
LOOPS = Tactic("loops", numerics="reassociated")
LARGEST = 1 << 21
"""Elements of the results beyond which a library's threads, even over several passes, are faster than one thread."""
OPS: Mapping[str, frozenset[str] | None] = {
    "copy": frozenset({"concat", "embedding", "gather", "pad"}),
    "pointwise": None,
    "recurrent": frozenset({"dynamic_quantize_lstm"}),
    "reference": frozenset({"dequantize_linear", "dynamic_quantize_linear", "quantize_linear"}),
    "view": None,
}
"""The ops that there are kernels for, by kind of group; None for all of them that turn out to have instructions."""


class LlvmProvider:
    """Small steps, and steps that no library has, as machine code of their own. One thread runs a kernel."""

    name = "llvm"
    after: frozenset[str] = frozenset({"onednn", "reference"})
    devices = frozenset({"cpu"})
    is_reference = False

    def unavailable(self, device: str) -> str | None:
        return machine_code.unavailable() if device == "cpu" else "LLVM is driven for CPUs only"

    def version(self) -> str:
        return f"{machine_code.version()}-{REVISION}"

    def refusal(self, group: Group) -> str:
        if group.kind not in OPS:
            return f"no kernels for {group.kind} groups"
        ops = OPS[group.kind]
        if ops is not None and group.layers[0].op.name not in ops:
            return f"no kernel for `{group.layers[0].op.name}`"
        return ""

    def tactics(self, problem: Problem, device: Device, effort: int = 3) -> Sequence[Tactic]:
        if self.refusal(problem.group) or sum(o.size for o in problem.outputs) > LARGEST:
            return ()
        try:
            _write(problem)
        except TacticError as e:
            _log.debug("%s: %s", problem, e)
            return ()
        return (LOOPS,)

    def prepare(self, problem: Problem, tactic: Tactic, device: Device) -> LlvmKernel:
        from trtn.backend.providers.llvm.kernel import LlvmKernel

        if tactic.name != LOOPS.name or self.refusal(problem.group):
            raise TacticError(f"there is no tactic `{tactic.name}` for {problem.group.kind} groups")
        return LlvmKernel(_write(problem), device)


PROVIDER = LlvmProvider()


def _write(problem: Problem) -> Written:
    """The kernel's text. Raises TacticError."""
    from trtn.backend.providers.llvm.family import Unfit

    try:
        return _writers()[problem.group.kind](problem)
    except Unfit as e:
        raise TacticError(str(e)) from None


@cache
def _writers() -> Mapping[str, Callable[[Problem], Written]]:
    """What writes the kernels of each kind of group. These modules need llvmlite."""
    from trtn.backend.providers.llvm.copies import write_copy, write_view
    from trtn.backend.providers.llvm.pointwise import write_pointwise
    from trtn.backend.providers.llvm.quantize import write_quantization
    from trtn.backend.providers.llvm.recurrent import write_dynamic_lstm

    return {
        "copy": write_copy,
        "pointwise": write_pointwise,
        "recurrent": write_dynamic_lstm,
        "reference": write_quantization,
        "view": write_view,
    }
