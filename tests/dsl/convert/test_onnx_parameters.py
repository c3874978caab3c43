"""Parameters that an exporter has merged have the paths of their modules again."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from tests.dsl.convert.models import check, model, node, value
from trtn.dsl.convert.onnx import import_onnx

WIDTH = 20


def in_module(proto: onnx.NodeProto, path: str) -> onnx.NodeProto:
    """With what torch's exporter notes on a node."""
    note = proto.metadata_props.add()
    note.key, note.value = "pkg.torch.onnx.name_scopes", f"['', '{path}', 'op']"
    return proto


def norms(scale: Any, *, modules: bool = True) -> ModelProto:
    """Two norms that read one scale; the first one's module has it."""
    nodes = [
        node("LayerNormalization", ["x", "layers.0.norm.gain", "layers.0.norm.bias"], ["a"], axis=-1),
        node("LayerNormalization", ["a", "layers.0.norm.gain", "layers.1.norm.bias"], ["y"], axis=-1),
    ]
    if modules:
        nodes = [in_module(n, f"layers.{k}.norm") for k, n in enumerate(nodes)]
    random = np.random.default_rng(3)
    biases = {f"layers.{k}.norm.bias": random.standard_normal(WIDTH).astype(np.float32) for k in range(2)}
    return model(nodes, [value("x", [3, WIDTH])], ["y"], {"layers.0.norm.gain": scale, **biases})


FEEDS = {"x": np.random.default_rng(5).standard_normal((3, WIDTH)).astype(np.float32)}


def weights(proto: ModelProto) -> list[str]:
    return sorted({t.weight.name for t in import_onnx(proto).weights if t.weight is not None})


def test_a_uniform_parameter_is_each_readers_own() -> None:
    proto = norms(np.ones(WIDTH, np.float32))
    assert [w for w in weights(proto) if "gain" in w] == ["layers[0].norm.gain", "layers[1].norm.gain"]
    check(proto, FEEDS, rtol=1e-5)


def test_one_that_was_trained_is_shared() -> None:
    scale = np.ones(WIDTH, np.float32)
    scale[0] = 2
    assert [w for w in weights(norms(scale)) if "gain" in w] == ["layers[0].norm.gain"]


def test_without_modules_it_stays_shared() -> None:
    assert len(weights(norms(np.ones(WIDTH, np.float32), modules=False))) == 3


def test_an_identity_of_one_gives_it_its_name() -> None:
    zeros = np.zeros(WIDTH, np.float32)
    nodes = [
        node("Identity", ["fc1.bias"], ["fc2.bias"]),
        node("Add", ["x", "fc1.bias"], ["a"]),
        node("Add", ["a", "fc2.bias"], ["y"]),
    ]
    proto = model(nodes, [value("x", [3, WIDTH])], ["y"], {"fc1.bias": zeros})
    assert weights(proto) == ["fc1.bias", "fc2.bias"]
    check(proto, FEEDS)


def test_two_of_one_module_are_two() -> None:
    ones = np.ones(WIDTH, np.float32)
    nodes = [in_module(node("Mul", [a, "gate.weight"], [b]), m) for a, b, m in (("x", "a", "gate"), ("a", "b", "out"))]
    other = in_module(node("Mul", ["b", "half"], ["c"]), "out")
    last = in_module(node("Mul", ["c", "half"], ["y"]), "end")
    half = np.full(WIDTH, 0.5, np.float32)
    proto = model([*nodes, other, last], [value("x", [3, WIDTH])], ["y"], {"gate.weight": ones, "half": half})
    assert {"gate.weight", "out.weight", "out.weight_2", "end.weight"} <= set(weights(proto))
    check(proto, FEEDS, rtol=1e-6)
