"""Scaled dot-product attention, as softmax(q @ k^T * scale + mask) @ v and what exporters make of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import BOOL
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.ops.infer import InferFailure
from trtn.dsl.structure.constants import uniform
from trtn.dsl.structure.datafree import data_free
from trtn.dsl.structure.patterns import Replacement
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PATTERNS", "AttentionPattern", "CausalPattern", "SharedHeadsPattern"]

_HUGE = -1e30
"""A number that leaves nothing of a score, as long as one key of the row is not masked."""


@dataclass(slots=True)
class _Scores:
    """What goes into the softmax: q @ keys * scale, masked. `keys` is k with its last two axes exchanged."""

    q: Tensor
    keys: Tensor
    scale: float = 1.0
    mask: Tensor | None = None
    fill: float = 0.0
    """For a mask of bools that comes from `where(mask, scores, fill)`."""
    layers: list[Layer] = field(default_factory=list)


class AttentionPattern:
    """softmax(q @ k^T * scale + mask) @ v. The scale may be on q, on k or on both; rows of NaN may have become 0."""

    name = "attention"
    ops = frozenset({"matmul"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        v = layer.inputs[1]
        softmax = _softmax(rewriter, layer)
        if softmax is None or v is None or v.weight is not None:
            return None
        scores = _scores(rewriter, softmax)
        if scores is None or not _fits(scores, v):
            return None
        q, keys = scores.q, scores.keys
        swapped = (*range(keys.rank - 2), keys.rank - 1, keys.rank - 2)
        k = rewriter.layer("transpose", keys, name=f"{layer.name}.k", origin=layer.origin, perm=swapped)
        before: list[Layer] = [k]
        mask = scores.mask
        if mask is not None and scores.fill:
            if scores.fill > _HUGE:
                return None
            if scores.fill != -math.inf:
                before.append(_added(rewriter, scores, layer))
                mask = before[-1].output
        scale = None if _is_usual(scores.scale, q.shape[-1]) else scores.scale
        try:
            return (
                *before,
                rewriter.layer(
                    "attention", q, k.output, v, mask, outputs=layer.outputs, origin=layer.origin, scale=scale
                ),
            )
        except InferFailure:  # a mask that is broadcast in another way
            return None


class CausalPattern:
    """A mask of which every row ends at its own position is `causal`."""

    name = "causal attention"
    ops = frozenset({"attention"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        q, k, v, mask = (*layer.inputs, None)[:4]
        if q is None or k is None or mask is None or layer.attrs["causal"] or q.shape[-2] != k.shape[-2]:
            return None
        samples = data_free(rewriter).samples(mask)
        if not samples or not any(array.shape[-1] > 2 for _, array in samples):
            return None
        for _, array in samples:
            allowed = array if mask.dtype is BOOL else array == 0
            if mask.dtype is not BOOL and not bool(((array == 0) | (array <= _HUGE)).all()):
                return None
            if array.ndim < 2 or not bool((allowed == np.tril(np.ones(array.shape[-2:], dtype=np.bool_))).all()):
                return None
        attrs = {**layer.attrs, "causal": True}
        return rewriter.layer("attention", q, k, v, outputs=layer.outputs, origin=layer.origin, **attrs)


class SharedHeadsPattern:
    """Heads of k and v that are repeated for the heads of q: `attention` shares them by itself."""

    name = "shared heads"
    ops = frozenset({"attention"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        q, k, v = layer.inputs[:3]
        source, other = _repeated(rewriter, k), _repeated(rewriter, v)
        if source is None or other is None or source.shape[-4] != other.shape[-4]:
            return None
        before = [
            rewriter.layer(
                "reshape", t, name=f"{layer.name}.{role}", origin=layer.origin, shape=(*t.shape[:-3], *t.shape[-2:])
            )
            for role, t in (("k", source), ("v", other))
        ]
        inputs = (q, *(x.output for x in before), *layer.inputs[3:])
        return (
            *before,
            rewriter.layer("attention", *inputs, outputs=layer.outputs, origin=layer.origin, **layer.attrs),
        )


PATTERNS = (AttentionPattern(), CausalPattern(), SharedHeadsPattern())


def _softmax(rewriter: Rewriter, layer: Layer) -> Layer | None:
    """The softmax over keys whose result only `layer` reads, perhaps with 0 in the place of NaN."""
    weights = layer.inputs[0]
    chosen = rewriter.maker(weights, "where")
    readers = 1
    if chosen is not None and weights is not None and rewriter.sole_reader(weights) is layer:
        condition, zero, weights = chosen.inputs
        check = rewriter.maker(condition, "isnan")
        if check is None or check.inputs[0] is not weights or uniform(zero) != 0:
            return None
        readers = 2
    softmax = rewriter.maker(weights, "softmax")
    if softmax is None or softmax.attrs["axis"] not in (-1, softmax.output.rank - 1):
        return None
    return softmax if rewriter.reader_count(softmax.output) == readers else None


def _scores(rewriter: Rewriter, softmax: Layer) -> _Scores | None:
    """The scores that a softmax is of, taken apart from the end: mask, scale, product."""
    scale, mask, fill = 1.0, None, 0.0
    tensor = softmax.inputs[0]
    while tensor is not None and (layer := rewriter.maker(tensor)) is not None:
        if rewriter.reader_count(tensor) != 1:
            return None
        if layer.op.name == "matmul":
            q, on_q = _unscaled(rewriter, layer.inputs[0])
            keys, on_keys = _unscaled(rewriter, layer.inputs[1])
            if q is None or keys is None or q.weight is not None or keys.weight is not None:
                return None
            return _Scores(q, keys, scale * on_q * on_keys, mask, fill)
        if layer.op.name in ("mul", "div"):
            inner, factor = _unscaled(rewriter, tensor)
            if inner is tensor:
                return None
            tensor, scale = inner, scale * factor
            continue
        if mask is not None:
            return None
        masked = _masked(rewriter, layer)
        if masked is None:
            return None
        tensor, mask, fill = masked
    return None


def _masked(rewriter: Rewriter, layer: Layer) -> tuple[Tensor, Tensor, float] | None:
    """Scores, mask and fill of `scores + mask` and `where(mask, scores, fill)`."""
    if layer.op.name == "where":
        condition, scores, other = layer.inputs
        fill = uniform(other)
        if condition is None or scores is None or fill is None or scores.shape != layer.output.shape:
            return None
        return scores, condition, float(fill)
    if layer.op.name != "add":
        return None
    for scores, mask in (layer.inputs, layer.inputs[::-1]):
        made = rewriter.maker(scores, "matmul", "mul", "div")
        if scores is None or mask is None or made is None or scores.shape != layer.output.shape:
            continue
        condition = _chosen(rewriter, mask)
        return (scores, condition, 0.0) if condition is not None else (scores, mask, 0.0)
    return None


def _chosen(rewriter: Rewriter, mask: Tensor) -> Tensor | None:
    """The condition of a mask that is 0 where it holds and -inf where it doesn't."""
    layer = rewriter.maker(mask, "where")
    if layer is None or uniform(layer.inputs[1]) != 0 or uniform(layer.inputs[2]) != -math.inf:
        return None
    return layer.inputs[0]


