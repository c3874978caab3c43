"""Small ONNX models made by hand, and ways to hold what was imported of them against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from tests.interpreter import evaluate_network
from trtn.dsl.convert.onnx import import_onnx
from trtn.dsl.errors import ImportModelError
from trtn.dsl.network import Network, walk

__all__ = ["Array", "check", "codes", "graph", "model", "node", "ops", "ort", "refused", "single", "value"]

Array = np.ndarray[Any, Any]
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
node = helper.make_node


def value(name: str, shape: Sequence[int | str | None] | None = None, elem: int = FLOAT) -> ValueInfoProto:
    """A declared input or output; without a shape only its name."""
    return ValueInfoProto(name=name) if shape is None else helper.make_tensor_value_info(name, elem, shape)


def graph(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[str | ValueInfoProto],
    weights: Mapping[str, Any] | None = None,
    name: str = "small",
) -> GraphProto:
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()]
    results = [value(o) if isinstance(o, str) else o for o in outputs]
    return helper.make_graph(nodes, name, inputs, results, tensors)


def model(
    *args: Any, opset: int = 17, functions: Sequence[Any] = (), domains: Mapping[str, int] | None = None, **more: Any
) -> ModelProto:
    """A model of a graph; arguments are those of `graph`."""
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, v) for d, v in (domains or {}).items())]
    return helper.make_model(graph(*args, **more), opset_imports=imports, functions=functions, ir_version=9)


def single(
    op: str,
    inputs: Sequence[Any],
    known: Sequence[int] = (),
    *,
    opset: int = 17,
    outputs: int = 1,
    domain: str = "",
    **attrs: Any,
) -> tuple[ModelProto, dict[str, Any]]:
    """A model of one node and its feeds; the inputs whose numbers are in `known` are initialisers."""
    names = [f"x{n}" if a is not None else "" for n, a in enumerate(inputs)]
    given = {name: a for name, a in zip(names, inputs, strict=True) if a is not None}
    weights = {f"x{n}": given[f"x{n}"] for n in known}
    feeds = {name: a for name, a in given.items() if name not in weights}
    declared = [value(name, a.shape, helper.np_dtype_to_tensor_dtype(a.dtype)) for name, a in feeds.items()]
    results = [f"y{n}" for n in range(outputs)]
    domains = {domain: 1} if domain else None
    return model(
        [node(op, names, results, "the_node", domain=domain, **attrs)],
        declared,
        results,
        weights,
        opset=opset,
        domains=domains,
    ), feeds


def ort(proto: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, {n: np.asarray(a) for n, a in feeds.items()}), strict=True))


def check(proto: ModelProto, feeds: Mapping[str, Array], rtol: float = 1e-5, **options: Any) -> Network:
    """Import a model and hold its outputs against ONNX Runtime's; gives the network."""
    network = import_onnx(proto, **options)
    expected = ort(proto, feeds)
    actual = evaluate_network(network, feeds)
    assert list(actual) == list(expected)
    for name, y in expected.items():
        assert actual[name].dtype == y.dtype and actual[name].shape == y.shape, name
        np.testing.assert_allclose(actual[name], y, rtol=rtol, atol=1e-6, err_msg=name)
    return network


def ops(network: Network) -> list[str]:
    """The ops of a network's layers, regions included."""
    return [layer.op.name for layer in walk(network.graph)]


def refused(proto: Any, **options: Any) -> ImportModelError:
    """The error that importing must give."""
    try:
        import_onnx(proto, **options)
    except ImportModelError as e:
        assert e.diagnostics
        return e
    raise AssertionError("it was imported")


def codes(error: ImportModelError) -> list[str]:
    return [d.code for d in error.diagnostics]
