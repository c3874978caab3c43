"""ONNX Runtime's ops around embeddings, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from tests.dsl.convert.models import check, node, ops, single, value
from tests.dsl.convert.models import model as make_model

MICROSOFT = "com.microsoft"
RNG = np.random.default_rng(5)


def f(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("segments", [True, False])
@pytest.mark.parametrize("mask", [True, False])
def test_embed_layer_norm(segments: bool, mask: bool) -> None:
    ids, kinds = np.int32([[3, 1, 0], [2, 2, 8]]), np.int32([[0, 0, 1], [1, 0, 1]])
    weights = {"words": f(9, 8), "places": f(4, 8), "gamma": f(8), "beta": f(8)}
    feeds = {"ids": ids}
    names = ["ids", "", "words", "places", "", "gamma", "beta", ""]
    if segments:
        names[1], names[4] = "kinds", "segments"
        feeds["kinds"], weights["segments"] = kinds, f(2, 8)
    if mask:
        names[7] = "mask"
        feeds["mask"] = np.int32([[1, 1, 0], [1, 1, 1]])
    nodes = [node("EmbedLayerNormalization", names, ["y", "lengths", "sum"], domain=MICROSOFT, epsilon=1e-5)]
    inputs = [value(name, ["B", 3], 6) for name in feeds]
    outputs = ["y", "lengths", "sum"]
    network = check(make_model(nodes, inputs, outputs, weights, domains={MICROSOFT: 1}), feeds, rtol=1e-4)
    assert ops(network).count("embedding") == 2 + segments


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize(
    ("x", "places", "attrs"),
    [
        (f(2, 3, 16), np.int64([[0, 1, 2], [4, 5, 6]]), {}),
        (f(2, 3, 16), np.int64([2]), {}),
        (f(2, 2, 3, 8), np.int64([[0, 1, 2], [4, 5, 6]]), {}),
        (f(2, 3, 32), np.int64([[0, 1, 2], [4, 5, 6]]), {"num_heads": 2, "rotary_embedding_dim": 8}),
    ],
    ids=["flat", "one place", "heads", "a part of each head"],
)
def test_rotary_embedding(x: Any, places: Any, attrs: dict[str, int], interleaved: int) -> None:
    inputs = [x, places, f(8, 4), f(8, 4)]
    proto, feeds = single("RotaryEmbedding", inputs, domain=MICROSOFT, interleaved=interleaved, **attrs)
    check(proto, feeds, rtol=1e-4)
