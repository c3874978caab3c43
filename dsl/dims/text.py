"""Writes dim expressions as a person would. `parse_dim` reads the text back to an equal dim."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trtn.dsl.dims.poly import Monomial, Terms

if TYPE_CHECKING:
    from trtn.dsl.dims.expr import Atom, Dim

__all__ = ["FUNCTIONS", "IDENTIFIER", "atom_text", "sum_text"]

FUNCTIONS = frozenset({"ceildiv", "min", "max"})
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def atom_text(op: str, args: tuple[Dim, ...], name: str) -> str:
    """`S`, `` `a.b` ``, `(S + 1)//4`, `ceildiv(S, 4)`, `S%8`, `min(S, 512)`."""
    if op == "symbol":
        return name if IDENTIFIER.fullmatch(name) and name not in FUNCTIONS else f"`{name}`"
    if op in ("min", "max"):
        return f"{op}({', '.join(map(str, args))})"
    a, b = args
    if _is_ceildiv(op, args):
        assert isinstance(b, int)
        return f"ceildiv({a - (b - 1)}, {b})"
    return f"{_operand_text(a)}{op}{_operand_text(b)}"


def _is_ceildiv(op: str, args: tuple[Dim, ...]) -> bool:
    if op != "//":
        return False
    a, b = args
    return isinstance(b, int) and not isinstance(a, int) and a.terms[-1] == ((), b - 1)


def sum_text(terms: Terms) -> str:
    """The terms in their order, or positive ones first where the first is negative."""
    ordered = sorted(terms, key=lambda term: term[1] < 0) if terms[0][1] < 0 else terms
    (monomial, first), *others = ordered
    pieces = [_term_text(monomial, first) if first > 0 else "-" + _term_text(monomial, -first, signed=True)]
    pieces += [f"{'+' if k > 0 else '-'} {_term_text(monomial, abs(k))}" for monomial, k in others]
    return " ".join(pieces)


def _term_text(monomial: Monomial, k: int, signed: bool = False) -> str:
    if k == 1 and len(monomial) == 1 and not signed:
        return monomial[0].key
    number = [str(k)] if k != 1 or not monomial else []
    return "*".join(number + [_factor_text(atom) for atom in monomial])


def _factor_text(atom: Atom) -> str:
    infix = atom.op in ("//", "%") and not _is_ceildiv(atom.op, atom.args)
    return f"({atom.key})" if infix else atom.key


def _operand_text(dim: Dim) -> str:
    if isinstance(dim, int):
        return str(dim) if dim >= 0 else f"({dim})"
    atom = dim.lone_atom()
    return _factor_text(atom) if atom else f"({dim})"
