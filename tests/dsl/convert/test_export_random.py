"""Random numbers exported: their distribution on ONNX Runtime, and the way back."""

from __future__ import annotations

import numpy as np
import pytest

import trtn
from tests.dsl.convert.models import ort
from trtn.dsl.builder import Builder
from trtn.dsl.check import check_network
from trtn.dsl.convert.onnx import import_onnx
from trtn.dsl.diagnostics import Sink
from trtn.dsl.dims import Range, symbol
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Network, walk


def drawn(op: str, **attrs: object) -> Network:
    b = Builder("noise", dims={"N": Range(1, 4096)})
    x = b.input("x", BY_NAME["f32"], (symbol("N"),))
    (y,) = b.layer(op, name="y", shape=(symbol("N"), 10), **attrs)
    sink = Sink()
    network = check_network(b.finish([("y", y), ("z", b.layer("neg", x, name="z")[0])]), b.requirements, sink)
    assert not sink.has_errors
    return network


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
def test_distributions(dtype: str) -> None:
    feeds = {"x": np.zeros(4000, np.float32)}
    proto = trtn.export_onnx(drawn("random_uniform", low=2.0, high=4.0, dtype=dtype))
    if dtype != "bf16":  # which ONNX Runtime's Python API can't give back
        y = ort(proto, feeds)["y"].astype(np.float64)
        assert y.shape == (4000, 10) and y.min() >= 2 and y.max() <= 4 and abs(y.mean() - 3) < 0.05
    back = import_onnx(proto)
    assert str(back.outputs[0].type) == f"{dtype}[N, 10]"


def test_numbers_come_back() -> None:
    proto = trtn.export_onnx(drawn("random_normal", mean=1.5, std=0.25, seed=0x40490FDB))
    (layer,) = (x for x in walk(import_onnx(proto).graph) if x.op.name == "random_normal")
    assert [layer.attrs[name] for name in ("mean", "std", "seed")] == [1.5, 0.25, 0x40490FDB]


def test_a_seed_that_no_float_has_is_refused() -> None:
    with pytest.raises(trtn.TrtnError, match="seed"):
        trtn.export_onnx(drawn("random_normal", seed=1 << 40))
