"""Depthwise convolutions of few or small images: each block has its part of x in shared memory, all of which is on its way at
once, where a thread that walks down its columns would wait for row after row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.fusion.gpu.squeeze import gated_refusal
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen import depthwise
from trtn.backend.providers.codegen.epilogue import epilogue_of
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.image_part import (
    ImagePart,
    extents_of,
    free_split,
    image_reach,
    in_vectors,
    kernel_of,
    pointers_of,
)
from trtn.backend.providers.codegen.prelude import C_TYPES

__all__ = ["FAMILY", "TileSpec", "TilesFamily"]


@dataclass(frozen=True, slots=True)
class TileSpec:
    """A block a part."""

    part: ImagePart

    @property
    def shared(self) -> int:
        return self.part.split.shared(self.part.taps, 0)

    def source(self) -> str:
        part = self.part
        body = [
            *part.begin("blockIdx.y", "KH * KW", "w + row * C"),
            "WAIT_FOR_INPUTS();",
            *part.read(),
            *part.convolve(),
            *part.write("h"),
        ]
        return kernel_of(part, [*pointers_of(part, ("x", "w")), f"{C_TYPES[part.dtype]}* __restrict__ y"], body)


class TilesFamily:
    """conv of images of 16-bit floats where every channel has a filter of its own."""

    name = "tiles"

    def refusal(self, group: Group) -> str:
        if refusal := depthwise.FAMILY.refusal(group):
            return refusal
        main = depthwise.main_of(group)
        conv = group.layers[main]
        if group.outputs[0].dtype is not conv.output.dtype:
            return "its result has another dtype than its product"
        return gated_refusal(conv) or ("a tensor enters its epilogue" if epilogue_of(group, main).tensors else "")

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("auto", numerics="reassociated"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        (y,) = outputs
        if y.size == 0:
            return Plan(())
        main = depthwise.main_of(group)
        conv, epilogue = group.layers[main], epilogue_of(group, main)
        number = {id(t): n for n, t in enumerate(group.inputs)}
        at = number[id(group.layers[0].inputs[0])]
        weight_at, *bias_at = (number[id(t)] for t in conv.inputs[1:] if t is not None)
        x, weight, by_channel = inputs[at], inputs[weight_at], (*bias_at, *epilogue.channels)
        if not in_vectors(x) or not in_vectors(y) or any(inputs[n].align < 16 for n in by_channel):
            raise TacticError("its channels do not lie side by side in groups of 8")
        if max(image_reach(x), image_reach(y)) >= 2**31:
            raise TacticError("an image reaches over 2^31 elements or more")
        taps, extents = depthwise.taps_of(conv.attrs, x, weight), extents_of(x, y)
        split = free_split(taps, extents, x.shape[0], y.shape[2])
        if split is None:
            raise TacticError("no block can hold a part of an image")
        ceiling = group.layers[0].attrs["max"] if main else None
        part = ImagePart(x.dtype.name, taps, extents, split, bool(bias_at), epilogue.program, ceiling)
        packed, once = depthwise.packed_taps(weight, weight_at, len(inputs) + len(outputs), x.dtype.name)
        spec = TileSpec(part)
        slots = (Slot(at), packed, *map(Slot, by_channel), Slot(len(inputs)))
        strides = (n for o in (x, y) for n in (np.int64(o.strides[0]), *map(np.int32, o.strides[2:])))
        grid = (x.shape[0], split.blocks, 1)
        call = Call(spec, grid, (split.threads, 1, 1), (*slots, *strides), spec.shared)
        return Plan((call,), (weight.size * weight.dtype.itemsize,), once)


FAMILY = TilesFamily()
