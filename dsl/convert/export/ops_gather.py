"""Elements picked and written by index."""

from __future__ import annotations

from trtn.dsl.convert.export.registry import refuse, writes
from trtn.dsl.convert.export.site import Site

__all__: list[str] = []


@writes("gather", "gather_elements")
def _gather(s: Site) -> None:
    s.emit("Gather" if s.layer.op.name == "gather" else "GatherElements", s.x(0), s.x(1), axis=s["axis"])


@writes("embedding")
def _embedding(s: Site) -> None:
    s.emit("Gather", s.x(1), s.x(0), axis=0)


@writes("gather_nd")
def _gather_nd(s: Site) -> None:
    s.emit("GatherND", s.x(0), s.x(1), batch_dims=s["batch_dims"])


@writes("compress")
def _compress(s: Site) -> None:
    s.emit("Compress", s.x(0), s.x(1), axis=s["axis"])


@writes("scatter_elements")
def _scatter_elements(s: Site) -> None:
    s.emit("ScatterElements", s.x(0), s.x(1), s.x(2), axis=s["axis"], reduction=_reduction(s))


@writes("scatter_nd")
def _scatter_nd(s: Site) -> None:
    s.emit("ScatterND", s.x(0), s.x(1), s.x(2), reduction=_reduction(s))


def _reduction(s: Site) -> str | None:
    reduction: str = s["reduction"]
    if reduction in ("max", "min") and s.opset < 18:
        refuse(f"its reduction `{reduction}` is one of opset 18 and later")
    return None if reduction == "none" else reduction
