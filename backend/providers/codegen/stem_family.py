"""The first convolution of an image network, planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtn.backend.fusion.gpu.stem import stem_refusal
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.elementwise import copy_program, elementwise_call
from trtn.backend.providers.codegen.epilogue import epilogue_of, epilogue_refusal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.prelude import SUPPORTED
from trtn.backend.providers.codegen.rows import MULTIPROCESSORS
from trtn.backend.providers.codegen.stem import COLUMNS, SHARED, WARPS, PackSpec, StemSpec, Window, smaller
from trtn.dsl.ops.windows import actual_pads

__all__ = ["FAMILY", "ROWS_A_WARP", "StemFamily", "rows_of", "stem_plan", "stem_spec"]

AT_ONCE = 64
"""Channels of the result that a block makes at most."""
ROWS_A_WARP = (2, 1, 4)
"""With 4 a word of taps serves most products, with 2 enough of them while more blocks hide each other's waiting."""


class StemFamily:
    """conv of images of up to 4 channels, in 16-bit floats; the cast to them is done as the image is read."""

    name = "stem"

    def refusal(self, group: Group) -> str:
        main = main_of(group)
        conv = group.layers[main]
        if conv.op.name != "conv":
            return "it is not a convolution"
        if group.outputs[0].dtype is not conv.output.dtype:
            return "its result has another dtype than its product"
        if any(t is not None and t.dtype is not conv.output.dtype for t in conv.inputs):
            return "its operands differ in dtype"
        if group.layers[0].inputs[0] is None or group.layers[0].inputs[0].dtype.name not in SUPPORTED:
            return f"generated kernels don't take {group.layers[0].inputs[0]}"
        refusal = stem_refusal(conv) or epilogue_refusal(group, main)
        return refusal or ("a tensor enters its epilogue" if epilogue_of(group, main).tensors else "")

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return [Tactic(name, numerics="reassociated") for name in ("auto", *(f"rows{r}" for r in ROWS_A_WARP))]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        if outputs[0].size == 0:
            return Plan(())
        batch, _, high, wide = outputs[0].shape
        spec = stem_spec(group, rows_of(tactic, batch * high * wide), inputs)
        while spec.shared > SHARED:
            spec = smaller(spec)
        return stem_plan(group, spec, outputs[0].shape[2:], inputs, outputs[0])


FAMILY = StemFamily()


def rows_of(tactic: str, places: int) -> int:
    """Rows of a warp for a convolution's result of so many places: two where that leaves each multiprocessor two blocks."""
    if tactic != "auto":
        return int(tactic.removeprefix("rows"))
    return 2 if places >= 2 * WARPS * COLUMNS * MULTIPROCESSORS * 2 else 1


def stem_spec(group: Group, rows: int, inputs: Sequence[Operand]) -> StemSpec:
    """The kernel of a convolution with its epilogue."""
    main = main_of(group)
    conv, epilogue = group.layers[main], epilogue_of(group, main)
    number = {id(t): n for n, t in enumerate(group.inputs)}
    x, weight = inputs[number[id(group.layers[0].inputs[0])]], inputs[number[id(conv.inputs[1])]]
    attrs, channels = conv.attrs, weight.shape[0]
    pads = actual_pads(
        x.shape[2:], weight.shape[2:], attrs["strides"], attrs["pads"], attrs["dilations"], attrs["auto_pad"]
    )
    window = Window(x.shape[1], (weight.shape[2], weight.shape[3]), tuple(attrs["strides"]), (pads[0], pads[1]))
    part = next(n for n in range(AT_ONCE, 0, -8) if channels % n == 0)
    bias = len(conv.inputs) > 2
    return StemSpec(weight.dtype.name, x.dtype.name, window, part, rows, bias, epilogue.program, _is_planar(x))


def stem_plan(group: Group, spec: StemSpec, result: Sequence[int], inputs: Sequence[Operand], y: Operand) -> Plan:
    """The launches of a kernel whose convolution gives images of `result` places. Raises TacticError."""
    import numpy as np

    main = main_of(group)
    conv, epilogue = group.layers[main], epilogue_of(group, main)
    number = {id(t): n for n, t in enumerate(group.inputs)}
    at = number[id(group.layers[0].inputs[0])]
    weight_at, *bias_at = (number[id(t)] for t in conv.inputs[1:] if t is not None)
    x, weight = inputs[at], inputs[weight_at]
    if any(abs(s) * d >= 2**31 for o in (x, y) for s, d in zip(o.strides[1:], o.shape[1:], strict=True)):
        raise TacticError("an image reaches over 2^31 elements or more")
    batch, channels = y.shape[:2]
    down, across = spec.tiles(*y.shape[2:])
    tiles = batch * down * across
    words = spec.window.packed(channels)
    packed = len(inputs) + 1
    pack = Call(
        PackSpec(weight.dtype.name, spec.window),
        grid_for(2 * words, 128),
        (128, 1, 1),
        (Slot(weight_at), Slot(packed), np.uint32(2 * words), np.uint32(channels // 8), *map(np.int64, weight.strides)),
    )
    target, written, scratch, copies = _channels_last(y, Slot(len(inputs)), Slot(packed + 1))
    numbers = (
        *map(np.int32, (*x.shape[2:], *result, tiles, down, across, *(y.shape[2:] if spec.more else ()))),
        np.int64(x.strides[0]),
        *map(np.int32, x.strides[1:]),
        np.int64(written.strides[0]),
        *map(np.int32, written.strides[2:]),
    )
    slots = (*map(Slot, (at, packed, *bias_at, *epilogue.channels)), target)
    parts = channels // spec.outputs
    grid = (min(tiles, max(1, MULTIPROCESSORS * spec.resident // parts)), parts, 1)
    call = Call(spec, grid, (WARPS * 32, 1, 1), (*slots, *numbers), spec.dynamic)
    return Plan((call, *copies), (4 * words, *scratch), (pack,))


def main_of(group: Group) -> int:
    """The number of the convolution: after the cast of the image, if there is one."""
    return 1 if len(group.layers) > 1 and group.layers[0].op.name == "cast" else 0


def _is_planar(x: Operand) -> bool:
    return x.shape[1] > 1 and x.strides[1] > x.strides[3]


def _channels_last(y: Operand, slot: Slot, scratch: Slot) -> tuple[Slot, Operand, tuple[int, ...], tuple[Call, ...]]:
    """Where the kernel writes: y, where its channels lie side by side in steps of 16 bytes; else scratch memory that is copied."""
    aligned = y.align >= 16 and all(
        s * y.dtype.itemsize % 16 == 0 for a, s in enumerate(y.strides) if a != 1 and y.shape[a] > 1
    )
    if y.strides[1] == 1 and aligned:
        return slot, y, (), ()
    _, c, h, w = y.shape
    middle = Operand(y.shape, (h * w * c, 1, w * c, c), y.dtype)
    copy = elementwise_call(copy_program(y.dtype.name, y.dtype.name), y.shape, (middle,), (y,), (scratch, slot))
    return scratch, middle, (y.size * y.dtype.itemsize,), tuple(copy)
