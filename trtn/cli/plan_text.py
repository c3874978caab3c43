"""A plan as lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from trtn.backend.report.model import Apart, Comparison, GroupPlan, LayerPlan, Plan, ProfilePlan, Times
from trtn.cli.tables import bytes_text, duration, plural, rows
from trtn.dsl.diagnostics.display import clean_line

__all__ = ["describe_group", "describe_plan", "find_group"]

SHOWN = 8
"""Reasons, or tensors at the peak, that are listed; the others are counted."""
NAMED = 2
"""Examples of each."""

Table = list[list[str]]


def describe_plan(plan: Plan, *, groups: bool = True) -> Iterator[str]:
    """The whole of a plan; without its groups where they are not wanted."""
    target = f" (target {plan.target})" if plan.target else ""
    doc = f": {plan.doc}" if plan.doc else ""
    yield clean_line(f"plan of {plan.network} for {plan.device}{target}{doc}")
    yield from rows(_head(plan))
    yield "\nmemory at max"
    yield from rows(_memory(plan), right=(1, 2, 3))
    for profile in plan.profiles:
        yield from _peak(plan, profile)
    yield from _tallied("dtypes", ((f"{t.dtype}, {t.decided_by}", t.name) for t in plan.tensors))
    refusals = ((f"{r.provider}: {r.reason}", g.name) for g in plan.groups for r in g.refusals)
    yield from _tallied("refused by providers", refusals)
    moving = {n for n, g in enumerate(plan.groups) if g.role != "view"}
    apart = (a for a in plan.apart if {a.first, a.second} <= moving)
    yield from _tallied(
        "not fused",
        ((_general(plan, a), f"{plan.groups[a.first].name} -> {plan.groups[a.second].name}") for a in apart),
    )
    if groups:
        yield f"\ngroups ({len(plan.groups):,})"
        yield from rows(_groups(plan), right=(0,))
    if plan.against is not None:
        yield from _against(plan, plan.against)


def find_group(plan: Plan, name: str) -> GroupPlan | list[str]:
    """The group that has a layer, or makes a tensor, of a name; where there is none, names that are near."""
    for group in plan.groups:
        layers = list(_layers(plan, group.layers))
        made = [plan.tensors[n].name for layer in layers for n in layer.outputs]
        if name in (group.name, *(layer.name for layer in layers), *made):
            return group
    return get_close_matches(name, [layer.name for layer in plan.layers], 3)


def _layers(plan: Plan, numbers: Iterable[int]) -> Iterator[LayerPlan]:
    """Layers, and those of their bodies."""
    for n in numbers:
        yield plan.layers[n]
        for body in plan.layers[n].bodies:
            yield from _layers(plan, body.layers)


def describe_group(plan: Plan, group: GroupPlan) -> Iterator[str]:
    """All that is known of one group."""
    number = plan.groups.index(group)
    yield clean_line(f"step {number + 1} of {len(plan.groups)}: {group.kind} {group.name}")
    yield from rows(
        [["run as", group.role], *([["weights", bytes_text(group.weight_bytes)]] if group.weight_bytes else [])]
    )
    yield "\nlayers"
    yield from rows(
        [
            plan.layers[n].name,
            f"{plan.layers[n].op}({plan.layers[n].attrs})",
            ", ".join(plan.tensors[t].type for t in plan.layers[n].outputs),
            plan.layers[n].source,
        ]
        for n in group.layers
    )
    yield "\ntensors"
    made = [(t, "made") for n in group.layers for t in plan.layers[n].outputs]
    yield from rows(
        [way, plan.tensors[t].name, plan.tensors[t].type, plan.tensors[t].place, f"dtype: {plan.tensors[t].decided_by}"]
        for t, way in [*((t, "read") for t in group.inputs), *made]
    )
    if group.role == "kernel":
        yield "\nproviders"
        yield from rows(
            [*([p, "takes it"] for p in group.providers), *([r.provider, r.reason] for r in group.refusals)]
        )
        yield "\ndecided at"
        yield from rows(
            [
                ", ".join(f"{n} = {v}" for n, v in point.items()) or "the only sizes",
                f"by {d.by}",
                "open" if d.by == "timing" else f"{d.provider} {d.tactic}".strip(),
                d.key,
                d.stale,
            ]
            for point, d in zip(plan.points, group.decisions, strict=True)
            if d is not None
        )
    for title, lines in (
        ("not fused with what comes before", [(a.first, a) for a in plan.apart if a.second == number]),
        ("not fused with what comes after", [(a.second, a) for a in plan.apart if a.first == number]),
    ):
        if lines:
            yield f"\n{title}"
            yield from rows([plan.groups[other].name, plan.tensors[a.tensor].type, a.reason] for other, a in lines)


# --- the parts -----------------------------------------------------------------------------------------------------


def _head(plan: Plan) -> Table:
    roles = Counter(g.role for g in plan.groups)
    steps = ", ".join(plural(count, role) for role, count in roles.most_common())
    libraries = ", ".join(
        f"{p.name} {p.version}" if p.version else f"{p.name} (not here: {p.missing})" for p in plan.libraries
    )
    words = {
        "lock": "from the lock",
        "timing": "to be timed",
        "default": "by default, nothing is timed",
        "only": "have one taker",
    }
    counts = ", ".join(f"{plan.problems[by]:,} {text}" for by, text in words.items() if by in plan.problems)
    total = sum(plan.problems.values())
    table = [
        ["network", plan.digest],
        ["precision", plan.precision],
        ["layers", f"{plan.layers_before:,} in the spec, {plan.layers_after:,} after the passes"],
        ["steps", f"{len(plan.groups):,}: {steps}"],
        ["providers", libraries],
        ["tactics", f"{plural(total, 'distinct problem')} at {plural(len(plan.points), 'size')}: {counts or 'none'}"],
    ]
    lock = plan.lock
    if lock is not None and lock.exists:
        facts = f"{lock.pinned:,} pinned, {lock.stale:,} stale, {lock.missing:,} missing, {lock.unused:,} not asked for"
        table.append(["lock", f"{lock.path}: {facts}"])
        table += [["", text] for text in lock.changed]
    elif lock is not None:
        table.append(["lock", f"{lock.path}: not there yet; a build writes it"])
    return table + (_times(plan.times) if plan.times is not None else [])


def _times(times: Times) -> Table:
    at = ", ".join(f"{name}={size}" for name, size in times.sizes.items())
    steps = sum(ms is not None for ms in times.steps)
    text = f"{duration(times.total / 1e3)} of engine {times.engine} on {times.device}{f' at {at}' if at else ''}"
    return [["times", f"{text}: {plural(steps, 'step')}, {plural(times.runs, 'run')}"], *(["", n] for n in times.notes)]


def _memory(plan: Plan) -> Table:
    table = [["profile", "arena", "lower bound", "over", "peak at step"]]
    for p in plan.profiles:
        if p.memory is None:
            table.append([p.name, "depends on the data"])
            continue
        m = p.memory
        over = f"{100 * (m.arena - m.lower_bound) / m.lower_bound:.1f} %" if m.lower_bound else "0.0 %"
        step = f"{m.peak + 1} {plan.groups[m.peak].name}" if plan.groups else ""
        table.append([p.name, bytes_text(m.arena), bytes_text(m.lower_bound), over, step])
    return table


def _peak(plan: Plan, profile: ProfilePlan) -> Iterator[str]:
    memory = profile.memory
    if memory is None or not memory.lower_bound:
        return
    alive = [
        (size, plan.tensors[b.tensor])
        for b, size in zip(plan.buffers, memory.sizes, strict=True)
        if b.first <= memory.peak <= b.last and size
    ]
    alive.sort(key=lambda item: -item[0])
    yield f"\nalive at the peak of {profile.name}"
    yield from rows(([bytes_text(size), t.name, t.type] for size, t in alive[:SHOWN]), right=(0,))
    if len(alive) > SHOWN:
        yield f"  and {len(alive) - SHOWN:,} more"


def _tallied(title: str, facts: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Reasons with how often each is given, the most frequent first, and examples."""
    examples: dict[str, list[str]] = {}
    for reason, name in facts:
        examples.setdefault(reason, []).append(name)
    if not examples:
        return
    ordered = sorted(examples.items(), key=lambda item: -len(item[1]))
    yield f"\n{title}"
    yield from rows(
        ([f"{len(names):,}", _short(reason), _some(names)] for reason, names in ordered[:SHOWN]),
        right=(0,),
    )
    if len(ordered) > SHOWN:
        rest = sum(len(names) for _, names in ordered[SHOWN:])
        yield f"  and {rest:,} for {len(ordered) - SHOWN} more reasons"


