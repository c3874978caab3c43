"""The road that a build goes, up to where it would need the device."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trtn.backend.build import policy_of, tuning_effort, with_profiles
from trtn.backend.devices import find_device
from trtn.backend.devices.cpu import CPU
from trtn.backend.devices.cuda import CudaDevice
from trtn.backend.fusion import partition
from trtn.backend.group import Group
from trtn.backend.passes import run_passes
from trtn.backend.plan.arrays import plan_problems
from trtn.backend.plan.points import tuned_points
from trtn.backend.plan.storage import StoragePlan
from trtn.backend.problem import Problem
from trtn.backend.providers import discover
from trtn.backend.report.deciding import Providers, Tactics
from trtn.backend.runtime.engine import default_profile, storage_on
from trtn.backend.tuner.lock import Lock, read_lock
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Network, Precision

__all__ = ["Ahead", "look_ahead"]

GPU = re.compile(r"cuda(:sm_\d+[a-z]?)?")


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a build comes to. `written` is the network with the profiles that are served, `network` what the passes
    make of it; `reasons`: why groups are not one; `problems`: each group's at each of `points`. `section` is where
    `lock`, which is None where there is none, keeps the tactics."""

    device: str
    policy: Precision
    effort: int
    written: Network
    network: Network
    groups: Sequence[Group]
    reasons: Mapping[str, str]
    storage: StoragePlan
    providers: Providers
    points: Sequence[Mapping[str, int]]
    problems: Sequence[Sequence[Problem | None]]
    lock: Lock | None
    section: str
    tactics: Tactics


def look_ahead(
    network: Network,
    *,
    device: str | None,
    precision: str | Precision | None,
    profiles: Sequence[str] | None,
    lock: str | Path | None,
    effort: int | None,
    target: str,
) -> Ahead:
    """All that `build` with these arguments decides without its device: nothing is timed, compiled or run; weights are
    read where passes compute with them. Raises BuildError."""
    name = _device_name(device)
    policy = policy_of(precision)
    level = tuning_effort(effort, name)
    written = with_profiles(network, profiles)
    reduced = run_passes(written, precision=policy, device=name)
    reasons: dict[str, str] = {}
    groups = partition(reduced, device=name, reasons=reasons)
    reduced = replace(reduced, graph=replace(reduced.graph, layers=tuple(x for g in groups for x in g.layers)))

    providers = Providers(discover(), name)
    storage = storage_on(name, reduced, groups, providers.names)
    held = read_lock(lock) if lock is not None and Path(lock).exists() else None
    section = target or name
    tactics = Tactics(providers, held, str(lock or ""), section, timed=level > 0)
    points, problems = _problems(reduced, groups, storage, name)
    tactics.decide_all(problem for at_point in problems for problem in at_point)
    return Ahead(
        name, policy, level, written, reduced, groups, reasons, storage, providers, points, problems, held, section, tactics
    )  # fmt: skip


def _device_name(wanted: str | None) -> str:
    if wanted is None:
        return find_device(None).name
    if wanted == "cpu" or GPU.fullmatch(wanted):
        return wanted
    message = f"no device is called `{wanted}`"
    raise BuildError(message, [Diagnostic("E0702", message, help="devices: `cpu`, `cuda`, `cuda:sm_90`")])


def _problems(
    network: Network, groups: Sequence[Group], storage: StoragePlan, device: str
) -> tuple[list[Mapping[str, int]], list[Sequence[Problem | None]]]:
    """The tuned points, and each group's problem there. Points that no address space has room for are left out."""
    optima, corners = tuned_points(network.profiles)
    optima = optima or [default_profile(network).corner("optimum")]
    alignment = CPU.alignment if device == "cpu" else CudaDevice.alignment
    points: list[Mapping[str, int]] = []
    problems: list[Sequence[Problem | None]] = []
    for sizes in (*optima, *corners):
        try:
            problems.append(plan_problems(network, groups, storage, sizes, alignment))
        except MemoryError:
            continue
        points.append(sizes)
    return points, problems
