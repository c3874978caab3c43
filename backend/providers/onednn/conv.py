"""Convolutions and transposed convolutions, channels last inside."""

from __future__ import annotations

from collections.abc import Sequence

from trtn.backend.evaluate import resolve_attr
from trtn.backend.providers.onednn.enums import Alg, Arg, Prop
from trtn.backend.providers.onednn.epilogue import read_epilogue
from trtn.backend.providers.onednn.memory import MemoryDesc, dims
from trtn.backend.providers.onednn.primitive import Primitive
from trtn.backend.providers.onednn.program import Program, Value
from trtn.dsl.network import Layer
from trtn.dsl.ops.windows import actual_pads

__all__ = ["plan_conv", "weight_form", "window_of"]


def plan_conv(program: Program) -> None:
    """conv or deconv with its epilogue."""
    group = program.problem.group
    layer = group.layers[0]
    x, weight = layer.inputs[:2]
    bias = layer.inputs[2] if len(layer.inputs) > 2 else None
    assert x is not None and weight is not None
    source, filters, target = program.value(x), program.value(weight), program.value(group.outputs[0])
    biases = program.value(bias) if bias is not None else None
    result = MemoryDesc.channels_last(target.desc.shape, target.desc.dtype)
    wanted = MemoryDesc.channels_last(source.desc.shape, source.desc.dtype)
    window = window_of(program, layer)
    spatial = _spatial(source, filters, target, window)
    epilogue = read_epilogue(group)
    attributes, operands = epilogue.attributes(program, result, lambda desc: _with_spatial(desc, 2, spatial))
    grouped = filters.seen_as(weight_form(layer, filters.desc))
    grouped = grouped.seen_as(_with_spatial(grouped.desc, len(grouped.desc.shape) - len(window[0]), spatial))
    inside, outside = _with_spatial(wanted, 2, spatial), _with_spatial(result, 2, spatial)
    primitive = Primitive(
        "deconvolution_forward" if layer.op.name == "deconv" else "convolution_forward",
        int(Prop.FORWARD_INFERENCE),
        int(Alg.DECONV_DIRECT if layer.op.name == "deconv" else Alg.CONV_DIRECT),
        inside,
        MemoryDesc.any(grouped.desc.shape, grouped.desc.dtype),
        biases.desc if biases is not None else None,
        outside,
        *(dims([values[axis] for axis in spatial]) for values in window),
        attributes=attributes,
    )
    operands[Arg.SRC] = program.arranged(source, wanted).seen_as(inside)
    operands[Arg.WEIGHTS] = program.arranged(grouped, primitive.memory_desc(Arg.WEIGHTS))
    if biases is not None:
        operands[Arg.BIAS] = biases
    into = target if target.desc == result else program.scratch(result)
    program.step(primitive, {**operands, Arg.DST: into.seen_as(outside)})
    if into is not target:
        program.copy(into, target)
    epilogue.finish(program)


def _spatial(source: Value, filters: Value, target: Value, window: tuple[list[int], ...]) -> list[int]:
    """The spatial axes that there is anything to do along; at least one. The kernels go along the last one, so an image
    of one column is a sequence to them."""
    count = len(window[0])
    idle = [
        source.desc.shape[2 + n] == filters.desc.shape[2 + n] == target.desc.shape[2 + n] == 1
        and not any(values[n] for values in window[2:])
        for n in range(count)
    ]
    return [n for n in range(count) if not idle[n]] or [count - 1]


def _with_spatial(desc: MemoryDesc, lead: int, spatial: list[int]) -> MemoryDesc:
    """Some of the spatial axes, which come after `lead` others."""
    assert desc.strides is not None
    axes = [*range(lead), *(lead + n for n in spatial)]
    return MemoryDesc.strided([desc.shape[a] for a in axes], desc.dtype, [desc.strides[a] for a in axes])


def weight_form(layer: Layer, plain: MemoryDesc) -> MemoryDesc:
    """The weight of a layer as oneDNN has it: [O, I, *k], or [G, O / G, I / G, *k]. Ours is the same for conv; of
    deconv it is [I, O / G, *k]."""
    shape, strides = plain.shape, plain.strides
    assert strides is not None
    groups = layer.attrs["groups"]
    lead, step = shape[0], strides[0]
    if layer.op.name == "deconv":
        view_shape: Sequence[int] = (groups, shape[1], lead // groups, *shape[2:])
        view_strides: Sequence[int] = (lead // groups * step, strides[1], step, *strides[2:])
    else:
        view_shape = (groups, lead // groups, *shape[1:])
        view_strides = (lead // groups * step, step, *strides[1:])
    if groups == 1:
        view_shape, view_strides = view_shape[1:], view_strides[1:]
    return MemoryDesc.strided(view_shape, plain.dtype, view_strides)


def window_of(program: Program, layer: Layer) -> tuple[list[int], list[int], list[int], list[int]]:
    """Strides, dilations (0 is none), padding before, padding after."""
    attrs = {name: resolve_attr(value, program.problem.sizes) for name, value in layer.attrs.items()}
    x, weight = layer.inputs[:2]
    assert x is not None and weight is not None
    spatial = program.value(x).desc.shape[2:]
    kernel = program.value(weight).desc.shape[2:]
    strides, dilations = list(attrs["strides"]), list(attrs["dilations"])
    count = len(spatial)
    if layer.op.name != "deconv":
        pads = list(actual_pads(spatial, kernel, strides, attrs["pads"], dilations, attrs["auto_pad"]))
        before = pads[:count]
        out = program.problem.layout(program.problem.group.outputs[0]).shape[2:]
        # Rows at the end that no window reaches don't count as padding there.
        after = [
            (o - 1) * s + d * (k - 1) + 1 - n - b
            for o, s, d, k, n, b in zip(out, strides, dilations, kernel, spatial, before, strict=True)
        ]
        return strides, [d - 1 for d in dilations], before, after
    out = program.problem.layout(program.problem.group.outputs[0]).shape[2:]
    reach = [s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in zip(spatial, kernel, strides, dilations, strict=True)]
    if attrs["output_shape"] is None and attrs["auto_pad"] == "none":
        before = list(attrs["pads"][:count])
    else:
        cut = [max(0, r + e - o) for r, e, o in zip(reach, attrs["output_pads"], out, strict=True)]
        before = [c // 2 if attrs["auto_pad"] == "same_upper" else c - c // 2 for c in cut]
    # `output_pads` lengthen the result at its end: padding that is negative.
    return strides, [d - 1 for d in dilations], before, [r - b - o for r, b, o in zip(reach, before, out, strict=True)]
