"""Values that nobody changes and that networks have by the hundred thousand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

__all__ = ["record"]

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(*, eq: bool = True) -> Callable[[type[_T]], type[_T]]:
    """A dataclass with slots, frozen for the type checker alone: to have the interpreter look as well takes two
    thirds of the time in which one is made. Without `eq` it is known by identity.
    """
    return dataclass(slots=True, eq=eq, unsafe_hash=eq)
