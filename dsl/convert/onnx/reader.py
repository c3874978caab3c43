"""Loads a model and brings it into an order and a shape that the importer can rely on.

Tolerated, because exporters do it: nodes in any order, imported domains that nobody uses, any ir_version, inputs that
are also initialisers, declared types that are missing. Refused (E0801): what no reader could make sense of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Any, NoReturn

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto

from trtn.dsl.convert.onnx.composites import all_nodes, plain_domain, without_composites
from trtn.dsl.convert.onnx.model import ModelGraph, Node, OnnxModel, ValueInfo
from trtn.dsl.convert.onnx.parameters import with_own_parameters
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import ImportModelError
from trtn.dsl.weights.sources import FileEntry
from trtn.dsl.weights.storages import FileTable

__all__ = ["read_model", "read_proto"]

DEEPEST = 64
"""Levels of graphs inside graphs."""


def read_model(model: str | Path | bytes | Any, *, allow_outside: bool = False) -> OnnxModel:
    """Read a model from a path, its bytes, or a ModelProto, without external data. Raises ImportModelError (E0801)."""
    path = Path(model) if isinstance(model, str | Path) else None
    proto = read_proto(model)
    if not proto.HasField("graph"):
        _invalid("the model has no graph")
    if not all(isinstance(text, str) for text in _texts(proto)):
        _invalid("a name in the model is not UTF-8")
    proto = _without_functions(proto)
    opsets = _opsets(proto)
    proto = without_composites(proto, opsets)
    graph = _graph(proto.graph, frozenset(), 0)
    file = "" if path is None else path.stem
    if path is None:
        return with_own_parameters(OnnxModel(graph, opsets, file, None, allow_outside))
    storage = None
    if path.suffix == ".onnx":
        storage = FileEntry(file, path.name, path.parent, FileTable(allow_outside=allow_outside), allow_outside)
    return with_own_parameters(OnnxModel(graph, opsets, file, path.parent, allow_outside, storage))


def _invalid(message: str, *notes: str) -> NoReturn:
    raise ImportModelError(message, [Diagnostic("E0801", message, notes=notes)])


# --- the file ---


def read_proto(model: str | Path | bytes | Any) -> Any:
    """The ModelProto as it is, without external data. Raises ImportModelError (E0801)."""
    if isinstance(model, onnx.ModelProto):
        return model
    if isinstance(model, bytes | bytearray | memoryview):
        data, name = bytes(model), "the model"
    else:
        path = Path(model)
        name = f"`{path}`"
        try:
            data = path.read_bytes()
        except OSError as e:
            _invalid(f"{name} can't be read: {e.strerror or e}")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        _invalid(f"{name} is not an ONNX model: its bytes don't parse", f"{len(data)} bytes")
    return proto


def _texts(proto: Any) -> Iterator[Any]:
    """Every name in a model. One that is no text comes out of the parser as bytes."""
    yield from (entry.domain for entry in proto.opset_import)
    for function in proto.functions:
        yield from (function.domain, function.name, *function.input, *function.output)
        yield from _texts_of_nodes(function.node)
    yield from _texts_of_graph(proto.graph)


def _texts_of_graph(graph: Any) -> Iterator[Any]:
    yield from (graph.name, graph.doc_string)
    yield from (tensor.name for tensor in graph.initializer)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    yield from _texts_of_nodes(graph.node)


def _texts_of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t.name
            if attribute.type == AttributeProto.GRAPH:
                yield from _texts_of_graph(attribute.g)


def _opsets(proto: Any) -> dict[str, int]:
    """The version of each domain, the greatest where a domain is named twice."""
    found: dict[str, int] = {}
    for entry in proto.opset_import:
        domain = plain_domain(entry.domain)
        found[domain] = max(found.get(domain, 0), int(entry.version))
    newest = onnx.defs.onnx_opset_version()
    if not 0 <= found.get("", 1) <= newest:
        _invalid(f"the model uses opset {found['']}; this trtn knows opsets up to {newest}")
    if "" not in found and any(not plain_domain(n.domain) for n in all_nodes(proto.graph.node)):
        _invalid("the model names no opset of ONNX's own ops")
    return {"": newest, **found}


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


# --- functions ---


def _without_functions(proto: Any) -> Any:
    """The model with its own functions inlined."""
    if not proto.functions:
        return proto
    calls = {(f.domain, f.name): [(n.domain, n.op_type) for n in all_nodes(f.node)] for f in proto.functions}
    if (circle := _circle(calls)) is not None:
        _invalid(f"function `{circle[1]}` of the model calls itself")
    try:
        return onnx.inliner.inline_local_functions(proto)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as e:
        _invalid("the model's functions can't be inlined", _first_line(e))


def _circle(calls: Mapping[tuple[str, str], list[tuple[str, str]]]) -> tuple[str, str] | None:
    """A function that calls itself, directly or not."""
    left = {f: {c for c in callees if c in calls} for f, callees in calls.items()}
    while leaf := next((f for f, callees in left.items() if not callees), None):
        del left[leaf]
        for callees in left.values():
            callees.discard(leaf)
    return next(iter(left), None)


# --- graphs ---


def _graph(proto: Any, outer: frozenset[str], depth: int) -> ModelGraph:
    if depth > DEEPEST:
        _invalid(f"the model nests more than {DEEPEST} graphs")
    initializers = {t.name: t for t in proto.initializer}
    for sparse in proto.sparse_initializer:
        _invalid(f"initialiser `{sparse.values.name}` is sparse; sparse tensors are not supported")
    inputs = tuple(_value(v) for v in proto.input if v.name not in initializers or depth > 0)
    defined = set(initializers) | {v.name for v in inputs}
    if len(defined) < len(initializers) + len(inputs):
        _invalid(f"graph `{proto.name}` defines an input twice")
    made: set[str] = set()
    for node in proto.node:
        for output in node.output:
            if output and (output in made or output in defined):
                _invalid(f"value `{output}` is defined twice in graph `{proto.name}`")
            made.add(output)
    visible = outer | defined | made
    nodes = [_node(n, visible, depth) for n in proto.node]
    ordered = _sorted(nodes, defined | outer, made)
    for value in proto.output:
        if value.name not in visible:
            _invalid(f"output `{value.name}` of graph `{proto.name}` is never computed")
    return ModelGraph(
        name=proto.name,
        inputs=inputs,
        outputs=tuple(_value(v) for v in proto.output),
        nodes=ordered,
        initializers=initializers,
        values={v.name: _value(v) for v in proto.value_info},
        doc=proto.doc_string,
    )


def _value(proto: Any) -> ValueInfo:
    declared = proto.type
    if declared.WhichOneof("value") == "optional_type" and declared.optional_type.elem_type.HasField("tensor_type"):
        declared = declared.optional_type.elem_type  # the network is imported for the case that it is given
    kind = declared.WhichOneof("value") if proto.HasField("type") else None
    if kind != "tensor_type":
        return ValueInfo(proto.name, kind=(kind or "unknown").removesuffix("_type"))
    tensor = declared.tensor_type
    if not tensor.HasField("shape"):
        return ValueInfo(proto.name, int(tensor.elem_type))
    return ValueInfo(proto.name, int(tensor.elem_type), tuple(_declared_dim(d) for d in tensor.shape.dim))


def _declared_dim(dim: Any) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    text = str(dim.dim_param).strip()
    try:
        number = int(text)
    except ValueError:
        return text if text not in ("", "?", "None") else None
    return number if number >= 0 else None


def _node(proto: Any, visible: frozenset[str], depth: int) -> Node:
    domain = plain_domain(proto.domain)
    attributes = {a.name: _attribute(a, proto, visible, depth) for a in proto.attribute}
    outputs = list(proto.output)
    while outputs and not outputs[-1]:
        outputs.pop()
    return Node(proto.op_type, domain, proto.name, tuple(proto.input), tuple(outputs), attributes, _module(proto))


def _module(proto: Any) -> str:
    """The path of the innermost module around a node: torch notes them all, the op's own name last."""
    for note in proto.metadata_props:
        if note.key == "pkg.torch.onnx.name_scopes":
            scopes = re.findall(r"'([^']*)'", note.value)
            return scopes[-2] if len(scopes) > 1 else ""
    return ""


