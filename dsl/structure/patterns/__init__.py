"""What exporters spell out in several layers, as the one layer that it is: a module here that binds PATTERNS is all
that it takes.

A pattern looks at one layer and what is before it. Patterns are exact but for rounding: their layers compute the same
in a different order, or with constants whose last digits differ.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from typing import Protocol, TypeAlias

from trtn.dsl.network import Layer, Tensor
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["Pattern", "Replacement", "discover"]

Replacement: TypeAlias = Layer | Sequence[Layer] | Tensor | None
"""What takes a layer's place: layers that make its results, a tensor that is its result, or nothing where the pattern
isn't there."""


class Pattern(Protocol):
    name: str
    ops: frozenset[str]
    """The ops of the layers that the pattern may end in."""
    late: bool
    """Whether it waits until the others find nothing more: it hides what they look for."""

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        """What to put in the place of `layer`, whose op is one of `ops`.

        A pattern that also drops other layers that give several results together does so through `rewriter.exchange`.
        """


@cache
def discover() -> tuple[Pattern, ...]:
    """Every pattern, by the names of their modules."""
    import trtn.dsl.structure.patterns as package

    found: list[Pattern] = []
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        found += getattr(importlib.import_module(f"{package.__name__}.{module}"), "PATTERNS", ())
    return tuple(found)
