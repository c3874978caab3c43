"""Weights in the order in which a kernel reads them: a plain array with its axes in another order, some of them cut into
blocks whose elements lie together, and filled up with zeros to whole blocks. The plain array follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from trtn.dsl.records import record

__all__ = ["Blocking", "blocking_of"]


@record()
class Blocking:
    """What lies where. The packed array is dense; its axes are what is left of the plain ones, by `order`, then the
    blocks, the last one the fastest."""

    shape: tuple[int, ...]
    """The plain array's, as the kernel sees it: no axes of one element."""
    strides: tuple[int, ...]
    """The plain array's, in elements; without gaps in some order."""
    order: tuple[int, ...]
    """The axes from the slowest to the fastest."""
    blocks: tuple[tuple[int, int], ...]
    """Axes with the sizes of the blocks that they are cut into; an axis may be cut several times."""

    @property
    def counts(self) -> tuple[int, ...]:
        """The packed array's shape."""
        return (*(-(-self.shape[a] // self._block(a)) for a in self.order), *(size for _, size in self.blocks))

    @property
    def size(self) -> int:
        """Elements of the packed array."""
        return prod(self.counts)

    @property
    def is_whole(self) -> bool:
        """Whether this is a way to put every element of a plain array somewhere, once."""
        step = 1
        for stride, d in sorted(zip(self.strides, self.shape, strict=True)):
            if d < 2 or stride != step:
                return False
            step *= d
        axes = range(len(self.shape))
        return sorted(self.order) == list(axes) and all(a in axes and size > 1 for a, size in self.blocks)

    def pack(self, plain: Any) -> Any:
        """The packed array of a dense one in C order."""
        import numpy as np

        view = np.lib.stride_tricks.as_strided(
            plain.reshape(-1), self.shape, [s * plain.itemsize for s in self.strides], writeable=False
        )
        margins = [(0, -d % self._block(a)) for a, d in enumerate(self.shape)]
        whole = np.pad(view, margins) if any(after for _, after in margins) else view
        return np.ascontiguousarray(whole.reshape(self._parts()).transpose(self._places()))

    def unpack(self, packed: Any, shape: Sequence[int]) -> Any:
        """The plain array, of a given shape, of a packed one."""
        import numpy as np

        places = self._places()
        parts = packed.reshape(self.counts).transpose([places.index(n) for n in range(len(places))])
        whole = parts.reshape([-(-d // self._block(a)) * self._block(a) for a, d in enumerate(self.shape)])
        plain = np.empty(prod(shape), packed.dtype)
        view = np.lib.stride_tricks.as_strided(plain, self.shape, [s * plain.itemsize for s in self.strides])
        view[...] = whole[tuple(slice(d) for d in self.shape)]
        return plain.reshape(shape)

    def _block(self, axis: int) -> int:
        return prod(size for a, size in self.blocks if a == axis)

    def _parts(self) -> list[int]:
        """The shape with each axis as its blocks' number and sizes."""
        return [
            n
            for a, d in enumerate(self.shape)
            for n in (-(-d // self._block(a)), *(s for b, s in self.blocks if b == a))
        ]

    def _places(self) -> list[int]:
        """Which of `_parts` each axis of the packed array is."""
        starts = [sum(1 + sum(b == a for b, _ in self.blocks) for a in range(axis)) for axis in range(len(self.shape))]
        seen = [0] * len(self.shape)
        places = [starts[a] for a in self.order]
        for axis, _ in self.blocks:
            seen[axis] += 1
            places.append(starts[axis] + seen[axis])
        return places

    def __str__(self) -> str:
        blocks = ",".join(f"{axis}:{size}" for axis, size in self.blocks)
        return f"{_text(self.shape)}/{_text(self.strides)}>{_text(self.order)};{blocks}"


def blocking_of(
    shape: Sequence[int], strides: Sequence[int], order: Sequence[int], blocks: Sequence[tuple[int, int]]
) -> Blocking | None:
    """The same but for axes of one element, which are dropped; None where elements are left out, or read twice."""
    kept = [a for a, d in enumerate(shape) if d != 1]
    if any(axis not in kept for axis, _ in blocks):
        return None
    found = Blocking(
        tuple(shape[a] for a in kept),
        tuple(strides[a] for a in kept),
        tuple(kept.index(a) for a in order if a in kept),
        tuple((kept.index(axis), size) for axis, size in blocks if size > 1),
    )
    return found if found.is_whole else None


def _text(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))
