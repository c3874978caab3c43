"""Makes the dims of an imported network fit it: what its layers demand of them becomes part of their declarations.

A model's file says only that a dim is open. What it may be follows from the layers: two inputs that are added have one batch, a
U-Net takes multiples of 32. In this order: dims that must be equal become one, dims that have one possible value become it, a dim
gets a step, a dim's range gets a lower end, and what is left becomes an `assert`.
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
_SEARCHED = 4096
"""How far a lower end is looked for."""


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
    found: dict[Relation, None] = {}
    for relation in relations:
        if relation not in found and prove(relation, domain).verdict is Verdict.REFUTED:
            found[relation] = None
    return list(found)


def equalities(relations: Sequence[Relation], fit: Fit, fixed: Iterable[str] = ()) -> Fit | None:
    """`fit` with one more dim expressed by others where a relation says that it must be, or None where none does.

    `fixed` are dims whose range the user gave: they stay.
    """
    kept = set(fixed)
    for relation in relations:
        if relation.op != "==":
            continue
        for name, value in _solutions(relation):
            if (
                name in fit.ranges
                and name not in kept
                and _simple(value)
                and symbols(value) <= fit.ranges.keys()
            ):
                if isinstance(value, int) and value not in fit.ranges[name]:
                    continue
                ranges = {n: r for n, r in fit.ranges.items() if n != name}
                return Fit(ranges, {**fit.same, name: value})
    return None


def _simple(value: Dim) -> bool:
    """A dim becomes a number or another dim, nothing longer: an input's shape stays readable."""
    return isinstance(value, int) or str(value) in value.symbols


def _solutions(relation: Relation) -> list[tuple[str, Dim]]:
    """The symbols for which an equation can be solved, as symbol and value. Of two dims the later one gives way."""
    difference = relation.left - relation.right
    found: list[tuple[str, Dim]] = []
    for name in sorted(symbols(difference), key=lambda s: (len(s), s), reverse=True):
        slope = _slope(difference, name)
        if slope is None:
            continue
        rest = substitute(difference, {name: 0})
        if isinstance(rest, int):
            if rest % slope == 0:
                found.append((name, -rest // slope))
        elif (quotient := (-rest) // slope) * slope == -rest:
            found.append((name, quotient))
    return found


def _slope(dim: Dim, name: str) -> int | None:
    """The constant factor of a symbol that occurs once, not inside of a division or a minimum."""
    change = substitute(dim, {name: symbol(name) + 1}) - dim
    return change if isinstance(change, int) and change != 0 else None


def fitted_ranges(
    relations: Sequence[Relation], domain: Domain, fixed: Iterable[str] = ()
) -> dict[str, Range]:
    """The domain's ranges, changed so that all of `relations` hold, where a step or a lower end is enough; else as far as that goes.

    Dims in `fixed` stay as they are.
    """
    ranges = dict(domain.ranges)
    free = set(ranges) - set(fixed)
    for relation in relations:
        current = Domain(ranges, domain.constraints)
        if not _fails(relation, current):
            continue
        names = sorted(relation.symbols & free)
        change = (
            _with_step(relation, names, current)
            or _with_low(relation, names, current)
            or _with_both(relation, names, current)
        )
        if change is not None:
            ranges.update(change)
    return ranges


def _with_both(relation: Relation, names: Sequence[str], domain: Domain) -> dict[str, Range] | None:
    for step in STEPS:
        trial = {n: _stepped(domain.ranges[n], step) for n in names}
        wider = Domain({**domain.ranges, **trial}, domain.constraints)
        low = _with_low(relation, names, wider)
        if low is not None:
            return {**trial, **low}
    return None


def _with_step(relation: Relation, names: Sequence[str], domain: Domain) -> dict[str, Range] | None:
    """The least step, of one dim or else of all, with which the relation holds."""
    for step in STEPS:
        for group in (*([n] for n in names), list(names)):
            trial = {n: _stepped(domain.ranges[n], step) for n in group}
            if all(r.count for r in trial.values()) and not _fails(
                relation, Domain({**domain.ranges, **trial}, domain.constraints)
            ):
                return trial
    return None


def _stepped(values: Range, step: int) -> Range:
    """The multiples of `step` in a range."""
    step = step if step % values.step == 0 else step * values.step
    low = -(-max(values.low, 1) // step) * step
    return Range(low, max(values.last, low), step)


def _with_low(relation: Relation, names: Sequence[str], domain: Domain) -> dict[str, Range] | None:
    """The lowest lower end of one dim, or else the same of all, from which on the relation holds."""
    for group in (*([n] for n in names), list(names) if len(names) > 1 else []):
        if not group:
            continue
        top = min(domain.ranges[n].last for n in group)
        if _fails(relation, Domain({**domain.ranges, **_raised(domain, group, top)}, domain.constraints)):
            continue
        low, high = min(domain.ranges[n].low for n in group), top
        while low < high:
            middle = (low + high) // 2
            if _fails(
                relation, Domain({**domain.ranges, **_raised(domain, group, middle)}, domain.constraints)
            ):
                low = middle + 1
            else:
                high = middle
        if (
            high - min(domain.ranges[n].low for n in group) <= _SEARCHED // 2
        ):  # a range with little left of it helps nobody
            return _raised(domain, group, high)
    return None


def _raised(domain: Domain, names: Iterable[str], low: int) -> dict[str, Range]:
    raised = {}
    for name in names:
        values = domain.ranges[name]
        up = -(-max(0, low - values.low) // values.step) * values.step
        raised[name] = replace(values, low=min(values.low + up, values.last))
    return raised


def _fails(relation: Relation, domain: Domain) -> bool:
    try:
        return prove(relation, domain).verdict is Verdict.REFUTED
    except DimError:
        return True


def asserted(relations: Sequence[Relation], domain: Domain) -> list[Relation]:
    """The relations to state as asserts so that none of `relations` fails any more: the shortest first, those that follow left out."""
    stated: list[Relation] = []
    for relation in sorted(relations, key=lambda r: (len(str(r)), str(r))):
        if _fails(relation, Domain(domain.ranges, (*domain.constraints, *stated))):
            stated.append(relation)
    return stated
