"""conv and transposed conv with any window, groups and epilogue, and linear, summed up in f32: what runs products that no tensor
core may take. A linear layer is a convolution of images of one place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

from trtn.backend.devices import Device
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen import depthwise
from trtn.backend.providers.codegen.convolution_kernel import ConvSpec, Form, PackSpec, Tile, Window
from trtn.backend.providers.codegen.convolution_results import FINISHERS, LANES, FinishSpec, Results
from trtn.backend.providers.codegen.epilogue import Epilogue, epilogue_of, epilogue_refusal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.rows import MULTIPROCESSORS
from trtn.backend.providers.codegen.walk import join
from trtn.dsl.network import Layer
from trtn.dsl.ops.windows import actual_pads

__all__ = ["FAMILY", "ConvolutionFamily"]

KINDS = {"conv": "conv", "deconv": "conv", "linear": "gemm"}
"""Kinds of groups by their first op."""
FLOATS = ("f32", "f16", "bf16")
TILES = (
    Tile(128, 128, 8, 8),
    Tile(128, 64, 8, 8),
    Tile(64, 64, 8, 4),
    Tile(128, 32, 8, 4),
    Tile(64, 32, 4, 4),
    Tile(32, 64, 4, 4),
    Tile(32, 32, 4, 4),
    Tile(16, 64, 2, 4),
    Tile(128, 16, 4, 4),
    Tile(128, 8, 2, 4),
    Tile(128, 4, 1, 4),
)
"""The shapes that there are. Large shares take fewer reads of shared memory for a multiplication, small ones fill more
multiprocessors."""
SPEED = {64: 0.77, 32: 0.58, 16: 0.58, 8: 0.42, 4: 0.2}
"""Which part of the peak a thread's share of so many sums reaches."""
PARTS = (1, 2, 3, 4, 6, 8, 12, 16)
CORES = 128
"""Multiplications of a multiprocessor in a cycle."""
WARPS = 4
"""Warps that a multiprocessor needs for that."""
STEP, LAUNCH = 2000, 1000
"""Cycles from a step's reads to their products, and that another kernel takes. These, and those above, are what fits the times
of 180 tiles of eight convolutions on an H200 best."""
BANDWIDTH = 4600
"""Bytes in a cycle that go to and come from the second-level cache."""
_NAME = re.compile(r"(\d+)x(\d+)\.(\d+)x(\d+)\.k(\d+)")


