"""Integer expressions over named dims, kept in one canonical form so that equal expressions compare equal.

An expression is a polynomial with integer coefficients over *atoms*: symbols, and the floor divisions,
remainders, minima and maxima that no rule below takes apart. Constants never become expressions: they stay
plain ints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from math import gcd
from typing import Final, Literal, TypeAlias

from trtn.dsl.dims.poly import (
    Monomial,
    Terms,
    add,
    cancel,
    common_factor,
    constant_term,
    content,
    divide,
    multiply,
    normal,
)
from trtn.dsl.dims.text import atom_text, sum_text

__all__ = [
    "Atom",
    "Dim",
    "DimError",
    "Expr",
    "ceildiv",
    "dim_max",
    "dim_min",
    "divisors",
    "evaluate",
    "floordiv",
    "from_terms",
    "modulo",
    "product",
    "rewrite",
    "substitute",
    "symbol",
    "symbols",
    "terms_of",
]

_CACHE = 1 << 14
# Shapes of real networks stay far below these. They keep a hostile expression from eating time and memory.
_MAX_SIZE = 1_000  # atoms, counted with repetition and nesting
_MAX_TERMS = 256
_MAX_PAIRS = 4_096  # term pairs of one multiplication
_MAX_DEPTH = 50
_MAX_COEFFICIENT = 1 << 512

_UNPRINTABLE = re.compile(r"[`\x00-\x1f\x7f]")

Op: TypeAlias = Literal["symbol", "//", "%", "min", "max"]


class DimError(ValueError):
    """A dim expression that can't be built, read or evaluated."""


class Atom:
    """A symbol (`name`), or one application of `//`, `%`, `min` or `max` to `args`.

    `key` is the atom's text. Text and atom determine each other, so it serves as identity and as sort key.
    """

    __slots__ = ("args", "depth", "key", "name", "op", "size", "symbols")

    def __init__(self, op: Op, args: tuple[Dim, ...], name: str = "") -> None:
        inner = [arg for arg in args if isinstance(arg, Expr)]
        self.op: Final = op
        self.args: Final = args
        self.name: Final = name
        self.depth: Final[int] = 1 + max((arg.depth for arg in inner), default=0)
        self.size: Final[int] = 1 + sum(arg.size for arg in inner)
        if self.depth > _MAX_DEPTH or self.size > _MAX_SIZE:
            raise DimError(f"a dim expression is too large ({self.size} parts, {self.depth} levels deep)")
        self.symbols: Final[frozenset[str]] = (
            frozenset({name}) if op == "symbol" else frozenset().union(*(arg.symbols for arg in inner))
        )
        self.key: Final = atom_text(op, args, name)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Atom) and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self) -> tuple[type[Atom], tuple[Op, tuple[Dim, ...], str]]:
        return Atom, (self.op, self.args, self.name)

    def __repr__(self) -> str:
        return self.key

    def evaluate(self, env: Mapping[str, int]) -> int:
        """The value for `env`. Raises DimError for a symbol without a value and for a zero divisor."""
        if self.op == "symbol":
            try:
                return int(env[self.name])
            except KeyError:
                raise DimError(f"dim `{self.name}` has no value") from None
        values = [evaluate(arg, env) for arg in self.args]
        if self.op == "min":
            return min(values)
        if self.op == "max":
            return max(values)
        if values[1] == 0:
            raise DimError(f"division by zero: {self.args[1]} is 0 in {self.key}")
        return values[0] // values[1] if self.op == "//" else values[0] % values[1]


