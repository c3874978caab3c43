"""What constraints on a single symbol say about its range."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

from trtn.dsl.dims.domain import Domain, Range, Relation, definitions
from trtn.dsl.dims.expr import Atom, Dim, evaluate, symbols, terms_of
from trtn.dsl.dims.poly import constant_term, content
from trtn.dsl.records import record

__all__ = ["Goal", "narrowed_ranges"]

_MAX_PERIOD = 4_096


@record()
class Goal:
    """A relation with everything on one side: dim == 0, dim != 0 or dim >= 0."""

    op: str
    dim: Dim

    @classmethod
    def of(cls, relation: Relation) -> Goal:
        left, right = relation.left, relation.right
        if relation.op in ("==", "!="):
            return cls(relation.op, left - right)
        if relation.op in ("<=", "<"):
            left, right = right, left
        return cls(">=", left - right - (1 if relation.op in ("<", ">") else 0))

    def decided(self) -> bool:
        """Whether it is true by its form alone. `2*S + 1 != 0` is: the left side is odd."""
        if not isinstance(self.dim, int):
            return self.op == "!=" and constant_term(self.dim.terms) % content(self.dim.terms) != 0
        if self.op == ">=":
            return self.dim >= 0
        return (self.dim == 0) == (self.op == "==")


def narrowed_ranges(domain: Domain) -> dict[str, Range]:
    """The domain's ranges, without values that a constraint on a single symbol excludes.

    All empty where a constraint is false whatever the symbols are.
    """
    ranges = dict(domain.ranges)
    for goal in _goals(domain):
        names = symbols(goal.dim)
        if not names and not goal.decided():
            return {name: Range(0, -1) for name in ranges} or {"": Range(0, -1)}
        for name in names if len(names) == 1 else ():
            if name in ranges:
                ranges[name] = _narrowed(ranges[name], goal)
    return ranges


def _goals(domain: Domain) -> Iterator[Goal]:
    yield from map(Goal.of, domain.constraints)
    for name, value in definitions(domain).items():
        yield Goal(">=", value - domain.ranges[name].low)
        yield Goal(">=", domain.ranges[name].high - value)


def _narrowed(values: Range, goal: Goal) -> Range:
    """The values that the goal, about their symbol alone, allows; all of them where it has no simple form."""
    terms = dict(terms_of(goal.dim))
    constant = terms.pop((), 0)
    (monomial, k), *others = terms.items()
    if others or len(monomial) != 1 or goal.op == "!=":
        return values
    if monomial[0].op != "symbol":
        return _stepped(values, goal, monomial[0])
    low, high = values.low, values.high
    if k > 0 or goal.op == "==":
        low = max(low, -(constant // k))  # the ceiling of -constant / k
    if k < 0 or goal.op == "==":
        high = min(high, -constant // k)
    return Range(low + (values.low - low) % values.step, high, values.step)


def _stepped(values: Range, goal: Goal, atom: Atom) -> Range:
    """The values that `(a*s + b) % c == d` allows: they come back after so many steps."""
    period = _period(atom, values.step) if goal.op == "==" else 0
    if not 0 < period <= _MAX_PERIOD:
        return values
    (name,) = atom.symbols
    for first in range(values.low, values.low + period * values.step, values.step):
        if evaluate(goal.dim, {name: first}) == 0:
            return Range(first, values.high, values.step * period)
    return Range(values.low, values.low - 1)


def _period(atom: Atom, step: int) -> int:
    """For `(a*s + b) % c` with one symbol s: after how many steps of s a value comes back. Else 0."""
    if atom.op != "%":
        return 0
    x, c = atom.args
    variable = [(monomial, k) for monomial, k in terms_of(x) if monomial]
    if not isinstance(c, int) or len(variable) != 1 or [part.op for part in variable[0][0]] != ["symbol"]:
        return 0
    return c // gcd(variable[0][1] * step, c)
