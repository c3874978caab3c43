"""The middle of squeeze-and-excitation blocks: convolved, squeezed, excited and scaled by one kernel, whose clusters of
blocks hold an image each, by two, or by the kernels of its steps where neither can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from trtn.backend.fusion.gpu.excitation import vector_product_refusal
from trtn.backend.fusion.gpu.squeeze import gated_refusal
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen import depthwise, excitation, pointwise, reduction
from trtn.backend.providers.codegen.chain import chained, part_of
from trtn.backend.providers.codegen.cluster import SHARED
from trtn.backend.providers.codegen.epilogue import epilogue_of, epilogue_refusal
from trtn.backend.providers.codegen.excitation import Stage
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.image_part import (
    Extents,
    ImagePart,
    Split,
    cluster_split,
    crowd,
    extents_of,
    free_split,
    image_reach,
    in_vectors,
)
from trtn.backend.providers.codegen.program import program_of
from trtn.backend.providers.codegen.squeeze_kernel import THREADS, ClusterSpec, ConvolveSpec, Gate, scale_spec
from trtn.dsl.network import Layer

__all__ = ["FAMILY", "SqueezeFamily"]

LARGE = 1 << 17
"""Elements of an image from which on a cluster is slower than the whole GPU, as long as there is one image."""
MOST_SUMS = 1 << 13
"""Sums of an image's channels over parts of it, which are all read by each block that scales."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A group's steps: each product and the gate with what follows it. Their inputs are the whole group's."""

    image: Group
    pool: Layer
    products: tuple[Group, Group]
    gate: Group

    @property
    def groups(self) -> tuple[Group, ...]:
        return (self.image, *self.products, self.gate)


class SqueezeFamily:
    """Groups of kind `squeeze`."""

    name = "squeeze"

    def refusal(self, group: Group) -> str:
        parts = _parts(group)
        if parts is None:
            return "it is no depthwise convolution that is squeezed, excited and scaled"
        refusals = (
            gated_refusal(parts.image.layers[0]),
            *(vector_product_refusal(part.layers[0]) for part in parts.products),
            *map(epilogue_refusal, parts.groups),
        )
        if refusal := next(filter(None, refusals), ""):
            return refusal
        if any(part.outputs[0].dtype is not parts.pool.output.dtype for part in parts.groups):
            return "its steps differ in dtype"
        if any(epilogue_of(part).tensors for part in parts.groups):
            return "a tensor enters an epilogue"
        return ""

    def tactics(self, group: Group) -> Sequence[Tactic]:
        names = ("cluster8", "cluster16", "pair", "steps")
        if prod(d for d in group.outputs[0].shape[1:] if isinstance(d, int)) >= LARGE:
            names = ("pair", "cluster16", "cluster8", "steps")
        return [Tactic(name, numerics="reassociated") for name in names]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        if outputs[0].size == 0:
            return Plan(())
        parts = _parts(group)
        assert parts is not None
        if tactic == "pair":
            return _two_kernels(_Layout(group, parts, inputs, outputs))
        if tactic != "steps":
            return _one_kernel(_Layout(group, parts, inputs, outputs), int(tactic.removeprefix("cluster")))
        excited = [layer for part in parts.products for layer in part.layers]
        steps = (
            (depthwise.FAMILY, part_of("conv", parts.image.layers)),
            (reduction.FAMILY, part_of("pooling", [parts.pool])),
            (excitation.FAMILY, part_of("excitation", excited)),
            (pointwise.FAMILY, part_of("pointwise", parts.gate.layers)),
        )
        return chained(steps, group, sizes, inputs, outputs)


FAMILY = SqueezeFamily()


def _parts(group: Group) -> Parts | None:
    """The steps of a group, None where it is of another form."""
    layers, ops = group.layers, [layer.op.name for layer in group.layers]
    products = [n for n, op in enumerate(ops) if n and op in ("conv", "linear")]
    gates = [n for n, op in enumerate(ops) if op == "mul" and n > max(products, default=0)]
    if group.kind != "squeeze" or ops[0] != "conv" or len(products) != 2 or not gates or len(group.outputs) != 1:
        return None
    pool_at = products[0] - 1
    starts, ends = (0, *products, gates[0]), (pool_at, products[1], gates[0], len(layers))
    if not pool_at or ops[pool_at] != "global_avg_pool":
        return None
    found = (layers[start:end] for start, end in zip(starts, ends, strict=True))
    image, first, second, gate = (Group("conv", part, group.inputs, (part[-1].output,)) for part in found)
    pool = layers[pool_at]
    made, scale = image.outputs[0], second.outputs[0]
    joints = ((pool, made), (first.layers[0], pool.output), (second.layers[0], first.outputs[0]))
    if any(layer.inputs[0] is not t for layer, t in joints) or gate.outputs[0] is not group.outputs[0]:
        return None
    if {id(t) for t in gate.layers[0].inputs} != {id(made), id(scale)} or scale.shape[1:] != (made.shape[1], 1, 1):
        return None
    return Parts(image, pool, (first, second), gate)


