"""What a family of kernels gives for a problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from trtn.backend.blocking import Blocking
from trtn.dsl.records import record

__all__ = ["Pack", "Packing", "Room", "Unfit", "Written"]

Room = Callable[[int], Any]
"""Memory of so many bytes, uint8 from a multiple of 64 on: `Device.room`."""


class Pack(Protocol):
    """Makes another form of a constant array, in memory of `room`."""

    def __call__(self, plain: Any, /, room: Room) -> Any: ...


Packing = tuple[int, str | Blocking, Pack]
"""An input that the kernel takes in another form, and in that alone: its number, the form or its name, what makes it."""


class Unfit(Exception):
    """A problem that a family writes nothing for; the message says why."""


@record()
class Written:
    """A module's text over a problem's inputs, outputs, packed inputs, workspace (where there is any) and numbers, in
    this order."""

    text: str | Callable[[], str]
    """Or what writes it, where that takes long: it is done where there is no machine code for `recipe` yet."""
    numbers: Sequence[int]
    packings: Sequence[Packing] = ()
    workspace: int = 0
    expected: bool = True
    """Whether it is expected to be faster than other providers' kernels."""
    recipe: str = ""
    """All that the text follows from, where that is written later."""
    shared: bool | None = None
    """Whether threads share it, as `ForeignCall` has it."""
    is_final: bool = False
    """Whether LLVM has nothing to make better in it, but has to choose instructions and registers."""
