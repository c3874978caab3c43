"""Bounds of a dim expression over a box: each symbol between 0 and its greatest index, step 1.

Callers bring ranges into that form by substituting symbol = low + step*symbol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from trtn.dsl.dims.expr import (
    Atom,
    Dim,
    DimError,
    Expr,
    from_terms,
    product,
    rewrite,
    substitute,
    symbol,
)

__all__ = ["Box", "Interval", "box_bounds"]

Box: TypeAlias = Mapping[str, int]
Interval: TypeAlias = tuple[int, int]


def box_bounds(dim: Dim, box: Box) -> Interval:
    """Integers (low, high) with low <= dim <= high at every point of the box.

    Exact for expressions that plainly grow with every symbol, and for polynomials that are monotone in each.
    Raises DimError where a divisor may be less than 1.
    """
    if isinstance(dim, int):
        return dim, dim
    lowest = dict.fromkeys(box, 0)
    if _grows(dim, lowest):
        return dim.evaluate(lowest), dim.evaluate(box)
    low, high = _sum_of_terms(dim, box)
    try:
        numerator, denominator, wider = _without_atoms(dim, box)
    except DimError:  # the detour got too large: the plain interval has to do
        return low, high
    least, most = _polynomial_low(numerator, wider), -_polynomial_low(-numerator, wider)
    return max(low, -(-least // denominator)), min(high, most // denominator)


def _grows(dim: Dim, lowest: Box) -> bool:
    """Whether the expression plainly never falls as a symbol grows."""
    if isinstance(dim, int):
        return True
    return all(
        (k > 0 or not monomial)
        and all(
            atom.op == "symbol" or (_keeps_order(atom, lowest) and (len(monomial) == 1 or atom.evaluate(lowest) >= 0))
            for atom in monomial
        )
        for monomial, k in dim.terms
    )


def _keeps_order(atom: Atom, lowest: Box) -> bool:
    if atom.op == "//":
        return isinstance(atom.args[1], int) and _grows(atom.args[0], lowest)
    return atom.op in ("min", "max") and all(_grows(arg, lowest) for arg in atom.args)


def _sum_of_terms(dim: Dim, box: Box) -> Interval:
    """Interval arithmetic, term by term."""
    if isinstance(dim, int):
        return dim, dim
    low = high = 0
    for monomial, k in dim.terms:
        least, most = k, k
        for atom in monomial:
            a, b = _atom_bounds(atom, box)
            ends = (least * a, least * b, most * a, most * b)
            least, most = min(ends), max(ends)
        low, high = low + least, high + most
    return low, high


def _atom_bounds(atom: Atom, box: Box) -> Interval:
    if atom.op == "symbol":
        return 0, box[atom.name]
    intervals = [box_bounds(arg, box) for arg in atom.args]
    if atom.op in ("min", "max"):
        best = min if atom.op == "min" else max
        return best(low for low, _ in intervals), best(high for _, high in intervals)
    (low, high), (least, most) = intervals
    if least < 1:
        raise DimError(f"the divisor of {atom.key} may be {least}")
    if atom.op == "//":
        return min(low // least, low // most), max(high // least, high // most)
    if least == most and low // least == high // least:
        return low % least, high % least
    return (low, high) if low >= 0 and high < least else (0, min(most - 1, high) if low >= 0 else most - 1)


def _without_atoms(dim: Dim, box: Box) -> tuple[Dim, int, Box]:
    """(p, d, wider): for each point of `box` a point of `wider` has p == d * dim, where p is a polynomial in
    symbols.

    x//c becomes (x - r)/c with a new symbol r in 0..c-1, which keeps what x has in common with the rest of
    the expression. Any other atom becomes a new symbol with the atom's bounds.
    """
    wider = dict(box)
    denominator = 1

    def fresh(atom: Atom, top: int) -> Dim:
        name = atom.key.replace("`", "'")
        while name in wider:
            name += "'"
        wider[name] = top
        return symbol(name)

    while atom := _first_compound(dim):
        c = atom.args[1] if atom.op == "//" else None
        if isinstance(c, int):
            image = atom.args[0] - fresh(atom, c - 1)
            dim, power = _scaled_replacement(dim, atom, image, c)
            denominator *= c**power
        else:
            low, high = _atom_bounds(atom, wider)  # its arguments may have new symbols in them already
            shifted = fresh(atom, high - low) + low
            dim = _replacement(dim, atom, shifted)
    return dim, denominator, wider


def _first_compound(dim: Dim) -> Atom | None:
    if isinstance(dim, int):
        return None
    return next((atom for monomial, _ in dim.terms for atom in monomial if atom.op != "symbol"), None)


def _replacement(dim: Dim, old: Atom, new: Dim) -> Dim:
    return rewrite(dim, lambda atom: new if atom == old else None)


def _scaled_replacement(dim: Dim, old: Atom, new: Dim, c: int) -> tuple[Dim, int]:
    """c**n * dim, with new/c for the atom `old` in its terms, and n, the atom's greatest power."""
    assert isinstance(dim, Expr)
    power = max(monomial.count(old) for monomial, _ in dim.terms)
    total: Dim = 0
    for monomial, k in dim.terms:
        n = monomial.count(old)
        others = tuple(atom for atom in monomial if atom != old)
        total = total + from_terms(((others, k * c ** (power - n)),)) * product([new] * n)
    return total, power


def _polynomial_low(dim: Dim, box: Box) -> int:
    """A lower bound of a polynomial in symbols. One in which it is monotone goes to its better end first."""
    while isinstance(dim, Expr):
        for name in sorted(dim.symbols):
            if box[name] == 0:
                dim = dim.substitute({name: 0})
                break
            change = substitute(dim, {name: symbol(name) + 1}) - dim
            low, high = _sum_of_terms(change, {**box, name: box[name] - 1})
            if low >= 0 or high <= 0:
                dim = dim.substitute({name: 0 if low >= 0 else box[name]})
                break
        else:
            return _sum_of_terms(dim, box)[0]
    return dim
