"""Parameters that an exporter has merged because they are all zeros or all ones, given back to their modules.

Torch writes equal initialisers once. In a model that was never trained all norms then read one scale, and all biases
are one. A constant like this is no more shared than the number 0 is: each module has its own again, under its own path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import onnx

from trtn.dsl.convert.onnx.initializers import tensor_source
from trtn.dsl.convert.onnx.model import ModelGraph, Node, OnnxModel
from trtn.dsl.convert.onnx.names import first_free
from trtn.dsl.convert.onnx.registry import Unsupported

__all__ = ["with_own_parameters"]

_ROLES: Mapping[str, Mapping[int, str]] = {
    "Add": {0: "bias", 1: "bias"}, "BatchNormalization": {1: "weight", 2: "bias"}, "Conv": {2: "bias"},
    "ConvTranspose": {2: "bias"}, "Gemm": {2: "bias"}, "GroupNormalization": {1: "weight", 2: "bias"},
    "InstanceNormalization": {1: "weight", 2: "bias"}, "LayerNormalization": {1: "weight", 2: "bias"},
    "Mul": {0: "weight", 1: "weight"}, "RMSNormalization": {1: "weight"},
}  # fmt: skip
"""What torch calls the parameters that ops read, by their places."""
_LARGEST = 1 << 14
"""Elements of a parameter that is looked into."""

_Place = tuple[str, int]


def with_own_parameters(model: OnnxModel) -> OnnxModel:
    """The model with an initialiser for each reader of a uniform one, over the same tensor."""
    graph = model.graph
    readers = Counter(name for node in graph.nodes for name in set(node.inputs) & graph.initializers.keys())
    merged = {
        name: proto
        for name, proto in graph.initializers.items()
        if readers[name] > 1 and _may_be_parameter(proto) and _is_uniform(proto, model)
    }
    return replace(model, graph=_parted(graph, merged)) if merged else model


def _may_be_parameter(proto: Any) -> bool:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    return proto.data_type in floats and 1 < prod(proto.dims) <= _LARGEST


def _is_uniform(proto: Any, model: OnnxModel) -> bool:
    try:
        _, _, source = tensor_source(proto, model.folder, model.allow_outside)
        array = source.load()
    except (Unsupported, OSError):
        return False  # reported where it is read
    return bool(np.all(array == array.reshape(-1)[0]))


def _parted(graph: ModelGraph, merged: Mapping[str, Any]) -> ModelGraph:
    suffixes = _suffixes(graph, merged)
    initializers = dict(graph.initializers)
    kept = {v.name for v in graph.outputs}
    values = {o for node in graph.nodes for o in node.outputs} | {v.name for v in graph.inputs}

    def own(node: Node, position: int, name: str) -> str:
        suffix = suffixes.get((node.op, position)) or _ROLES.get(node.op, {}).get(position, "")
        if name not in merged or not node.module or not suffix:
            return name
        path = first_free(
            (f"{node.module}.{suffix}",),
            lambda p: p in values or initializers.get(p, merged[name]) is not merged[name],
        )
        initializers[path] = merged[name]
        return path

    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op == "Identity" and node.inputs[0] in merged and not kept.intersection(node.outputs):
            initializers[node.outputs[0]] = merged[node.inputs[0]]  # torch's older exporter keeps the names so
        else:
            inputs = tuple(own(node, n, name) for n, name in enumerate(node.inputs))
            nodes.append(replace(node, inputs=inputs) if inputs != node.inputs else node)
    return replace(graph, nodes=tuple(nodes), initializers=initializers)


def _suffixes(graph: ModelGraph, merged: Mapping[str, Any]) -> dict[_Place, str]:
    """What the modules whose parameters are still there call them: `in_proj_bias` what an Add reads."""
    return {
        (node.op, position): name.removeprefix(f"{node.module}.")
        for node in graph.nodes
        for position, name in enumerate(node.inputs)
        if name in merged and node.module and name.startswith(f"{node.module}.")
    }
