"""Walks over the positions that some operands share: axes put in memory order, joined where they can be, and offsets
as C++ text.

`Geometry` has the numbers of one call, `Walk` what a kernel has to know of them when it is compiled: which operand
moves along
which axis. Sizes and strides are arguments of the kernel, so that another shape of the same form needs no other kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Geometry", "Walk", "broadcast_strides", "join", "vector_width"]

SAME, UNIT, FREE = ".", "1", "s"
"""How an operand moves along an axis: not at all, by one element, by a stride that the kernel is given."""
_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Walk:
    """One pattern an operand, a letter an axis, the slowest axis first. `wide` offsets take 64 bits."""

    patterns: tuple[str, ...]
    wide: bool = False
    name: str = "w"
    """Prefixes the names of variables, for kernels with several walks."""

    @property
    def rank(self) -> int:
        return len(self.patterns[0])

    @property
    def offset_type(self) -> str:
        return "i64" if self.wide else "int"

    def parameters(self) -> list[str]:
        """Declarations of the kernel's parameters, in the order of `Geometry.arguments`."""
        sizes = [f"const u32 {self.name}d{axis}" for axis in range(1, self.rank)]
        strides = [f"const {self.offset_type} {self.name}s{n}_{axis}" for n, axis in self.free()]
        return sizes + strides

    def free(self) -> list[tuple[int, int]]:
        """(operand, axis) of each stride that is an argument."""
        return [(n, axis) for n, p in enumerate(self.patterns) for axis, how in enumerate(p) if how == FREE]

    def decode(self, index: str) -> list[str]:
        """Statements that split a position's number into a place on each axis."""
        if self.rank == 0:
            return []
        lines = []
        rest = index
        for axis in range(self.rank - 1, 0, -1):
            left = f"{self.name}r{axis}"
            lines += [
                f"const u32 {left} = {rest} / {self.name}d{axis};",
                f"const u32 {self.name}i{axis} = {rest} - {left} * {self.name}d{axis};",
            ]
            rest = left
        lines.append(f"const u32 {self.name}i0 = {rest};")
        return lines

    def offset(self, operand: int, unit: int = 1) -> str:
        """An operand's offset at the decoded place; places on the last axis count `unit` elements."""
        kind = self.offset_type
        terms = []
        for axis, how in enumerate(self.patterns[operand]):
            place = f"({kind}){self.name}i{axis}"
            if how != SAME:
                factor = f" * {self.name}s{operand}_{axis}" if how == FREE else ""
                factor += f" * {unit}" if unit > 1 and axis == self.rank - 1 else ""
                terms.append(place + factor)
        return " + ".join(terms) or "0"


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of the axes, and each operand's strides along them, in elements."""

    sizes: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    @property
    def count(self) -> int:
        n = 1
        for d in self.sizes:
            n *= d
        return n

    def walk(self, name: str = "w") -> Walk:
        """The form of this geometry."""
        last = len(self.sizes) - 1
        patterns = tuple(
            "".join(SAME if s == 0 else UNIT if s == 1 and axis == last else FREE for axis, s in enumerate(own))
            for own in self.strides
        )
        reach = max(
            (sum(abs(s) * (d - 1) for s, d in zip(own, self.sizes, strict=True)) for own in self.strides), default=0
        )
        return Walk(patterns, reach > _INT32, name)

    def arguments(self, walk: Walk, unit: int = 1) -> tuple[Any, ...]:
        """Values of the walk's parameters; the last axis is counted in steps of `unit` elements."""
        import numpy as np

        offset = np.int64 if walk.wide else np.int32
        sizes = [*self.sizes[:-1], self.sizes[-1] // unit] if self.sizes else []
        return (*(np.uint32(d) for d in sizes[1:]), *(offset(self.strides[n][axis]) for n, axis in walk.free()))

    def moved_last(self, axis: int) -> Geometry:
        """The same with one axis made the last."""
        order = [a for a in range(len(self.sizes)) if a != axis] + [axis]
        return Geometry(
            tuple(self.sizes[a] for a in order), tuple(tuple(own[a] for a in order) for own in self.strides)
        )

    def without(self, *axes: int) -> Geometry:
        keep = [a for a in range(len(self.sizes)) if a not in axes]
        return Geometry(tuple(self.sizes[a] for a in keep), tuple(tuple(own[a] for a in keep) for own in self.strides))


def broadcast_strides(shape: Sequence[int], strides: Sequence[int], to: Sequence[int]) -> tuple[int, ...]:
    """The strides of an array that is broadcast to the shape `to` by NumPy's rule."""
    lead = len(to) - len(shape)
    return (0,) * lead + tuple(0 if d == 1 else s for d, s in zip(shape, strides, strict=True))


def join(sizes: Sequence[int], strides: Sequence[Sequence[int]], leader: int = -1) -> Geometry:
    """The walk with its axes in the memory order of operand `leader`, axes of one place dropped, neighbours joined
    where every
    operand allows. At least one axis is left."""
    axes = [a for a, d in enumerate(sizes) if d != 1]
    axes.sort(key=lambda a: (-abs(strides[leader][a]), *(-abs(own[a]) for own in strides), a))
    joined: list[tuple[int, list[int]]] = []
    for a in axes:
        own = [s[a] for s in strides]
        if joined:
            size, before = joined[-1]
            if all(b == s * sizes[a] for b, s in zip(before, own, strict=True)):
                joined[-1] = (size * sizes[a], own)
                continue
        joined.append((sizes[a], own))
    if not joined:
        joined.append((1, [0] * len(strides)))
    return Geometry(
        tuple(size for size, _ in joined), tuple(tuple(own[n] for _, own in joined) for n in range(len(strides)))
    )


def vector_width(geometry: Geometry, itemsizes: Sequence[int], aligns: Sequence[int], limit: int = 16) -> int:
    """How many neighbours along the last axis may be moved at once: as many as make 16 bytes of the narrowest
    operand, where
    each operand is dense or constant there, and every address that is met is a multiple of what is moved."""
    if not geometry.sizes:
        return 1
    dense = [n for n, own in enumerate(geometry.strides) if own[-1] != 0]
    if any(geometry.strides[n][-1] != 1 for n in dense) or not dense:
        return 1
    width = min(16 // min(itemsizes[n] for n in dense), limit)
    while width > 1 and not _fits(geometry, width, dense, itemsizes, aligns):
        width //= 2
    return width


def _fits(
    geometry: Geometry, width: int, dense: Sequence[int], itemsizes: Sequence[int], aligns: Sequence[int]
) -> bool:
    if geometry.sizes[-1] % width:
        return False
    for n in dense:
        step = min(16, width * itemsizes[n])
        if aligns[n] < step or any(s * itemsizes[n] % step for s in geometry.strides[n][:-1]):
            return False
    return True
