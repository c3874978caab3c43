"""Integer polynomials over the atoms of dim expressions: tuples of terms, leading term first, no zeros."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trtn.dsl.dims.expr import Atom

__all__ = [
    "Monomial",
    "Term",
    "Terms",
    "add",
    "cancel",
    "common_factor",
    "constant_term",
    "content",
    "divide",
    "multiply",
    "normal",
]

Monomial: TypeAlias = "tuple[Atom, ...]"  # sorted by key, a power is a repetition; () stands for the constant
Term: TypeAlias = tuple[Monomial, int]
Terms: TypeAlias = tuple[Term, ...]


def normal(terms: Mapping[Monomial, int]) -> Terms:
    """The polynomial with these coefficients."""
    kept = [term for term in terms.items() if term[1]]
    if len(kept) > 1:
        kept.sort(key=_order)
    return tuple(kept)


def _order(term: Term) -> tuple[int, list[str]]:
    # Graded lexicographic. Multiplying two monomials by a third keeps their order, which division needs.
    return -len(term[0]), [atom.key for atom in term[0]]


def _key(atom: Atom) -> str:
    return atom.key


def constant_term(a: Terms) -> int:
    return a[-1][1] if a and not a[-1][0] else 0


def content(a: Terms) -> int:
    """The greatest common divisor of the coefficients but the constant term; 0 where there are none."""
    return gcd(*(k for monomial, k in a if monomial))


def add(a: Terms, b: Terms) -> Terms:
    total = dict(a)
    for monomial, k in b:
        total[monomial] = total.get(monomial, 0) + k
    return normal(total)


def multiply(a: Terms, b: Terms) -> Terms:
    total: dict[Monomial, int] = {}
    for left, p in a:
        for right, q in b:
            monomial = tuple(sorted(left + right, key=_key))
            total[monomial] = total.get(monomial, 0) + p * q
    return normal(total)


def divide(a: Terms, b: Terms) -> tuple[Terms, Terms]:
    """(q, r) with a = q*b + r, where such an r with fewer terms than `a` is found, else ((), a)."""
    lead, unit = b[0]
    whole: Terms = ()
    rest = a
    for _ in range(4 * len(a)):
        found = next(((m, k) for m, k in rest if k % unit == 0 and _contains(m, lead)), None)
        if found is None:
            break
        monomial, k = _without(found[0], lead), found[1] // unit
        whole = add(whole, ((monomial, k),))
        rest = add(rest, multiply(((monomial, -k),), b))
    return (whole, rest) if len(rest) < len(a) else ((), a)


def common_factor(a: Terms, b: Terms) -> Term:
    """The greatest monomial and the greatest positive integer that divide every term of `a` and of `b`."""
    common = b[0][0]
    for monomial, _ in a + b:
        common = _without(common, _without(common, monomial))
    return common, gcd(*(k for _, k in a + b))


def cancel(a: Terms, factor: Term) -> Terms:
    """`a` divided by a factor of each of its terms."""
    return tuple((_without(monomial, factor[0]), k // factor[1]) for monomial, k in a)


def _contains(monomial: Monomial, part: Monomial) -> bool:
    return len(_without(monomial, part)) == len(monomial) - len(part)


def _without(monomial: Monomial, part: Monomial) -> Monomial:
    """The atoms of `monomial` that are left when those of `part` are struck out, one for one."""
    left = list(monomial)
    for atom in part:
        if atom in left:
            left.remove(atom)
    return tuple(left)
