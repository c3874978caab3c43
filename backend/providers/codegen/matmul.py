"""linear, and conv as a product of gathered rows with its weight, on tensor cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trtn.backend.devices import Device
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.epilogue import Epilogue, epilogue_of, epilogue_refusal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.gemm_choice import PARTS, PERSISTENT, SHAPES, Product, parse_tile, tiles_for
from trtn.backend.providers.codegen.gemm_persistent import THREADS, PersistentSpec
from trtn.backend.providers.codegen.gemm_tile import OCTETS, WIDTH, PackSpec, PersistentTile, Taps, Tile
from trtn.backend.providers.codegen.gemm_wgmma import GemmSpec
from trtn.backend.providers.codegen.rows import MULTIPROCESSORS
from trtn.backend.providers.codegen.tensor_map import MatrixMap
from trtn.dsl.network import Layer
from trtn.dsl.ops.windows import actual_pads

__all__ = ["FAMILY", "MatmulFamily"]

OFFERED = 10
"""Tactics for a problem."""
FEW_OFFERED = 6
"""The same where blocks may finish one tile after another: there the model knows more."""
FEWEST_ROWS = 9
"""Fewer are a matter of reading the weight (`gemv`)."""
SMALL = 1 << 30
"""Multiplications up to which these kernels were the fastest on an H200, or within a few percent of that."""
BAND = 16 << 20
"""Bytes of weight that stay in the cache while tiles pass over them."""
ARCHITECTURE = "sm_90"
"""The only one that has these instructions."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A product with its operands found: numbers among those of the group, and distances of rows in elements."""

    product: Product
    x: int
    weight: int
    bias: tuple[int, ...]
    epilogue: Epilogue
    strides: tuple[int, ...]
    """Of x: of its rows, or of images, their rows and columns where there is a window."""
    distances: tuple[int, ...]
    """Of the rows of the epilogue's tensors and of the result."""
    window: tuple[Taps, tuple[int, int]] | None
    """With the padding above and left. None: x is a matrix."""

    @property
    def read(self) -> tuple[int, ...]:
        """What the epilogue reads."""
        return (*self.bias, *self.epilogue.channels, *self.epilogue.tensors)


