"""Which groups are run by blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from trtn.backend.devices import Device
from trtn.backend.devices.workers import Workers, workers_for
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Prepared, Tactic, TacticError
from trtn.backend.providers.blockwise.blocks import Unfit
from trtn.backend.providers.blockwise.convolution import ConvolutionKernel
from trtn.backend.providers.blockwise.depthwise import DepthwiseKernel
from trtn.backend.providers.blockwise.products import ProductKernel
from trtn.backend.providers.blockwise.slices import SlicesKernel

__all__ = ["PROVIDER", "BlockwiseProvider"]

_log = logging.getLogger(__name__)

REVISION = "2"
"""Goes up with every change of what a tactic's name stands for."""
Make = Callable[[Problem, Workers, Device], Prepared]
KERNELS: Mapping[str, Mapping[str, Make]] = {
    "attention": {"slices": lambda p, w, d: SlicesKernel(p, w)},
    "conv": {"depthwise": DepthwiseKernel, "windows": ConvolutionKernel},
    "gemm": {"product": lambda p, w, d: ProductKernel(p, w)},
    "normalisation": {"slices": lambda p, w, d: SlicesKernel(p, w)},
    "pointwise": {"slices": lambda p, w, d: SlicesKernel(p, w)},
    "softmax": {"slices": lambda p, w, d: SlicesKernel(p, w)},
}
"""What makes the kernels of each tactic, by kind of group; the best guess first."""


class BlockwiseProvider:
    """NumPy on blocks, shared by threads."""

    name = "blockwise"
    after: frozenset[str] = frozenset({"reference"})
    devices = frozenset({"cpu"})
    is_reference = False
    channels_last = True
    by_arrays = True

    def unavailable(self, device: str) -> str | None:
        return None if device == "cpu" else "blocks of arrays are for CPUs only"

    def version(self) -> str:
        return REVISION

    def refusal(self, group: Group) -> str:
        if group.kind not in KERNELS:
            return f"no blocks for {group.kind} groups"
        if len(group.outputs) != 1:
            return "more than one result"
        dtype = group.outputs[0].dtype.name
        return "" if dtype == "f32" else f"{dtype}: kernels are for f32"

    def tactics(self, problem: Problem, device: Device, effort: int = 3) -> Sequence[Tactic]:
        found = []
        for name in () if self.refusal(problem.group) else KERNELS[problem.group.kind]:
            tactic = Tactic(name, numerics="reassociated")
            try:
                kernel = self.prepare(problem, tactic, device)
            except TacticError as e:
                _log.debug("%s %s: %s", problem, name, e)
            else:
                found.append(Tactic(name, kernel.workspace, "reassociated"))
        return found

    def prepare(self, problem: Problem, tactic: Tactic, device: Device) -> Prepared:
        make = KERNELS.get(problem.group.kind, {}).get(tactic.name)
        if make is None or self.refusal(problem.group):
            raise TacticError(f"there is no tactic `{tactic.name}` for {problem.group.kind} groups")
        try:
            return make(problem, workers_for(getattr(device, "threads", None)), device)
        except Unfit as e:
            raise TacticError(str(e)) from None


PROVIDER = BlockwiseProvider()
