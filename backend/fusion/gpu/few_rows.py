"""Products of a few rows whose result is cast: a network's last layer, at small batches. Generated kernels write what the
cast gives, which libraries don't.
"""

from __future__ import annotations

from trtn.backend.fusion.epilogue import with_epilogue
from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "MOST_ROWS", "FewRowsFusion", "few_rows_refusal"]

MOST_ROWS = 8
"""More rows than this are for tensor cores."""
_MOST_WEIGHTS = 1 << 26
"""Elements of a weight that is worth being kept a second time, transposed."""


class FewRowsFusion:
    """linear of up to 8 rows, whatever the sizes, its epilogue and a cast to another float."""

    name = "few_rows"
    kind = "gemm"
    after = frozenset({"excitation"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        if few_rows_refusal(seed) or (index.largest(seed.output.shape[:-1]) or MOST_ROWS + 1) > MOST_ROWS:
            return None
        group = with_epilogue(index, seed, seed.output.rank - 1)
        result = group[-1].output
        readers = index.readers(result)
        if len(readers) != 1 or index.is_yielded(result) or not index.is_free(readers[0]):
            return None
        cast = readers[0]
        return (*group, cast) if cast.op.name == "cast" and cast.output.dtype.name in ("f16", "bf16", "f32") else None


FUSION = FewRowsFusion()


def few_rows_refusal(layer: Layer) -> str:
    """Why a layer is no product that generated kernels take for a few rows; "" where it is."""
    if layer.op.name != "linear":
        return "it is not a linear layer"
    weight = layer.inputs[1]
    if weight is None or any(t is not None and t.weight is None for t in layer.inputs[1:]):
        return "its weight or bias is not a constant"
    dtype = layer.output.dtype
    if dtype.name not in ("f16", "bf16") or any(t is not None and t.dtype is not dtype for t in layer.inputs):
        return f"generated products don't take {dtype}"
    assert weight.weight is not None
    inner, columns = weight.weight.shape
    if inner * columns > _MOST_WEIGHTS:
        return f"its {inner * columns} weights are too many to be kept twice"
    return ""
