"""New values of carried names in a body: which statement binds each.

From there on the name stands for the new value, so nothing below may read the old one under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtn.dsl.network import Graph, Tensor, captures

__all__ = ["Rebinding", "plan_rebinding"]


@dataclass(frozen=True, slots=True)
class Rebinding:
    """Carried names by number.

    direct: tensors, by id, whose own statement binds the name.
    late: the other new values, bound by statements of their own at the end of the body, in order.
    kept: names of `late` whose old value is still read there, and so needs another name.
    """

    direct: dict[int, int]
    late: tuple[tuple[int, Tensor], ...]
    kept: tuple[int, ...]


def plan_rebinding(
    region: Graph, carried: Sequence[Tensor], finals: Sequence[Tensor], yielded: Sequence[Tensor]
) -> Rebinding:
    """carried: the body's inputs that are carried; finals: their new values; yielded: what else the body gives."""
    places = {id(t): at for at, layer in enumerate(region.layers) for t in layer.outputs}
    last_read: dict[int, int] = {}
    for at, layer in enumerate(region.layers):
        for t in (*layer.inputs, *captures(layer)):
            if t is not None:
                last_read[id(t)] = at
    read_at_the_end = [id(t) for t in (*finals, *yielded)]
    direct: dict[int, int] = {}
    late: list[tuple[int, Tensor]] = []
    for number, (old, new) in enumerate(zip(carried, finals, strict=True)):
        place = places.get(id(new), -1)
        if new is old:
            continue
        if id(new) in direct or place < last_read.get(id(old), -1) or id(old) in read_at_the_end or place < 0:
            late.append((number, new))
        else:
            direct[id(new)] = number
    sources = [id(t) for _, t in late] + [id(t) for t in yielded]
    kept = tuple(number for number, _ in late if id(carried[number]) in sources)
    return Rebinding(direct, tuple(late), kept)
