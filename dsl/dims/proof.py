"""Decides whether a relation between dims holds in a whole domain: a proof, a counterexample or "unknown"."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from itertools import product as cartesian
from math import gcd, lcm, prod

from trtn.dsl.dims.bounds import Box, Interval, box_bounds
from trtn.dsl.dims.domain import Domain, Range, Relation, count_points, definitions, enumerate_points, sample
from trtn.dsl.dims.expr import Atom, Dim, DimError, Expr, rewrite, substitute, symbol, terms_of
from trtn.dsl.dims.narrow import Goal, narrowed_ranges
from trtn.dsl.records import record

__all__ = ["Proof", "Verdict", "bounds", "prove"]

_FIRST_SAMPLES = 12
_MAX_CASES = 64
_MAX_SPLITS = 3
_MAX_FACTS_USED = 2


class Verdict(enum.Enum):
    PROVED = "proved"
    REFUTED = "refuted"
    UNKNOWN = "unknown"


@record()
class Proof:
    """The outcome of `prove`. There is a `witness` if and only if the verdict is REFUTED: a point of the
    domain, with a value for each of its symbols, where the relation is false.
    """

    verdict: Verdict
    witness: Mapping[str, int] | None = None


_PROVED = Proof(Verdict.PROVED)
_UNKNOWN = Proof(Verdict.UNKNOWN)


def bounds(dim: Dim, domain: Domain) -> Interval:
    """Integers (low, high) with low <= dim <= high at every point of `domain`.

    Exact over the ranges where `dim` is monotone in each symbol; constraints on a single symbol count too.
    Raises DimError for a symbol that has no range or an empty one, and for a divisor that may be less than 1.
    """
    if isinstance(dim, int):
        return dim, dim
    _check_ranges(dim.symbols, domain)
    ranges = {name: domain.ranges[name] for name in dim.symbols}
    narrowed = narrowed_ranges(Domain(ranges, domain.constraints))
    if all(values.count for values in narrowed.values()):
        ranges = narrowed
    for name, values in ranges.items():
        if not values.count:
            raise DimError(f"dim `{name}` has no values: its range is {values}")
    return box_bounds(substitute(dim, _indexed(ranges)), _box(ranges))


def prove(relation: Relation, domain: Domain, *, budget: int = 20_000) -> Proof:
    """Whether `relation` holds at every point of `domain`. PROVED and REFUTED are certain.

    Where nothing shorter decides, up to `budget` points are tried one by one. A domain without points proves
    everything, once it is known to have none. Points where a divisor is 0 are left out. Raises DimError for a
    symbol without a range.
    """
    goal = Goal.of(relation)
    if goal.decided():
        return _PROVED
    _check_ranges(relation.symbols.union(*(constraint.symbols for constraint in domain.constraints)), domain)
    ranges = narrowed_ranges(domain)
    if not all(values.count for values in ranges.values()):
        return _PROVED
    narrowed = Domain(ranges, domain.constraints)
    near = narrowed.around(relation.symbols)
    witness = _witness(relation, islice(sample(near), _FIRST_SAMPLES))
    if witness is None:
        if _proved(goal, near):
            return _PROVED
        witness = _witness(relation, islice(sample(near), _FIRST_SAMPLES, None))
    if witness is None:
        if count_points(near) > budget:
            return _UNKNOWN
        witness = _witness(relation, enumerate_points(near))
        if witness is None:
            return _PROVED
    return _refuted(_simplified(witness, relation, near), narrowed, budget)


def _check_ranges(names: Iterable[str], domain: Domain) -> None:
    for name in sorted(names):
        if name not in domain.ranges:
            raise DimError(f"dim `{name}` has no range")


def _witness(relation: Relation, points: Iterable[dict[str, int]]) -> dict[str, int] | None:
    return next((env for env in points if _violates(env, relation)), None)


def _violates(env: Mapping[str, int], relation: Relation) -> bool:
    try:
        return not relation.holds(env)
    except DimError:  # a zero divisor: the relation says nothing there
        return False


def _simplified(witness: dict[str, int], relation: Relation, domain: Domain) -> dict[str, int]:
    """A witness with smaller values, if a sample has them or changing one symbol at a time leads there."""
    others = (env for env in sample(domain) if _violates(env, relation))
    witness = min(chain([witness], others), key=lambda env: sum(map(abs, env.values())))
    for name, values in domain.ranges.items():
        low, high = -1, (witness[name] - values.low) // values.step
        while high - low > 1:  # the lowest index first, then by halves
            index = (low + high) // 2 if low >= 0 else 0
            env = {**witness, name: values.low + index * values.step}
            if _violates(env, relation) and domain.contains(env):
                witness, high = env, index
            else:
                low = index
    return witness


def _refuted(witness: dict[str, int], domain: Domain, budget: int) -> Proof:
    """The witness as a point of the whole domain, whose other symbols get values too."""
    point = dict(witness)
    for name in domain.ranges:
        if name in point:
            continue
        part = domain.around(frozenset({name}))
        enumerable = count_points(part) <= budget
        found = next(chain(sample(part), enumerate_points(part) if enumerable else ()), None)
        if found is None:
            return _PROVED if enumerable else _UNKNOWN
        point.update(found)
    return Proof(Verdict.REFUTED, {name: point[name] for name in domain.ranges})


# --- proofs ---


def _proved(goal: Goal, domain: Domain) -> bool:
    """Whether the goal follows without trying points. The ranges of the domain are not empty."""
    determined = definitions(domain)
    indexed = _indexed(domain.ranges)

    def normal(dim: Dim) -> Dim:
        for name, value in determined.items():
            dim = substitute(dim, {name: value})
        return _without_remainders(substitute(dim, indexed))

    try:
        facts = []
        for constraint in domain.constraints:
            known = Goal.of(constraint)
            if known.op != "!=":
                facts.append(normal(known.dim))
            if known.op == "==":
                facts.append(normal(-known.dim))
        for name in determined:
            facts += [
                normal(symbol(name) - domain.ranges[name].low),
                normal(domain.ranges[name].high - symbol(name)),
            ]
        useful = [fact for fact in dict.fromkeys(facts) if isinstance(fact, Expr)]
        return _by_cases(Goal(goal.op, normal(goal.dim)), useful, _box(domain.ranges), _MAX_SPLITS)
    except DimError:  # an intermediate expression got too large, or a divisor may be zero
        return False


def _by_cases(goal: Goal, facts: list[Expr], box: Box, splits: int) -> bool:
    if _follows(goal, facts, box):
        return True
    choice = _find(goal.dim, "min", "max")
    if choice and splits:
        return all(
            _by_cases(Goal(goal.op, _chosen(goal.dim, choice, arg)), facts + _reasons(choice, arg), box, splits - 1)
            for arg in choice.args
        )
    return _by_residues(goal, facts, box)


def _chosen(dim: Dim, choice: Atom, arg: Dim) -> Dim:
    return _without_remainders(rewrite(dim, lambda atom: arg if atom == choice else None))


def _reasons(choice: Atom, best: Dim) -> list[Expr]:
    """What is not negative when `best` is the argument that the minimum or maximum `choice` takes."""
    sign = 1 if choice.op == "min" else -1
    differences = [(arg - best) * sign for arg in choice.args]
    return [difference for difference in differences if isinstance(difference, Expr)]


def _find(dim: Dim, *ops: str) -> Atom | None:
    if isinstance(dim, int):
        return None
    for atom in (atom for monomial, _ in dim.terms for atom in monomial):
        inner = next(filter(None, (_find(arg, *ops) for arg in atom.args)), None)
        if inner or atom.op in ops:
            return inner or atom
    return None


def _by_residues(goal: Goal, facts: list[Expr], box: Box) -> bool:
    """Splits symbols that are divided by constants into period*s + residue: divisions then come out even."""
    periods: dict[str, int] = {}
    _collect_periods(goal.dim, 1, periods)
    periods = {name: period for name, period in periods.items() if 1 < period <= _MAX_CASES and box[name] > 0}
    if not 1 < prod(periods.values()) <= _MAX_CASES:
        return False
    for residues in cartesian(*(range(min(period, box[name] + 1)) for name, period in periods.items())):
        split: dict[str, Dim] = {}
        smaller = dict(box)
        for (name, period), residue in zip(periods.items(), residues, strict=True):
            split[name] = symbol(name) * period + residue
            smaller[name] = (box[name] - residue) // period
        narrowed = [fact for old in facts if isinstance(fact := old.substitute(split), Expr)]
        if not _follows(Goal(goal.op, substitute(goal.dim, split)), narrowed, smaller, more=1):
            return False
    return True


def _collect_periods(dim: Dim, period: int, periods: dict[str, int]) -> None:
    """For each symbol under divisions by constants, a period after which they all come out even."""
    for monomial, _ in terms_of(dim):
        for atom in monomial:
            if atom.op == "symbol":
                periods[atom.name] = lcm(periods.get(atom.name, 1), period)
                continue
            divisor = atom.args[-1] if atom.op in ("//", "%") else 1
            for arg in atom.args:
                _collect_periods(arg, period * divisor if isinstance(divisor, int) else period, periods)


def _follows(goal: Goal, facts: list[Expr], box: Box, more: int = _MAX_FACTS_USED) -> bool:
    """Whether the goal follows from the box and up to `more` of the facts, each of which is >= 0."""
    dim = goal.dim
    if goal.decided():
        return True
    if goal.op == "!=":
        return _not_negative(dim - 1, facts, box, more) or _not_negative(-dim - 1, facts, box, more)
    if goal.op == "==":
        return _not_negative(dim, facts, box, more) and _not_negative(-dim, facts, box, more)
    return _not_negative(dim, facts, box, more)


def _not_negative(dim: Dim, facts: list[Expr], box: Box, more: int) -> bool:
    if box_bounds(dim, box)[0] >= 0:
        return True
    return more > 0 and any(
        _not_negative(rest, facts, box, more - 1) for fact in facts for rest in _differences(dim, fact)
    )


def _differences(dim: Dim, fact: Expr) -> set[Dim]:
    """p*dim - q*fact for positive p and q that cancel a term: if one is not negative, neither is `dim`."""
    known = dict(fact.terms)
    found = set()
    for monomial, k in terms_of(dim):
        other = known.get(monomial, 0)
        if monomial and k * other > 0:
            g = gcd(k, other)
            found.add(dim * (abs(other) // g) - fact * (abs(k) // g))
    return found


def _without_remainders(dim: Dim) -> Dim:
    """The same with x - c*(x//c) for x%c, so that quotients and remainders meet."""

    def image(atom: Atom) -> Dim | None:
        if atom.op != "%" or not isinstance(atom.args[1], int):
            return None
        x, c = _without_remainders(atom.args[0]), atom.args[1]
        return x - x // c * c

    return rewrite(dim, image)


def _indexed(ranges: Mapping[str, Range]) -> dict[str, Dim]:
    """Each symbol in terms of its index in its range, which goes by the same name."""
    return {
        name: symbol(name) * values.step + values.low if values.count > 1 else values.low
        for name, values in ranges.items()
    }


def _box(ranges: Mapping[str, Range]) -> dict[str, int]:
    return {name: values.count - 1 for name, values in ranges.items()}
