"""Models that nobody here wrote: the ONNX files of a folder, and feeds of sensible size for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trtn.dsl.dims import Relation
    from trtn.dsl.network import Network

__all__ = ["Model", "likely_sizes", "models"]

_IMAGE = 224
_LENGTH = 128
"""What a dim is set to: of images (rank 4), and of anything else but the batch."""


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    path: Path


def models(folder: Path | None) -> list[Model]:
    """The `.onnx` files of a folder by name; none without a folder."""
    return [] if folder is None else [Model(p.stem, p) for p in sorted(folder.glob("*.onnx"))]


def likely_sizes(network: Network) -> dict[str, int]:
    """Values of the dims as the model would be used, where that can be: one sample, images of 224, lengths of 128."""
    from trtn.dsl.dims import Expr, sample

    wanted: dict[str, int] = {}
    for t in network.inputs:
        for axis, dim in enumerate(t.shape):
            if isinstance(dim, Expr):
                size = 1 if axis == 0 else _IMAGE if len(t.shape) == 4 else _LENGTH
                for name in dim.symbols:
                    wanted.setdefault(name, size)
    likely = {name: allowed.clamp(wanted.get(name, 1)) for name, allowed in network.dims.items()}
    candidates: Iterator[Mapping[str, int]] = iter([likely, *sample(network.domain())])
    for sizes in candidates:
        if all(r.holds(sizes) for r in _relations(network, sizes)):
            return {name: sizes[name] for name in network.dims}
    return likely


def _relations(network: Network, sizes: Mapping[str, int]) -> list[Relation]:
    relations = [a.relation for a in network.asserts] + [g.relation for g in network.guards]
    return [r for r in relations if r.symbols <= sizes.keys()]
