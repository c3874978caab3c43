"""What a plan takes for granted about its dims: shown when the plan is read, or left to the runtime as a
guard.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from trtn.backend.engine.fields import DecodeError
from trtn.dsl.dims import Domain, Relation, Verdict, prove
from trtn.dsl.network import Guard

__all__ = ["Claims"]

_EFFORT = 500  # points tried for one relation
_MAX_ADDED = 1_000  # guards beyond those that are stated: each took some effort


class Claims:
    """Relations that layers need, over a domain. `stated` are the guards that the runtime checks anyway."""

    def __init__(self, domain: Domain, stated: Iterable[Guard]) -> None:
        self._stated = tuple(stated)
        self._added: list[Guard] = []
        self._domain = replace(domain, constraints=(*domain.constraints, *(g.relation for g in self._stated)))
        self._settled = set(self._domain.constraints)

    def inside(self, stated: Iterable[Guard]) -> Claims:
        """The claims of a region: what holds around it holds in it, where its own guards have been checked, too."""
        return Claims(self._domain, stated)

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Those that were stated, then what could not be shown."""
        return (*self._stated, *self._added)

    def add(self, relation: Relation, message: str, layer: str) -> None:
        """Raises DecodeError where the relation is false for some shapes that the runtime would let in."""
        mirrored = Relation("==", relation.right, relation.left) if relation.op == "==" else relation
        if (
            relation in self._settled
            or mirrored in self._settled
            or (relation.op == "==" and relation.left == relation.right)
        ):
            return
        self._settled.add(relation)
        verdict = prove(relation, self._domain, budget=_EFFORT).verdict
        if verdict is Verdict.REFUTED:
            raise DecodeError(f"layer `{layer}`: {message}")
        if verdict is Verdict.UNKNOWN:
            self._added.append(Guard(relation, message, layer))
        if len(self._added) > _MAX_ADDED:
            raise DecodeError("its shapes can't be shown to fit together")
