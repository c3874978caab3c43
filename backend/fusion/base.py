"""What a kind of fusion is: a rule that grows a group from a layer that it can start with."""

from __future__ import annotations

from functools import cache
from typing import Protocol

from trtn.backend.discovery import in_order, scan
from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["Fusion", "discover"]


class Fusion(Protocol):
    """A module of this package that binds FUSION to one of these is all that it takes.

    `grow` gives the layers of the group that starts at `seed`, the seed first, or None where no such group
    does. It takes free layers only, and together they are convex (`index.joins`). Fusions run in order, each
    over all layers that are still free.
    """

    name: str
    kind: str
    after: frozenset[str]

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None: ...


@cache
def discover(device: str = "cpu") -> tuple[Fusion, ...]:
    """Every fusion of this package, in order; for a GPU those of `gpu` among them."""
    import trtn.backend.fusion as package
    import trtn.backend.fusion.gpu as gpu

    return in_order([*scan(package, "FUSION"), *(scan(gpu, "FUSION") if device.startswith("cuda") else ())])
