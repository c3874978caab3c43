"""Layers that are alike have results that are alike: of a network's layers most repeat a few, which are inferred once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from trtn.dsl.dims import Dim
from trtn.dsl.network import Tensor, TensorType
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Inferred, infer_layer

__all__ = ["InferenceMemo"]

_LIMIT = 10_000
"""Kinds of layers that are kept."""


class InferenceMemo:
    """`infer_layer` that remembers. A rule sees of its inputs the types and the values that the dims decide, nothing
    else; what a layer with the same of these and the same attributes came to holds again. Failures, layers with
    regions, and sizes that only the data decides are never remembered.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Inferred] = {}

    def find(
        self, op: Op, inputs: Sequence[Tensor | None], attrs: Mapping[str, Any], wanted: int | None = None
    ) -> Inferred | None:
        """What a layer like this one came to. Layers that are alike share their `Inferred`."""
        try:
            return self._known.get(_key(op, inputs, attrs, wanted))
        except TypeError:  # an attribute that can't be hashed, and that no op takes
            return None

    def infer(
        self,
        op: Op,
        inputs: Sequence[Tensor | None],
        attrs: Mapping[str, Any],
        *,
        fresh: Callable[[Dim, Dim], Dim],
        region_types: Sequence[Sequence[TensorType]] = (),
        wanted: int | None = None,
    ) -> Inferred:
        """As `infer_layer`; what can be is kept for `find`."""
        drawn: list[Dim] = []

        def watched(low: Dim, high: Dim) -> Dim:
            drawn.append(fresh(low, high))
            return drawn[-1]

        inferred = infer_layer(op, inputs, attrs, fresh=watched, region_types=region_types, wanted=wanted)
        if not drawn and not region_types and len(self._known) < _LIMIT:
            self._known[_key(op, inputs, attrs, wanted)] = inferred
        return inferred


def _key(op: Op, inputs: Sequence[Tensor | None], attrs: Mapping[str, Any], wanted: int | None) -> Hashable:
    return (
        op.name,
        wanted,
        tuple([None if t is None else (t.dtype.name, t.shape, t.value) for t in inputs]),
        tuple([(name, _exact(value)) for name, value in attrs.items()]) if attrs else (),
    )


def _exact(value: Any) -> Hashable:
    """A key that tells apart what `==` does not: `1`, `1.0` and `true`, `0.0` and `-0.0`."""
    kind = type(value)
    if kind is tuple or kind is list:
        return tuple([_exact(item) for item in value])
    return (kind, repr(value)) if kind is float else (kind, value)
