"""linear, and conv as a product of gathered rows with its weight, on tensor cores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trtn.backend.devices import Device
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen import cluster
from trtn.backend.providers.codegen.epilogue import epilogue_of, epilogue_refusal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.gemm_tile import DEPTH, PackSpec, Taps, Tile
from trtn.backend.providers.codegen.gemm_wgmma import GemmSpec
from trtn.backend.providers.codegen.rows import MULTIPROCESSORS
from trtn.dsl.network import Layer
from trtn.dsl.ops.windows import actual_pads

__all__ = ["FAMILY", "MatmulFamily", "parse_tile", "tiles_for"]

SHAPES = (
    *((64, columns) for columns in (16, 32, 48, 64, 96, 128, 192)),
    *((128, columns) for columns in (32, 64, 96, 128, 192)),
)
"""Rows and columns of a tile."""
PARTS = (1, 2, 3, 4, 6, 8)
SHARED_IN_ALL = 228 * 1024
"""Bytes of shared memory of a multiprocessor; each block takes 1 KiB more than it asks for."""
WHOLE = 16
"""Stages in shared memory at most: that many hold a block's whole part of K."""
LONG = 5
"""Stages of a part from which on more warps may fetch."""
OFFERED = 10
"""Tactics for a problem."""
FEWEST_ROWS = 9
"""Fewer are a matter of reading the weight (`gemv`)."""
MOST_WORK = 1 << 32
"""Multiplications from which on a product is a matter of throughput, and so for libraries."""
ARCHITECTURE = "sm_90"
"""The only one that has these instructions."""
_NAME = re.compile(r"(\d+)x(\d+)\.c(\d+)\.s(\d+)\.f(\d+)")


