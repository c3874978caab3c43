"""Sums, means and extremes over axes: by the reduction primitive, or as pooling of one window over neighbouring axes."""

from __future__ import annotations

from math import prod

from trtn.backend.evaluate import resolve_attr
from trtn.backend.providers.base import Launch
from trtn.backend.providers.onednn.enums import Alg, Arg, Prop
from trtn.backend.providers.onednn.memory import MemoryDesc, dims
from trtn.backend.providers.onednn.primitive import Attributes, Primitive
from trtn.backend.providers.onednn.program import Lookup, Program, Unfit, Value
from trtn.dsl.network import Layer

__all__ = ["plan_reduction", "plan_reduction_by_windows", "plan_reduction_of_few"]

FEW = 8
"""Elements of an axis that is reduced slice by slice."""

_REDUCTIONS = {
    "reduce_max": Alg.REDUCTION_MAX,
    "reduce_mean": Alg.REDUCTION_MEAN,
    "reduce_min": Alg.REDUCTION_MIN,
    "reduce_sum": Alg.REDUCTION_SUM,
}
_POOLINGS = {
    "reduce_max": Alg.POOL_MAX,
    "reduce_mean": Alg.POOL_AVG_INCLUDE_PADDING,
    "reduce_sum": Alg.POOL_AVG_INCLUDE_PADDING,
}


def plan_reduction(program: Program) -> None:
    """By the primitive, which has kernels for the innermost axes."""
    layer = program.problem.group.layers[0]
    x = layer.inputs[0]
    assert x is not None
    source, target = program.value(x), program.value(layer.outputs[0])
    rank = len(source.desc.shape)
    over = _axes(program, layer, rank)
    kept = [a for a in range(rank) if a not in over]
    strides = [1] * rank
    given = target.desc.strides or ()
    for place, axis in enumerate(kept):
        strides[axis] = given[axis if layer.attrs["keepdims"] else place]
    shape = [1 if a in over else source.desc.shape[a] for a in range(rank)]
    result = target.seen_as(MemoryDesc.strided(shape, target.desc.dtype, strides))
    primitive = Primitive("reduction", int(_REDUCTIONS[layer.op.name]), source.desc, result.desc, 0.0, 0.0)
    program.step(primitive, {Arg.SRC: source, Arg.DST: result})


def plan_reduction_by_windows(program: Program) -> None:
    """[outer, reduced, inner] as images of `inner` channels, one window over all of `reduced`."""
    layer = program.problem.group.layers[0]
    x = layer.inputs[0]
    assert x is not None
    alg = _POOLINGS.get(layer.op.name)
    if alg is None:
        raise Unfit(f"no pooling for `{layer.op.name}`")
    source, target = program.value(x), program.value(layer.outputs[0])
    shape = source.desc.shape
    over = sorted(_axes(program, layer, len(shape)))
    if over != list(range(over[0], over[-1] + 1)):
        raise Unfit("axes that are no neighbours")
    dtype = target.desc.dtype
    plain, dense = MemoryDesc.dense(shape, dtype), MemoryDesc.dense(target.desc.shape, dtype)
    if target.desc != dense:
        raise Unfit("a result with gaps or in another order")
    outer, count, inner = prod(shape[: over[0]]), prod(shape[over[0] : over[-1] + 1]), prod(shape[over[-1] + 1 :])
    image = MemoryDesc.channels_last((outer, inner, count), dtype)
    pixel = MemoryDesc.channels_last((outer, inner, 1), dtype)
    attributes = Attributes()
    if layer.op.name == "reduce_sum":
        attributes.eltwise(Alg.LINEAR, float(count))
    primitive = Primitive(
        "pooling_forward",
        *(int(Prop.FORWARD_INFERENCE), int(alg), image, pixel),
        *(dims([n]) for n in (1, count, 0, 0, 0)),
        attributes=attributes,
    )
    operands = {Arg.SRC: program.arranged(source, plain).seen_as(image), Arg.DST: target.seen_as(pixel)}
    program.step(primitive, operands)


def plan_reduction_of_few(program: Program) -> None:
    """Over an innermost axis of a few elements: slice after slice by NumPy, which is what vectors can be made of."""
    layer = program.problem.group.layers[0]
    x = layer.inputs[0]
    assert x is not None
    source, target = program.array(x), program.array(layer.outputs[0])
    shape = program.problem.layout(x).shape
    if _axes(program, layer, len(shape)) != {len(shape) - 1} or not 0 < shape[-1] <= FEW:
        raise Unfit(f"more than the innermost axis, or more than {FEW} elements on it")
    program.python(_Slices(source, target, layer.op.name, layer.attrs["keepdims"]).bind)


class _Slices:
    def __init__(self, source: Value, target: Value, op: str, keepdims: bool) -> None:
        self._source, self._target = source, target
        self._op, self._keepdims = op, keepdims

    def bind(self, lookup: Lookup) -> Launch:
        import numpy as np

        array, target = lookup(self._source), lookup(self._target)
        target = target[..., 0] if self._keepdims else target
        slices = [array[..., n] for n in range(array.shape[-1])]
        ufunc = {"reduce_max": np.maximum, "reduce_min": np.minimum}.get(self._op, np.add)
        factor = 1 / len(slices) if self._op == "reduce_mean" else 1.0

        def launch() -> None:
            target[...] = slices[0]
            for each in slices[1:]:
                ufunc(target, each, out=target)
            if factor != 1.0:
                np.multiply(target, factor, out=target)

        return launch


def _axes(program: Program, layer: Layer, rank: int) -> set[int]:
    axes = resolve_attr(layer.attrs["axes"], program.problem.sizes)
    return set(range(rank)) if axes is None else {a % rank for a in axes}