class ConvolutionFamily:
    """conv and deconv of one to three axes, and linear, with their epilogues."""

    name = "conv"

    def refusal(self, group: Group) -> str:
        main = group.layers[0]
        if KINDS.get(main.op.name) != group.kind:
            return "it is neither a convolution nor a linear layer"
        dtype = main.output.dtype
        if dtype.name not in FLOATS or any(t is not None and t.dtype is not dtype for t in main.inputs):
            return f"generated convolutions don't take {dtype}"
        if group.outputs[0].dtype.name not in FLOATS:
            return f"its result is in {group.outputs[0].dtype}"
        weight = main.inputs[1]
        assert weight is not None
        if not all(isinstance(d, int) for d in weight.shape):
            return "its window or its channels depend on the run"
        if not depthwise.FAMILY.refusal(group):
            return "every channel has a filter of its own"
        if dtype.name != "f32" and main.op.name != "deconv" and _groups(main) == 1:
            return "tensor cores take it"
        return epilogue_refusal(group, axis=_axis(main))

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return [Tactic(str(tile), numerics="reassociated") for tile in _tiles(group.layers[0])]

    def tactics_for(self, problem: Problem, device: Device, effort: int) -> Sequence[Tactic]:
        """The likeliest ways, by a model of their times."""
        main = problem.group.layers[0]
        groups, outputs, terms = _groups(main), _outputs(main), _terms(main)
        rows, columns = problem.outputs[0].size // outputs, outputs // groups
        tiles = sorted(_tiles(main), key=lambda t: _cycles(t, rows, columns, groups, terms))
        return [Tactic(str(t), numerics="reassociated") for t in tiles[: max(1, 2 * effort)]]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        main, tile = group.layers[0], _parse(tactic)
        number = {id(t): n for n, t in enumerate(group.inputs)}
        at, weight_at, *bias = (number[id(t)] for t in main.inputs if t is not None)
        weight, epilogue = inputs[weight_at], epilogue_of(group, axis=_axis(main))
        if outputs[0].size == 0:
            return Plan(())
        if inputs[at].size == 0 or weight.size == 0:
            raise TacticError("there is nothing to sum up")
        spread = (inputs[at], *(inputs[n] for n in epilogue.tensors), outputs[0])
        x, *tensors, y = spread if main.op.name != "linear" else map(_as_rows, spread)
        form, groups = _form(main, x, weight, y), _groups(main)
        columns = y.shape[1] // groups
        rows, packed = y.size // y.shape[1], -(-columns // LANES) * LANES
        steps = form.packed // tile.depth
        if tile.parts > steps or rows >= 2**31 or groups * rows * packed >= 2**32:
            raise TacticError("its sum can't be shared by so many blocks, or it has too many results")
        results = _results(epilogue, bool(bias), x.dtype.name, columns, (*tensors, y))
        scratch = len(inputs) + len(outputs)
        pack, count = _pack(main, form, weight, (Slot(weight_at), Slot(scratch)), packed)
        read = tuple(map(Slot, (*bias, *epilogue.channels, *epilogue.tensors, len(inputs))))
        distances = tuple(np.int64(s) for o in (*tensors, y) for s in o.strides)
        places = tuple(map(np.uint32, y.shape[2:]))
        numbers = (np.uint32(rows), np.int32(columns), np.int32(packed))
        sums = (
            np.int32(form.terms),
            np.int32(steps),
            *([] if form.kernel.channels else [np.int32(form.channels)]),
        )
        offset = np.int64 if form.wide else np.int32
        reads = (*map(np.int32, x.shape[2:]), *map(offset, x.strides))
        spec = ConvSpec(form.kernel, results, tile)
        grid = (-(-rows // tile.rows), -(-columns // tile.columns), groups * tile.parts)
        block = (tile.threads, 1, 1)
        first: tuple[Call, ...] = (pack,) if not _is_constant(main) else ()
        once = (pack,) if _is_constant(main) else ()
        if tile.parts == 1:
            arguments = (Slot(at), Slot(scratch), *read, *numbers, *sums, *reads, *places, *distances)
            return Plan((*first, Call(spec, grid, block, arguments)), (4 * count,), once)
        target, quads = Slot(scratch + 1), groups * rows * packed // LANES
        multiply = Call(spec, grid, block, (Slot(at), Slot(scratch), target, *numbers, *sums, *reads, *places))
        arguments = (target, *read, np.int32(tile.parts), np.uint32(quads), *numbers, *places, *distances)
        add = Call(FinishSpec(results), grid_for(quads, FINISHERS), (FINISHERS, 1, 1), arguments)
        return Plan((*first, multiply, add), (4 * count, 4 * LANES * quads * tile.parts), once)


FAMILY = ConvolutionFamily()


def _parse(name: str) -> Tile:
    found = _NAME.fullmatch(name)
    tile = None if found is None else Tile(*map(int, found.groups()))
    if tile is None or replace(tile, parts=1) not in TILES or tile.parts not in PARTS:
        raise TacticError(f"`{name}` is not among the tiles that there are")
    return tile


def _weight(main: Layer) -> tuple[int, ...]:
    weight = main.inputs[1]
    assert weight is not None
    return tuple(d for d in weight.shape if isinstance(d, int))


def _groups(main: Layer) -> int:
    return int(main.attrs.get("groups", 1))


def _axis(main: Layer) -> int:
    """Of the channels."""
    return -1 if main.op.name == "linear" else 1


def _outputs(main: Layer) -> int:
    shape = _weight(main)
    return shape[0] if main.op.name == "conv" else shape[1] * _groups(main)


def _as_rows(operand: Operand) -> Operand:
    """[.., channels] as [rows, channels]. Raises TacticError where the rows are not at equal distances."""
    *shape, channels = operand.shape
    *strides, step = operand.strides
    joined = join(shape, [strides])
    if len(joined.sizes) != 1 or any(
        a < b for (a, b) in pairwise(s for s, d in zip(strides, shape, strict=True) if d > 1)
    ):
        raise TacticError("its rows are not at equal distances")
    return Operand((joined.sizes[0], channels), (joined.strides[0][0], step), operand.dtype, operand.align)


def _tiles(main: Layer) -> list[Tile]:
    terms = _terms(main)
    return [replace(tile, parts=n) for tile in TILES for n in PARTS if n <= max(1, -(-terms // tile.depth))]


def _terms(main: Layer) -> int:
    """Terms of a sum; 0 where there is nothing to sum up."""
    return prod(_weight(main)) // max(_outputs(main), 1)


def _is_constant(main: Layer) -> bool:
    weight = main.inputs[1]
    return weight is not None and weight.weight is not None


def _cycles(tile: Tile, rows: int, columns: int, groups: int, terms: int) -> float:
    """About how long it takes, on a GPU of MULTIPROCESSORS."""
    blocks = -(-rows // tile.rows) * -(-columns // tile.columns) * groups * tile.parts
    turns = -(-terms // (tile.depth * tile.parts))
    each = -(-blocks // MULTIPROCESSORS)
    speed = CORES * SPEED[tile.down * tile.across] * min(1.0, each * tile.threads / (32 * WARPS))
    multiplying = each * turns * tile.depth * tile.rows * tile.columns / speed
    waiting = turns * STEP * -(-each * tile.threads // 2048)
    adding = LAUNCH + 8 * rows * columns * groups * tile.parts / BANDWIDTH if tile.parts > 1 else 0
    return max(multiplying, waiting) + adding


def _form(main: Layer, x: Operand, weight: Operand, y: Operand) -> Form:
    attrs, transposed = main.attrs, main.op.name == "deconv"
    if main.op.name == "linear":
        channels = x.shape[1]
        vector = _vector(x, channels)
        return Form(x.dtype.name, Window((), (), (), (), False), channels, vector, False, x.reach() >= 2**31)
    taps, strides, dilations = weight.shape[2:], tuple(attrs["strides"]), tuple(attrs["dilations"])
    if transposed:
        before = _cut_before(main, x, y, taps)
    else:
        pads = actual_pads(x.shape[2:], taps, strides, attrs["pads"], dilations, attrs["auto_pad"])
        before = tuple(pads[: len(taps)])
    channels = x.shape[1] // attrs["groups"]
    vector = _vector(x, channels)
    along = [s for s, d in zip(x.strides[2:], x.shape[2:], strict=True) if d > 1]
    planes = vector == 1 and (channels == 1 or (bool(along) and along[-1] < x.strides[1]))
    window = Window(taps, strides, dilations, before, transposed)
    return Form(x.dtype.name, window, channels, vector, planes, x.reach() >= 2**31)


def _cut_before(main: Layer, x: Operand, y: Operand, taps: Sequence[int]) -> tuple[int, ...]:
    """How many places of all that a transposed convolution makes lie before the result's first, on each axis."""
    attrs = main.attrs
    if attrs["output_shape"] is None and attrs["auto_pad"] == "none":
        return tuple(attrs["pads"][: len(taps)])
    cut = []
    for n, (before, after) in enumerate(zip(x.shape[2:], y.shape[2:], strict=True)):
        reach = attrs["strides"][n] * (before - 1) + attrs["output_pads"][n] + attrs["dilations"][n] * (taps[n] - 1) + 1
        cut.append(max(0, reach - after))
    return tuple(c // 2 if attrs["auto_pad"] == "same_upper" else c - c // 2 for c in cut)


def _vector(x: Operand, channels: int) -> int:
    """Channels that lie side by side, in reach of one access everywhere."""
    others = [s for a, (s, d) in enumerate(zip(x.strides, x.shape, strict=True)) if a != 1 and d > 1]
    size = x.dtype.itemsize
    if x.strides[1] != 1:
        return 1
    fitting = (v for v in (4, 2) if x.align >= v * size and all(n % v == 0 for n in (channels, *others)))
    return next(fitting, 1)


def _results(epilogue: Epilogue, bias: bool, dtype: str, columns: int, spread: Sequence[Operand]) -> Results:
    together = columns % LANES == 0 and all(
        o.strides[1] == 1
        and o.align >= LANES * o.dtype.itemsize
        and all(s % LANES == 0 for a, (s, d) in enumerate(zip(o.strides, o.shape, strict=True)) if a != 1 and d > 1)
        for o in spread
    )
    return Results(epilogue.program, len(epilogue.channels), bias, dtype, len(spread[0].shape) - 2, together)


def _pack(main: Layer, form: Form, weight: Operand, slots: tuple[Slot, Slot], packed: int) -> tuple[Call, int]:
    """The call that packs the weight, and how many elements it makes."""
    import numpy as np

    groups = _groups(main)
    first, second, *taps = weight.strides
    if main.op.name == "conv":
        columns = weight.shape[0] // groups
        strides = (first * columns, first, second, *taps)
    else:
        columns = weight.shape[1]
        strides = (first * form.channels, second, first, *taps)
    terms = form.packed
    count = groups * terms * packed
    if count >= 2**31:
        raise TacticError("its weight is too large")
    spec = PackSpec(weight.dtype.name, len(taps))
    numbers = (terms, form.terms, columns, packed, form.channels, *form.window.taps)
    sizes: tuple[Any, ...] = (np.uint32(count), *map(np.int32, numbers), *map(np.int64, strides))
    return Call(spec, grid_for(count, 256), (256, 1, 1), (*slots, *sizes)), count