def _unscaled(rewriter: Rewriter, tensor: Tensor | None) -> tuple[Tensor | None, float]:
    """x and c for x * c and x / c with one number c; the tensor and 1 for any other."""
    layer = rewriter.maker(tensor, "mul", "div")
    if layer is None or tensor is None:
        return tensor, 1.0
    x, other = layer.inputs
    factor = uniform(other)
    if factor is None and layer.op.name == "mul":
        x, other = other, x
        factor = uniform(other)
    if not factor or x is None or x.type != tensor.type:
        return tensor, 1.0
    return x, float(factor if layer.op.name == "mul" else 1 / factor)


def _fits(scores: _Scores, v: Tensor) -> bool:
    """Whether q, k and v are of one rank and share their leading dims as they are written."""
    q, keys = scores.q, scores.keys
    if not q.rank == keys.rank == v.rank >= 3 or not q.dtype.is_float:
        return False
    return (
        q.shape[:-2] == keys.shape[:-2] == v.shape[:-2]
        and q.shape[-1] == keys.shape[-2]
        and (keys.shape[-1] == v.shape[-2])
    )


def _added(rewriter: Rewriter, scores: _Scores, layer: Layer) -> Layer:
    """A mask of bools as numbers to add."""
    dtype = scores.q.dtype.numpy
    zero = rewriter.nameless(np.zeros((), dtype))
    fill = rewriter.nameless(np.asarray(scores.fill, dtype))
    return rewriter.layer("where", scores.mask, zero, fill, name=f"{layer.name}.mask", origin=layer.origin)


def _is_usual(scale: float, width: Dim) -> bool:
    return isinstance(width, int) and width > 0 and math.isclose(scale, 1 / math.sqrt(width), rel_tol=1e-6)


def _repeated(rewriter: Rewriter, tensor: Tensor | None) -> Tensor | None:
    """x[.., G, 1, S, D], for a tensor [.., G * n, S, D] that has each of its heads n times in a row."""
    joined = rewriter.maker(tensor, "reshape")
    expanded = rewriter.maker(joined.inputs[0], "expand") if joined is not None else None
    x = expanded.inputs[0] if expanded is not None else None
    if joined is None or expanded is None or x is None or x.rank < 4 or x.rank != expanded.output.rank:
        return None
    wide, shape = expanded.output.shape, x.shape
    if shape[-3] != 1 or (*wide[:-3], *wide[-2:]) != (*shape[:-3], *shape[-2:]):
        return None
    return x if joined.output.shape == (*shape[:-4], shape[-4] * wide[-3], *shape[-2:]) else None
