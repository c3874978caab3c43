"""The provider of generated kernels: each group goes to the first family that takes it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from threading import Thread

from trtn.backend.devices import Device
from trtn.backend.discovery import scan
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen import modules
from trtn.backend.providers.codegen.family import Family, KernelSpec, LeadingFamily, Plan, SizedFamily
from trtn.backend.providers.codegen.kernel import CodegenKernel, operands_of

__all__ = ["CodegenProvider", "families"]

REVISION = "5"
"""Goes up with every change of what is generated."""
NEXT = 3
"""So many of the likeliest tactics are about as fast as the first."""
OLDEST = 80
"""The compute capability from which on the instructions used are there (conversions to bf16, max with NaN)."""


class CodegenProvider:
    """CUDA C++ written for each group, compiled by NVRTC."""

    name = "codegen"
    after = frozenset({"reference"})
    devices = frozenset({"cuda"})
    is_reference = False

    def __init__(self) -> None:
        self._ahead: Thread | None = None
        """Compiles what was announced."""

    def unavailable(self, device: str) -> str | None:
        if not device.startswith("cuda"):
            return "generated kernels are for NVIDIA GPUs"
        digits = "".join(c for c in device.removeprefix("cuda:sm_") if c.isdigit())
        if digits and int(digits) < OLDEST:
            return f"generated kernels need compute capability {OLDEST // 10}.{OLDEST % 10}, the device is {device}"
        return modules.unavailable()

    def version(self) -> str:
        return f"{REVISION}-nvrtc{modules.nvrtc_version()}"

    def refusal(self, group: Group) -> str:
        """The reasons of all families, those first that say more than that the group is of another kind; "" where one
        takes it."""
        reasons = [(family.name, family.refusal(group)) for family in families()]
        if not all(reason for _, reason in reasons):
            return ""
        return "; ".join(dict.fromkeys(f"{name}: {reason}" for name, reason in reasons))

    def tactics(self, problem: Problem, device: Device, effort: int = 3) -> Sequence[Tactic]:
        """Those that compute in less precision come first: they are the fastest where they are allowed."""
        found = [
            Tactic(f"{family.name}.{t.name}", t.workspace, t.numerics)
            for family in families()
            if not family.refusal(problem.group)
            for t in _tactics(family, problem, device, effort)
        ]
        return sorted(found, key=lambda t: t.numerics != "reduced")

    def elastic(self, problem: Problem, chosen: Tactic | None, device: Device) -> Tactic | None:
        """What was chosen serves any sizes; but a family whose ways depend on them may know better ones for these, and
        may lead at these where another provider did at others."""
        name = "" if chosen is None else chosen.name.partition(".")[0]
        for family in families():
            if not isinstance(family, SizedFamily) or family.refusal(problem.group):
                continue
            leads = isinstance(family, LeadingFamily) and family.leads(problem)
            if family.name == name or (chosen is None and leads):
                likely = [Tactic(f"{family.name}.{t.name}") for t in family.tactics_for(problem, device, 3)]
                return chosen if chosen in likely else self._at_hand(problem, likely, device)
        return chosen

    def _at_hand(self, problem: Problem, likely: Sequence[Tactic], device: Device) -> Tactic | None:
        """The likeliest tactic, but one of the next where that saves a compilation."""
        architecture = device.name.removeprefix("cuda:")
        for tactic in likely[:NEXT]:
            with suppress(TacticError):
                plan = _plan(problem, tactic)
                calls = (*plan.once, *plan.calls)
                if all(modules.is_at_hand(c.spec, architecture, device.binaries) for c in calls):
                    return tactic
        return next(iter(likely), None)

    def prepare(self, problem: Problem, tactic: Tactic, device: Device) -> CodegenKernel:
        self._wait()
        return CodegenKernel(problem, _plan(problem, tactic), device)

    def prepare_all(
        self, wanted: Sequence[tuple[Problem, Tactic]], device: Device
    ) -> Sequence[CodegenKernel | TacticError]:
        """All kernels are compiled side by side first."""
        self._wait()
        results: list[CodegenKernel | TacticError] = []
        plans: list[Plan | TacticError] = []
        for problem, tactic in wanted:
            try:
                plans.append(_plan(problem, tactic))
            except TacticError as e:
                plans.append(e)
        calls = (call for plan in plans if isinstance(plan, Plan) for call in (*plan.once, *plan.calls))
        with suppress(modules.CompileError):  # whose kernel it is comes out below
            modules.compile_all((c.spec for c in calls), device.name.removeprefix("cuda:"), device.binaries)
        for (problem, _), plan in zip(wanted, plans, strict=True):
            try:
                results.append(plan if isinstance(plan, TacticError) else CodegenKernel(problem, plan, device))
            except TacticError as e:
                results.append(e)
        return results

    def announce(self, wanted: Sequence[tuple[Problem, Tactic]], device: Device) -> None:
        """Compile in the background what will be asked for: NVRTC lets other threads run."""
        plans = []
        for problem, tactic in wanted:
            with suppress(TacticError):
                plans.append(_plan(problem, tactic))
        specs = [call.spec for plan in plans for call in (*plan.once, *plan.calls)]
        self._wait()
        if specs:
            self._ahead = Thread(target=_compile, args=(specs, device), daemon=True)
            self._ahead.start()

    def _wait(self) -> None:
        """Let what was announced be compiled before anything is compiled twice."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.join()


def _compile(specs: Sequence[KernelSpec], device: Device) -> None:
    """Compile kernels ahead; whose does not compile comes out when it is asked for."""
    with suppress(modules.CompileError):
        modules.compile_all(specs, device.name.removeprefix("cuda:"), device.binaries)


def _tactics(family: Family, problem: Problem, device: Device, effort: int) -> Sequence[Tactic]:
    if isinstance(family, SizedFamily):
        return family.tactics_for(problem, device, effort)
    return family.tactics(problem.group)


def _plan(problem: Problem, tactic: Tactic) -> Plan:
    """A tactic's launches for a problem. Raises TacticError where no family has it for this group."""
    name, _, rest = tactic.name.partition(".")
    family = next((f for f in families() if f.name == name), None)
    if family is None:
        raise TacticError(f"no family of kernels is called `{name}`")
    if refusal := family.refusal(problem.group):
        raise TacticError(f"{name}: {refusal}")
    if not isinstance(family, SizedFamily) and all(t.name != rest for t in family.tactics(problem.group)):
        raise TacticError(f"{name} has no tactic `{rest}` for this group")
    return family.plan(problem.group, rest, problem.sizes, *operands_of(problem))


@cache
def families() -> tuple[Family, ...]:
    """The families of this package, by name."""
    import trtn.backend.providers.codegen as package

    return tuple(sorted(scan(package, "FAMILY"), key=lambda f: f.name))