def _some(names: Sequence[str]) -> str:
    """Examples; constants of the text have no names."""
    shown = [name for name in names if name][:NAMED]
    return ", ".join([*shown, *([".."] if shown and len(names) > len(shown) else [])])


def _groups(plan: Plan) -> Table:
    table = [["#", "step", "ops", "result", "provider", "decided by", "source"]]
    for n, g in enumerate(plan.groups, 1):
        decision = next((d for d in g.decisions if d is not None), None)
        if decision is None:
            who, by = g.role, ""
        elif decision.by == "timing":
            who, by = "|".join(g.providers), "timing"
        else:
            who, by = f"{decision.provider} {decision.tactic}".strip(), decision.by
        ops = " + ".join(plan.layers[layer].op for layer in g.layers)
        result = ", ".join(plan.tensors[t].type for t in g.outputs)
        table.append([str(n), g.name, ops, result, who, by, _lines(g.sources)])
    if plan.times is not None:
        for row, ms in zip(table[1:], plan.times.steps, strict=True):
            row.insert(4, duration(ms / 1e3) if ms is not None else "")
        table[0].insert(4, "time")
    return table


def _against(plan: Plan, found: Comparison) -> Iterator[str]:
    yield f"\nagainst engine {found.engine}: {'nothing changes' if found.is_same else 'it changes'}"
    yield from (f"  {note}" for note in found.notes)
    if found.network:
        yield "\n  network, after the passes"
        yield from (clean_line(f"    {line}") for line in found.network if line)
    if found.groups:
        signs = {"added": "+", "removed": "-", "changed": "~"}
        yield "\n  groups"
        for change in found.groups:
            text = " -> ".join(filter(None, (change.before, change.after)))
            yield clean_line(f"    {signs[change.verb]} {change.name}  {text}")
    if found.tactics:
        yield "\n  tactics"
        yield from rows(
            ([c.group, _sizes(plan, c.point), c.before, "->", c.after or "timed anew"] for c in found.tactics),
            indent="    ",
        )
    moved = [(name, a, b) for name, (a, b) in found.memory.items() if a != b]
    if moved:
        yield "\n  arena at max"
        yield from rows(
            ([n, *("none" if v is None else bytes_text(v) for v in (a, b))] for n, a, b in moved), indent="    "
        )


def _sizes(plan: Plan, point: int) -> str:
    return ", ".join(f"{n}={v}" for n, v in plan.points[point].items())


def _general(plan: Plan, apart: Apart) -> str:
    """A reason without the name of the value that it is about, so that equal ones count together."""
    return apart.reason.replace(f"`{plan.tensors[apart.tensor].name}`", "the value")


def _short(reason: str) -> str:
    return reason if len(reason) <= 90 else f"{reason[:87]}.."


def _lines(sources: Sequence[str]) -> str:
    """`a.trtn:10:3, 11:3` for `a.trtn:10:3` and `a.trtn:11:3`."""
    texts: list[str] = []
    last = ""
    for source in sources:
        file, _, place = source.partition(":")
        texts.append(place if place and file == last else source)
        last = file
    return ", ".join(texts)
