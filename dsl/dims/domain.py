"""Where dims live: the range of each symbol, relations between dims, and the points that satisfy them all."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from itertools import islice, product
from typing import Final

from trtn.dsl.dims.expr import Dim, DimError, Expr, evaluate, from_terms, substitute, symbols
from trtn.dsl.records import record

__all__ = ["Domain", "Range", "Relation", "count_points", "definitions", "enumerate_points", "sample"]

_HOLDS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}
_NEGATED: Final[Mapping[str, str]] = {"==": "!=", "!=": "==", "<=": ">", ">": "<=", "<": ">=", ">=": "<"}

_MAX_CORNER_SYMBOLS = 6
_DIAGONAL = 16
_SCATTERED = 256
_MASK = (1 << 64) - 1


@record()
class Range:
    """The integers low, low + step, .. up to high, included where a step lands on it. Empty where high < low.

    Raises DimError where step < 1.
    """

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        if self.step < 1:
            raise DimError(f"a step is at least 1, not {self.step}")

    @property
    def count(self) -> int:
        return max(0, (self.high - self.low) // self.step + 1)

    @property
    def last(self) -> int:
        """The greatest value; below `low` where the range is empty."""
        return self.low + (self.count - 1) * self.step

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.low, self.high + 1, self.step))

    def clamp(self, value: int) -> int:
        """The greatest value of the range that is not above `value`; `low` where there is none."""
        if not self.count:
            raise DimError(f"the range {self} is empty")
        value = min(max(value, self.low), self.last)
        return value - (value - self.low) % self.step

    def __str__(self) -> str:
        return f"{self.low}..{self.high}" + (f" step {self.step}" if self.step != 1 else "")


@record()
class Relation:
    """`left op right`, with op one of == != <= < >= >. Raises DimError for another."""

    op: str
    left: Dim
    right: Dim

    def __post_init__(self) -> None:
        if self.op not in _HOLDS:
            raise DimError(f"{self.op!r} does not relate dims: use one of {' '.join(_HOLDS)}")

    @property
    def symbols(self) -> frozenset[str]:
        return symbols(self.left) | symbols(self.right)

    def holds(self, env: Mapping[str, int]) -> bool:
        """Whether it is true for `env`. Raises DimError for a symbol without a value and a zero divisor."""
        return _HOLDS[self.op](evaluate(self.left, env), evaluate(self.right, env))

    def negated(self) -> Relation:
        return Relation(_NEGATED[self.op], self.left, self.right)

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right}"


@record()
class Domain:
    """The points that give each symbol a value of its range and satisfy every constraint."""

    ranges: Mapping[str, Range] = field(default_factory=dict)
    constraints: tuple[Relation, ...] = ()

    def contains(self, env: Mapping[str, int]) -> bool:
        """Whether `env` is a point of the domain. A symbol without a value or a zero divisor means no."""
        try:
            return all(env[name] in values for name, values in self.ranges.items()) and all(
                constraint.holds(env) for constraint in self.constraints
            )
        except (KeyError, DimError):
            return False

    def around(self, names: frozenset[str]) -> Domain:
        """The part that says something about `names`: they, and what constraints link to them."""
        linked = set(names)
        open_ = list(self.constraints)
        while joined := [constraint for constraint in open_ if not linked.isdisjoint(constraint.symbols)]:
            linked.update(*(constraint.symbols for constraint in joined))
            open_ = [constraint for constraint in open_ if constraint not in joined]
        return Domain(
            {name: values for name, values in self.ranges.items() if name in linked},
            tuple(constraint for constraint in self.constraints if constraint not in open_),
        )


def definitions(domain: Domain) -> dict[str, Dim]:
    """Symbols that an equality constraint determines, each with its value in terms of free symbols and of
    later ones.

    To eliminate them substitute in order; to compute them evaluate in reverse order.
    """
    found: dict[str, Dim] = {}
    for constraint in domain.constraints:
        if constraint.op != "==":
            continue
        difference = constraint.left - constraint.right
        for name, value in found.items():
            difference = substitute(difference, {name: value})
        if isinstance(difference, Expr) and (solved := _solve(difference, domain)):
            name, value = solved
            found[name] = value
    return found


def _solve(difference: Expr, domain: Domain) -> tuple[str, Dim] | None:
    """A symbol and its value, from difference == 0."""
    for monomial, k in difference.terms:
        if abs(k) == 1 and len(monomial) == 1 and monomial[0].op == "symbol" and monomial[0].name in domain.ranges:
            rest = difference - from_terms(((monomial, k),))
            if monomial[0].name not in symbols(rest):
                return monomial[0].name, rest * -k
    return None


def count_points(domain: Domain) -> int:
    """How many points `enumerate_points` has to try: the product of the free symbols' counts."""
    determined = definitions(domain)
    total = 1
    for name, values in domain.ranges.items():
        total *= 1 if name in determined else values.count
    return total


def enumerate_points(domain: Domain) -> Iterator[dict[str, int]]:
    """Every point of the domain, once, low values first."""
    determined = definitions(domain)
    free = [name for name in domain.ranges if name not in determined]
    for values in product(*(domain.ranges[name] for name in free)):
        env = _complete(dict(zip(free, values, strict=True)), determined)
        if env is not None and domain.contains(env):
            yield env


def sample(domain: Domain) -> Iterator[dict[str, int]]:
    """Some points of the domain, each once and always the same: corners, then small values, then scattered
    ones.

    At most about a thousand, and none where the constraints are too tight to be met by trying.
    """
    determined = definitions(domain)
    free = {name: values for name, values in domain.ranges.items() if name not in determined}
    if not all(values.count for values in domain.ranges.values()):
        return
    seen: set[tuple[int, ...]] = set()
    for indices in _indices([values.count for values in free.values()]):
        if indices in seen:
            continue
        seen.add(indices)
        point = {name: free[name].low + free[name].step * index for name, index in zip(free, indices, strict=True)}
        env = _complete(point, determined)
        if env is not None and domain.contains(env):
            yield env


def _complete(env: dict[str, int], determined: dict[str, Dim]) -> dict[str, int] | None:
    try:
        for name in reversed(determined):
            env[name] = evaluate(determined[name], env)
    except DimError:
        return None
    return env


def _indices(counts: list[int]) -> Iterator[tuple[int, ...]]:
    """Points of the box 0 <= index < count, by their likelihood to matter. With repetitions."""
    last = [count - 1 for count in counts]
    yield tuple(0 for _ in last)
    yield tuple(last)
    if len(counts) <= _MAX_CORNER_SYMBOLS:
        yield from product(*((0, top) for top in last))
    else:
        for i, top in enumerate(last):
            yield tuple(top if j == i else 0 for j in range(len(last)))
            yield tuple(0 if j == i else other for j, other in enumerate(last))
    yield from islice(product(*(range(min(4, count)) for count in counts)), _SCATTERED)
    for distance in range(_DIAGONAL):
        yield tuple(min(distance, top) for top in last)
        yield tuple(max(0, top - distance) for top in last)
        for i, top in enumerate(last):
            yield tuple(min(distance, top) if j == i else 0 for j in range(len(last)))
            yield tuple(max(0, top - distance) if j == i else other for j, other in enumerate(last))
    for number in range(_SCATTERED):
        yield tuple(_scatter(number, i) % count for i, count in enumerate(counts))


def _scatter(number: int, position: int) -> int:
    """64 well mixed bits (the finaliser of the splitmix64 generator)."""
    x = (number * 0x9E3779B97F4A7C15 + position * 0xD1B54A32D192ED03 + 1) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)
