"""The ops of ai.onnx.ml that are plain tensor arithmetic, which converters leave around networks."""

from __future__ import annotations

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.registry import Results, onnx_op
from trtn.dsl.dims import product
from trtn.dsl.dtypes import BY_NAME

__all__: list[str] = []

_ML = "ai.onnx.ml"
_F32 = BY_NAME["f32"]


@onnx_op("Binarizer", domain=_ML)
def _binarizer(n: Call) -> Results:
    """1 above the threshold, else 0."""
    x = n.tensor(0)
    real = x if x.dtype.is_float else n.cast(x, _F32, "real")
    above = n.emit("greater", real, n.like(n.number("threshold", 0.0), real), part="above")
    return n.emit("cast", above, to=x.dtype)


@onnx_op("ArrayFeatureExtractor", domain=_ML)
def _features(n: Call) -> Results:
    """Columns [.., K] of x, by the K numbers of y [K] or [1, K]."""
    x, columns = n.tensor(0), n.tensor(1)
    if x.rank == 1:
        x = n.emit("unsqueeze", x, part="row", axes=(0,))
    return n.emit("gather", x, n.reshape(columns, (product(columns.shape),), "columns"), axis=-1)
