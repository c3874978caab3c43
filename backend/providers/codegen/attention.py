"""Attention in 16-bit floats with any mask, over arrays of any strides: heads may lie inside of rows or outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

import numpy as np

from trtn.backend.devices import Device
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.attention_keys import Tile
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.flash_attention import LOG2E, FlashAttentionSpec, MaskRead
from trtn.backend.providers.codegen.rows import MULTIPROCESSORS
from trtn.dsl.network import Tensor

__all__ = ["FAMILY", "AttentionFamily"]

DTYPES = ("f16", "bf16")
WIDTHS = range(16, 129, 16)
TILES = tuple(
    Tile(*numbers)
    for numbers in (
        (1, 1, 4, 4), (1, 1, 8, 4), (1, 2, 4, 4), (2, 1, 4, 4), (1, 4, 1, 4), (1, 1, 8, 2), (1, 1, 4, 2), (1, 1, 2, 2), (1, 2, 2, 2),
        (1, 1, 1, 2), (1, 2, 4, 4, 4), (2, 2, 4, 4, 4), (2, 1, 8, 4, 2), (1, 4, 1, 4, 4), (1, 4, 1, 8, 3), (1, 8, 1, 4, 4),
        (1, 8, 1, 8, 3), (2, 4, 1, 4, 4), (2, 8, 1, 4, 4), (1, 4, 2, 4, 3), (1, 4, 2, 8, 2), (1, 2, 4, 2, 4),
    )
)  # fmt: skip
"""Each was, or was near, the best for some sizes. The last ones go through shared memory: for many keys, or many queries."""
OFFERED = 12
"""Tiles that are timed, at the usual effort."""
_STRIDES = (np.int64, np.int64, np.uint32)
"""Of samples, heads and rows, as the kernel takes them."""
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

    def tactics_for(self, problem: Problem, device: Device, effort: int) -> Sequence[Tactic]:
        """The likeliest tiles for a problem, by a model of their times."""
        group, (y,) = problem.group, problem.outputs
        queries, out_width = y.shape[-2:]
        keys, width = problem.inputs[_number(group, 1)].shape[-2:]
        heads = y.size // max(1, queries * out_width)
        causal, size = bool(group.layers[0].attrs["causal"]), (width + out_width) / 128
        tiles = sorted(_fitting(group), key=lambda tile: _expected(tile, heads, queries, keys, size, causal=causal))
        return [_tactic(tile) for tile in tiles[: max(1, OFFERED * effort // 3)]]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
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
        mask = _mask_of(group)
        read = None if mask is None else _read_mask(inputs[_index(group, mask)], tile, keys)
        scale = 1 / sqrt(width) if attrs["scale"] is None else attrs["scale"]
        spec = FlashAttentionSpec(
            q.dtype.name, width, out_width, tile, bool(attrs["causal"]), read, heads != k.shape[1], scale > 0
        )  # fmt: skip
        slots = [*numbers, *([] if mask is None else [_index(group, mask)]), len(inputs)]
        counts = (queries, keys, *[heads // k.shape[1]] * spec.shared)
        strides = [
            kind(s * o.dtype.itemsize) for o in (q, k, v, y) for kind, s in zip(_STRIDES, o.strides, strict=False)
        ]
        if mask is not None:
            own = _mask_strides(inputs[_index(group, mask)])
            strides += [*map(np.int64, own[:3]), np.int32(own[3])]
        factor = np.float32(scale * (LOG2E if spec.late_scale else 1.0))
        arguments = (*map(Slot, slots), *map(np.int32, counts), factor, *strides)
        return Plan((Call(spec, (heads, down, batch), (tile.threads, 1, 1), arguments, spec.dynamic_shared),))


FAMILY = AttentionFamily()


def _input(group: Group, number: int) -> Tensor:
    tensor = group.layers[0].inputs[number]
    assert tensor is not None
    return tensor


def _index(group: Group, tensor: Tensor) -> int:
    """Which of the group's inputs a tensor is."""
    return next(n for n, t in enumerate(group.inputs) if t is tensor)


def _number(group: Group, number: int) -> int:
    """Which of the group's inputs an input of the layer is."""
    return _index(group, _input(group, number))


def _mask_of(group: Group) -> Tensor | None:
    inputs = group.layers[0].inputs
    return inputs[3] if len(inputs) > 3 else None


def _mask_strides(mask: Operand) -> list[int]:
    """Of a mask broadcast to [N, H, S, L]."""
    own = [s if d > 1 else 0 for d, s in zip(mask.shape, mask.strides, strict=True)]
    return [0] * (4 - len(own)) + own


def _read_mask(mask: Operand, tile: Tile, keys: int) -> MaskRead:
    *outer, along = _mask_strides(mask)
    if abs(along) * keys >= 2**31:
        raise TacticError("a row of its mask reaches over 2^31 elements or more")
    size, together = mask.dtype.itemsize, 2 * tile.octets
    grain = min(together * size, 16)
    aligned = mask.align % grain == 0 and all(s * size % grain == 0 for s in outer)
    return MaskRead(mask.dtype.name, outer[2] != 0, along == 1 and keys % together == 0 and aligned)


def _fitting(group: Group) -> list[Tile]:
    width, out_width = (_input(group, n).shape[-1] for n in (0, 2))
    assert isinstance(width, int) and isinstance(out_width, int)
    mask = _mask_of(group)
    masks = mask is not None and mask.rank > 1 and mask.shape[-2] != 1
    return [tile for tile in TILES if tile.fits(width, out_width, masks)]


def _tactic(tile: Tile) -> Tactic:
    return Tactic(str(tile), numerics="reassociated")


def _expected(tile: Tile, heads: int, queries: int, keys: int, size: float, *, causal: bool) -> float:
    """About how many microseconds an H200 takes beside the 2 of any such launch, fitted to what it took for heads of 64
    (`size` 1): within 15 % at most sizes.

    A warp goes through its blocks one after the other; all of them share the multiprocessors; and parts are merged.
    """
    down = -(-queries // tile.queries)
    turns = -(-keys // tile.keys)
    work = size * tile.fragments * tile.octets / 4
    wait, block, share = (0.25, 0.22, 0.067) if tile.stages else (0.3, 0.25, 0.083)
    all_turns = turns * (0.5 + 0.5 / max(1, down) if causal else 1.0)
    warps = heads * down * tile.rows * tile.parts / MULTIPROCESSORS
    merging = 0.12 * size * tile.fragments * warps if tile.parts > 1 else 0.0
    return turns * (wait + block * work) + share * (1 + 0.5 / tile.fragments) * warps * all_turns * work + merging


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
