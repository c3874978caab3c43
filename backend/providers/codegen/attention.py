"""Attention in 16-bit floats with any mask, over arrays of any strides: heads may lie inside of rows or outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.attention_keys import Tile
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.flash_attention import LOG2E, FlashAttentionSpec
from trtn.backend.providers.codegen.rows import MULTIPROCESSORS
from trtn.dsl.network import Tensor

__all__ = ["FAMILY", "AttentionFamily"]

DTYPES = ("f16", "bf16")
WIDTHS = range(16, 129, 16)
TILES = (
    *(
        Tile(fragments, rows, parts, octets)
        for fragments, rows, parts in (
            (1, 1, 4), (1, 1, 8), (1, 1, 2), (1, 2, 4), (1, 2, 2), (1, 4, 1), (1, 4, 2), (2, 1, 4), (2, 2, 2), (2, 2, 4), (2, 4, 1),
            (2, 4, 2), (1, 7, 1), (1, 8, 1),
        )
        for octets in (4, 2)
    ),
    Tile(1, 1, 1, 2),
    *(
        Tile(*numbers)
        for numbers in (
            (1, 4, 1, 4, 4), (1, 4, 1, 8, 3), (1, 8, 1, 4, 4), (1, 8, 1, 8, 3), (2, 4, 1, 4, 4), (2, 4, 1, 8, 3), (2, 8, 1, 4, 4),
            (1, 4, 2, 4, 3), (1, 4, 2, 8, 2), (2, 2, 2, 4, 3), (2, 4, 2, 4, 3), (1, 4, 4, 4, 2), (1, 4, 4, 4, 4), (1, 4, 4, 2, 4),
            (1, 2, 4, 4, 4), (1, 2, 4, 2, 4), (1, 2, 8, 4, 2), (2, 2, 4, 4, 2), (2, 2, 4, 4, 4), (2, 1, 8, 4, 2),
        )
    ),
)  # fmt: skip
"""The last ones go through shared memory: for many keys, or many queries that share them."""
OFFERED = 12
"""Tiles that are timed, at the usual effort."""
FULL = 8
"""Warps of a multiprocessor that keep it busy."""
GRID = 65535
"""Blocks along the second and third axis of a grid at most."""


class AttentionFamily:
    """Single `attention` layers."""

    name = "attention"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name != "attention":
            return "it is not attention"
        q, v = _input(group, 0), _input(group, 2)
        if q.dtype.name not in DTYPES:
            return f"generated attention doesn't take {q.dtype}"
        if q.rank > 4:
            return f"it has rank {q.rank}"
        if q.shape[-1] not in WIDTHS or v.shape[-1] not in WIDTHS:
            return f"its heads' widths are not multiples of {WIDTHS.step} up to {WIDTHS.stop - 1}"
        return ""

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return [_tactic(tile) for tile in _fitting(group)]

    def tactics_for(
        self, group: Group, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand], effort: int
    ) -> Sequence[Tactic]:
        """The likeliest tiles for a problem, by how they fill the GPU."""
        (y,) = outputs
        queries = y.shape[-2]
        keys = inputs[_number(group, 1)].shape[-2]
        heads = y.size // max(1, queries * y.shape[-1])
        tiles = sorted(_fitting(group), key=lambda tile: _rounds(tile, heads, queries, keys))
        return [_tactic(tile) for tile in tiles[: max(1, OFFERED * effort // 3)]]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        attrs = group.layers[0].attrs
        tile = next((t for t in _fitting(group) if str(t) == tactic), None)
        if tile is None:
            raise TacticError(f"there is no tile `{tactic}` for it")
        numbers = [_number(group, n) for n in range(3)]
        q, k, v = (_with_batch(inputs[n]) for n in numbers)
        y = _with_batch(outputs[0])
        if y.size == 0:
            return Plan(())
        for operand in (q, k, v, y):
            _demand_rows(operand)
        batch, heads, queries, width = q.shape
        keys, out_width = v.shape[2:]
        down = -(-queries // tile.queries)
        if max(batch, down) > GRID:
            raise TacticError("its grid has too many blocks")
        slots, strides, vectors, by_query, kind = [*numbers], [*_strides(q, k, v, y)], False, False, ""
        if len(group.layers[0].inputs) > 3 and group.layers[0].inputs[3] is not None:
            number = _number(group, 3)
            mask, kind = inputs[number], inputs[number].dtype.name
            own = [0] * (4 - len(mask.shape)) + [s if d > 1 else 0 for d, s in zip(mask.shape, mask.strides, strict=True)]
            by_query = own[2] != 0
            room = 2 * tile.octets * mask.dtype.itemsize
            vectors = own[3] == 1 and keys % (2 * tile.octets) == 0 and mask.align % min(room, 16) == 0
            vectors = vectors and all(s * mask.dtype.itemsize % min(room, 16) == 0 for s in own[:3])
            slots.append(number)
            strides += [*map(np.int64, own[:3]), np.int32(own[3])]
            if abs(own[3]) * keys >= 2**31:
                raise TacticError("a row of its mask reaches over 2^31 elements or more")
        scale = 1 / sqrt(width) if attrs["scale"] is None else attrs["scale"]
        spec = FlashAttentionSpec(
            q.dtype.name, width, out_width, tile, bool(attrs["causal"]), kind, by_query, vectors, heads != k.shape[1], scale > 0
        )
        arguments = (
            *map(Slot, (*slots, len(inputs))),
            *map(np.int32, (queries, keys, *[heads // k.shape[1]] * spec.shared)), np.float32(scale * (LOG2E if spec.late_scale else 1.0)), *strides,
        )  # fmt: skip
        return Plan((Call(spec, (heads, down, batch), (tile.threads, 1, 1), arguments, spec.dynamic_shared),))


FAMILY = AttentionFamily()


def _input(group: Group, number: int) -> Tensor:
    tensor = group.layers[0].inputs[number]
    assert tensor is not None
    return tensor


def _number(group: Group, number: int) -> int:
    """Which of the group's inputs an input of the layer is."""
    tensor = _input(group, number)
    return next(n for n, t in enumerate(group.inputs) if t is tensor)


