"""The provider of generated kernels: each group goes to the first family that takes it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from trtn.backend.devices import Device
from trtn.backend.discovery import scan
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen import modules
from trtn.backend.providers.codegen.family import Family
from trtn.backend.providers.codegen.kernel import CodegenKernel

__all__ = ["CodegenProvider", "families"]

REVISION = "1"
"""Goes up with every change of what is generated."""
OLDEST = 80
"""The compute capability from which on the instructions used are there (conversions to bf16, max with NaN)."""


class CodegenProvider:
    """CUDA C++ written for each group, compiled by NVRTC."""

    name = "codegen"
    after = frozenset({"reference"})
    is_reference = False

    def unavailable(self, device: str) -> str | None:
        if not device.startswith("cuda"):
            return "generated kernels are for NVIDIA GPUs"
        digits = "".join(c for c in device.removeprefix("cuda:sm_") if c.isdigit())
        if digits and int(digits) < OLDEST:
            return f"generated kernels need compute capability {OLDEST // 10}.{OLDEST % 10}, the device is {device}"
        return modules.unavailable()

    def version(self) -> str:
        return f"{REVISION}-nvrtc{modules.nvrtc_version()}"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return [
            Tactic(f"{family.name}.{t.name}", t.workspace, t.numerics)
            for family in families()
            if not family.refusal(group)
            for t in family.tactics(group)
        ]

    def refusal(self, group: Group) -> str:
        """The reasons of all families, those first that say more than that the group is of another kind."""
        return "; ".join(dict.fromkeys(f"{family.name}: {family.refusal(group)}" for family in families()))

    def compile(self, group: Group, tactic: Tactic, device: Device) -> CodegenKernel:
        family, _, name = tactic.name.partition(".")
        return CodegenKernel(group, next(f for f in families() if f.name == family), name, device)


@cache
def families() -> tuple[Family, ...]:
    """The families of this package, by name."""
    import trtn.backend.providers.codegen as package

    return tuple(sorted(scan(package, "FAMILY"), key=lambda f: f.name))