class _Layout:
    """What the kernels of a group take: specs of their parts, where operands lie, weights in the forms that they read."""

    def __init__(self, group: Group, parts: Parts, inputs: Sequence[Operand], outputs: Sequence[Operand]) -> None:
        import numpy as np

        number = {id(t): n for n, t in enumerate(group.inputs)}
        conv = parts.image.layers[0]
        at, weight_at = (number[id(t)] for t in conv.inputs[:2])
        self.x, self.y, weight = inputs[at], outputs[0], inputs[weight_at]
        image, *scales, gate = (epilogue_of(part) for part in parts.groups)
        biases = [[number[id(t)] for t in part.layers[0].inputs[2:] if t is not None] for part in parts.groups[:3]]
        of_image = [*biases[0], *image.channels]
        of_gate = [
            *(n for bias, epilogue in zip(biases[1:], scales, strict=True) for n in (*bias, *epilogue.channels)),
            *gate.channels,
        ]
        if not in_vectors(self.x) or not in_vectors(self.y) or any(inputs[n].align < 16 for n in (*of_image, *of_gate)):
            raise TacticError("its channels do not lie side by side in groups of 8")
        if max(image_reach(self.x), image_reach(self.y)) >= 2**31:
            raise TacticError("an image reaches over 2^31 elements or more")
        self.taps = depthwise.taps_of(conv.attrs, self.x, weight)
        middle, channels = excitation.matrix_of(parts.products[0].layers[0])
        self.extents = extents_of(self.x, self.y, middle)
        made, scale = parts.image.outputs[0], parts.products[1].outputs[0]
        program = program_of(
            parts.gate.layers, [made, scale, *(group.inputs[n] for n in gate.channels)], parts.gate.outputs
        )
        first, second = (Stage(bool(bias), e.program) for bias, e in zip(biases[1:], scales, strict=True))
        self.gate = Gate(self.x.dtype.name, (first, second), program)
        self._image = (bool(biases[0]), image.program)
        self.packed = len(inputs) + len(outputs)
        taps, once = depthwise.packed_taps(weight, weight_at, self.packed, self.x.dtype.name)
        self.once, self.scratch, weights = list(once), [weight.size * weight.dtype.itemsize], [taps]
        for part, transposed in zip(parts.products, (False, True), strict=True):
            room = Slot(self.packed + len(self.scratch))
            slot, size, copies = excitation.dense_weight(
                part.layers[0], number, inputs, room, (middle, channels), transposed
            )
            weights.append(slot)
            self.scratch += size
            self.once += copies
        self.of_x = [Slot(at), weights[0]]
        self.of_products = weights[1:]
        self.of_image, self.of_gate = [Slot(n) for n in of_image], [Slot(n) for n in of_gate]
        self.result = Slot(len(inputs))
        self.y_strides = (np.int64(self.y.strides[0]), *map(np.int32, self.y.strides[2:]))
        self.strides = (np.int64(self.x.strides[0]), *map(np.int32, self.x.strides[2:]), *self.y_strides)

    def part(self, split: Split, extents: Extents) -> ImagePart:
        return ImagePart(self.x.dtype.name, self.taps, extents, split, *self._image)

    def plan(self, *calls: Call) -> Plan:
        return Plan(calls, tuple(self.scratch), tuple(self.once))


def _one_kernel(layout: _Layout, blocks: int) -> Plan:
    """A cluster of blocks an image."""
    split = cluster_split(layout.taps, layout.extents, blocks)
    if split is None:
        raise TacticError(f"{blocks} blocks can't hold an image")
    spec = ClusterSpec(layout.part(split, layout.extents), layout.gate)
    slots = (*layout.of_x, *layout.of_products, *layout.of_image, *layout.of_gate, layout.result)
    grid = (layout.x.shape[0], 1, blocks)
    return layout.plan(Call(spec, grid, (split.threads, 1, 1), (*slots, *layout.strides), spec.shared))


def _two_kernels(layout: _Layout) -> Plan:
    """As many blocks as serve, for each of two kernels."""
    import numpy as np

    images, extents = layout.x.shape[0], replace(layout.extents, middle=0)
    split = free_split(layout.taps, extents, images, MOST_SUMS // extents.channels)
    if split is None:
        raise TacticError("no block can hold a part of an image")
    places = extents.result[0] * extents.result[1]
    scale = scale_spec(layout.gate, extents.channels, layout.extents.middle, places, split.bands, crowd(images))
    if scale.shared > SHARED or scale.middle > THREADS:
        raise TacticError("a block can't hold its weights")
    sums = Slot(layout.packed + len(layout.scratch))
    layout.scratch.append(4 * images * split.bands * extents.channels)
    convolve = ConvolveSpec(layout.part(split, extents))
    slots = (*layout.of_x, *layout.of_image, layout.result, sums)
    first = Call(convolve, (images, split.blocks, 1), (split.threads, 1, 1), (*slots, *layout.strides), convolve.shared)
    n, *places_ = layout.y_strides
    numbers = (n, np.int32(extents.result[1]), *places_)
    slots = (*layout.of_products, *layout.of_gate, layout.result, sums)
    grid = (images, scale.blocks, scale.slices)
    return layout.plan(first, Call(scale, grid, (THREADS, 1, 1), (*slots, *numbers), scale.shared))
