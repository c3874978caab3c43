"""Layers that do nothing: casts to the same dtype, transposes that cancel, reshapes to the same shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from trtn.dsl.lint.base import Edit, Finding, Subject, rule
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.syntax import ast

__all__: list[str] = []

Makers = Mapping[int, Layer]
LOSSLESS = {
    **dict.fromkeys(("f16", "bf16"), ("f32", "f64")),
    "f32": ("f64",),
    **dict.fromkeys(("i8", "u8"), ("i16", "i32", "i64")),
    **dict.fromkeys(("i16", "u16"), ("i32", "i64")),
    **dict.fromkeys(("i32", "u32"), ("i64",)),
}
"""Casts that can be undone."""


@rule("L0111")
def needless_cast(subject: Subject) -> Iterator[Finding]:
    """A cast to the dtype that the value has, or back after a cast that lost nothing."""

    def needless(layer: Layer, makers: Makers) -> bool:
        if layer.op.name != "cast" or layer.inputs[0] is None:
            return False
        x, y = layer.inputs[0], layer.outputs[0]
        before = _made_by(makers, x, "cast")
        undone = before is not None and x.dtype.name in LOSSLESS.get(before.dtype.name, ()) and before.dtype is y.dtype
        return x.dtype is y.dtype or undone

    yield from _everywhere(subject, needless, "this cast changes nothing", fixable=_same_dtype)


@rule("L0112")
def needless_transpose(subject: Subject) -> Iterator[Finding]:
    """A transpose that leaves the axes where they are, or puts them back after another."""

    def needless(layer: Layer, makers: Makers) -> bool:
        if layer.op.name != "transpose":
            return False
        x = layer.inputs[0]
        perm = list(layer.attrs["perm"])
        first = next((m for m in [makers.get(id(x))] if m is not None and m.op.name == "transpose"), None)
        whole = [first.attrs["perm"][p] for p in perm] if first is not None else perm
        return whole == sorted(whole)

    yield from _everywhere(subject, needless, "this transpose leaves the axes in their order", fixable=_same_perm)


@rule("L0113")
def needless_reshape(subject: Subject) -> Iterator[Finding]:
    """A reshape to the shape that the value has."""

    def needless(layer: Layer, makers: Makers) -> bool:
        if layer.op.name not in ("reshape", "expand", "flatten"):
            return False
        x = layer.inputs[0]
        return x is not None and x.shape == layer.outputs[0].shape

    yield from _everywhere(subject, needless, "the value has this shape already", fixable=lambda layer: True)


def _same_dtype(layer: Layer) -> bool:
    return layer.inputs[0] is not None and layer.inputs[0].dtype is layer.outputs[0].dtype


def _same_perm(layer: Layer) -> bool:
    return list(layer.attrs["perm"]) == sorted(layer.attrs["perm"])


def _made_by(makers: Makers, tensor: Tensor, op: str) -> Tensor | None:
    """What the op that made a tensor read, where it was this op."""
    maker = makers.get(id(tensor))
    return maker.inputs[0] if maker is not None and maker.op.name == op else None


def _everywhere(
    subject: Subject, needless: Callable[[Layer, Makers], bool], message: str, fixable: Callable[[Layer], bool]
) -> Iterator[Finding]:
    """A place of the text is at fault where every layer that came of it does nothing: a block may be called with
    values that need what others don't."""
    faults = {
        span: layers
        for span, layers in subject.places.items()
        if all(needless(layer, subject.makers) for layer in layers)
    }
    calls: dict[tuple[int, int], ast.Call] = {}
    if faults:
        found = (call for item in subject.items for call in subject.body(item).all(ast.Call))
        calls = {(call.callee.start, call.callee.end): call for call in found}
    for span, layers in faults.items():
        call = calls.get((span.start, span.end))
        edits: tuple[Edit, ...] = ()
        if call is not None and len(call.args) == 1 and all(map(fixable, layers)):
            argument = call.args[0]
            edits = (Edit(call.start, call.end, subject.source.text[argument.start : argument.end]),)
        yield Finding(message, span, "take it out", edits)