def _fitting(group: Group) -> list[Tile]:
    width, out_width = (_input(group, n).shape[-1] for n in (0, 2))
    assert isinstance(width, int) and isinstance(out_width, int)
    mask = group.layers[0].inputs[3] if len(group.layers[0].inputs) > 3 else None
    masks = mask is not None and mask.rank > 1 and mask.shape[-2] != 1 and mask.dtype.kind != "b"
    return [tile for tile in TILES if tile.fits(width, out_width, masks)]


def _tactic(tile: Tile) -> Tactic:
    return Tactic(str(tile), numerics="reassociated")


def _rounds(tile: Tile, heads: int, queries: int, keys: int) -> float:
    """How long a tile may take, in blocks of 16 keys by 16 queries that a warp goes through: what one warp does alone, or all of them in
    turns. It is only good enough to leave out what is hopeless."""
    blocks = -(-keys // (8 * tile.octets))
    each = -(-blocks // tile.parts) * tile.octets / 2 * tile.fragments
    warps = heads * -(-queries // tile.queries) * tile.rows * tile.parts
    merging = 0.0 if tile.parts == 1 else 2.0 + tile.parts * tile.fragments / 4
    reads = 1 + 1 / tile.fragments
    return max(each, each * warps / (MULTIPROCESSORS * FULL)) * reads + merging


def _with_batch(operand: Operand) -> Operand:
    """[H, S, D] as [1, H, S, D]."""
    if len(operand.shape) == 4:
        return operand
    return Operand((1, *operand.shape), (0, *operand.strides), operand.dtype, operand.align)


def _demand_rows(operand: Operand) -> None:
    """Raise TacticError where rows are not read or written in 16 bytes at a time."""
    steps = [s for d, s in zip(operand.shape[:3], operand.strides[:3], strict=True) if d > 1]
    if operand.strides[3] != 1 or operand.align < 16 or any(s * operand.dtype.itemsize % 16 for s in steps):
        raise TacticError("rows of heads do not start at multiples of 16 bytes, or are not dense")
    if not 0 <= operand.strides[2] * operand.dtype.itemsize * operand.shape[2] < 2**31:
        raise TacticError("the rows of a head run backwards, or over 2^31 bytes or more")


def _strides(*operands: Operand) -> list[Any]:
    """In bytes."""
    import numpy as np

    kinds = (np.int64, np.int64, np.uint32)
    return [kind(s * o.dtype.itemsize) for o in operands for kind, s in zip(kinds, o.strides, strict=False)]
