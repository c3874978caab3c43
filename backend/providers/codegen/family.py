"""What a family of generated kernels is, and the plain data that it plans with: operands come in, kernel calls go out.

Nothing here touches a GPU: a plan is made from shapes and strides alone, so it can be made, read and compiled anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from trtn.backend.devices import Device
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic
from trtn.dsl.dtypes import DType

__all__ = [
    "Call",
    "Extent",
    "Family",
    "KernelSpec",
    "LeadingFamily",
    "Operand",
    "Plan",
    "SizedFamily",
    "Slot",
    "digest",
    "grid_for",
]

Extent = tuple[int, int, int]


class KernelSpec(Protocol):
    """A frozen dataclass of plain values that describes one kernel. Equal specs are the same kernel."""

    def source(self) -> str:
        """The CUDA C++ text, a pure function of the fields. It declares `extern "C" __global__ void kernel(..)`."""
        ...

    def __hash__(self) -> int: ...


def digest(spec: KernelSpec) -> str:
    """What identifies a kernel, for caches of compiled code: over the description and the text generated from it."""
    text = f"{type(spec).__name__}\n{spec!r}\n{spec.source()}"
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Operand:
    """An array as a kernel sees it. `strides` count elements; `align` is the alignment of its address in bytes, 16
    at most."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: DType
    align: int = 16

    @property
    def size(self) -> int:
        count = 1
        for d in self.shape:
            count *= d
        return count

    @property
    def is_dense(self) -> bool:
        """Whether its elements follow each other in the order of its axes."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True

    def reach(self) -> int:
        """The largest distance, in elements, between two of its elements."""
        return sum(abs(s) * (d - 1) for s, d in zip(self.strides, self.shape, strict=True) if d > 1)


@dataclass(frozen=True, slots=True)
class Slot:
    """A pointer argument: which of inputs + outputs + scratch buffers, and a distance from its start in bytes."""

    index: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One launch. Arguments that are not slots are NumPy scalars, which are passed by value."""

    spec: KernelSpec
    grid: Extent
    block: Extent
    arguments: tuple[Any, ...]
    shared: int = 0
    """Bytes of dynamic shared memory."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The launches of a group for given operands, in order. `once` ones run before the first (they pack weights into
    scratch)."""

    calls: tuple[Call, ...]
    scratch: tuple[int, ...] = ()
    """Sizes, in bytes, of buffers that live as long as the plan is used; slots after those of the outputs."""
    once: tuple[Call, ...] = ()


class Family(Protocol):
    """A module of this package that binds FAMILY to one of these is all that it takes."""

    name: str

    def refusal(self, group: Group) -> str:
        """Why the family does not run a group; "" where it does."""
        ...

    def tactics(self, group: Group) -> Sequence[Tactic]:
        """The ways in which it runs a group that it does not refuse, the likeliest first."""
        ...

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        """The launches for operands of any strides. Raises TacticError where these sizes or strides are not for it."""
        ...


@runtime_checkable
class SizedFamily(Protocol):
    """A family whose ways to run a group depend on its sizes. `tactics` then has examples of all of them."""

    def tactics_for(self, problem: Problem, device: Device, effort: int) -> Sequence[Tactic]:
        """Those of use for a problem, the likeliest first, more at a higher effort (0..5)."""
        ...


@runtime_checkable
class LeadingFamily(Protocol):
    """One that is the fastest at some sizes, whatever is at others."""

    def leads(self, problem: Problem) -> bool:
        """Whether it is so for a problem, as a rule."""
        ...


def grid_for(count: int, block: int) -> Extent:
    """As many blocks as cover `count` threads."""
    return (-(-count // block), 1, 1)