class Expr:
    """A dim that is not a constant. Immutable; `==` is structural, and by the canonical form mostly
    mathematical.

    Built by `symbol`, operators, `ceildiv`, `dim_min`, `dim_max` and `parse_dim`, never directly. Division
    floors, as in Python, and a divisor that is not a constant is taken to be at least 1: `(x*b)//b` is `x`.
    """

    __slots__ = ("_hash", "depth", "size", "symbols", "terms")

    def __init__(self, terms: Terms) -> None:
        depth = size = 0
        names: set[str] = set()
        for monomial, coefficient in terms:
            if abs(coefficient) > _MAX_COEFFICIENT:
                raise DimError("a dim expression has a coefficient of more than 512 bits")
            for atom in monomial:
                size += atom.size
                depth = max(depth, atom.depth)
                names |= atom.symbols
        if len(terms) > _MAX_TERMS or size > _MAX_SIZE:
            raise DimError(f"a dim expression is too large ({len(terms)} terms, {size} parts)")
        self.terms: Final = terms
        self.depth: Final[int] = depth
        self.size: Final[int] = size
        self.symbols: Final = frozenset(names)
        self._hash: Final = hash(terms)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Expr) and self._hash == other._hash and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[Expr], tuple[Terms]]:
        return Expr, (self.terms,)

    def __repr__(self) -> str:
        return f"<dim {self}>"

    def __str__(self) -> str:
        return sum_text(self.terms)

    def __neg__(self) -> Dim:
        return _multiply(self, -1)

    def __add__(self, other: Dim) -> Dim:
        return _add(self, other) if isinstance(other, int | Expr) else NotImplemented

    def __sub__(self, other: Dim) -> Dim:
        return _add(self, -other) if isinstance(other, int | Expr) else NotImplemented

    def __rsub__(self, other: int) -> Dim:
        return _add(_multiply(self, -1), other) if isinstance(other, int) else NotImplemented

    def __mul__(self, other: Dim) -> Dim:
        return _multiply(self, other) if isinstance(other, int | Expr) else NotImplemented

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other) if isinstance(other, int | Expr) else NotImplemented

    def __rfloordiv__(self, other: int) -> Dim:
        return floordiv(other, self) if isinstance(other, int) else NotImplemented

    def __mod__(self, other: Dim) -> Dim:
        return modulo(self, other) if isinstance(other, int | Expr) else NotImplemented

    def __rmod__(self, other: int) -> Dim:
        return modulo(other, self) if isinstance(other, int) else NotImplemented

    __radd__ = __add__
    __rmul__ = __mul__

    def evaluate(self, env: Mapping[str, int]) -> int:
        """The value for `env`. Raises DimError for a symbol without a value and for a zero divisor."""
        total = 0
        for monomial, value in self.terms:
            for atom in monomial:
                value *= atom.evaluate(env)
            total += value
        return total

    def substitute(self, env: Mapping[str, Dim]) -> Dim:
        """The expression with every symbol that `env` names replaced, all at once."""
        if self.symbols.isdisjoint(env):
            return self
        return rewrite(self, lambda atom: env.get(atom.name) if atom.op == "symbol" else None)

    def lone_atom(self) -> Atom | None:
        """The atom that the whole expression consists of, if it does."""
        monomial, coefficient = self.terms[0]
        return monomial[0] if len(self.terms) == len(monomial) == coefficient == 1 else None


Dim: TypeAlias = int | Expr


@lru_cache(maxsize=_CACHE)
def symbol(name: str) -> Expr:
    """The dim called `name`: any text without backticks and control characters. Raises DimError otherwise."""
    if not name or _UNPRINTABLE.search(name):
        raise DimError(f"{name!r} can't name a dim: a name has no backticks or control characters and is not empty")
    return Expr((((Atom("symbol", (), name),), 1),))


def evaluate(dim: Dim, env: Mapping[str, int]) -> int:
    """The value of `dim` for `env`. Raises DimError for a symbol without a value and for a zero divisor."""
    return dim if isinstance(dim, int) else dim.evaluate(env)


def substitute(dim: Dim, env: Mapping[str, Dim]) -> Dim:
    """`dim` with every symbol that `env` names replaced, all at once."""
    return dim if isinstance(dim, int) else dim.substitute(env)


def symbols(dim: Dim) -> frozenset[str]:
    """The names that `dim` depends on."""
    return frozenset() if isinstance(dim, int) else dim.symbols


