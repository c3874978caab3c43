"""Comparisons of dims: decided at import where the ranges decide them, remembered where they don't."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from trtn.dsl.dims import Relation, Verdict, prove

if TYPE_CHECKING:
    from trtn.dsl.builder import Builder
    from trtn.dsl.network import Tensor

__all__ = ["COMPARISONS", "Conditions"]

COMPARISONS: Final[Mapping[str, str]] = {
    "Equal": "==",
    "Less": "<",
    "LessOrEqual": "<=",
    "Greater": ">",
    "GreaterOrEqual": ">=",
}


class Conditions:
    """Which bool tensors state a relation over dims."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._relations: dict[int, tuple[Tensor, Relation]] = {}

    def decide(self, relation: Relation) -> bool | None:
        """Whether a relation holds for all values of the dims (True), for none (False), or for some."""
        domain = self._builder.domain()
        if prove(relation, domain).verdict is Verdict.PROVED:
            return True
        if prove(relation.negated(), domain).verdict is Verdict.PROVED:
            return False
        return None

    def remember(self, tensor: Tensor, relation: Relation) -> None:
        self._relations[id(tensor)] = (tensor, relation)

    def relation(self, tensor: Tensor) -> Relation | None:
        """The relation that a bool tensor states, where it is known to state one."""
        entry = self._relations.get(id(tensor))
        return entry[1] if entry is not None else None
