"""What a build would change of an engine that exists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from trtn.backend.fusion.signature import signature
from trtn.backend.group import Group
from trtn.backend.report.model import Comparison, GroupChange, Plan, TacticChange
from trtn.backend.runtime.engine import Engine
from trtn.dsl.network import Network
from trtn.dsl.review import compare
from trtn.dsl.review.changes import Subject
from trtn.dsl.review.report import human

__all__ = ["compare_with"]


def compare_with(engine: Engine, plan: Plan, network: Network, groups: Sequence[Group]) -> Comparison:
    """An engine beside a plan. `network` is the plan's after the passes, as an engine's is, `groups` are its groups."""
    is_same_spec = engine.provenance.get("network") == plan.digest
    left_out: tuple[Subject, ...] = ("target", "weight") if is_same_spec else ("target",)
    reviewed = compare(engine.network, network, titles=("engine", "plan"), without=left_out)
    # A weight that is generated has no hash in the spec, and one in the engine: that tells nothing.
    known = [c for c in reviewed.changes if c.what != "contents" or c.after.startswith("sha256:")]
    reviewed = replace(reviewed, changes=tuple(known))
    return Comparison(
        engine=engine.name,
        notes=tuple(_notes(engine, plan)),
        network=() if reviewed.is_same else tuple(human([reviewed]).splitlines()[1:]),
        groups=tuple(_groups(engine.groups, groups)),
        tactics=tuple(_tactics(engine, plan, groups)),
        memory=_memory(engine, plan),
    )


def _notes(engine: Engine, plan: Plan) -> Iterator[str]:
    is_same = engine.provenance.get("network") == plan.digest
    yield "built from this very network" if is_same else "built from another network"
    if engine.device != plan.device:
        yield f"built for {engine.device}, the plan is for {plan.device}"
    versions = engine.provenance.get("providers")
    had = versions if isinstance(versions, dict) else {}
    for library in plan.libraries:
        if library.version and library.name not in had:
            yield f"built without {library.name}"
        elif library.version and had[library.name] != library.version:
            yield f"built with {library.name} {had[library.name]}, here is {library.version}"


def _groups(before: Sequence[Group], after: Sequence[Group]) -> Iterator[GroupChange]:
    """By name. Groups that compute the same at the same types are the same."""
    old = {g.name: g for g in before}
    new = {g.name: g for g in after}
    for name, group in new.items():
        if name not in old:
            yield GroupChange("added", name, "", _text(group))
        elif signature(old[name]) != signature(group):
            yield GroupChange("changed", name, _text(old[name]), _text(group))
    for name, group in old.items():
        if name not in new:
            yield GroupChange("removed", name, _text(group), "")


def _tactics(engine: Engine, plan: Plan, groups: Sequence[Group]) -> Iterator[TacticChange]:
    """Groups that stay, and run by another tactic, or by one that is decided anew."""
    steps = {g.name: (n, signature(g)) for n, g in enumerate(engine.groups)}
    for number, sizes in enumerate(plan.points):
        at = next((p for p in engine.points if dict(p.sizes) == dict(sizes)), None)
        if at is None:
            continue
        for group, planned in zip(groups, plan.groups, strict=True):
            decision = planned.decisions[number]
            step, text = steps.get(group.name, (0, ""))
            if decision is None or text != signature(group):
                continue
            had = at.choices[step]
            is_open = not decision.tactic
            same = (had.provider, had.tactic) == (decision.provider, decision.tactic)
            if (is_open and decision.by == "timing") or (is_open and had.provider != decision.provider):
                after = "" if decision.by == "timing" else decision.provider
                yield TacticChange(planned.name, number, f"{had.provider} {had.tactic}", after)
            elif not is_open and not same:
                after = f"{decision.provider} {decision.tactic}"
                yield TacticChange(planned.name, number, f"{had.provider} {had.tactic}", after)


def _memory(engine: Engine, plan: Plan) -> dict[str, tuple[int | None, int | None]]:
    found: dict[str, tuple[int | None, int | None]] = {}
    known = {p.name: p for p in engine.profiles}
    for profile in plan.profiles:
        before = None
        if profile.name in known:
            try:
                before = engine.arena(known[profile.name].corner("maximum")).nbytes
            except (ValueError, LookupError):
                before = None
        found[profile.name] = (before, profile.memory.arena if profile.memory is not None else None)
    return found


def _text(group: Group) -> str:
    ops = " + ".join(layer.op.name for layer in group.layers)
    return f"{group.kind}: {ops} -> {', '.join(str(t.type) for t in group.outputs)}"
