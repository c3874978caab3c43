"""Which groups have generated kernels for the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

from trtn.backend import machine_code
from trtn.backend.devices import Device
from trtn.backend.discovery import later
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.onednn import library as onednn

if TYPE_CHECKING:
    from trtn.backend.providers.llvm.family import Written
    from trtn.backend.providers.llvm.kernel import LlvmKernel

__all__ = ["PROVIDER", "LlvmProvider"]

_log = logging.getLogger(__name__)

REVISION = 3
"""Goes up with every change of what a tactic's name stands for."""
OPS: Mapping[str, frozenset[str] | None] = {
    "attention": None,
    "conv": frozenset({"conv"}),
    "copy": frozenset({"concat", "embedding", "gather", "pad"}),
    "gemm": None,
    "pointwise": None,
    "pooling": frozenset({"global_avg_pool"}),
    "recurrent": frozenset({"dynamic_quantize_lstm", "gru", "lstm"}),
    "reference": frozenset({"dequantize_linear", "dynamic_quantize_linear", "matmul_integer", "quantize_linear"}),
    "view": None,
}
"""The ops that there are kernels for, by kind of group; None for all of them that turn out to have instructions."""
Writer = Callable[[Problem], "Written"]
_later = partial(later, __package__)


class LlvmProvider:
    """Products of f32 with constant matrices, recurrent layers of few sequences, small steps, and steps that no library
    has, as machine code of their own; on all threads where there is enough to do."""

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
        if self.refusal(problem.group):
            return ()
        worth = {name: _is_expected(problem, name, write) for name, write in _writers()[problem.group.kind].items()}
        # Kernels that are hardly worth it come last, and only where they are timed or nothing else is as fast.
        wanted = (True, False) if effort > 0 or onednn.unavailable() is not None else (True,)
        return [Tactic(n, numerics="reassociated") for look in wanted for n, found in worth.items() if found is look]

    def prepare(self, problem: Problem, tactic: Tactic, device: Device) -> LlvmKernel:
        from trtn.backend.providers.llvm.kernel import LlvmKernel

        write = None if self.refusal(problem.group) else _writers()[problem.group.kind].get(tactic.name)
        if write is None:
            raise TacticError(f"there is no tactic `{tactic.name}` for {problem.group.kind} groups")
        return LlvmKernel(_written(problem, write), device)


PROVIDER = LlvmProvider()


def _is_expected(problem: Problem, name: str, write: Writer) -> bool | None:
    """Whether a kernel is expected to be the fastest; None where there is none."""
    try:
        return _written(problem, write).expected
    except TacticError as e:
        _log.debug("%s %s: %s", problem, name, e)
        return None


def _written(problem: Problem, write: Writer) -> Written:
    """The kernel's text. Raises TacticError."""
    from trtn.backend.providers.llvm.family import Unfit

    try:
        return write(problem)
    except Unfit as e:
        raise TacticError(str(e)) from None


@cache
def _writers() -> Mapping[str, Mapping[str, Writer]]:
    """What writes the kernels of each kind of group, by tactic, the best guess first."""
    from trtn.backend.providers.llvm.winograd_shape import TILES

    return {
        "attention": {"fused": _later("gemm.attention", "write_attention")},
        "conv": {
            "pixels": _later("gemm.problems", "write_pixels"),
            "depthwise": _later("depthwise", "write_depthwise"),
            "planes": _later("planes", "write_planes"),
            **{f"winograd{m}": partial(_later("winograd", "write_winograd"), m) for m in TILES},
        },
        "copy": {"loops": _later("copies", "write_copy")},
        "gemm": {"panels": _later("gemm.problems", "write_rows")},
        "pointwise": {"loops": _later("pointwise", "write_pointwise")},
        "pooling": {"means": _later("averages", "write_average")},
        "recurrent": {"cells": _later("cells", "write_cells"), "loops": _later("recurrent", "write_dynamic_lstm")},
        "reference": {
            "rows": _later("integers", "write_integer_product"),
            "loops": _later("quantize", "write_quantization"),
        },
        "view": {"loops": _later("copies", "write_view")},
    }
