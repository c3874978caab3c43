"""The middle of squeeze-and-excitation blocks: convolved, squeezed, excited and scaled by one kernel, whose clusters of
blocks hold an image each, or by the kernels of its steps where they can't.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.fusion.gpu.excitation import vector_product_refusal
from trtn.backend.fusion.gpu.squeeze import gated_refusal
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen import depthwise, excitation, pointwise, reduction
from trtn.backend.providers.codegen.chain import chained, part_of
from trtn.backend.providers.codegen.epilogue import epilogue_of, epilogue_refusal
from trtn.backend.providers.codegen.excitation import Stage
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.program import program_of
from trtn.backend.providers.codegen.squeeze_kernel import Extents, SqueezeSpec, best_split
from trtn.dsl.network import Layer

__all__ = ["FAMILY", "SqueezeFamily"]

CLUSTERS = (8, 16, 4)
"""Blocks that share an image, to be timed."""
UNIT = 8
"""Channels that are moved together."""


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
        return [Tactic(name, numerics="reassociated") for name in (*(f"cluster{n}" for n in CLUSTERS), "steps")]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        if outputs[0].size == 0:
            return Plan(())
        parts = _parts(group)
        assert parts is not None
        if tactic != "steps":
            return _clusters(group, parts, int(tactic.removeprefix("cluster")), inputs, outputs)
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
    layers = group.layers
    pool_at = next((n for n, layer in enumerate(layers) if layer.op.name == "global_avg_pool"), 0)
    products = [n for n, layer in enumerate(layers) if n > pool_at and layer.op.name in ("conv", "linear")]
    gates = [n for n, layer in enumerate(layers) if layer.op.name == "mul" and n > products[-1:][0]] if products else []
    if not pool_at or len(products) != 2 or not gates or group.kind != "squeeze" or len(group.outputs) != 1:
        return None
    starts = (0, products[0], products[1], gates[0])
    ends = (pool_at, products[1], gates[0], len(layers))
    found = (layers[start:end] for start, end in zip(starts, ends, strict=True))
    image, first, second, gate = (Group("conv", part, group.inputs, (part[-1].output,)) for part in found)
    pool = layers[pool_at]
    made, squeezed, between, scale = image.outputs[0], pool.output, first.outputs[0], second.outputs[0]
    joined = (pool.inputs[0], first.layers[0].inputs[0], second.layers[0].inputs[0])
    if any(a is not b for a, b in zip(joined, (made, squeezed, between), strict=True)) or products[0] != pool_at + 1:
        return None
    if {id(t) for t in gate.layers[0].inputs} != {id(made), id(scale)} or gate.outputs[0] is not group.outputs[0]:
        return None
    return Parts(image, pool, (first, second), gate)


def _clusters(group: Group, parts: Parts, blocks: int, inputs: Sequence[Operand], outputs: Sequence[Operand]) -> Plan:
    """One launch, a cluster an image."""
    import numpy as np

    number = {id(t): n for n, t in enumerate(group.inputs)}
    conv = parts.image.layers[0]
    at, weight_at = (number[id(t)] for t in conv.inputs[:2])
    x, weight, (y,) = inputs[at], inputs[weight_at], outputs
    if max(_image_reach(x), _image_reach(y)) >= 2**31:
        raise TacticError("an image reaches over 2^31 elements or more")
    epilogues = [epilogue_of(part) for part in parts.groups]
    by_channel = [
        [*(number[id(t)] for t in part.layers[0].inputs[2:] if t is not None), *epilogue.channels]
        for part, epilogue in zip((parts.image, *parts.products), epilogues, strict=False)
    ]
    by_channel.append([*epilogues[-1].channels])
    if not _in_vectors(x, UNIT) or not _in_vectors(y, 2) or any(inputs[n].align < 8 for own in by_channel for n in own):
        raise TacticError("its channels do not lie side by side")
    taps = depthwise.taps_of(conv.attrs, x, weight)
    middle, channels = excitation.matrix_of(parts.products[0].layers[0])
    split = best_split(taps, Extents(x.shape[2:], y.shape[2:], channels, middle), blocks)
    if split is None:
        raise TacticError(f"{blocks} blocks can't hold an image")
    made, scale = parts.image.outputs[0], parts.products[1].outputs[0]
    gate = program_of(
        parts.gate.layers, [made, scale, *(group.inputs[n] for n in epilogues[-1].channels)], parts.gate.outputs
    )
    stages = [
        Stage(len(part.layers[0].inputs) > 2, e.program) for part, e in zip(parts.products, epilogues[1:3], strict=True)
    ]
    spec = SqueezeSpec(
        x.dtype.name,
        taps,
        Extents(x.shape[2:], y.shape[2:], channels, middle),
        split,
        len(conv.inputs) > 2,
        epilogues[0].program,
        (stages[0], stages[1]),
        gate,
    )
    packed = len(inputs) + len(outputs)
    taps_slot, calls = depthwise.packed_taps(weight, weight_at, packed, x.dtype.name)
    weights, once = [taps_slot], list(calls)
    scratch = [weight.size * x.dtype.itemsize]
    for part, transposed in zip(parts.products, (False, True), strict=True):
        slot, size, copies = excitation.dense_weight(
            part.layers[0], number, inputs, Slot(packed + len(scratch)), (middle, channels), transposed
        )
        weights.append(slot)
        scratch += size
        once += copies
    numbers = (
        np.int64(x.strides[0]), *map(np.int32, x.strides[2:]), np.int64(y.strides[0]), *map(np.int32, y.strides[2:]),
    )  # fmt: skip
    slots = [Slot(at), *weights, *(Slot(n) for own in by_channel for n in own), Slot(len(inputs))]
    call = Call(spec, (x.shape[0], 1, blocks), (split.threads, 1, 1), (*slots, *numbers), spec.shared)
    return Plan((call,), tuple(scratch), tuple(once))


def _in_vectors(image: Operand, lanes: int) -> bool:
    """Whether `lanes` channels are side by side, in reach of one access."""
    step = lanes * image.dtype.itemsize
    others = (s for axis, s in enumerate(image.strides) if axis != 1 and image.shape[axis] > 1)
    return image.strides[1] == 1 and image.align >= step and all(s * image.dtype.itemsize % step == 0 for s in others)


def _image_reach(operand: Operand) -> int:
    return sum(abs(s) * d for s, d in zip(operand.strides[1:], operand.shape[1:], strict=True))
