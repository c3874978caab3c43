"""Fourier transforms, mel filters, n-grams."""

from __future__ import annotations

from typing import Any

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.initializers import dtype_of
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.dims import Dim
from trtn.dsl.network import Tensor

__all__: list[str] = []


@onnx_op("DFT", since=17)
def _dft_by_attribute(n: Call) -> Results:
    return _dft(n, None, n.integer("axis", 1))


@onnx_op("DFT", since=20)
def _dft_by_input(n: Call) -> Results:
    along, axis = (n.tensor(2), None) if n.is_computed(2) else (None, (n.constants(2, "the axis") or (-2,))[0])
    return _dft(n, along, axis)


def _dft(n: Call, along: Tensor | None, axis: int | None) -> Tensor:
    count, length = _size(n, 1)
    inverse, onesided = n.flag("inverse"), n.flag("onesided")
    return n.emit("dft", n.tensor(0), count, along, axis=axis, length=length, inverse=inverse, onesided=onesided)


def _size(n: Call, index: int) -> tuple[Tensor | None, Dim | None]:
    """A scalar input, as a tensor or, where it is known, as a number."""
    known = n.known(index)
    return (None, known[0]) if known else (n.maybe(index), None)


@onnx_op("STFT", since=17)
def _stft(n: Call) -> Results:
    (hop, step), (count, length) = _size(n, 1), _size(n, 3)
    onesided = n.flag("onesided", True)
    return n.emit("stft", n.tensor(0), hop, n.maybe(2), count, step=step, length=length, onesided=onesided)


@onnx_op("MelWeightMatrix", since=17)
def _mel_weights(n: Call) -> Results:
    dtype = dtype_of(n.integer("output_datatype", 1))
    return n.emit("mel_weights", *(n.tensor(i) for i in range(5)), dtype=dtype)


@onnx_op("TfIdfVectorizer", since=9)
def _tf_idf(n: Call) -> Results:
    pool, weights = n.ints("pool_int64s"), n.floats("weights")
    if pool is None:
        refuse("a pool of strings is not supported")
    attrs: dict[str, Any] = {
        "pool": pool,
        "starts": n.ints("ngram_counts"),
        "columns": n.ints("ngram_indexes"),
        "weights": None if weights is None else tuple(map(tidy, weights)),
        "shortest": n.integer("min_gram_length"),
        "longest": n.integer("max_gram_length"),
        "skips": n.integer("max_skip_count"),
        "mode": n.text("mode").lower(),
    }
    return n.emit("tf_idf", n.tensor(0), **attrs)
