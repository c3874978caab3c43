"""Makes the dims of an imported network fit it: what its layers demand of them becomes part of their declarations.

A model's file says only that a dim is open. What it may be follows from the layers: two inputs that are
added have one batch, a U-Net takes multiples of 32, a convolution without padding takes no less than its
kernel. In this order: dims that must be equal become one, a dim with one possible value becomes it, a range
gets other ends or a step, and what is left over becomes an `assert`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from trtn.dsl.dims import (
    Dim,
    DimError,
    Domain,
    Expr,
    Range,
    Relation,
    Verdict,
    prove,
    substitute,
    symbol,
    symbols,
)

__all__ = ["Fit", "asserted", "equalities", "fitted_ranges", "refuted"]

STEPS = (2, 4, 8, 16, 32, 64)
"""What a dim is tried as a multiple of."""
_LISTED = 1 << 14
"""The longest range whose values are tried one by one."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What is known about the open dims: those that are something else (`same`), and the ranges of the rest."""

    ranges: Mapping[str, Range]
    same: Mapping[str, Dim] = field(default_factory=dict)

    def resolve(self, name: str) -> Dim:
        """What a dim has become."""
        dim: Dim = symbol(name)
        while isinstance(dim, Expr) and (again := substitute(dim, self.same)) != dim:
            dim = again
        return dim


def refuted(relations: Iterable[Relation], domain: Domain) -> list[Relation]:
    """The relations that fail for some values of the dims, each once."""
    return [r for r in dict.fromkeys(relations) if _fails(r, domain)]


def _fails(relation: Relation, domain: Domain) -> bool:
    try:
        return prove(relation, domain).verdict is Verdict.REFUTED
    except DimError:
        return True


# --- dims that are other dims ---


def equalities(relations: Sequence[Relation], fit: Fit) -> Fit | None:
    """`fit` with one more dim expressed by another or by a number, where a relation says so; None where none does."""
    for relation in relations:
        for name, value in _solutions(relation) if relation.op == "==" else ():
            if name not in fit.ranges or not symbols(value) <= fit.ranges.keys():
                continue
            ranges = {n: r for n, r in fit.ranges.items() if n != name}
            if isinstance(value, int):
                if value in fit.ranges[name]:
                    return Fit(ranges, {**fit.same, name: value})
                continue
            other = str(value)
            common = _common(fit.ranges[name], fit.ranges[other]) if other in fit.ranges else None
            if common is not None:  # nothing longer than a dim: an input's shape stays readable
                return Fit({**ranges, other: common}, {**fit.same, name: value})
    return None


