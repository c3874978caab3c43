"""`if`, `scan` and `loop`: a line that opens a body, its statements, what it yields, a line that closes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trtn.dsl.network import Graph, Layer, Tensor
from trtn.dsl.printer.carried import plan_rebinding
from trtn.dsl.printer.literals import name_text
from trtn.dsl.printer.names import Scope
from trtn.dsl.printer.operands import Operand, standalone

if TYPE_CHECKING:
    from trtn.dsl.printer.body import BodyWriter

__all__ = ["write_control"]


def write_control(
    writer: BodyWriter, layer: Layer, targets: str, operands: Sequence[Operand], scope: Scope, path: str
) -> str:
    """Write a layer with regions but for its last line, which is returned. `path` begins the names inside."""
    writer.origins.append(layer.origin)
    match layer.op.name:
        case "if":
            _if(writer, layer, targets, operands[0], scope, path)
        case "scan":
            _scan(writer, layer, targets, operands, Scope(f"{path}.body.", scope))
        case "loop":
            _loop(writer, layer, targets, operands, Scope(f"{path}.body.", scope))
        case other:
            raise AssertionError(f"op {other} has regions, but no statement of the language makes it")
    writer.origins.pop()
    return "}"


def _if(writer: BodyWriter, layer: Layer, targets: str, condition: Operand, scope: Scope, path: str) -> None:
    then, otherwise = layer.regions
    writer.line(f"{targets} = if {condition.text} {{")
    _statements(writer, layer, then, Scope(f"{path}.then.", scope))
    writer.line("} else {")
    _statements(writer, layer, otherwise, Scope(f"{path}.else.", scope))


def _statements(writer: BodyWriter, layer: Layer, region: Graph, inner: Scope) -> None:
    writer.depth += 1
    late = writer.asserts(region)
    writer.layers(region.layers, inner, {})
    for line in late:
        writer.line(line)
    _yield(writer, layer, region.outputs, inner)
    writer.depth -= 1


def _scan(writer: BodyWriter, layer: Layer, targets: str, operands: Sequence[Operand], inner: Scope) -> None:
    count = layer.attrs["carried"]
    region = layer.regions[0]
    names = _enter(writer, region.inputs, inner)
    slices = []
    for name, operand, axis, backwards in zip(
        names[count:], operands[count:], layer.attrs["axes"], layer.attrs["reverse"], strict=True
    ):
        slices.append(
            f"{name} = {standalone(operand)}" + (f" axis {axis}" if axis else "") + (" reverse" if backwards else "")
        )
    writer.line(f"{targets} = scan over {', '.join(slices)}{_carry(names[:count], operands[:count])} {{")
    finals, yielded = region.outputs[:count], region.outputs[count:]
    _carrying(writer, layer, region, region.inputs[:count], finals, yielded, inner)


def _loop(writer: BodyWriter, layer: Layer, targets: str, operands: Sequence[Operand], inner: Scope) -> None:
    limit, condition, *initial = operands
    region = layer.regions[0]
    going, *outputs = region.outputs
    variable, *names = _enter(writer, region.inputs, inner)
    carried = region.inputs[1:]
    maximum = layer.attrs["maximum"]
    known = limit.tensor.value if limit.tensor is not None else None
    bound = "" if known == (maximum,) else f" max {writer.names.dims(maximum)}"
    which = None
    if condition.tensor is not None:
        which = next(n for n, o in enumerate(initial) if o.tensor is condition.tensor and outputs[n] is going)
    while_ = "" if which is None else f" while {names[which]}"
    writer.line(f"{targets} = loop {variable} in 0..{standalone(limit)}{bound}{_carry(names, initial)}{while_} {{")
    count = len(carried)
    _carrying(writer, layer, region, carried, outputs[:count], outputs[count:], inner)


def _enter(writer: BodyWriter, inputs: Sequence[Tensor], inner: Scope) -> list[str]:
    """Names for what a body is given, as they are written."""
    names = []
    for tensor in inputs:
        name = writer.names.choose(inner, tensor, plain=True)
        writer.names.enter(inner, tensor, name)
        names.append(name_text(name))
    return names


def _carry(names: Sequence[str], initial: Sequence[Operand]) -> str:
    pairs = ", ".join(f"{name} = {standalone(o)}" for name, o in zip(names, initial, strict=True))
    return f" carry {pairs}" if pairs else ""


def _carrying(
    writer: BodyWriter,
    layer: Layer,
    region: Graph,
    carried: Sequence[Tensor],
    finals: Sequence[Tensor],
    yielded: Sequence[Tensor],
    inner: Scope,
) -> None:
    """The statements of a body with carried names: each is bound once more, to its value for the next round."""
    plan = plan_rebinding(region, carried, finals, yielded)
    names = [inner.text(t) or "" for t in carried]
    writer.depth += 1
    late = writer.asserts(region)
    writer.layers(region.layers, inner, {tensor: _plain(names[number]) for tensor, number in plan.direct.items()})
    for line in late:
        writer.line(line)
    for number in plan.kept:
        old = writer.names.fresh(inner, f"{_plain(names[number])}_old")
        writer.line(f"{old} = {names[number]}")
        writer.names.enter(inner, carried[number], old)
    for number, tensor in plan.late:
        writer.line(f"{names[number]} = {standalone(writer.operand(layer, len(layer.inputs), tensor, inner))}")
    _yield(writer, layer, yielded, inner)
    writer.depth -= 1


def _plain(text: str) -> str:
    return text.strip("`")


def _yield(writer: BodyWriter, layer: Layer, outputs: Sequence[Tensor], inner: Scope) -> None:
    if outputs:
        values = [standalone(writer.operand(layer, len(layer.inputs), t, inner)) for t in outputs]
        writer.line(f"yield {', '.join(values)}")
