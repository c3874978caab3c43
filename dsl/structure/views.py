"""Chains of transposes and reshapes as what they come to: which pieces of the source's axes lie where in the result.

An axis may be cut into pieces (`768` into `12, 64`), pieces change places and are joined again. So every chain is at
most one reshape that cuts, one transpose, and one reshape that joins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from trtn.dsl.dims import Dim, DimError
from trtn.dsl.dims.expr import floordiv
from trtn.dsl.network import Layer, Shape

__all__ = ["VIEWS", "Step", "shortest", "steps_of"]

VIEWS = frozenset({"flatten", "reshape", "squeeze", "transpose", "unsqueeze"})

Step: TypeAlias = tuple[str, tuple[Dim, ...]]
"""`("transpose", perm)` or `("reshape", shape)`."""


def steps_of(layers: Sequence[Layer]) -> list[Step]:
    """A chain of view layers as steps."""
    return [
        ("transpose", layer.attrs["perm"]) if layer.op.name == "transpose" else ("reshape", layer.output.shape)
        for layer in layers
    ]


def shortest(shape: Shape, steps: Sequence[Step]) -> list[Step] | None:
    """The fewest steps that do the same to a tensor of the given shape. None where a reshape cuts across the axes."""
    pieces = _Pieces.of(shape)
    target = shape
    for kind, argument in steps:
        if kind == "transpose":
            perm = [int(p) for p in argument if isinstance(p, int)]
            pieces.axes = [pieces.axes[p] for p in perm]
            target = tuple(target[p] for p in perm)
        else:
            target = argument
            if not pieces.reshape(argument):
                return None
    return pieces.steps(shape, target)


@dataclass(slots=True)
class _Pieces:
    """The pieces of the source's axes by number: their sizes, their order in the source, and who makes up each axis."""

    sizes: list[Dim]
    source: list[int]
    axes: list[list[int]]
    roots: list[int] = field(default_factory=list)
    """The axis of the source that each piece is of."""

    @classmethod
    def of(cls, shape: Shape) -> _Pieces:
        """Axes of size 1 have no pieces."""
        sizes: list[Dim] = []
        axes: list[list[int]] = []
        roots: list[int] = []
        for axis, size in enumerate(shape):
            axes.append([] if size == 1 else [len(sizes)])
            if size != 1:
                sizes.append(size)
                roots.append(axis)
        return cls(sizes, list(range(len(sizes))), axes, roots)

    def reshape(self, shape: Shape) -> bool:
        """Deal the pieces out to new axes, cutting those that must be. False where they don't fit."""
        waiting = [p for axis in self.axes for p in axis][::-1]
        axes: list[list[int]] = []
        for size in shape:
            axis: list[int] = []
            rest: Dim = size
            while rest != 1:
                if not waiting:
                    return False
                piece = waiting.pop()
                quotient = _exactly(rest, self.sizes[piece])
                if quotient is None:
                    other = _exactly(self.sizes[piece], rest)
                    if other is None:
                        return False
                    waiting.append(self._cut(piece, rest, other))
                    quotient = 1
                axis.append(piece)
                rest = quotient
            axes.append(axis)
        self.axes = axes
        return not waiting

    def _cut(self, piece: int, first: Dim, second: Dim) -> int:
        """Cut a piece in two: it keeps the first, and the number of the second is returned."""
        self.sizes[piece] = first
        self.sizes.append(second)
        self.roots.append(self.roots[piece])
        number = len(self.sizes) - 1
        self.source.insert(self.source.index(piece) + 1, number)
        return number

    def steps(self, shape: Shape, target: Shape) -> list[Step]:
        """shape: the source's; target: the result's."""
        if shape == target and [p for axis in self.axes for p in axis] == self.source:
            return []
        if [p for axis in self.axes for p in axis] == self.source:
            return [("reshape", target)]
        return self._whole_source(shape, target) or self._whole_target(shape, target) or self._both(shape, target)

    def _whole_source(self, shape: Shape, target: Shape) -> list[Step] | None:
        """A transpose, and a reshape where axes are joined, if no axis of the source is torn apart."""
        order = _in_runs([p for axis in self.axes for p in axis], lambda p: self.roots[p])
        if order is None or any(self._places(axis) is None for axis in self._by_root(len(shape))):
            return None
        ones = [axis for axis, size in enumerate(shape) if size == 1]
        perm = _with_ones(order, ones, target)
        moved = tuple(shape[p] for p in perm)
        return [("transpose", tuple(perm)), *([("reshape", target)] if moved != target else [])]

    def _whole_target(self, shape: Shape, target: Shape) -> list[Step] | None:
        """A reshape and a transpose, if every axis of the target is a run of the source."""
        if any(self._places(axis) is None for axis in self.axes):
            return None
        place = {p: n for n, p in enumerate(self.source)}
        order = sorted(range(len(target)), key=lambda n: (place[self.axes[n][0]] if self.axes[n] else len(place), n))
        cut = tuple(target[n] for n in order)
        perm = tuple(order.index(n) for n in range(len(target)))
        return [*([("reshape", cut)] if cut != shape else []), ("transpose", perm)]

    def _both(self, shape: Shape, target: Shape) -> list[Step]:
        owner = {p: n for n, axis in enumerate(self.axes) for p in axis}
        result = [p for axis in self.axes for p in axis]
        runs: list[list[int]] = []
        for before, piece in zip([None, *self.source], self.source, strict=False):
            joined = before is not None and (owner[before], self.roots[before]) == (owner[piece], self.roots[piece])
            if joined and result.index(piece) == result.index(runs[-1][-1]) + 1:
                runs[-1].append(piece)
            else:
                runs.append([piece])
        sizes: list[Dim] = []
        for run in runs:
            size: Dim = 1
            for piece in run:
                size = size * self.sizes[piece]
            sizes.append(size)
        order = sorted(range(len(runs)), key=lambda n: result.index(runs[n][0]))
        moved = tuple(sizes[n] for n in order)
        return [
            *([("reshape", tuple(sizes))] if tuple(sizes) != shape else []),
            ("transpose", tuple(order)),
            *([("reshape", target)] if moved != target else []),
        ]

    def _by_root(self, rank: int) -> list[list[int]]:
        """The pieces of each source axis in the order of the result."""
        result = [p for axis in self.axes for p in axis]
        return [[p for p in result if self.roots[p] == axis] for axis in range(rank)]

    def _places(self, pieces: Sequence[int]) -> int | None:
        """Where a run of the source begins; None for pieces that are none."""
        places = [self.source.index(p) for p in pieces]
        if not places:
            return 0
        return places[0] if places == list(range(places[0], places[0] + len(places))) else None


def _in_runs(pieces: Sequence[int], root: Callable[[int], int]) -> list[int] | None:
    """The roots in the order of their pieces; None where the pieces of one don't lie side by side."""
    order: list[int] = []
    for piece in pieces:
        if not order or order[-1] != root(piece):
            order.append(root(piece))
    return order if len(set(order)) == len(order) else None


def _with_ones(order: list[int], ones: list[int], target: Shape) -> list[int]:
    """A permutation with the axes of size 1 where the target has such, or at its end where they don't match."""
    if len(order) + len(ones) != len(target) or sum(size == 1 for size in target) != len(ones):
        return [*order, *ones]
    large, small = iter(order), iter(ones)
    return [next(small) if size == 1 else next(large) for size in target]


def _exactly(dim: Dim, divisor: Dim) -> Dim | None:
    """The quotient of two sizes where there is no remainder, whatever the dims are."""
    if divisor == 0:
        return None
    try:
        quotient = floordiv(dim, divisor)
        return quotient if quotient * divisor == dim else None
    except DimError:
        return None
