"""A plan: what a build would do, told group by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trtn.backend.plan.roles import Role, roles_of
from trtn.backend.report.against import compare_with
from trtn.backend.report.ahead import Ahead, look_ahead
from trtn.backend.report.deciders import DtypeDeciders
from trtn.backend.report.memory import plan_profile
from trtn.backend.report.model import Apart, Buffer, GroupPlan, Plan
from trtn.backend.report.neighbours import reasons_apart
from trtn.backend.report.tables import Tables
from trtn.backend.report.times import times_of
from trtn.backend.runtime.engine import Engine, default_profile
from trtn.backend.runtime.profiler import StepProfile
from trtn.backend.tuner.lock import Lock
from trtn.backend.tuner.lock_check import require_dependencies
from trtn.dsl.network import Network, Precision
from trtn.dsl.printer import network_digest

__all__ = ["plan_build"]

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
    profile: StepProfile | None = None,
    against: Engine | None = None,
) -> Plan:
    """What `build` with the same arguments would do. No device is needed, nothing is timed, compiled or run; weights
    are read where passes compute with them.

    device: `cpu`, `cuda`, `cuda:sm_90`, whether or not this machine has one. Without it, what a build here would take.
    target: the target's name, for the reasons given.
    profile: times of an engine's steps, to stand beside those that are planned.
    against: an engine to compare with.
    Raises BuildError; where `locked`, for every problem that the lock misses.
    """
    ahead = look_ahead(
        network, device=device, precision=precision, profiles=profiles, lock=lock, effort=effort, target=target
    )
    reduced, groups, storage = ahead.network, ahead.groups, ahead.storage
    if locked:
        require_dependencies(ahead.lock or Lock(), network.dependencies)
        ahead.tactics.require_lock()

    shown = reduced.profiles or (default_profile(reduced),)
    tables = Tables(
        reduced,
        groups,
        storage,
        DtypeDeciders(ahead.written, ahead.policy, target if isinstance(precision, Precision) else "", ahead.device),
        shown[0].corner("maximum"),
    )
    planned = _groups(ahead, tables)
    digest = network_digest(ahead.written)
    plan = Plan(
        network=network.name,
        doc=network.doc,
        digest=digest,
        target=target,
        device=ahead.device,
        precision=_policy_text(ahead.policy),
        effort=ahead.effort,
        libraries=ahead.providers.libraries,
        layers_before=len(network.layers),
        layers_after=len(reduced.layers),
        inputs=tuple(tables.number(t) for t in reduced.inputs),
        outputs=tuple(tables.number(t) for t in reduced.outputs),
        tensors=tables.tensors(),
        layers=tables.layers(),
        groups=planned,
        apart=tuple(
            Apart(a, b, tables.number(t), reason) for a, b, t, reason in reasons_apart(reduced, groups, ahead.reasons)
        ),
        points=tuple(ahead.points),
        buffers=tuple(
            Buffer(tables.number(t), first, last)
            for t, (first, last) in zip(storage.buffers, storage.lifetimes, strict=True)
        ),
        profiles=tuple(plan_profile(p, storage, len(groups)) for p in shown),
        problems=ahead.tactics.counts(),
        lock=ahead.tactics.lock_plan(network.dependencies),
        times=times_of(profile, digest, ahead.device, groups) if profile is not None else None,
        against=None,
    )
    return plan if against is None else replace(plan, against=compare_with(against, plan, reduced, groups))


def _groups(ahead: Ahead, tables: Tables) -> tuple[GroupPlan, ...]:
    planned = []
    for number, (group, role) in enumerate(zip(ahead.groups, roles_of(ahead.groups, ahead.storage), strict=True)):
        takers, refusals = ahead.providers.of(group) if role is Role.KERNEL else ((), ())
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
                decisions=tuple(ahead.tactics.decide(at_point[number]) for at_point in ahead.problems),
            )
        )
    return tuple(planned)


def _policy_text(policy: Precision) -> str:
    keep = [f"{dtype} for {op}" for op, dtype in sorted(policy.keep.items())]
    default = f"default {policy.default}" if policy.default is not None else "as written"
    return f"{default}, keep {', '.join(keep)}" if keep else default
