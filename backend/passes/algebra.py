"""Exact algebra: runs of layers that one layer, or none, can stand for. Nothing here changes how a float is rounded."""

from __future__ import annotations

import math
from collections.abc import Callable

from trtn.dsl.dims import symbols
from trtn.dsl.dtypes import BOOL, DType
from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.structure.constants import uniform
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "AlgebraPass", "represents"]


class AlgebraPass:
    """Merges transposes, reshapes, casts that lose nothing, clips and concats; drops what undoes or repeats
    what is before it; x / 8 becomes x * 0.125, pow(x, 2) becomes x * x, the maximum over a stack that of its tensors.
    Exact.
    """

    name = "algebra"
    after = frozenset({"fold", "identity", "sizes"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        for layer in rewriter.layers():
            rule = _RULES.get(layer.op.name)
            if rule is None or not layer.inputs or layer.inputs[0] is None:
                continue
            result = rule(rewriter, layer)
            if isinstance(result, Layer):
                rewriter.exchange(layer, result)
            elif result is not None:
                rewriter.bypass(layer, result)
        return rewriter.finish()


PASS = AlgebraPass()

Rule = Callable[[Rewriter, Layer], Layer | Tensor | None]
"""A layer that makes the same output, a tensor that is the same, or None."""

_RESHAPES = ("flatten", "reshape", "squeeze", "unsqueeze")


def _before(rewriter: Rewriter, layer: Layer, *ops: str) -> Layer | None:
    """The layer that makes input 0, where it is one of `ops` and has not been exchanged in this run."""
    made_by = rewriter.maker(layer.inputs[0], *ops)
    return made_by if made_by is not None and rewriter.untouched(made_by) else None


def _transposes(rewriter: Rewriter, layer: Layer) -> Layer | None:
    first = _before(rewriter, layer, "transpose")
    if first is None:
        return None
    perm = [first.attrs["perm"][p] for p in layer.attrs["perm"]]
    return rewriter.layer("transpose", first.inputs[0], outputs=layer.outputs, origin=layer.origin, perm=perm)


def _reshapes(rewriter: Rewriter, layer: Layer) -> Layer | Tensor | None:
    first = _before(rewriter, layer, *_RESHAPES)
    if first is None:
        return None
    source = first.inputs[0]
    if source is not None and source.type == layer.output.type:
        return source
    if first.op.name.endswith("squeeze") and layer.op.name.endswith("squeeze"):
        return None  # these are views of any tensor; a reshape is one of a contiguous tensor only
    known = rewriter.network.dims.keys() | {s for t in (source,) if t for d in t.shape for s in symbols(d)}
    if not all(symbols(d) <= known for d in layer.output.shape):
        return None
    return rewriter.layer("reshape", source, outputs=layer.outputs, origin=layer.origin, shape=layer.output.shape)


def _casts(rewriter: Rewriter, layer: Layer) -> Layer | None:
    first = _before(rewriter, layer, "cast")
    source = first.inputs[0] if first is not None else None
    if first is None or source is None or not represents(first.output.dtype, source.dtype):
        return None
    if layer.output.dtype.is_integer and first.output.dtype.is_float:
        return None  # what does not fit wraps; how depends on the dtype that it comes from
    return rewriter.layer("cast", source, outputs=layer.outputs, origin=layer.origin, **layer.attrs)


_MANTISSA = {"f64": 53, "f32": 24, "f16": 11, "bf16": 8, "f8e4m3": 4, "f8e5m2": 3, "f8e8m0": 0, "f4e2m1": 2}
_MANTISSA |= {"f8e4m3fnuz": 4, "f8e5m2fnuz": 3}
_EXPONENTS = {
    "f64": (-1074, 1023),
    "f32": (-149, 127),
    "bf16": (-133, 127),
    "f16": (-24, 15),
    "f8e5m2": (-16, 15),
    "f8e4m3": (-9, 8),
    "f8e4m3fnuz": (-10, 7),
    "f8e5m2fnuz": (-17, 15),
    "f8e8m0": (-127, 127),
    "f4e2m1": (-1, 2),
}


def represents(holder: DType, held: DType) -> bool:
    """Whether every value of dtype `held` is one of `holder`, too."""
    if holder is held:
        return True
    if holder is BOOL or holder.name == "f8e8m0":  # which has no zero
        return False
    if held is BOOL:
        return True
    if held.is_integer:
        digits = held.bits - (held.kind == "i")
        if holder.is_float:
            return digits <= _MANTISSA[holder.name]
        return digits <= holder.bits - (holder.kind == "i") and (held.kind == "u" or holder.kind == "i")
    if not holder.is_float or holder.name.endswith("fnuz"):  # those have no infinities
        return False
    (low, high), (least, most) = _EXPONENTS[holder.name], _EXPONENTS[held.name]
    return _MANTISSA[holder.name] >= _MANTISSA[held.name] and low <= least and most <= high


def _repeats(rewriter: Rewriter, layer: Layer) -> Tensor | None:
    """relu(relu(x)) is relu(x)."""
    first = _before(rewriter, layer, layer.op.name)
    return first.output if first is not None else None


def _undoes(rewriter: Rewriter, layer: Layer) -> Tensor | None:
    """neg(neg(x)) is x."""
    first = _before(rewriter, layer, layer.op.name)
    return first.inputs[0] if first is not None and first.attrs == layer.attrs else None


def _clips(rewriter: Rewriter, layer: Layer) -> Layer | None:
    first = _before(rewriter, layer, "clip")
    if first is None:
        return None
    (low, high), (floor, ceiling) = _limits(first), _limits(layer)
    if not (low <= high and floor <= ceiling):
        return None
    low, high = min(max(low, floor), ceiling), min(max(high, floor), ceiling)
    return rewriter.layer(
        "clip",
        first.inputs[0],
        outputs=layer.outputs,
        origin=layer.origin,
        min=None if low == -math.inf else low,
        max=None if high == math.inf else high,
    )


def _limits(layer: Layer) -> tuple[float, float]:
    low, high = layer.attrs["min"], layer.attrs["max"]
    return -math.inf if low is None else low, math.inf if high is None else high


def _concats(rewriter: Rewriter, layer: Layer) -> Layer | None:
    """concat(concat(a, b), c) is concat(a, b, c), where nobody else reads the inner one."""
    flat: list[Tensor | None] = []
    for t in layer.inputs:
        inner = rewriter.maker(t, "concat")
        mergeable = (
            inner is not None
            and rewriter.untouched(inner)
            and rewriter.sole_reader(inner.output) is layer
            and inner.attrs == layer.attrs
        )
        flat += inner.inputs if mergeable and inner is not None else (t,)
    if len(flat) == len(layer.inputs):
        return None
    return rewriter.layer("concat", *flat, outputs=layer.outputs, origin=layer.origin, **layer.attrs)


def _division(rewriter: Rewriter, layer: Layer) -> Layer | None:
    """Division by a power of two is multiplication by its reciprocal, bit for bit."""
    divisor = layer.inputs[1]
    value = uniform(divisor)
    if divisor is None or not divisor.dtype.is_float or not value:
        return None
    mantissa, exponent = math.frexp(value)
    if abs(mantissa) != 0.5 or abs(exponent) > 7:  # far from where a reciprocal is subnormal, in any dtype
        return None
    import numpy as np

    assert divisor.weight is not None  # floats are known by their weight only
    array = np.full(divisor.weight.shape, 1 / value).astype(divisor.dtype.numpy)
    inverse = rewriter.constant(array, f"{layer.name}.factor")
    return rewriter.layer("mul", layer.inputs[0], inverse, outputs=layer.outputs, origin=layer.origin)


def _square(rewriter: Rewriter, layer: Layer) -> Layer | None:
    x = layer.inputs[0]
    if x is None or not x.dtype.is_float or uniform(layer.inputs[1]) != 2 or x.shape != layer.output.shape:
        return None
    return rewriter.layer("mul", x, x, outputs=layer.outputs, origin=layer.origin)


def _extreme_of_stack(rewriter: Rewriter, layer: Layer) -> Layer | None:
    """The greatest, or least, of tensors that are stacked along an axis, taken along that axis."""
    stack = _before(rewriter, layer, "concat")
    if stack is None or layer.attrs["keepdims"] or tuple(layer.attrs["axes"] or ()) != (stack.attrs["axis"],):
        return None
    laid = [rewriter.maker(t, "unsqueeze") for t in stack.inputs]
    found = [each for each in laid if each is not None and tuple(each.attrs["axes"]) == (stack.attrs["axis"],)]
    if len(found) != len(laid) or not rewriter.untouched(*found):
        return None
    op = {"reduce_max": "max", "reduce_min": "min"}[layer.op.name]
    return rewriter.layer(op, *(each.inputs[0] for each in found), outputs=layer.outputs, origin=layer.origin)


_RULES: dict[str, Rule] = {
    **dict.fromkeys(_RESHAPES, _reshapes),
    **dict.fromkeys(("abs", "ceil", "floor", "relu", "round"), _repeats),
    **dict.fromkeys(("bitwise_not", "flip", "neg", "not"), _undoes),
    **dict.fromkeys(("reduce_max", "reduce_min"), _extreme_of_stack),
    "cast": _casts,
    "clip": _clips,
    "concat": _concats,
    "div": _division,
    "pow": _square,
    "transpose": _transposes,
}