def _common(a: Range, b: Range) -> Range | None:
    """The values of both ranges, where they make a range."""
    fine, coarse = sorted((a, b), key=lambda r: r.step)
    if coarse.step % fine.step or (coarse.low - fine.low) % fine.step:
        return None
    low = coarse.low + max(0, -(-(fine.low - coarse.low) // coarse.step)) * coarse.step
    common = Range(low, min(coarse.high, fine.high), coarse.step)
    return common if common.count else None


def _solutions(relation: Relation) -> list[tuple[str, Dim]]:
    """The symbols for which an equation can be solved, each with its value. Of two dims the later one gives way."""
    difference = relation.left - relation.right
    found: list[tuple[str, Dim]] = []
    for name in sorted(symbols(difference), key=lambda s: (len(s), s), reverse=True):
        slope = substitute(difference, {name: symbol(name) + 1}) - difference
        if not isinstance(slope, int) or slope == 0:
            continue
        rest = substitute(difference, {name: 0})
        value = (-rest) // slope
        if value * slope == -rest:
            found.append((name, value))
    return found


# --- ranges ---


def fitted_ranges(relations: Sequence[Relation], domain: Domain) -> dict[str, Range]:
    """The domain's ranges, changed so that `relations` hold, as far as ends and steps can say it."""
    ranges = dict(domain.ranges)
    for name in domain.ranges:
        alone = [r for r in relations if r.symbols == {name}]
        if alone:
            ranges[name] = _solved(name, alone, ranges[name])
    for relation in relations:
        names = sorted(relation.symbols)
        current = Domain(ranges, domain.constraints)
        if len(names) > 1 and _fails(relation, current):
            change = _with_step(relation, names, current) or _with_low(relation, names, current)
            ranges.update(change or {})
    return ranges


def _solved(name: str, relations: Sequence[Relation], values: Range) -> Range:
    """A range within `values` in which all relations hold, as large as may be."""
    if values.count > _LISTED:
        domain = Domain({name: values})
        for relation in relations:
            change = _with_low(relation, [name], domain) or _with_step(relation, [name], domain)
            if change is not None and _fails(relation, domain):
                domain = Domain(change)
        return domain.ranges[name]
    good = [v for v in values if all(_holds(r, name, v) for r in relations)]
    candidates = [run for step in (1, *STEPS) if (run := _longest_run(good, values.step * step)) is not None]
    if not candidates:
        return values
    widest = max(c.last - c.low for c in candidates)
    # A coarse step over the whole range says more than the longest unbroken piece of it; of equals the finer.
    wide = [c for c in candidates if 2 * (c.last - c.low) >= widest]
    best = min(wide, key=lambda c: c.step)
    return replace(best, high=values.high) if best.last + best.step > values.last else best


def _holds(relation: Relation, name: str, value: int) -> bool:
    try:
        return relation.holds({name: value})
    except DimError:
        return False


def _longest_run(good: Sequence[int], step: int) -> Range | None:
    """The longest piece of `good` in which all multiples of `step` follow one another."""
    best: Range | None = None
    low = high = None
    for v in (g for g in good if step == 1 or g % step == 0):
        low, high = (low, v) if high is not None and v - high == step else (v, v)
        assert low is not None
        if best is None or high - low > best.high - best.low:
            best = Range(low, high, step)
    return best


def _with_step(relation: Relation, names: Sequence[str], domain: Domain) -> dict[str, Range] | None:
    """The least step, of one dim or else of all, with which the relation holds."""
    for step in STEPS:
        for group in (*([n] for n in names), list(names)):
            trial = {n: _stepped(domain.ranges[n], step) for n in group}
            changed = Domain({**domain.ranges, **trial}, domain.constraints)
            if all(r.count > 1 for r in trial.values()) and not _fails(relation, changed):
                return trial
    return None


def _stepped(values: Range, step: int) -> Range:
    """The multiples of `step` in a range."""
    step = step if step % values.step == 0 else step * values.step
    low = -(-max(values.low, 1) // step) * step
    return Range(low, max(values.high, low), step)


def _with_low(relation: Relation, names: Sequence[str], domain: Domain) -> dict[str, Range] | None:
    """The lowest lower end of one dim, or else of all, from which on the relation holds."""
    for group in (*([n] for n in names), list(names)):
        low, high = min(domain.ranges[n].low for n in group), min(domain.ranges[n].last for n in group)
        if _fails(relation, _raised(domain, group, high)):
            continue
        while low < high:
            middle = (low + high) // 2
            if _fails(relation, _raised(domain, group, middle)):
                low = middle + 1
            else:
                high = middle
        if all(2 * (high - domain.ranges[n].low) < domain.ranges[n].last for n in group):
            return dict(_raised(domain, group, high).ranges)
    return None


def _raised(domain: Domain, names: Iterable[str], low: int) -> Domain:
    ranges = dict(domain.ranges)
    for name in names:
        values = ranges[name]
        up = -(-max(0, low - values.low) // values.step) * values.step
        ranges[name] = replace(values, low=min(values.low + up, values.last))
    return Domain(ranges, domain.constraints)


# --- asserts ---


def asserted(relations: Sequence[Relation], domain: Domain) -> list[Relation]:
    """The relations to state so that all hold: the shortest first, without those that follow from others."""
    stated: list[Relation] = []
    for relation in sorted(relations, key=lambda r: (len(str(r)), str(r))):
        if _fails(relation, Domain(domain.ranges, (*domain.constraints, *stated))):
            stated.append(relation)
    return stated
