"""The bodies of `if`, `scan` and `loop`: regions of a layer."""

from __future__ import annotations

from collections.abc import Sequence

from trtn.dsl.diagnostics import Span
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dims import Relation
from trtn.dsl.dtypes import BOOL, BY_NAME
from trtn.dsl.elaborate.context import Context
from trtn.dsl.elaborate.expressions import as_dim, as_tensor, evaluate, layer
from trtn.dsl.elaborate.values import POISON, Bound, Poison, Scope, Value
from trtn.dsl.network import Graph, Tensor, TensorType
from trtn.dsl.syntax import ast

__all__ = ["run_if", "run_loop", "run_scan"]


def _results(made: tuple[Tensor, ...] | Poison) -> Sequence[Value] | Poison:
    return made if isinstance(made, Poison) else list(made)


def _yields(ctx: Context, body: Sequence[ast.Statement], name: str) -> list[Tensor] | Poison:
    """Run a body; gives the tensors of its closing `yield` (none without one)."""
    from trtn.dsl.elaborate.statements import run_statement

    tensors: list[Tensor] | Poison = []
    for statement in body:
        if ctx.stack:
            ctx.count(statement)
        if not isinstance(statement, ast.Yield):
            run_statement(ctx, statement)
            continue
        made: list[Tensor] = []
        for n, value in enumerate(statement.values):
            tensor = as_tensor(ctx, evaluate(ctx, value, f"{name}.yield{n or ''}"), ctx.span(value))
            if isinstance(tensor, Poison):
                return POISON
            made.append(tensor)
        tensors = made
    return tensors


def run_if(ctx: Context, node: ast.If, name: str, results: list[str]) -> Sequence[Value] | Poison:
    parts = ctx.within(prefix=f"{name}.", suffix="")
    value = evaluate(parts, node.condition)
    if isinstance(value, bool):
        body = node.then if value else node.otherwise
        return _sequence(_yields(parts.within(Scope(ctx.scope, region=True)), body, name))
    if isinstance(value, Relation):
        ctx.error(
            "E0306",
            "the condition of `if` is a bool tensor or known here; dims vary",
            ctx.span(node.condition),
        )
        return POISON
    condition = as_tensor(parts, value, ctx.span(node.condition), BOOL)
    graphs: list[Graph] = []
    failed = isinstance(condition, Poison)
    for label, body in (("then", node.then), ("else", node.otherwise)):
        with ctx.builder.region([]) as region:
            inner = ctx.within(Scope(ctx.scope, region=True), prefix=f"{name}.{label}.", suffix="")
            outputs = _yields(inner, body, f"{name}.{label}")
        if isinstance(outputs, Poison):
            failed = True
        else:
            graphs.append(region.finish(outputs))
    if failed or isinstance(condition, Poison):
        return POISON
    return _results(
        layer(
            ctx,
            "if",
            [(condition, ctx.span(node.condition))],
            {},
            name,
            ctx.span(node),
            results=results,
            regions=graphs,
        )
    )


def _sequence(values: list[Tensor] | Poison) -> Sequence[Value] | Poison:
    return values if isinstance(values, Poison) else list(values)


def run_scan(ctx: Context, node: ast.Scan, name: str, results: list[str]) -> Sequence[Value] | Poison:
    parts = ctx.within(prefix=f"{name}.", suffix="")
    carried = _initial(parts, node.carry)
    scanned: list[Tensor] = []
    slices: list[tuple[str, TensorType]] = []
    for item in node.inputs:
        tensor = as_tensor(parts, evaluate(parts, item.tensor), ctx.span(item.tensor))
        if isinstance(tensor, Poison):
            return POISON
        if not -tensor.rank <= item.axis < tensor.rank:
            ctx.error("E0304", f"axis {item.axis} of a tensor of rank {tensor.rank}", ctx.span(item))
            return POISON
        axis = item.axis % tensor.rank
        slices.append((item.name, TensorType(tensor.dtype, tensor.shape[:axis] + tensor.shape[axis + 1 :])))
        scanned.append(tensor)
    if isinstance(carried, Poison):
        return POISON
    inputs = [*[(c.name, t.type) for c, t in zip(node.carry, carried, strict=True)], *slices]
    graph = _body(ctx, node.body, inputs, [c.name for c in node.carry], name, None)
    if isinstance(graph, Poison):
        return POISON
    attrs = {
        "carried": len(carried),
        "axes": tuple(i.axis for i in node.inputs),
        "reverse": tuple(i.reverse for i in node.inputs),
    }
    operands = [(t, ctx.span(c.initial)) for c, t in zip(node.carry, carried, strict=True)]
    operands += [(t, ctx.span(i)) for i, t in zip(node.inputs, scanned, strict=True)]
    return _results(layer(ctx, "scan", [*operands], attrs, name, ctx.span(node), results=results, regions=[graph]))