@dataclass(frozen=True, slots=True)
class Product:
    """The sizes of a product: rows, columns, channels of x, taps, and the stages of K that they make."""

    rows: int
    columns: int
    channels: int
    taps: int

    @property
    def steps(self) -> int:
        """Stages of a tap."""
        return -(-self.channels // DEPTH)

    @property
    def stages(self) -> int:
        return self.taps * self.steps

    @property
    def work(self) -> int:
        """Multiplications."""
        return self.rows * self.columns * self.stages * DEPTH

    @property
    def octets(self) -> int:
        return self.columns // 8


class MatmulFamily:
    """linear and two-dimensional conv with their epilogues, in 16-bit floats."""

    name = "matmul"

    def refusal(self, group: Group) -> str:
        main = group.layers[0]
        if main.op.name not in ("linear", "conv"):
            return "it is neither a linear layer nor a convolution"
        if any(t is not None and t.weight is None for t in main.inputs[1:]):
            return "its weight or bias is not a constant"
        dtype = main.output.dtype
        if dtype.name not in ("f16", "bf16") or any(t is not None and t.dtype is not dtype for t in main.inputs):
            return f"generated products don't take {dtype}"
        if main.op.name == "conv" and (main.attrs["groups"] != 1 or main.output.rank != 4):
            return "it is a convolution in groups, or not of images"
        columns, channels, _ = _weight_sizes(main)
        if columns % 8 or channels % 8:
            return "its channels are not in multiples of 8"
        if group.outputs[0].dtype.name not in ("f16", "bf16", "f32"):
            return f"its result is in {group.outputs[0].dtype}"
        return epilogue_refusal(group, axis=_axis(main))

    def tactics(self, group: Group) -> Sequence[Tactic]:
        """One of each shape, with other numbers of parts, stages and warps."""
        stages = Product(1, *_weight_sizes(group.layers[0])).stages
        parts = [n for n in PARTS if n <= stages]
        tiles = (
            Tile(*shape, parts[n % len(parts)], 2 + n % 3, 8 if shape[0] == 64 and n % 2 else 4)
            for n, shape in enumerate(SHAPES)
        )
        return [Tactic(str(t), numerics="reassociated") for t in tiles]

    def tactics_for(self, problem: Problem, device: Device, effort: int) -> Sequence[Tactic]:
        """The likeliest ways, by a model of their times."""
        if device.name != f"cuda:{ARCHITECTURE}":
            return ()
        product = _product(problem.group.layers[0], problem.outputs[0].size)
        if product.rows < FEWEST_ROWS or product.work > MOST_WORK:
            return ()
        return [Tactic(str(t), numerics="reassociated") for t in tiles_for(product)[: max(1, OFFERED * effort // 3)]]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        (y,) = outputs
        if y.size == 0:
            return Plan(())
        tile = parse_tile(tactic)
        main, axis = group.layers[0], _axis(group.layers[0])
        epilogue = epilogue_of(group, axis=axis)
        number = {id(t): n for n, t in enumerate(group.inputs)}
        at, weight_at, *bias_at = (number[id(t)] for t in main.inputs if t is not None)
        x, weight = inputs[at], inputs[weight_at]
        product = _product(main, y.size)
        columns, channels = product.columns, product.channels
        if tile.parts > product.stages:
            raise TacticError(f"{product.stages} stages can't be shared by {tile.parts} blocks")
        if tile.stages == 1 and tile.parts < product.stages:
            raise TacticError("a single stage in shared memory can't be filled while it is read")
        if x.size == 0:
            raise TacticError("there is nothing to sum up")
        if any(inputs[n].align < 16 for n in (*bias_at, *epilogue.channels)):
            raise TacticError("a constant is not aligned to 16 bytes")
        written = [_matrix(o, axis) for o in (*(inputs[n] for n in epilogue.tensors), y)]
        window = _window(main, x, y)
        given = (_matrix(x, axis),) if window is None else _image(x)
        packed = len(inputs) + len(outputs)
        taps = window and window[0]
        whole = -(-product.stages // tile.parts) <= tile.stages
        spec = GemmSpec(x.dtype.name, tile, whole, taps, bool(bias_at), epilogue.program, len(epilogue.channels))
        places = [*y.shape[2:], *window[1]] if window else []
        numbers = [product.rows, columns, channels, product.octets, product.stages]
        numbers += [product.steps, *x.shape[2:], *places] if window else []
        slots = (at, packed, *bias_at, *epilogue.channels, *epilogue.tensors, len(inputs))
        grid = (-(-columns // tile.columns), -(-product.rows // tile.rows), tile.parts)
        arguments = (*map(Slot, slots), *map(np.int32, (*numbers, *given, *written)))
        call = Call(spec, grid, (tile.threads, 1, 1), arguments, tile.shared)
        pack, count = _pack(main, product, weight, Slot(weight_at), Slot(packed))
        return Plan((call,), (2 * count,), (pack,))


FAMILY = MatmulFamily()


def parse_tile(name: str) -> Tile:
    """The tile that a tactic names. Raises TacticError for a name that is none, and for a tile that does not fit."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise TacticError(f"`{name}` names no tile")
    tile = Tile(*map(int, found.groups()))
    if (tile.rows, tile.columns) not in SHAPES or tile.parts not in PARTS:
        raise TacticError(f"`{name}` is not among the tiles that there are")
    if not 0 < tile.stages <= WHOLE or tile.shared > cluster.SHARED or tile.warps not in (4, 8):
        raise TacticError(f"`{name}` has too many stages or warps")
    return tile


def tiles_for(product: Product) -> list[Tile]:
    """Tiles for a product, the likeliest first."""
    return sorted(_candidates(product), key=lambda t: _time(product, t))


def _candidates(product: Product) -> Iterator[Tile]:
    """As many parts as leave each a stage, and stages for all of a part, or for a few of it."""
    for shape in SHAPES:
        for parts in PARTS:
            if parts > product.stages:
                continue
            part = -(-product.stages // parts)
            fits = cluster.SHARED // (Tile(*shape, parts, 1).stage + 16)
            for stages in sorted({min(part, fits, WHOLE), min(part, 4)}, reverse=True):
                yield Tile(*shape, parts, stages)
                if part >= LONG and shape[0] == 64:
                    yield Tile(*shape, parts, stages, 8)


def _time(product: Product, tile: Tile) -> float:
    """About how many microseconds a launch takes after another one: a sum fitted to measurements on an H200, of use for ranking only."""
    blocks = -(-product.rows // tile.rows) * -(-product.columns // tile.columns) * tile.parts
    part = -(-product.stages // tile.parts)
    resident = max(1, min(SHARED_IN_ALL // (tile.shared + 1024), 2048 // tile.threads))
    waves = -(-blocks // (MULTIPROCESSORS * resident))
    met = 0.4 + 0.17 * tile.parts if tile.parts > 1 else 0.0
    fetched = waves * part * (0.07 if tile.warps == 4 else 0.05) + blocks * part * tile.stage / 7.2e6
    finished = -(-blocks // MULTIPROCESSORS) * tile.rows * tile.columns / 6800
    refilled = 0.36 if part > tile.stages else 0.0
    return 1.9 * (waves - 1) + met + fetched + finished + refilled + 0.03 * (tile.warps - 4)


def _axis(main: Layer) -> int:
    return 1 if main.op.name == "conv" else -1


def _weight_sizes(main: Layer) -> tuple[int, int, int]:
    """Columns of the product, channels, taps."""
    weight = main.inputs[1]
    assert weight is not None and weight.weight is not None
    shape = weight.weight.shape
    return (shape[0], shape[1], shape[2] * shape[3]) if main.op.name == "conv" else (shape[1], shape[0], 1)


def _product(main: Layer, results: int) -> Product:
    columns, channels, taps = _weight_sizes(main)
    return Product(results // columns, columns, channels, taps)


def _matrix(operand: Operand, axis: int) -> int:
    """The distance of its rows, where channels are on `axis`. Raises TacticError where they have none, or are not aligned."""
    others = [a for a in range(len(operand.shape)) if a != axis % len(operand.shape) and operand.shape[a] != 1]
    distance = operand.strides[others[-1]] if others else 0
    step = distance
    for a in reversed(others):
        if operand.strides[a] != step:
            raise TacticError("its rows are not at equal distances")
        step *= operand.shape[a]
    _require_lines(operand, axis, [distance])
    return distance


def _require_lines(operand: Operand, axis: int, strides: Sequence[int]) -> None:
    """Channels lie side by side, and rows at multiples of 16 bytes."""
    if operand.shape[axis] > 1 and operand.strides[axis] != 1:
        raise TacticError("its channels don't lie side by side")
    if operand.align < 16 or any(s * operand.dtype.itemsize % 16 for s in strides) or operand.reach() >= 2**31:
        raise TacticError("its rows are not aligned to 16 bytes, or too far apart")


def _image(x: Operand) -> tuple[int, int, int]:
    strides = (x.strides[0], x.strides[2], x.strides[3])
    _require_lines(x, 1, [s for s, d in zip(strides, (x.shape[0], *x.shape[2:]), strict=True) if d > 1])
    return strides


def _window(main: Layer, x: Operand, y: Operand) -> tuple[Taps, tuple[int, int]] | None:
    """The window and the padding above and left, None for a product of x as it lies."""
    if main.op.name == "linear":
        return None
    weight, attrs = main.inputs[1], main.attrs
    assert weight is not None and weight.weight is not None
    high, wide = weight.weight.shape[2:]
    (down, across), (apart, aside) = attrs["strides"], attrs["dilations"]
    pads = actual_pads(x.shape[2:], (high, wide), (down, across), attrs["pads"], (apart, aside), attrs["auto_pad"])
    if (high, wide, down, across) == (1, 1, 1, 1) and not any(pads):
        return None
    return Taps((high, wide), (down, across), (apart, aside)), (pads[0], pads[1])


def _pack(main: Layer, product: Product, weight: Operand, source: Slot, target: Slot) -> tuple[Call, int]:
    """The call that packs the weight, and how many elements it makes."""
    import numpy as np

    count = product.stages * product.octets * 8 * DEPTH
    conv = main.op.name == "conv"
    strides: tuple[Any, ...] = weight.strides if conv else (*weight.strides[::-1], 0, 0)
    spec = PackSpec(weight.dtype.name, weight.shape[3] if conv else 1)
    sizes = map(np.int32, (product.octets, product.steps, product.columns, product.channels))
    arguments = (source, target, np.uint32(count), *sizes, *map(np.int64, strides))
    return Call(spec, grid_for(count, 256), (256, 1, 1), arguments), count
