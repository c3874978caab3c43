"""Standard ops that ONNX defines by other ops, replaced by those where the importer has no handler of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import onnx
import onnx.inliner
from onnx import AttributeProto

from trtn.dsl.convert.onnx.registry import find_handler, is_elaborate

__all__ = ["all_nodes", "plain_domain", "without_composites"]

_ROUNDS = 64
"""Bodies within bodies."""
_BODIES = "trtn.bodies"
_FAILURES = (RuntimeError, ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError)


def plain_domain(domain: str) -> str:
    """A domain as this package writes it: ONNX's own is "", which models also call `ai.onnx`."""
    return "" if domain == "ai.onnx" else domain


def all_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    """Nodes with those of their bodies, in order."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from all_nodes(attribute.g.node)


def without_composites(proto: Any, opsets: Mapping[str, int]) -> Any:
    """The model with each standard op that has no handler replaced by the body that its definition gives it, if any.

    A body may hold such ops in turn. What can't be replaced is left: it is reported by name, as unsupported.
    """
    for _ in range(_ROUNDS):
        wanted = {(n.domain, n.op_type) for n in all_nodes(proto.graph.node) if _definition(n, opsets) is not None}
        if not wanted:
            break
        complete = onnx.ModelProto()
        complete.CopyFrom(proto)
        for node in all_nodes(complete.graph.node):
            if (schema := _definition(node, opsets)) is not None:
                _fill_defaults(node, schema)
        try:
            proto = onnx.inliner.inline_selected_functions(complete, sorted(wanted), inline_schema_functions=True)
        except _FAILURES:
            try:
                proto = _by_model_functions(complete, opsets)
            except _FAILURES:
                break
    return proto


def _definition(node: Any, opsets: Mapping[str, int]) -> Any:
    """The schema of an op that has no handler but a body in terms of other ops, else None."""
    domain = plain_domain(node.domain)
    version = opsets.get(domain, 1)
    handled = find_handler(node.op_type, domain, version) is not None and not is_elaborate(node, domain)
    if handled or not onnx.defs.has(node.op_type, domain):
        return None
    try:
        schema = onnx.defs.get_schema(node.op_type, version, domain)
    except onnx.defs.SchemaError:
        return None
    return schema if schema.has_function or schema.has_context_dependent_function else None


def _fill_defaults(node: Any, schema: Any) -> None:
    """State the attributes that are left to their defaults: the inliner loses them otherwise."""
    given = {a.name for a in node.attribute}
    for name, attribute in sorted(schema.attributes.items()):
        if name not in given and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def _by_model_functions(proto: Any, opsets: Mapping[str, int]) -> Any:
    """The same by way of functions of the model, one for each node: onnx's inliner can't expand a node with an absent
    input itself where the body depends on the inputs' types. Raises ValueError where no body can be had.
    """
    types = _types(onnx.shape_inference.infer_shapes(proto).graph)
    for number, node in enumerate(all_nodes(proto.graph.node)):
        schema = _definition(node, opsets)
        if schema is None:
            continue
        body = _body(node, schema, opsets, types)
        body.domain, body.name = _BODIES, f"{node.op_type}_{number}"
        del body.opset_import[:]
        body.opset_import.extend(proto.opset_import)
        proto.functions.append(body)
        node.domain, node.op_type = body.domain, body.name
        if not schema.has_function:
            del node.attribute[:]  # they are in the body already
    proto.opset_import.append(onnx.helper.make_opsetid(_BODIES, 1))
    inlined = onnx.inliner.inline_local_functions(proto)
    kept = [entry for entry in inlined.opset_import if entry.domain != _BODIES]
    del inlined.opset_import[:]
    inlined.opset_import.extend(kept)
    return inlined


def _body(node: Any, schema: Any, opsets: Mapping[str, int], types: Mapping[str, bytes]) -> Any:
    version = opsets.get(plain_domain(node.domain), 1)
    body = onnx.FunctionProto()
    if schema.has_function:
        body.ParseFromString(schema.get_function_with_opset_version(version))
        return body
    if any(name and name not in types for name in node.input):
        raise ValueError(f"the types of the inputs of {node.op_type} are not known")
    given = [types[name] if name else b"" for name in node.input]
    body.ParseFromString(
        schema.get_context_dependent_function_with_opset_version(version, node.SerializeToString(), given)
    )
    return body


def _types(graph: Any) -> dict[str, bytes]:
    """The serialised TypeProto of each value of a graph whose type is known."""
    found = {v.name: v.type.SerializeToString() for v in (*graph.input, *graph.value_info, *graph.output)}
    for tensor in graph.initializer:
        found[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims).SerializeToString()
    return found
