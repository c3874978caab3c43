"""Dims: integer expressions over named sizes, the ranges they live in, bounds and proofs.

Most dims are plain ints; the functions here take and return `Dim = int | Expr`. What goes wrong is a
`DimError`, which is a ValueError.
"""

from __future__ import annotations

from trtn.dsl.dims.domain import Domain, Range, Relation, sample
from trtn.dsl.dims.expr import (
    Dim,
    DimError,
    Expr,
    ceildiv,
    dim_max,
    dim_min,
    divisors,
    evaluate,
    floordiv,
    modulo,
    product,
    substitute,
    symbol,
    symbols,
)
from trtn.dsl.dims.parse import parse_dim
from trtn.dsl.dims.proof import Proof, Verdict, bounds, prove

__all__ = [
    "Dim",
    "DimError",
    "Domain",
    "Expr",
    "Proof",
    "Range",
    "Relation",
    "Verdict",
    "bounds",
    "ceildiv",
    "dim_max",
    "dim_min",
    "divisors",
    "evaluate",
    "floordiv",
    "modulo",
    "parse_dim",
    "product",
    "prove",
    "sample",
    "substitute",
    "symbol",
    "symbols",
]
