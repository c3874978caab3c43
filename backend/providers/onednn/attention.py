"""Attention as two products and a softmax, heads and their transposition told by strides."""

from __future__ import annotations

from functools import partial
from math import sqrt

from trtn.backend.providers.base import Launch
from trtn.backend.providers.onednn.enums import Alg, Arg, Prop
from trtn.backend.providers.onednn.library import OneDnnError
from trtn.backend.providers.onednn.memory import MemoryDesc
from trtn.backend.providers.onednn.primitive import Attributes, Primitive
from trtn.backend.providers.onednn.program import Lookup, Program, Unfit, Value
from trtn.dsl.network import Tensor

__all__ = ["plan_attention"]

_NEVER = float("-inf")


def plan_attention(program: Program) -> None:
    """softmax(q @ k^T * scale + mask) @ v. Axes inside: batch, heads of k, heads of q for each of them, rows, columns."""
    group = program.problem.group
    layer = group.layers[0]
    q, k, v = (program.value(t) for t in layer.inputs[:3] if t is not None)
    mask = layer.inputs[3] if len(layer.inputs) > 3 else None
    target = program.value(group.outputs[0])
    if len(group.layers) > 1 or len(q.desc.shape) not in (3, 4):
        raise Unfit("more than attention, or more than one axis before the heads")
    shared = k.desc.shape[-3]
    heads, rows, width = q.desc.shape[-3:]
    keys = k.desc.shape[-2]
    masked = mask is not None or layer.attrs["causal"]
    queries, result = (_split(x, heads // shared) for x in (q, target))
    across = _split(k, 1)
    lookup = across.seen_as(_swapped(across.desc))
    batch = queries.desc.shape[0]
    scores = program.scratch(MemoryDesc.dense((batch, shared, heads // shared, rows, keys), "f32"))
    scale = layer.attrs["scale"]
    attributes = Attributes()
    attributes.eltwise(Alg.LINEAR, 1 / sqrt(width) if scale is None else scale)
    program.step(
        Primitive("matmul", queries.desc, lookup.desc, None, scores.desc, attributes=attributes),
        {Arg.SRC: queries, Arg.WEIGHTS: lookup, Arg.DST: scores},
    )
    guard = _Mask(program, mask, layer.attrs["causal"], scores, heads // shared) if masked else None
    if guard is not None:
        program.python(guard.bind)
        try:
            add = Primitive("binary", int(Alg.BINARY_ADD), scores.desc, guard.addend.desc, scores.desc)
            program.step(add, {Arg.SRC: scores, Arg.SRC_1: guard.addend, Arg.DST: scores})
        except OneDnnError:  # it broadcasts along few axes
            program.python(guard.bind_add)
    shares = scores if q.desc.dtype == "f32" else program.scratch(MemoryDesc.dense(scores.desc.shape, q.desc.dtype))
    program.step(
        Primitive("softmax_forward", int(Prop.FORWARD_INFERENCE), int(Alg.SOFTMAX), scores.desc, shares.desc, 4),
        {Arg.SRC: scores, Arg.DST: shares},
    )
    if guard is not None:
        program.python(partial(guard.bind_after, shares))
    values = _split(v, 1)
    program.step(
        Primitive("matmul", shares.desc, values.desc, None, result.desc),
        {Arg.SRC: shares, Arg.WEIGHTS: values, Arg.DST: result},
    )


def _split(value: Value, per_group: int) -> Value:
    """[B, H, S, D] as [B, H / per_group, per_group, S, D]."""
    shape, strides = value.desc.shape, value.desc.strides
    assert strides is not None
    if len(shape) == 3:
        shape, strides = (1, *shape), (1, *strides)
    return value.seen_as(
        MemoryDesc.matrices(
            (shape[0], shape[1] // per_group, per_group, *shape[2:]),
            value.desc.dtype,
            (strides[0], strides[1] * per_group, *strides[1:]),
        )
    )


def _swapped(desc: MemoryDesc) -> MemoryDesc:
    assert desc.strides is not None
    order = (0, 1, 2, 4, 3)
    return MemoryDesc.matrices([desc.shape[n] for n in order], desc.dtype, [desc.strides[n] for n in order])


class _Mask:
    """What is added to the scores: 0, or -inf where a query may not look. Rows that are -inf throughout are left
    alone by the softmax, which would make NaN of them, and become zeros after it."""

    def __init__(self, program: Program, mask: Tensor | None, causal: bool, scores: Value, per_group: int) -> None:
        self._mask = None if mask is None else program.array(mask)
        self._scores = scores
        _, shared, _, rows, keys = scores.desc.shape
        own: tuple[int, ...] = (1, 1, 1, 1) if mask is None else program.problem.layout(mask).shape
        own = (1,) * (4 - len(own)) + own
        self._shape = (own[0], own[1], rows if causal else own[2], keys)
        split = (own[0], *((1, 1) if own[1] == 1 else (shared, per_group)), *self._shape[2:])
        self.addend = program.scratch(MemoryDesc.dense(split, "f32"))
        self._sees = program.scratch(MemoryDesc.dense((*split[:-1], 1), "f32"))
        self._causal = causal

    def bind(self, lookup: Lookup) -> Launch:
        """Fill in what is added, and which rows see any key (1, else 0)."""
        import numpy as np

        mask = None if self._mask is None else lookup(self._mask)
        addend = lookup(self.addend).reshape(self._shape)
        sees = lookup(self._sees).reshape(*self._shape[:-1], 1)
        rows, keys = self._shape[2:]
        future = ~np.tri(rows, keys, keys - rows, dtype=bool) if self._causal else None

        def fill() -> None:
            addend[...] = 0
            if mask is not None and mask.dtype == bool:
                np.copyto(addend, _NEVER, where=~mask)
            elif mask is not None:
                np.add(addend, mask, out=addend)
            if future is not None:
                np.copyto(addend, _NEVER, where=future)
            np.not_equal(addend.max(axis=-1, keepdims=True), _NEVER, out=sees, casting="unsafe")
            if not sees.all():
                np.copyto(addend, 0, where=sees == 0)

        return fill

    def bind_add(self, lookup: Lookup) -> Launch:
        import numpy as np

        scores, addend = lookup(self._scores), lookup(self.addend)

        def add() -> None:
            np.add(scores, addend, out=scores)

        return add

    def bind_after(self, shares: Value, lookup: Lookup) -> Launch:
        """Zeros for the rows that see nothing."""
        array, sees = lookup(shares), lookup(self._sees)

        def clear() -> None:
            if not sees.all():
                array[...] *= sees.astype(array.dtype)

        return clear
