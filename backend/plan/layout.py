"""Physical order of values: channels last for images between convolutions, the logical order for everything else.

The text is always channels first; a value's order only says how its elements lie in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtn.backend.group import Group
from trtn.dsl.dims import Dim
from trtn.dsl.network import Tensor

__all__ = ["channels_last", "is_trivial", "plan_orders"]

SEEDS = ("conv", "pooling", "squeeze", "stem")
FOLLOWERS = ("pointwise", "copy", "normalisation", "reference")
RANKS = (3, 4, 5)


def channels_last(rank: int) -> tuple[int, ...]:
    """The axes of [N, C, *spatial] from the slowest to the fastest in memory: N, *spatial, C."""
    return (0, *range(2, rank), 1)


def is_trivial(shape: Sequence[Dim]) -> bool:
    """Whether channels last is the same memory as the logical order: all spatial dims are 1, or there is one
    channel."""
    return all(d == 1 for d in shape[2:]) or shape[1] == 1


def plan_orders(groups: Sequence[Group]) -> Mapping[int, tuple[int, ...]]:
    """The order of each value that is not in logical order, by tensor id.

    What a convolution or a pooling makes is channels last; what lies between such values (same rank, pointwise and
    the like)
    follows, and so does what only they read. What attention makes lies the way in which its heads are merged.
    """
    orders: dict[int, tuple[int, ...]] = {}
    readers: dict[int, list[Group]] = {}
    for group in groups:
        for t in group.inputs:
            readers.setdefault(id(t), []).append(group)
    for group in groups:
        follows = group.kind in FOLLOWERS and any(id(t) in orders for t in group.inputs)
        for t in group.outputs:
            feeds = readers.get(id(t), [])
            if group.kind == "attention" and len(perms := {_transposition(g) for g in feeds}) == 1:
                (perm,) = perms
                if perm is not None:
                    orders[id(t)] = perm
            if not _is_image(t):
                continue
            wanted = bool(feeds) and all(g.kind in SEEDS for g in feeds) and group.kind in FOLLOWERS
            if group.kind in SEEDS or follows or wanted:
                orders[id(t)] = channels_last(t.rank)
    return orders


def _transposition(group: Group) -> tuple[int, ...] | None:
    """The permutation that a group is, where it leaves each head's elements together: [B, H, S, D] to [B, S, H, D], or to
    [S, B, H, D]. Laid out so, merging the heads costs nothing."""
    layer = group.layers[0]
    if group.kind != "view" or layer.op.name != "transpose":
        return None
    perm = tuple(layer.attrs["perm"])
    return perm if perm[-1] == len(perm) - 1 else None


def _is_image(tensor: Tensor) -> bool:
    return tensor.rank in RANKS and tensor.dtype.is_float and not is_trivial(tensor.shape)
