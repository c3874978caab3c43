"""The values of dims from sizes: equations in one unknown, one after another."""

from __future__ import annotations

from collections.abc import Iterable

from trtn.dsl.dims.expr import Dim, DimError, Expr, evaluate, substitute, symbol

__all__ = ["linear", "solve_dims"]


def linear(dim: Expr, name: str) -> bool:
    """Whether `dim` is `a * name + b` with a constant a > 0 and b free of `name`."""
    return _slope(dim, name) > 0


def _slope(dim: Expr, name: str) -> int:
    """What `dim` grows by when `name` does by 1; 0 where that is no constant."""
    try:
        change = substitute(dim, {name: symbol(name) + 1}) - dim
    except DimError:
        return 0
    return change if isinstance(change, int) else 0


def solve_dims(shapes: Iterable[tuple[tuple[Dim, ...], tuple[int, ...]]]) -> dict[str, int]:
    """The dims' values from (declared shape, actual shape) pairs of equal rank.

    Whether all entries agree is the caller's to check.
    """
    values: dict[str, int] = {}
    open_equations = [
        (d, n) for declared, actual in shapes for d, n in zip(declared, actual, strict=True) if isinstance(d, Expr)
    ]
    progress = True
    while progress and open_equations:
        progress = False
        rest = []
        for dim, size in open_equations:
            try:
                reduced = substitute(dim, values)
            except DimError:  # sizes that no network is defined for: a division by zero
                continue
            if isinstance(reduced, int):
                progress = True
                continue
            names = reduced.symbols
            name = next(iter(names))
            slope = _slope(reduced, name) if len(names) == 1 else 0
            if slope > 0:
                offset = evaluate(reduced, {name: 0})
                values[name] = (size - offset) // slope
                progress = True
            else:
                rest.append((dim, size))
        open_equations = rest
    return values
