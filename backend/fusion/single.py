"""Kinds of groups that hold one layer."""

from __future__ import annotations

from dataclasses import dataclass

from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["SingleLayer"]


@dataclass(frozen=True, slots=True)
class SingleLayer:
    """A group of one layer whose op is one of `ops`."""

    name: str
    ops: frozenset[str]
    after: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        return self.name

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        return (seed,) if seed.op.name in self.ops else None
