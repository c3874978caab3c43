"""Attention in 16-bit floats, or in f32 as TF32, with any mask, over arrays of any strides: heads may lie inside of rows or outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

from trtn.backend.devices import Device
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.attention_keys import Tile
from trtn.backend.providers.codegen.attention_wgmma import WarpGroupAttentionSpec
from trtn.backend.providers.codegen.attention_wgmma_tile import AttentionTile
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.flash_attention import LOG2E, FlashAttentionSpec, MaskRead
from trtn.backend.providers.codegen.rows import MULTIPROCESSORS
from trtn.dsl.network import Tensor

__all__ = ["FAMILY", "AttentionFamily"]

DTYPES = ("f16", "bf16", "f32")
WIDTHS = range(16, 129, 16)
TILES = tuple(
    Tile(*numbers)
    for numbers in (
        (1, 1, 4, 4), (1, 1, 8, 4), (1, 2, 4, 4), (2, 1, 4, 4), (1, 4, 1, 4), (1, 1, 8, 2), (1, 1, 4, 2), (1, 1, 2, 2), (1, 2, 2, 2),
        (1, 1, 1, 2), (1, 2, 4, 4, 4), (2, 2, 4, 4, 4), (2, 1, 8, 4, 2), (1, 4, 1, 4, 4), (1, 4, 1, 8, 3), (2, 4, 1, 4, 4),
        (1, 4, 2, 4, 3), (1, 4, 2, 8, 2), (1, 2, 4, 2, 4),
    )
)  # fmt: skip
"""Each was, or was near, the best for some sizes. The last ones go through shared memory: for many keys, or many queries."""
WIDE_TILES = tuple(Tile(*numbers) for numbers in ((2, 4, 1, 2, 4), (2, 2, 2, 2, 3), (1, 4, 1, 2, 4)))
"""More of them, for f32: few keys at a time leave registers to many queries, or to wide heads."""
LARGE_TILES = tuple(
    AttentionTile(*numbers)
    for numbers in ((1, 64), (1, 112), (1, 128), (2, 64), (2, 96), (2, 112), (2, 128), (3, 64), (3, 96), (3, 128))
)
"""Those of compute capability 9.0, for many queries."""
LARGE_WIDTHS = (64, 128)
SCALES = (2.0**-60, 2.0**60)
"""Large tiles compare scores before they are scaled, and add a mask times what undoes the scale."""
ARCHITECTURE = "sm_90"
"""The only one that has the instructions of large tiles."""
OFFERED = 12
"""Tiles that are timed at most, at the usual effort."""
UNLIKELY = 1.6
"""Tiles expected to take so many times as long as the best are not even timed."""
LAUNCH = 2.0
"""Microseconds of any launch."""
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
        return [_tactic(group, tile) for tile in _fitting(group)]

    def tactics_for(self, problem: Problem, device: Device, effort: int) -> Sequence[Tactic]:
        """The likeliest tiles for a problem, by a model of their times."""
        group, (y,) = problem.group, problem.outputs
        queries, out_width = y.shape[-2:]
        keys, width = problem.inputs[_number(group, 1)].shape[-2:]
        heads = y.size // max(1, queries * out_width)
        causal, size = bool(group.layers[0].attrs["causal"]), y.dtype.itemsize * (width + out_width) / 256
        tiles = [t for t in _fitting(group) if isinstance(t, Tile) or device.name == f"cuda:{ARCHITECTURE}"]
        times = {t: LAUNCH + _expected(t, heads, queries, keys, size, causal=causal) for t in tiles}
        best = min(times.values(), default=0.0)
        likely = [t for t in sorted(tiles, key=times.__getitem__) if times[t] <= UNLIKELY * best]
        return [_tactic(group, tile) for tile in likely[: max(1, OFFERED * effort // 3)]]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        tile = next((t for t in _fitting(group) if str(t) == tactic), None)
        if tile is None:
            raise TacticError(f"there is no tile `{tactic}` for it")
        (y,) = outputs
        if y.size == 0:
            return Plan(())
        call = _small(group, tile, inputs, y) if isinstance(tile, Tile) else _large(group, tile, inputs, y)
        return Plan((call,))


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


def _small(group: Group, tile: Tile, inputs: Sequence[Operand], y: Operand) -> Call:
    """A launch with a block for each tile of queries."""
    q, k, v, y, slots = _operands(group, inputs, y)
    batch, heads, queries, width = q.shape
    keys, out_width = v.shape[2:]
    down = -(-queries // tile.queries)
    if max(batch, down) > GRID:
        raise TacticError("its grid has too many blocks")
    mask = _mask(group, inputs, 2 * tile.octets, keys)
    causal, scale = bool(group.layers[0].attrs["causal"]), _scale(group, width)
    shared = heads != k.shape[1]
    spec = FlashAttentionSpec(q.dtype.name, width, out_width, tile, causal, mask, shared, scale > 0)
    counts = (queries, keys, *[heads // k.shape[1]] * shared)
    factor = np.float32(scale * (LOG2E if spec.late_scale else 1.0))
    arguments = (*slots, *map(np.int32, counts), factor, *_strides(q, k, v, y), *_mask_strides(group, inputs))
    return Call(spec, (heads, down, batch), (tile.threads, 1, 1), arguments, spec.dynamic_shared)


def _large(group: Group, tile: AttentionTile, inputs: Sequence[Operand], y: Operand) -> Call:
    """A launch with as many blocks as there is room for."""
    q, k, v, y, slots = _operands(group, inputs, y)
    batch, heads, queries, width = q.shape
    keys, out_width = v.shape[2:]
    items = batch * heads * -(-queries // tile.queries)
    scale = _scale(group, width)
    if items >= 2**31:
        raise TacticError("it has too many tiles")
    shared = heads != k.shape[1]
    mask = _mask(group, inputs, 4, keys)
    spec = WarpGroupAttentionSpec(
        q.dtype.name, width, out_width, tile, bool(group.layers[0].attrs["causal"]), mask, shared
    )
    counts = (batch, heads, queries, keys, *[heads // k.shape[1]] * shared)
    unscale = [] if mask is None else [np.float32(1 / scale)]
    numbers = (*map(np.int32, counts), np.float32(scale * LOG2E), *_strides(q, k, v, y), *unscale)
    grid = (min(items, MULTIPROCESSORS * tile.resident), 1, 1)
    arguments = (*slots, *numbers, *_mask_strides(group, inputs))
    return Call(spec, grid, (tile.threads, 1, 1), arguments, spec.dynamic_shared)


def _operands(
    group: Group, inputs: Sequence[Operand], y: Operand
) -> tuple[Operand, Operand, Operand, Operand, list[Slot]]:
    """q, k, v and y as [N, H, S, D], and the pointers of a kernel: q, k, v, the mask if there is one, y."""
    numbers = [_number(group, n) for n in range(3)]
    q, k, v, y = (_with_batch(o) for o in (*(inputs[n] for n in numbers), y))
    for operand in (q, k, v, y):
        _demand_rows(operand)
    mask = _mask_of(group)
    masks = [] if mask is None else [_index(group, mask)]
    return q, k, v, y, [Slot(n) for n in (*numbers, *masks, len(inputs))]


def _scale(group: Group, width: int) -> float:
    given = group.layers[0].attrs["scale"]
    return float(1 / sqrt(width) if given is None else given)


def _strides(*operands: Operand) -> list[Any]:
    """Of samples, heads and rows, in bytes."""
    return [kind(s * o.dtype.itemsize) for o in operands for kind, s in zip(_STRIDES, o.strides, strict=False)]


def _mask_strides(group: Group, inputs: Sequence[Operand]) -> list[Any]:
    """In elements, nothing without a mask."""
    mask = _mask_of(group)
    if mask is None:
        return []
    *outer, along = _whole_strides(inputs[_index(group, mask)])
    return [*map(np.int64, outer), np.int32(along)]


def _whole_strides(mask: Operand) -> list[int]:
    """Of a mask broadcast to [N, H, S, L]."""
    own = [s if d > 1 else 0 for d, s in zip(mask.shape, mask.strides, strict=True)]
    return [0] * (4 - len(own)) + own


def _mask(group: Group, inputs: Sequence[Operand], together: int, keys: int) -> MaskRead | None:
    """How a kernel reads the mask, of `together` neighbouring keys at a time where it can."""
    tensor = _mask_of(group)
    if tensor is None:
        return None
    mask = inputs[_index(group, tensor)]
    *outer, along = _whole_strides(mask)
    if abs(along) * keys >= 2**31:
        raise TacticError("a row of its mask reaches over 2^31 elements or more")
    size = mask.dtype.itemsize
    grain = min(together * size, 16)
    aligned = mask.align % grain == 0 and all(s * size % grain == 0 for s in outer)
    return MaskRead(mask.dtype.name, outer[2] != 0, along == 1 and keys % together == 0 and aligned)


def _fitting(group: Group) -> list[Tile | AttentionTile]:
    width, out_width = (_input(group, n).shape[-1] for n in (0, 2))
    assert isinstance(width, int) and isinstance(out_width, int)
    itemsize = _input(group, 0).dtype.itemsize
    mask = _mask_of(group)
    masks = mask is not None and mask.rank > 1 and mask.shape[-2] != 1
    few = (*TILES, *WIDE_TILES) if itemsize == 4 else TILES
    small = [tile for tile in few if tile.fits(width, out_width, itemsize, masks)]
    if (
        itemsize != 2
        or width not in LARGE_WIDTHS
        or out_width not in LARGE_WIDTHS
        or not SCALES[0] < _scale(group, width) < SCALES[1]
    ):
        return [*small]
    return [*small, *(tile for tile in LARGE_TILES if tile.fits(width, out_width, masks))]


def _tactic(group: Group, tile: Tile | AttentionTile) -> Tactic:
    return Tactic(str(tile), numerics="reduced" if _input(group, 0).dtype.name == "f32" else "reassociated")


def _expected(tile: Tile | AttentionTile, heads: int, queries: int, keys: int, size: float, *, causal: bool) -> float:
    """About how many microseconds an H200 takes beside the 2 of any such launch, fitted to what it took for heads of 64
    (`size` 1): within 15 % at most sizes.

    A warp goes through its blocks one after the other; all of them share the multiprocessors; and parts are merged.
    """
    down = -(-queries // tile.queries)
    turns = -(-keys // tile.keys)
    if isinstance(tile, AttentionTile):
        return _expected_large(tile, heads * down, turns, size, down if causal else 1)
    work = size * tile.fragments * tile.octets / 4
    wait, block, share = (0.25, 0.22, 0.067) if tile.stages else (0.3, 0.25, 0.083)
    all_turns = turns * (0.5 + 0.5 / max(1, down) if causal else 1.0)
    warps = heads * down * tile.rows * tile.parts / MULTIPROCESSORS
    merging = 0.12 * size * tile.fragments * warps if tile.parts > 1 else 0.0
    return turns * (wait + block * work) + share * (1 + 0.5 / tile.fragments) * warps * all_turns * work + merging


def _expected_large(tile: AttentionTile, items: int, turns: float, size: float, kinds: int) -> float:
    """The same for `items` tiles of queries, of `kinds` different numbers of turns up to these, which blocks take one after the
    other: within 15 % or so, too. Groups of warps that are on a multiprocessor at once share it."""
    rounds = -(-items // (MULTIPROCESSORS * tile.resident))
    turns *= 0.5 + 0.5 / max(1, kinds) if rounds > 1 else 1.0
    beside = tile.groups * min(tile.resident, -(-items // MULTIPROCESSORS))
    work = size * tile.keys / 128
    return rounds * (1.7 + turns * max(0.08 + 0.55 * work, beside * (0.13 + 0.39 * work))) - 0.85


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
