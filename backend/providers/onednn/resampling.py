"""Images of other sizes: nearest neighbours and linear interpolation, channels last inside."""

from __future__ import annotations

from trtn.backend.evaluate import resolve_attr
from trtn.backend.providers.onednn.enums import Alg, Arg, Prop
from trtn.backend.providers.onednn.memory import MemoryDesc
from trtn.backend.providers.onednn.primitive import Primitive
from trtn.backend.providers.onednn.program import Program, Unfit
from trtn.dsl.network import Layer

__all__ = ["plan_resampling"]


def plan_resampling(program: Program) -> None:
    """What oneDNN computes: y[o] from around x[(o + 1/2) * in / out - 1/2]."""
    layer = program.problem.group.layers[0]
    x = layer.inputs[0]
    assert x is not None
    source, target = program.value(x), program.value(layer.outputs[0])
    before, after = source.desc.shape, target.desc.shape
    if len(before) not in (3, 4, 5) or before[:2] != after[:2]:
        raise Unfit("other axes than those of an image change")
    wanted, result = (MemoryDesc.channels_last(shape, source.desc.dtype) for shape in (before, after))
    primitive = Primitive(
        "resampling_forward",
        *(int(Prop.FORWARD_INFERENCE), int(_algorithm(program, layer, before, after)), None, wanted, result),
    )
    into = target if target.desc == result else program.scratch(result)
    program.step(primitive, {Arg.SRC: program.arranged(source, wanted), Arg.DST: into.seen_as(result)})
    if into is not target:
        program.copy(into, target)


def _algorithm(program: Program, layer: Layer, before: tuple[int, ...], after: tuple[int, ...]) -> Alg:
    attrs = layer.attrs
    if any(t is not None for t in layer.inputs[1:]):
        raise Unfit("sizes that come as a tensor")
    scales = resolve_attr(attrs["scales"], program.problem.sizes)
    if scales is not None and any(o != d * s for d, o, s in zip(before, after, scales, strict=True)):
        raise Unfit("scales that are not the ratio of the sizes")
    if attrs["mode"] == "linear" and attrs["coordinates"] == "half_pixel" and not attrs["antialias"]:
        return Alg.RESAMPLING_LINEAR
    # Enlarged by whole numbers, the nearest place is o // n, by the middle of the pixel as well as by its start.
    whole = all(o % d == 0 for d, o in zip(before, after, strict=True))
    by_middle = attrs["coordinates"] == "half_pixel" and attrs["nearest"].startswith("round")
    by_start = attrs["coordinates"] == "asymmetric" and attrs["nearest"] == "floor"
    if attrs["mode"] == "nearest" and whole and (by_middle or by_start):
        return Alg.RESAMPLING_NEAREST
    raise Unfit(f"{attrs['mode']} by {attrs['coordinates']} coordinates, at these sizes")
