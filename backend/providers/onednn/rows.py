"""Softmax, layer normalisation with the residual before it, local response normalisation."""

from __future__ import annotations

from math import prod

from trtn.backend.providers.onednn.enums import Alg, Arg, Norm, Prop
from trtn.backend.providers.onednn.memory import MemoryDesc
from trtn.backend.providers.onednn.primitive import Primitive
from trtn.backend.providers.onednn.program import Program, Unfit, Value
from trtn.dsl.network import Layer, Tensor

__all__ = ["plan_normalisation", "plan_softmax"]

_SOFTMAX = {"softmax": Alg.SOFTMAX, "log_softmax": Alg.SOFTMAX_LOG}


def plan_softmax(program: Program) -> None:
    """softmax or log_softmax along any axis."""
    group = program.problem.group
    layer = group.layers[0]
    x = layer.inputs[0]
    assert x is not None
    source, target = program.value(x), program.value(group.outputs[0])
    rank = len(source.desc.shape)
    axis = layer.attrs["axis"] % rank
    # The library has kernels for rows that lie dense.
    rows = MemoryDesc.dense(target.desc.shape, target.desc.dtype, (*(a for a in range(rank) if a != axis), axis))
    source = program.arranged(source, rows)
    into = target if target.desc == rows else program.scratch(rows)
    primitive = Primitive(
        "softmax_forward", int(Prop.FORWARD_INFERENCE), int(_SOFTMAX[layer.op.name]), rows, rows, axis
    )
    program.step(primitive, {Arg.SRC: source, Arg.DST: into})
    if into is not target:
        program.copy(into, target)


def plan_normalisation(program: Program) -> None:
    group = program.problem.group
    layer = group.layers[-1]
    if layer.op.name == "layer_norm":
        _layer_norm(program, layer)
    elif layer.op.name == "lrn":
        _lrn(program, layer)
    else:
        raise Unfit(f"no primitive for `{layer.op.name}`")


def _layer_norm(program: Program, layer: Layer) -> None:
    """Over the last axes, as rows of a matrix."""
    target = program.value(layer.outputs[0])
    dense = MemoryDesc.dense(target.desc.shape, target.desc.dtype)
    if target.desc != dense:
        raise Unfit("a result with gaps or in another order")
    axis = layer.attrs["axis"] % len(target.desc.shape)
    width = prod(target.desc.shape[axis:])
    flat = MemoryDesc.dense((prod(target.desc.shape[:axis]), width), target.desc.dtype)
    source = _summed(program, layer, target, dense)
    flags = Norm.NONE
    operands: dict[int, Value] = {Arg.SRC: source.seen_as(flat), Arg.DST: target.seen_as(flat)}
    for index, flag, arg in ((1, Norm.USE_SCALE, Arg.SCALE), (2, Norm.USE_SHIFT, Arg.SHIFT)):
        tensor = layer.inputs[index] if len(layer.inputs) > index else None
        if tensor is not None:
            operands[arg] = _parameter(program, tensor, target.desc.shape[axis:])
            flags |= flag
    primitive = Primitive(
        "layer_normalization_forward",
        *(int(Prop.FORWARD_INFERENCE), flat, flat, None, layer.attrs["eps"], int(flags)),
    )
    program.step(primitive, operands)


def _summed(program: Program, layer: Layer, target: Value, dense: MemoryDesc) -> Value:
    """What is normalised: an input of the group, or the sum of two, which goes to its own output where it has one."""
    group = program.problem.group
    if len(group.layers) == 1:
        x = layer.inputs[0]
        assert x is not None
        return program.arranged(program.value(x), dense)
    add = group.layers[0]
    first, second = (program.arranged(program.value(_given(t)), dense) for t in add.inputs)
    kept = any(t is add.outputs[0] for t in group.outputs)
    total = program.value(add.outputs[0]) if kept else target
    if total.desc != dense:
        raise Unfit("a sum with gaps or in another order")
    primitive = Primitive("binary", int(Alg.BINARY_ADD), first.desc, second.desc, total.desc)
    program.step(primitive, {Arg.SRC: first, Arg.SRC_1: second, Arg.DST: total})
    return total


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def _parameter(program: Program, tensor: Tensor, shape: tuple[int, ...]) -> Value:
    """A scale or shift, which the primitive takes in f32."""
    value = program.value(tensor)
    if value.desc.shape != shape or value.desc != MemoryDesc.dense(shape, value.desc.dtype):
        raise Unfit(f"`{tensor.name}` is {tensor.type}: not dense, or not {list(shape)}")
    flat = (prod(shape),)
    return program.arranged(value.seen_as(MemoryDesc.dense(flat, value.desc.dtype)), MemoryDesc.dense(flat, "f32"))


def _lrn(program: Program, layer: Layer) -> None:
    x = layer.inputs[0]
    assert x is not None
    attrs = layer.attrs
    if attrs["size"] % 2 == 0:
        raise Unfit("an even number of channels has no middle")
    target = program.value(layer.outputs[0])
    source = program.arranged(program.value(x), target.desc)
    primitive = Primitive(
        "lrn_forward",
        *(int(Prop.FORWARD_INFERENCE), int(Alg.LRN_ACROSS_CHANNELS), source.desc, target.desc),
        *(attrs["size"], attrs["alpha"], attrs["beta"], attrs["bias"]),
    )
    program.step(primitive, {Arg.SRC: source, Arg.DST: target})