def divisors(dim: Dim) -> Iterator[Expr]:
    """What `dim` divides by, in `//` and `%`, wherever that is not a constant."""
    if isinstance(dim, int) or dim.depth == 1:  # nothing but symbols
        return
    for monomial, _ in terms_of(dim):
        for atom in monomial:
            if atom.op in ("//", "%") and isinstance(atom.args[1], Expr):
                yield atom.args[1]
            for arg in atom.args:
                yield from divisors(arg)


def product(dims: Iterable[Dim]) -> Dim:
    """The product of `dims`; 1 for none."""
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result


def rewrite(dim: Dim, image: Callable[[Atom], Dim | None]) -> Dim:
    """`dim` with each atom replaced by its `image`, or, where that is None, with its arguments rewritten."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for monomial, coefficient in dim.terms:
        term: Dim = coefficient
        for atom in monomial:
            new = image(atom)
            term = term * (_rewrite_args(atom, image) if new is None else new)
        total = total + term
    return total


def _rewrite_args(atom: Atom, image: Callable[[Atom], Dim | None]) -> Dim:
    old = atom.args
    new = tuple(rewrite(arg, image) for arg in old)
    if new == old:
        return Expr((((atom,), 1),))
    if atom.op == "//":
        return floordiv(*new)
    if atom.op == "%":
        return modulo(*new)
    return dim_min(*new) if atom.op == "min" else dim_max(*new)


def terms_of(dim: Dim) -> Terms:
    """`dim` as a polynomial over atoms: no terms for 0, one for another constant."""
    if isinstance(dim, Expr):
        return dim.terms
    return (((), dim),) if dim else ()


def from_terms(terms: Terms) -> Dim:
    """The dim that a polynomial stands for."""
    if not terms:
        return 0
    return Expr(terms) if terms[0][0] else terms[0][1]


def _of(op: Op, *args: Dim) -> Expr:
    return Expr((((Atom(op, args),), 1),))


@lru_cache(maxsize=_CACHE)
def _add(a: Dim, b: Dim) -> Dim:
    return from_terms(add(terms_of(a), terms_of(b)))


@lru_cache(maxsize=_CACHE)
def _multiply(a: Dim, b: Dim) -> Dim:
    left, right = terms_of(a), terms_of(b)
    if len(left) * len(right) > _MAX_PAIRS:
        raise DimError(f"a dim expression is too large ({len(left)} times {len(right)} terms)")
    return from_terms(multiply(left, right))


# --- division ---


@lru_cache(maxsize=_CACHE)
def floordiv(a: Dim, b: Dim) -> Dim:
    """`a // b`, rounded towards minus infinity. Raises DimError where `b` is 0."""
    if isinstance(b, int):
        if b == 0:
            raise DimError(f"division by zero: ({a})//0")
        if isinstance(a, int):
            return a // b
        return _floordiv_constant(a, b) if b > 0 else floordiv(-a, -b)
    if a in (0, -1):
        return a
    whole, rest = divide(terms_of(a), b.terms)
    if whole:
        return from_terms(whole) + floordiv(from_terms(rest), b)
    factor = common_factor(rest, b.terms)
    if factor != ((), 1):
        return floordiv(from_terms(cancel(rest, factor)), from_terms(cancel(b.terms, factor)))
    return _of("//", a, b)


def _floordiv_constant(a: Expr, c: int) -> Dim:
    if c == 1:
        return a
    whole: dict[Monomial, int] = {}
    part: dict[Monomial, int] = {}
    for monomial, k in a.terms:
        if not monomial or k % c == 0:  # only the constant is split into quotient and remainder
            whole[monomial], part[monomial] = divmod(k, c)
        else:
            part[monomial] = k
    quotient, rest = from_terms(normal(whole)), from_terms(normal(part))
    if isinstance(rest, int):
        return quotient
    g = gcd(content(rest.terms), c)
    if g > 1:  # (g*x + k)//(g*c) = (x + k//g)//c
        smaller = normal({monomial: k // g for monomial, k in rest.terms})
        return quotient + floordiv(from_terms(smaller), c // g)
    nested = [(m[0], m[0].args) for m, k in rest.terms if k == len(m) == 1 and m[0].op == "//"]
    if len(nested) == 1:  # (x//d + y)//c = (x + d*y)//(c*d)
        atom, (x, d) = nested[0]
        if isinstance(d, int):
            return quotient + floordiv(x + (rest - _of("//", *atom.args)) * d, d * c)
    return quotient + _of("//", rest, c)


@lru_cache(maxsize=_CACHE)
def modulo(a: Dim, b: Dim) -> Dim:
    """`a % b`, with the sign of `b`: `a - b*(a//b)`. Raises DimError where `b` is 0."""
    if isinstance(b, int):
        if b == 0:
            raise DimError(f"division by zero: ({a})%0")
        if isinstance(a, int):
            return a % b
        return _modulo_constant(a, b) if b > 0 else -modulo(-a, -b)
    if a == 0:
        return 0
    whole, rest = divide(terms_of(a), b.terms)
    if whole:
        return modulo(from_terms(rest), b)
    factor = common_factor(rest, b.terms)
    if factor != ((), 1):
        smaller = modulo(from_terms(cancel(rest, factor)), from_terms(cancel(b.terms, factor)))
        return smaller * from_terms((factor,))
    return _of("%", a, b)


def _modulo_constant(a: Expr, c: int) -> Dim:
    rest: Dim = 0
    for monomial, k in a.terms:
        inner, period = _remainder(monomial)
        # (x%period)*k and x*k differ by a multiple of k*period, which may not matter
        matters = period == 0 or k * period % c != 0
        rest = rest + (from_terms(normal({monomial: k % c})) if matters else inner * k)
    reduced = from_terms(normal({monomial: k % c for monomial, k in terms_of(rest)}))
    if reduced != a:
        return modulo(reduced, c)
    g = gcd(content(a.terms), c)
    if g > 1:  # (g*x + g*p + q)%(g*c) = g*((x + p)%c) + q for 0 <= q < g
        smaller = normal({monomial: k // g for monomial, k in a.terms})
        return modulo(from_terms(smaller), c // g) * g + constant_term(a.terms) % g
    atom = a.lone_atom()
    if atom and 0 < _remainder((atom,))[1] <= c:
        return a
    return _of("%", a, c)


def _remainder(monomial: Monomial) -> tuple[Dim, int]:
    """(x, c) where the monomial is `x % c` for a constant c, else (0, 0)."""
    if len(monomial) == 1 and monomial[0].op == "%":
        x, c = monomial[0].args
        if isinstance(c, int):
            return x, c
    return 0, 0


def ceildiv(a: Dim, b: Dim) -> Dim:
    """`a / b`, rounded towards plus infinity. Raises DimError where `b` is 0."""
    if isinstance(b, int) and b <= 0:
        return -floordiv(a, -b)
    return floordiv(a + b - 1, b)


# --- minimum and maximum ---


def dim_min(*dims: Dim) -> Dim:
    """The least of `dims`. Raises DimError for none."""
    return _extremum("min", dims)


def dim_max(*dims: Dim) -> Dim:
    """The greatest of `dims`. Raises DimError for none."""
    return _extremum("max", dims)


def _extremum(op: Literal["min", "max"], dims: tuple[Dim, ...]) -> Dim:
    best = min if op == "min" else max
    if not dims:
        raise DimError(f"{op} needs at least one dim")
    offsets: dict[Dim, int] = {}  # of dims that differ by a constant, one is always the best
    for dim in dims:
        atom = dim.lone_atom() if isinstance(dim, Expr) else None
        for arg in atom.args if atom and atom.op == op else (dim,):
            offset = constant_term(terms_of(arg))
            offsets[arg - offset] = best(offset, offsets.get(arg - offset, offset))
    args = sorted((dim + offset for dim, offset in offsets.items()), key=_argument_order)
    return args[0] if len(args) == 1 else _of(op, *args)


def _argument_order(dim: Dim) -> tuple[bool, str]:
    return isinstance(dim, int), str(dim)
