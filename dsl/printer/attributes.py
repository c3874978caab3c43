"""The attributes that a layer needs in the text: none that the op fills in by itself, lists as short as it takes them.

The op's own rule decides: a shorter form is right where inference gives the same layer for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from trtn.dsl.dims import Dim, DimError, symbol
from trtn.dsl.network import Layer
from trtn.dsl.ops.infer import InferFailure, Inferred, infer_layer
from trtn.dsl.ops.signature import REQUIRED, Attr

__all__ = ["follows_value", "written_attributes"]

_LISTS = ("ints", "floats", "bools", "strs")
_OMITTED = object()


def written_attributes(layer: Layer) -> dict[str, Any]:
    """The attributes to write, in the order of the op's signature. One number may stand for a list of equal ones."""
    attrs = {s.name: layer.attrs[s.name] for s in layer.op.spec.attrs if not _is_default(s, layer.attrs[s.name])}
    shorter = [(s, c) for s in layer.op.spec.attrs if s.name in attrs for c in _shorter(s, attrs[s.name])]
    if not shorter:
        return attrs
    whole = _infer(layer, attrs)
    settled: set[str] = set()
    for spec, candidate in shorter:
        if spec.name in settled or whole is None:
            continue
        trial = {n: candidate if n == spec.name else v for n, v in attrs.items()}
        if candidate is _OMITTED:
            del trial[spec.name]
        if _same(whole, _infer(layer, trial)):
            attrs = trial
            settled.add(spec.name)
    return attrs


def follows_value(layer: Layer, index: int) -> bool:
    """Whether the layer's types or known values depend on the known elements of an input."""
    tensor = layer.inputs[index]
    assert tensor is not None
    blind = list(layer.inputs)
    blind[index] = replace(tensor, value=None)
    whole = _infer(layer, layer.attrs)
    return whole is not None and not _same(whole, _infer(replace(layer, inputs=tuple(blind)), layer.attrs))


def _is_default(spec: Attr, value: Any) -> bool:
    default = spec.default
    if (
        spec.kind in ("ints", "floats")
        and default is not REQUIRED
        and default is not None
        and not isinstance(default, tuple)
    ):
        default = (default,)
    return default is not REQUIRED and repr(value) == repr(default)


def _shorter(spec: Attr, value: Any) -> Iterator[Any]:
    """Forms that may stand for a value, the shortest first."""
    if not spec.required:
        yield _OMITTED
    if spec.kind not in _LISTS or not value or isinstance(spec.default, tuple):
        return
    if len(set(value)) == 1 and (len(value) > 1 if spec.required else spec.default is not None):
        yield value[0]
    half = len(value) // 2
    if spec.name == "pads" and half > 1 and value[:half] == value[half:]:
        yield value[:half]


def _infer(layer: Layer, attrs: Mapping[str, Any]) -> Inferred | None:
    made: list[Dim] = []

    def fresh(low: Dim, high: Dim) -> Dim:
        made.append(symbol(f"?{len(made)}"))
        return made[-1]

    regions = [[t.type for t in region.outputs] for region in layer.regions]
    try:
        return infer_layer(layer.op, layer.inputs, attrs, fresh=fresh, region_types=regions, wanted=len(layer.outputs))
    except (InferFailure, DimError):
        return None


def _same(a: Inferred, b: Inferred | None) -> bool:
    return (
        b is not None
        and repr(a.attrs) == repr(b.attrs)
        and (a.types, a.value) == (b.types, b.value)
        and [r.relation for r in a.requirements] == [r.relation for r in b.requirements]
    )