def _attribute(proto: Any, node: Any, visible: frozenset[str], depth: int) -> Any:
    kind = proto.type
    if kind == AttributeProto.INT:
        return int(proto.i)
    if kind == AttributeProto.FLOAT:
        return float(proto.f)
    if kind == AttributeProto.STRING:
        return proto.s.decode("utf-8", "replace")
    if kind == AttributeProto.INTS:
        return tuple(int(i) for i in proto.ints)
    if kind == AttributeProto.FLOATS:
        return tuple(float(f) for f in proto.floats)
    if kind == AttributeProto.STRINGS:
        return tuple(s.decode("utf-8", "replace") for s in proto.strings)
    if kind == AttributeProto.TENSOR:
        return proto.t
    if kind == AttributeProto.GRAPH:
        return _graph(proto.g, visible, depth + 1)
    if kind == AttributeProto.UNDEFINED:
        _invalid(f"attribute `{proto.name}` of node `{node.name or node.op_type}` has no type")
    return proto  # sparse tensors, types: no handler reads them


def _sorted(nodes: list[Node], available: frozenset[str] | set[str], made: set[str]) -> tuple[Node, ...]:
    """The nodes so that each follows those that it reads; where that allows, in the order of the file."""
    producer = {o: n for n, node in enumerate(nodes) for o in node.outputs if o}
    needs: list[set[int]] = []
    readers: dict[int, list[int]] = {}
    for number, node in enumerate(nodes):
        before: set[int] = set()
        for value in _reads(node):
            if value in producer:
                before.add(producer[value])
            elif value not in available and value not in made:
                _invalid(f"node `{node.label}` ({node.kind}) reads `{value}`, which nothing defines")
        needs.append(before)
        for p in before:
            readers.setdefault(p, []).append(number)
    ready = [n for n, before in enumerate(needs) if not before]
    heapify(ready)
    ordered: list[Node] = []
    while ready:
        number = heappop(ready)
        ordered.append(nodes[number])
        for reader in readers.get(number, ()):
            needs[reader].discard(number)
            if not needs[reader]:
                heappush(ready, reader)
    if len(ordered) < len(nodes):
        stuck = next(node for n, node in enumerate(nodes) if needs[n])
        _invalid(f"node `{stuck.label}` ({stuck.kind}) reads its own result, through other nodes or directly")
    return tuple(ordered)


def _reads(node: Node) -> Iterator[str]:
    """The values of the node's own graph (and of those around it) that the node reads, nested graphs included."""
    yield from (i for i in node.inputs if i)
    for graph in node.graphs:
        inner = {v.name for v in graph.inputs} | set(graph.initializers) | {o for n in graph.nodes for o in n.outputs}
        for name in (*(i for n in graph.nodes for i in _reads(n)), *(v.name for v in graph.outputs)):
            if name not in inner:
                yield name
