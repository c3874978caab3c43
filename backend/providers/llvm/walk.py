"""The loops over arrays of one shape: axes that all arrays walk alike are one, the fastest of the result is the
innermost."""

from __future__ import annotations

from collections.abc import Sequence

from trtn.dsl.records import record

__all__ = ["Walk", "walk"]


@record()
class Walk:
    """Counts of the loops, outermost first, and for each array its strides along them, in elements."""

    counts: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]


def walk(shape: Sequence[int], arrays: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Walk:
    """Loops over `shape`. `arrays` are (shape, strides); shorter ones and axes of 1 broadcast by NumPy's rule. The order
    is the first array's."""
    rank = len(shape)
    spread = []
    for own, strides in arrays:
        lead = (0,) * (rank - len(own))
        spread.append((*lead, *(0 if d == 1 else s for d, s in zip(own, strides, strict=True))))
    axes = sorted((n for n in range(rank) if shape[n] != 1), key=lambda n: -abs(spread[0][n]))
    counts: list[int] = []
    rows: list[list[int]] = [[] for _ in arrays]
    for n in axes:
        if counts and all(row[-1] == s[n] * shape[n] for row, s in zip(rows, spread, strict=True)):
            counts[-1] *= shape[n]
            for row, s in zip(rows, spread, strict=True):
                row[-1] = s[n]
            continue
        counts.append(shape[n])
        for row, s in zip(rows, spread, strict=True):
            row.append(s[n])
    return Walk(tuple(counts), tuple(tuple(row) for row in rows))
