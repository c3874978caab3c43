"""A problem: a fusion group at concrete sizes, its arrays lying in memory in known ways. It is what is timed, locked
and prepared: a tactic is only right for one, and equal problems of any network share it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import field

from trtn.backend.fusion.signature import signature
from trtn.backend.group import Group
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Tensor
from trtn.dsl.records import record

__all__ = ["KEY_LENGTH", "ArrayLayout", "Problem", "dense_strides", "make_problem"]

KEY_LENGTH = 24
"""Hex digits of a problem's key: 96 bits."""


@record()
class ArrayLayout:
    """How one array lies in memory. `strides` count elements; those of axes of size 1 are what they would be if the
    axes after them were dense, so that equal layouts compare equal."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DType
    constant: bool = False
    """A weight: there, and the same, before every run."""
    align: int = 16
    """Its address is a multiple of so many bytes; 16 at most."""

    @property
    def size(self) -> int:
        count = 1
        for d in self.shape:
            count *= d
        return count

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie in logical order without gaps (C order)."""
        return self.strides == dense_strides(self.shape)

    def __str__(self) -> str:
        marks = f"{'w' if self.constant else ''}{'' if self.align == 16 else f'@{self.align}'}"
        return f"{self.dtype}{list(self.shape)}/{list(self.strides)}{marks}"


@record(eq=False)
class Problem:
    """`inputs` and `outputs` follow the group's."""

    group: Group
    sizes: Mapping[str, int]
    """The values of the network's dims."""
    inputs: tuple[ArrayLayout, ...]
    outputs: tuple[ArrayLayout, ...]
    key: str = field(default="")
    """The digest of all that decides how fast the problem is and what a kernel for it computes."""

    def layout(self, tensor: Tensor) -> ArrayLayout:
        """The layout of one of the group's inputs or outputs."""
        for known, found in ((self.group.inputs, self.inputs), (self.group.outputs, self.outputs)):
            for t, layout in zip(known, found, strict=True):
                if t is tensor:
                    return layout
        raise KeyError(f"`{tensor.name}` neither comes into nor leaves {self.group!r}")

    def __repr__(self) -> str:
        return f"<problem {self.key} of {self.group!r}>"


def make_problem(
    group: Group, sizes: Mapping[str, int], inputs: Sequence[ArrayLayout], outputs: Sequence[ArrayLayout]
) -> Problem:
    """A problem with its key: the digest of the group's signature at these sizes, the layouts, and the values of
    constants of one element, which kernels may have inside."""
    lines = [
        signature(group, sizes),
        *map(str, inputs),
        *map(str, outputs),
        *(f"{n}={value}" for n, t in enumerate(group.inputs) if (value := _scalar(t)) is not None),
    ]
    key = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:KEY_LENGTH]
    return Problem(group, dict(sizes), tuple(inputs), tuple(outputs), key)


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of an array of a shape in C order."""
    strides: list[int] = []
    step = 1
    for d in reversed(shape):
        strides.append(step)
        step *= max(d, 1)
    return tuple(reversed(strides))


def _scalar(tensor: Tensor) -> str | None:
    """The value of a constant of one element, as the hex of its bytes."""
    weight = tensor.weight
    if weight is None or any(d != 1 for d in weight.shape):
        return None
    return bytes(weight.load().tobytes()).hex()
