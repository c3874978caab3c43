"""The road that a build goes, up to where it would need the device."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from trtn.backend.plan.roles import Role, roles_of
from trtn.backend.plan.storage import StoragePlan
from trtn.backend.problem import Problem
from trtn.backend.providers import discover
from trtn.backend.report.against import compare_with
from trtn.backend.report.deciders import DtypeDeciders
from trtn.backend.report.deciding import Providers, Tactics
from trtn.backend.report.memory import plan_profile
from trtn.backend.report.model import Apart, Buffer, GroupPlan, Plan
from trtn.backend.report.neighbours import reasons_apart
from trtn.backend.report.tables import Tables
from trtn.backend.runtime.engine import Engine, default_profile, storage_on
from trtn.backend.tuner.lock import read_lock
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Network, Precision
from trtn.dsl.printer import network_digest

__all__ = ["plan_build"]

GPU = re.compile(r"cuda(:sm_\d+[a-z]?)?")
RUN_BY = {Role.KERNEL: "kernel", Role.VIEW: "view", Role.CONCAT: "concat", Role.LATE: "late"}


def plan_build(
    network: Network,
    *,
    device: str | None = None,
    precision: str | Precision | None = None,
    profiles: Sequence[str] | None = None,
    lock: str | Path | None = None,
    locked: bool = False,
    effort: int | None = None,
    target: str = "",
    against: Engine | None = None,
) -> Plan:
    """What `build` with the same arguments would do. No device is needed, nothing is timed, compiled or run; weights
    are read where passes compute with them.

    device: `cpu`, `cuda`, `cuda:sm_90`, whether or not this machine has one. Without it, what a build here would take.
    target: the target's name, for the reasons given.
    against: an engine to compare with.
    Raises BuildError; where `locked`, for every problem that the lock misses.
    """
    name = _device_name(device)
    policy = policy_of(precision)
    level = tuning_effort(effort, name)
    written = with_profiles(network, profiles)
    reduced = run_passes(written, precision=policy, device=name)
    noted: dict[str, str] = {}
    groups = partition(reduced, device=name, reasons=noted)
    reduced = replace(reduced, graph=replace(reduced.graph, layers=tuple(x for g in groups for x in g.layers)))

    providers = Providers(discover(), name)
    storage = storage_on(name, reduced, groups, len(providers))
    held = read_lock(lock) if lock is not None and Path(lock).exists() else None
    tactics = Tactics(providers, held, str(lock or ""), timed=level > 0)
    points, problems = _problems(reduced, groups, storage, name)
    tactics.decide_all(problem for at_point in problems for problem in at_point)
    if locked:
        tactics.require_lock()

    shown = reduced.profiles or (default_profile(reduced),)
    tables = Tables(
        reduced,
        groups,
        storage,
        DtypeDeciders(written, policy, target if isinstance(precision, Precision) else ""),
        shown[0].corner("maximum"),
    )
    planned = _groups(groups, storage, providers, tactics, problems, tables)
    plan = Plan(
        network=network.name,
        doc=network.doc,
        digest=network_digest(written),
        target=target,
        device=name,
        precision=_policy_text(policy),
        effort=level,
        libraries=providers.libraries,
        layers_before=len(network.layers),
        inputs=tuple(tables.number(t) for t in reduced.inputs),
        outputs=tuple(tables.number(t) for t in reduced.outputs),
        tensors=tables.tensors(),
        layers=tables.layers(),
        groups=planned,
        apart=tuple(Apart(a, b, tables.number(t), reason) for a, b, t, reason in reasons_apart(reduced, groups, noted)),
        points=tuple(points),
        buffers=tuple(
            Buffer(tables.number(t), first, last)
            for t, (first, last) in zip(storage.buffers, storage.lifetimes, strict=True)
        ),
        profiles=tuple(plan_profile(p, storage, len(groups)) for p in shown),
        problems=tactics.counts(),
        lock=tactics.lock_plan(),
        against=None,
    )
    return plan if against is None else replace(plan, against=compare_with(against, plan, reduced, groups))


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


def _groups(
    groups: Sequence[Group],
    storage: StoragePlan,
    providers: Providers,
    tactics: Tactics,
    problems: Sequence[Sequence[Problem | None]],
    tables: Tables,
) -> tuple[GroupPlan, ...]:
    planned = []
    for number, (group, role) in enumerate(zip(groups, roles_of(groups, storage), strict=True)):
        takers, refusals = providers.of(group) if role is Role.KERNEL else ((), ())
        planned.append(
            GroupPlan(
                name=group.name,
                kind=group.kind,
                role=RUN_BY[role],
                layers=tables.layers_of(group),
                inputs=tuple(tables.number(t) for t in group.inputs),
                outputs=tuple(tables.number(t) for t in group.outputs),
                sources=tables.sources_of(group),
                weight_bytes=sum(t.weight.nbytes for t in group.weights if t.weight is not None),
                providers=takers,
                refusals=refusals,
                decisions=tuple(tactics.decide(at_point[number]) for at_point in problems),
            )
        )
    return tuple(planned)


def _policy_text(policy: Precision) -> str:
    keep = [f"{dtype} for {op}" for op, dtype in sorted(policy.keep.items())]
    default = f"default {policy.default}" if policy.default is not None else "as written"
    return f"{default}, keep {', '.join(keep)}" if keep else default
