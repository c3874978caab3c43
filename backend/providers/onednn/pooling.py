"""Pooling over windows and over whole feature maps."""

from __future__ import annotations

from trtn.backend.evaluate import resolve_attr
from trtn.backend.providers.onednn.enums import Alg, Arg, Prop
from trtn.backend.providers.onednn.memory import MemoryDesc, dims
from trtn.backend.providers.onednn.primitive import Primitive
from trtn.backend.providers.onednn.program import Program, Unfit
from trtn.dsl.network import Layer
from trtn.dsl.ops.windows import actual_pads

__all__ = ["plan_pooling"]


def plan_pooling(program: Program) -> None:
    """max_pool, avg_pool and the global ones, channels last inside."""
    group = program.problem.group
    layer = group.layers[0]
    x = layer.inputs[0]
    assert x is not None
    source, target = program.value(x), program.value(group.outputs[0])
    if len(source.desc.shape) not in (3, 4, 5):
        raise Unfit(f"pooling of rank {len(source.desc.shape)}")
    kernel, strides, dilations, before, after = _window(program, layer, source.desc.shape[2:])
    result = MemoryDesc.channels_last(target.desc.shape, target.desc.dtype)
    wanted = MemoryDesc.channels_last(source.desc.shape, source.desc.dtype)
    primitive = Primitive(
        "pooling_forward",
        int(Prop.FORWARD_INFERENCE),
        int(_algorithm(layer, before, after)),
        wanted,
        result,
        *(dims(values) for values in (strides, kernel, dilations, before, after)),
    )
    into = target.seen_as(result) if target.desc == result else program.scratch(result)
    program.step(primitive, {Arg.SRC: program.arranged(source, wanted), Arg.DST: into})
    if into.array < 0:
        program.copy(into, target)


def _algorithm(layer: Layer, before: list[int], after: list[int]) -> Alg:
    match layer.op.name:
        case "max_pool" | "global_max_pool":
            return Alg.POOL_MAX
        case "global_avg_pool":
            return Alg.POOL_AVG_INCLUDE_PADDING
    if not layer.attrs["count_include_pad"]:
        return Alg.POOL_AVG_EXCLUDE_PADDING
    declared = layer.attrs["pads"]
    if layer.attrs["auto_pad"] == "none" and any(a > d for a, d in zip(after, declared[len(before) :], strict=True)):
        raise Unfit("windows that hang over the padding")
    return Alg.POOL_AVG_INCLUDE_PADDING


def _window(program: Program, layer: Layer, spatial: tuple[int, ...]) -> tuple[list[int], ...]:
    """Kernel, strides, dilations (0 is none), padding before and after."""
    count = len(spatial)
    if layer.op.name.startswith("global"):
        return list(spatial), [1] * count, [0] * count, [0] * count, [0] * count
    attrs = {name: resolve_attr(value, program.problem.sizes) for name, value in layer.attrs.items()}
    kernel, strides, dilations = (list(attrs[name]) for name in ("kernel", "strides", "dilations"))
    pads = actual_pads(spatial, kernel, strides, attrs["pads"], dilations, attrs["auto_pad"])
    before = list(pads[:count])
    out = program.problem.layout(layer.outputs[0]).shape[2:]
    after = [
        (o - 1) * s + d * (k - 1) + 1 - n - b
        for o, s, d, k, n, b in zip(out, strides, dilations, kernel, spatial, before, strict=True)
    ]
    return kernel, strides, [d - 1 for d in dilations], before, after