def run_loop(
    ctx: Context, node: ast.Loop, name: str, results: list[str], data_dims: list[str]
) -> Sequence[Value] | Poison:
    parts = ctx.within(prefix=f"{name}.", suffix="")
    limit = as_tensor(parts, evaluate(parts, node.limit), ctx.span(node.limit), BY_NAME["i64"])
    maximum = as_dim(ctx, node.maximum) if node.maximum is not None else None
    carried = _initial(parts, node.carry)
    names = [c.name for c in node.carry]
    if isinstance(limit, Poison) or isinstance(maximum, Poison) or isinstance(carried, Poison):
        return POISON
    if limit.dtype is not BY_NAME["i64"] or limit.rank != 0:
        ctx.error("E0302", f"the limit of a loop is i64[], not {limit.type}", ctx.span(node.limit))
        return POISON
    condition = None
    if node.condition is not None:
        if node.condition not in names:
            ctx.error(
                "E0201",
                f"`while {node.condition}`: it is not carried",
                ctx.span(node),
                help=did_you_mean(node.condition, names),
            )
            return POISON
        condition = carried[names.index(node.condition)]
        if condition.dtype is not BOOL:
            ctx.error(
                "E0302",
                f"`{node.condition}` is the condition and must be bool[], not {condition.type}",
                ctx.span(node),
            )
            return POISON
    inputs = [
        (node.variable, TensorType(BY_NAME["i64"], ())),
        *[(c.name, t.type) for c, t in zip(node.carry, carried, strict=True)],
    ]
    graph = _body(ctx, node.body, inputs, names, name, node.condition or "")
    if isinstance(graph, Poison):
        return POISON
    span = ctx.span(node)
    operands: list[tuple[Tensor | None, Span]] = [(limit, ctx.span(node.limit)), (condition, span)]
    operands += [(t, ctx.span(c.initial)) for c, t in zip(node.carry, carried, strict=True)]
    attrs = {"maximum": maximum} if maximum is not None else {}
    return _results(
        layer(ctx, "loop", operands, attrs, name, span, results=results, regions=[graph], data_dims=data_dims)
    )


def _initial(ctx: Context, carry: Sequence[ast.Carry]) -> list[Tensor] | Poison:
    tensors: list[Tensor] = []
    for item in carry:
        tensor = as_tensor(ctx, evaluate(ctx, item.initial), ctx.span(item.initial))
        if isinstance(tensor, Poison):
            return POISON
        tensors.append(tensor)
    return tensors


def _body(
    ctx: Context,
    body: Sequence[ast.Statement],
    inputs: Sequence[tuple[str, TensorType]],
    carried: Sequence[str],
    name: str,
    condition: str | None,
) -> Graph | Poison:
    """The region of a scan or a loop. `condition` names a loop's carried condition ("" for none); None means a scan."""
    import numpy as np

    with ctx.builder.region([(f"{name}.body.{n}", t) for n, t in inputs]) as region:
        names = {n: Bound(t, None) for (n, _), t in zip(inputs, region.inputs, strict=True)}
        scope = Scope(ctx.scope, names, dict.fromkeys(carried, True), region=True)
        inner = ctx.within(scope, prefix=f"{name}.body.", suffix="")
        yielded = _yields(inner, body, f"{name}.body")
        finals: list[Tensor] = []
        for n in carried:
            value = as_tensor(inner, scope.names[n].value, ctx.span(body[-1]) if body else inner.unit.source.span(0, 0))
            if isinstance(value, Poison):
                return POISON
            finals.append(value)
        if isinstance(yielded, Poison):
            return POISON
        first: list[Tensor] = []
        if condition is not None:
            first = [finals[list(carried).index(condition)] if condition else ctx.builder.constant(np.asarray(True))]
        return region.finish([*first, *finals, *yielded])
