"""If, Loop, Scan: nested graphs become regions. Of an `If` that the dims decide only the taken branch is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trtn.dsl.builder import PendingGuard
from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.model import ModelGraph
from trtn.dsl.convert.onnx.names import path_of, snake
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.dims import Relation
from trtn.dsl.dtypes import BOOL, BY_NAME
from trtn.dsl.network import Assertion, Graph, Tensor, TensorType
from trtn.dsl.ops.infer import Requirement

__all__ = ["LOOP_LIMIT"]

LOOP_LIMIT = 4096
"""The most iterations of an imported loop whose model states no bound."""
_I64 = BY_NAME["i64"]


@onnx_op("If")
def _if(n: Call) -> Results:
    t = n.translator
    cond = n.tensor(0)
    branches = n.graph("then_branch"), n.graph("else_branch")
    decided = _decided(n, cond)
    if decided is not None:
        return t.body(branches[0 if decided else 1], {})
    relation = t.conditions.relation(cond)
    if relation is not None and n.node.label in t.choices:
        return _assumed(n, branches, relation)
    regions = [_region(n, graph, {}) for graph in branches]
    types = [[o.type for o in region.outputs] for region in regions]
    if relation is not None and not _same(types):
        # No layer has results of two types: the import is for the dims of one branch. `choose` starts the walk again.
        t.choose(n.node, likely=n.declared_ranks() == [x.rank for x in regions[0].outputs])
    results = n.emit_all("if", n.reshape(n.cast(cond, BOOL, "truth"), (), "scalar"), regions=regions)
    if relation is not None and results:
        t.chosen_by_dims.add(results[0].name)
    return results


def _assumed(n: Call, branches: Sequence[ModelGraph], relation: Relation) -> Results:
    """One branch in place, and its condition as something that the dims must satisfy."""
    taken = n.translator.choices[n.node.label]
    holds = relation if taken else relation.negated()
    message = f"`{n.node.label}` was imported for dims where this holds"
    outputs = n.translator.body(branches[0 if taken else 1], {})
    if n.translator.depth == 0:
        n.builder.asserts.append(Assertion(holds, message))
        return outputs
    if holds.op == "==" and {holds.left, holds.right} & n.translator.held_to_one and 1 in (holds.left, holds.right):
        return outputs
    # Within a region it is asked of a layer that runs when the region does.
    first = n.emit("identity", outputs[0])
    n.builder.requirements.append(PendingGuard(Requirement(holds, message), first.name, None))
    return [first, *outputs[1:]]


def _decided(n: Call, cond: Tensor) -> bool | None:
    value = n.known(0)
    if value and isinstance(value[0], int):
        return bool(value[0])
    array = n.array(0)
    return bool(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def _same(types: Sequence[Sequence[TensorType]]) -> bool:
    return len(types[0]) == len(types[1]) and all(a == b for a, b in zip(*types, strict=True))


def _region(n: Call, graph: ModelGraph, inputs: Mapping[str, TensorType]) -> Graph:
    """A nested graph as a region whose inputs have the given types, in order."""
    t = n.translator
    names = [path_of(name) or snake(n.node.op) for name in inputs]
    t.depth += 1
    try:
        with n.builder.region(list(zip(names, inputs.values(), strict=True))) as region:
            outputs = t.body(graph, dict(zip(inputs, region.inputs, strict=True)))
            return region.finish(outputs)
    finally:
        t.depth -= 1


# --- loops ---


@onnx_op("Loop")
def _loop(n: Call) -> Results:
    body = n.graph("body")
    limit, cond = n.maybe(0), n.maybe(1)
    carried = [n.tensor(i) for i in range(2, len(n.inputs))]
    if len(body.inputs) != 2 + len(carried):
        refuse(f"its body has {len(body.inputs)} inputs for {len(carried)} carried values")
    if cond is not None and n.scalar(1):
        cond = None if _says_true(body) else cond
    elif cond is not None and _decided_false(n):
        refuse("its first condition is false: it never runs")
    limit = None if limit is None else n.reshape(limit, (), "limit")
    known = limit.value if limit is not None else None
    maximum = known[0] if known is not None and (not isinstance(known[0], int) or known[0] < LOOP_LIMIT) else None
    types = {body.inputs[0].name: TensorType(_I64, ()), body.inputs[1].name: TensorType(BOOL, ())}
    types |= {v.name: x.type for v, x in zip(body.inputs[2:], carried, strict=True)}
    region = _region_of_loop(n, body, types)
    first = None if cond is None else n.reshape(cond, (), "condition")
    return n.emit_all(
        "loop", limit, first, *carried, regions=[region], maximum=LOOP_LIMIT if maximum is None else maximum
    )


def _decided_false(n: Call) -> bool:
    value = n.scalar(1)
    return value is not None and not value


def _says_true(body: ModelGraph) -> bool:
    """Whether the body hands on the condition that it was given, so that only the limit ends the loop."""
    name = body.outputs[0].name
    for node in reversed(body.nodes):
        if name in node.outputs:
            if node.op == "Identity":
                name = node.inputs[0]
                continue
            return False
    return name == body.inputs[1].name


def _region_of_loop(n: Call, body: ModelGraph, types: dict[str, TensorType]) -> Graph:
    """The body as the op `loop` takes it: the condition is true wherever the body runs, so it is no input."""
    t = n.translator
    names = list(types)
    kept = [names[0], *names[2:]]
    t.depth += 1
    try:
        with n.builder.region([(path_of(k) or "i", types[k]) for k in kept]) as region:
            true = n.builder.constant(np.asarray(True))
            inner = dict(zip(kept, region.inputs, strict=True)) | {names[1]: true}
            outputs = t.body(body, inner)
            outputs[0] = n.reshape(outputs[0], (), "go_on")
            return region.finish(outputs)
    finally:
        t.depth -= 1


@onnx_op("Scan", since=8)
def _scan_of_batch(n: Call) -> Results:
    """In opset 8 every tensor has a batch in front: the scan of one of its elements, for each of them in turn."""
    body, scanned = n.graph("body"), n.integer("num_scan_inputs")
    if n.maybe(0) is not None:
        refuse("lengths of sequences are not supported")
    tensors = [n.tensor(i) for i in range(1, len(n.inputs))]
    carried = len(tensors) - scanned
    if scanned < 1 or carried < 0 or len(body.inputs) != len(tensors) or any(not x.rank for x in tensors):
        refuse(f"its body takes {len(body.inputs)} inputs, its node {len(tensors)}, {scanned} of them scanned")
    reverse = tuple(map(bool, n.ints("directions") or (0,) * scanned))
    single = [TensorType(x.dtype, x.shape[1:]) for x in tensors]
    steps = [TensorType(t.dtype, t.shape[1:]) for t in single[carried:]]
    names = [v.name for v in body.inputs]
    t = n.translator
    t.depth += 1
    try:
        with n.builder.region([(path_of(k) or "value", s) for k, s in zip(names, single, strict=True)]) as outer:
            inner = _region(n, body, dict(zip(names, [*single[:carried], *steps], strict=True)))
            results = n.builder.layer(
                "scan", *outer.inputs, name=f"{n.path}.one", regions=[inner], carried=carried, reverse=reverse
            )
            region = outer.finish(results)
    finally:
        t.depth -= 1
    return n.emit_all("scan", *tensors, regions=[region], carried=0)


@onnx_op("Scan", since=9)
def _scan(n: Call) -> Results:
    body, scanned = n.graph("body"), n.integer("num_scan_inputs")
    tensors = n.tensors()
    carried = len(tensors) - scanned
    if scanned < 1 or carried < 0 or len(body.inputs) != len(tensors) or len(body.outputs) < carried:
        refuse(f"its body takes {len(body.inputs)} inputs, its node {len(tensors)}, {scanned} of them scanned")
    yields = len(body.outputs) - carried
    axes = n.ints("scan_input_axes") or (0,) * scanned
    out_axes = n.ints("scan_output_axes") or (0,) * yields
    reverse = tuple(map(bool, n.ints("scan_input_directions") or (0,) * scanned))
    out_reverse = tuple(map(bool, n.ints("scan_output_directions") or (0,) * yields))
    types = [x.type for x in tensors[:carried]]
    for x, axis in zip(tensors[carried:], axes, strict=True):
        at = axis + x.rank if axis < 0 else axis
        types.append(TensorType(x.dtype, (*x.shape[:at], *x.shape[at + 1 :])))
    region = _region(n, body, dict(zip((v.name for v in body.inputs), types, strict=True)))
    attrs: dict[str, Any] = {"axes": axes, "reverse": reverse, "out_axes": out_axes, "out_reverse": out_reverse}
    return n.emit_all("scan", *tensors, regions=[region], carried=carried, **attrs)