class MatmulFamily:
    """linear and two-dimensional conv with their epilogues, in 16-bit floats; those of f32 that gather nothing also as TF32."""

    name = "matmul"

    def refusal(self, group: Group) -> str:
        main = group.layers[0]
        if main.op.name not in ("linear", "conv"):
            return "it is neither a linear layer nor a convolution"
        if any(t is not None and t.weight is None for t in main.inputs[1:]):
            return "its weight or bias is not a constant"
        dtype = main.output.dtype
        if dtype.name not in ("f16", "bf16", "f32") or any(t is not None and t.dtype is not dtype for t in main.inputs):
            return f"generated products don't take {dtype}"
        if _in_tf32(main) and _gathers(main):
            return f"generated convolutions with a window don't take {dtype}"
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
        main = group.layers[0]
        stages = _product(main, 0).stages
        parts = [n for n in PARTS if n <= stages]
        tiles: list[Tile | PersistentTile] = []
        if not _in_tf32(main):
            tiles += (
                Tile(*shape, parts[n % len(parts)], 2 + n % 3, 8 if shape[0] == 64 and n % 2 else 4)
                for n, shape in enumerate(SHAPES)
            )
        if not _gathers(main):
            tiles += (tile for tile in PERSISTENT if tile.parts <= stages)
        return _tactics(main, tiles)

    def tactics_for(self, problem: Problem, device: Device, effort: int) -> Sequence[Tactic]:
        """The likeliest ways, by a model of their times."""
        if device.name != f"cuda:{ARCHITECTURE}":
            return ()
        main = problem.group.layers[0]
        product = _product(main, problem.outputs[0].size)
        if product.rows < FEWEST_ROWS:
            return ()
        tiles = tiles_for(product, window=_gathers(main))
        offered = FEW_OFFERED if any(isinstance(t, PersistentTile) for t in tiles) else OFFERED
        return _tactics(main, tiles[: max(1, offered * effort // 3)])

    def leads(self, problem: Problem) -> bool:
        """Libraries' tiles leave most of the GPU idle at small products. TF32 may not be allowed."""
        main = problem.group.layers[0]
        product = _product(main, problem.outputs[0].size)
        return not _in_tf32(main) and product.rows >= FEWEST_ROWS and product.work <= SMALL

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        if outputs[0].size == 0:
            return Plan(())
        tile, ready = parse_tile(tactic), _ready(group, inputs, outputs[0])
        packed = len(inputs) + len(outputs)
        if isinstance(tile, PersistentTile):
            call = _persistent_call(tile, ready, inputs, Slot(packed))
        else:
            call = _shared_call(tile, ready, inputs, outputs[0], Slot(packed))
        permuted = isinstance(tile, PersistentTile)
        pack, count = _pack(group.layers[0], ready, inputs[ready.weight], Slot(packed), permuted)
        return Plan((call,), (inputs[ready.weight].dtype.itemsize * count,), (pack,))


FAMILY = MatmulFamily()


def _ready(group: Group, inputs: Sequence[Operand], y: Operand) -> Ready:
    """Raises TacticError for arrays that can't be fetched."""
    main, axis = group.layers[0], _axis(group.layers[0])
    epilogue = epilogue_of(group, axis=axis)
    number = {id(t): n for n, t in enumerate(group.inputs)}
    x, weight, *bias = (number[id(t)] for t in main.inputs if t is not None)
    if inputs[x].size == 0:
        raise TacticError("there is nothing to sum up")
    if any(inputs[n].align < 16 for n in (*bias, *epilogue.channels)):
        raise TacticError("a constant is not aligned to 16 bytes")
    distances = tuple(_matrix(o, axis) for o in (*(inputs[n] for n in epilogue.tensors), y))
    window = _window(main, inputs[x], y)
    strides = (_matrix(inputs[x], axis),) if window is None else _image(inputs[x])
    return Ready(_product(main, y.size), x, weight, tuple(bias), epilogue, strides, distances, window)


def _shared_call(tile: Tile, ready: Ready, inputs: Sequence[Operand], y: Operand, packed: Slot) -> Call:
    """The launch of blocks that share tiles."""
    import numpy as np

    product, window, x = ready.product, ready.window, inputs[ready.x]
    if tile.parts > product.stages:
        raise TacticError(f"{product.stages} stages can't be shared by {tile.parts} blocks")
    if tile.stages == 1 and tile.parts < product.stages:
        raise TacticError("a single stage in shared memory can't be filled while it is read")
    whole = -(-product.stages // tile.parts) <= tile.stages
    epilogue = ready.epilogue
    spec = GemmSpec(
        x.dtype.name, tile, whole, window and window[0], bool(ready.bias), epilogue.program, len(epilogue.channels)
    )
    places = [*y.shape[2:], *window[1]] if window else []
    numbers = [product.rows, product.columns, product.channels, product.octets, product.stages]
    numbers += [product.steps, *x.shape[2:], *places] if window else []
    slots = (Slot(ready.x), packed, *map(Slot, (*ready.read, len(inputs))))
    grid = (-(-product.columns // tile.columns), -(-product.rows // tile.rows), tile.parts)
    arguments = (*slots, *map(np.int32, (*numbers, *ready.strides, *ready.distances)))
    return Call(spec, grid, (tile.threads, 1, 1), arguments, tile.shared)


def _persistent_call(tile: PersistentTile, ready: Ready, inputs: Sequence[Operand], packed: Slot) -> Call:
    """The launch of blocks that finish one tile after another."""
    import numpy as np

    product, x = ready.product, inputs[ready.x]
    (distance,) = ready.strides if ready.window is None else (-1,)
    if product.rows > 1 and distance < product.channels:
        raise TacticError("its rows are gathered, or overlap")
    if tile.parts > product.stages:
        raise TacticError(f"{product.stages} stages can't be shared by {tile.parts} blocks")
    epilogue = ready.epilogue
    spec = PersistentSpec(x.dtype.name, tile, bool(ready.bias), epilogue.program, len(epilogue.channels))
    below, beside = -(-product.rows // (tile.rows * tile.sharers)), -(-product.columns // tile.columns)
    band = max(1, min(beside, BAND // (product.itemsize * tile.columns * product.channels)))
    matrix = (x.dtype.name, product.rows, product.channels, max(distance, product.channels))
    rows = MatrixMap(Slot(ready.x), *matrix, tile.rows, product.depth)
    slots: list[Any] = [rows, packed, *map(Slot, (*ready.read, len(inputs)))]
    if spec.fetched:
        number, own = epilogue.tensors[int(spec.fetched[1:])], ready.distances[int(spec.fetched[1:])]
        matrix = (inputs[number].dtype.name, product.rows, product.columns, max(own, product.columns))
        slots[slots.index(Slot(number))] = MatrixMap(Slot(number), *matrix, 64, WIDTH)
    numbers = (product.rows, product.columns, _octets(product, True), product.stages, below, beside, band)
    blocks = below * beside if tile.split else min(below * beside, MULTIPROCESSORS // tile.cluster)
    grid = (blocks, 1, tile.cluster)
    return Call(
        spec, grid, (THREADS, 1, 1), (*slots, *map(np.int32, (*numbers, *ready.distances))), spec.dynamic_shared
    )


def _in_tf32(main: Layer) -> bool:
    return main.output.dtype.name == "f32"


def _tactics(main: Layer, tiles: Sequence[Tile | PersistentTile]) -> list[Tactic]:
    return [Tactic(str(t), numerics="reduced" if _in_tf32(main) else "reassociated") for t in tiles]


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
    return Product(results // columns, columns, channels, taps, main.output.dtype.itemsize)


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


def _gathers(main: Layer) -> bool:
    """Whether a layer has a window at any sizes."""
    weight, attrs = main.inputs[1], main.attrs
    assert weight is not None and weight.weight is not None
    if main.op.name == "linear":
        return False
    return any(d != 1 for d in (*weight.weight.shape[2:], *attrs["strides"])) or any(attrs["pads"])


def _octets(product: Product, permuted: bool) -> int:
    """Eights of packed columns."""
    return -(-product.octets // OCTETS) * OCTETS if permuted else product.octets


def _pack(main: Layer, ready: Ready, weight: Operand, target: Slot, permuted: bool) -> tuple[Call, int]:
    """The call that packs the weight, and how many elements it makes."""
    import numpy as np

    product, octets = ready.product, _octets(ready.product, permuted)
    count = product.stages * octets * 8 * product.depth
    conv = main.op.name == "conv"
    strides: tuple[Any, ...] = weight.strides if conv else (*weight.strides[::-1], 0, 0)
    spec = PackSpec(weight.dtype.name, weight.shape[3] if conv else 1, permuted)
    sizes = map(np.int32, (octets, product.steps, product.columns, product.channels))
    arguments = (Slot(ready.weight), target, np.uint32(count), *sizes, *map(np.int64, strides))
    return Call(spec, grid_for(count, 256), (256, 1, 1), arguments), count
