"""Expressions: compile-time arithmetic over numbers and dims; on tensors, the infix operators stand for layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trtn.dsl.diagnostics import Span
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dims import Dim, Expr
from trtn.dsl.dtypes import BOOL, BY_NAME, DType
from trtn.dsl.elaborate.arithmetic import FUNCTIONS, apply_function, compute, is_static
from trtn.dsl.elaborate.context import Context
from trtn.dsl.elaborate.values import POISON, Poison, Value, WeightPath, describe, is_number
from trtn.dsl.network import Graph, Origin, Tensor
from trtn.dsl.ops.base import Op, find_op
from trtn.dsl.ops.infer import InferFailure
from trtn.dsl.syntax import ast

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "CONSTANT_LIMIT",
    "INFIX",
    "as_dim",
    "as_tensor",
    "constant_array",
    "evaluate",
    "layer",
    "resolve",
    "static_call",
]

INFIX = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floor_div", "%": "mod", "@": "matmul", "**": "pow",
    "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal",
}  # fmt: skip
CONSTANT_LIMIT = 16
"""The most elements a constant in the text may have; larger ones belong in a manifest."""


def evaluate(ctx: Context, expr: ast.Expr, name: str = "") -> Value:
    """The value of an expression. Layers that it makes are called `name` (or after their op, below the statement's
    name)."""
    match expr:
        case ast.Ref():
            return resolve(ctx, expr)
        case ast.IntLit() | ast.FloatLit() | ast.StrLit() | ast.BoolLit() | ast.SizeLit():
            return expr.value
        case ast.ListLit():
            items = tuple(evaluate(ctx, item) for item in expr.items)
            return POISON if any(isinstance(i, Poison) for i in items) else items
        case ast.Unary():
            return _negate(ctx, expr, name)
        case ast.Binary():
            return _binary(ctx, expr, name)
        case ast.Call():
            return _call(ctx, expr, name)


def resolve(ctx: Context, ref: ast.Ref) -> Value:
    """What a path stands for: the whole path as a name first, else a name and a way into the weights."""
    whole = ref.name
    if whole is not None:
        bound = ctx.scope.find(whole)
        if bound is not None:
            return bound.value
    root = ref.root
    bound = ctx.scope.find(root)
    value: Value
    if bound is not None:
        value = bound.value
    elif root in ctx.unit.weights:
        table = ctx.unit.weights[root]
        value = WeightPath(table, "") if table is not None else POISON
    elif whole == root and root in BY_NAME:
        return BY_NAME[root]
    elif ctx.unit.may_have_lost(root):
        return POISON
    else:
        shown = whole or root
        near = ctx.advice(lambda: did_you_mean(shown, [*ctx.scope.all_names(), *ctx.unit.weights]))
        ctx.error("E0201", f"`{shown}` is not defined", ctx.span(ref), help=near)
        return POISON
    if whole is not None and isinstance(value, WeightPath):
        return value.below(whole[len(root) :]) if whole != root else value
    if whole == root:
        return value
    for part in ref.parts[1:]:
        if isinstance(value, Poison):
            return POISON
        if not isinstance(value, WeightPath):
            ctx.error(
                "E0201",
                f"`{whole or root}` is not defined: `{root}` is {describe(value)}, which has no parts",
                ctx.span(ref),
            )
            return POISON
        if isinstance(part, str):
            value = value.child(part)
            continue
        index = evaluate(ctx, part)
        if isinstance(index, Poison):
            return POISON
        if not isinstance(index, int) or isinstance(index, bool):
            ctx.error("E0306", f"an index is an integer, not {describe(index)}", ctx.span(part))
            return POISON
        value = value.index(index)
    return value


def as_tensor(ctx: Context, value: Value, span: Span, dtype: DType | None = None) -> Tensor | Poison:
    """A value as a tensor: weights are looked up, numbers become constants of `dtype` (f32 or i64 where it is open)."""
    match value:
        case Poison() | Tensor():
            return value
        case WeightPath():
            return _weight(ctx, value, span)
        case Expr():
            made = layer(
                ctx,
                "dims",
                [],
                {
                    "values": (value,),
                    "scalar": True,
                    "dtype": dtype if dtype is not None and dtype.is_integer else BY_NAME["i64"],
                },
                "",
                span,
            )
            if isinstance(made, tuple) and dtype is not None and not dtype.is_integer:
                made = layer(ctx, "cast", [(made[0], span)], {"to": dtype}, "", span)
            return made[0] if isinstance(made, tuple) else POISON
        case bool() | int() | float() | tuple():
            return _constant(ctx, value, span, dtype)
    ctx.error("E0306", f"a tensor is wanted here, not {describe(value)}", span)
    return POISON


def _constant(ctx: Context, value: Any, span: Span, dtype: DType | None) -> Tensor | Poison:
    leaves = list(_leaves(value))
    if len(leaves) > CONSTANT_LIMIT:
        ctx.error(
            "E0306",
            f"a constant of {len(leaves)} elements; more than {CONSTANT_LIMIT} belong in a manifest",
            span,
        )
        return POISON
    if not all(isinstance(v, bool | int | float) for v in leaves):
        odd = next(v for v in leaves if not isinstance(v, bool | int | float))
        ctx.error("E0306", f"a constant is made of numbers, not {describe(odd)}", span)
        return POISON
    if dtype is None:
        kinds = {type(v) for v in leaves}
        dtype = BOOL if kinds == {bool} else BY_NAME["f32"] if float in kinds or not kinds else BY_NAME["i64"]
    if dtype.is_integer and any(
        isinstance(v, float) and v != int(v) if isinstance(v, float) and math.isfinite(v) else isinstance(v, float)
        for v in leaves
    ):
        ctx.error("E0302", f"a constant with a fraction can't be {dtype}", span)
        return POISON
    try:
        array = constant_array(value, dtype)
    except (ValueError, OverflowError, TypeError):
        ctx.error(
            "E0306",
            f"not a constant of {dtype}: lists of different lengths, or a value out of its range",
            span,
        )
        return POISON
    return ctx.builder.constant(array)


def constant_array(value: Any, dtype: DType) -> np.ndarray[Any, Any]:
    """The array that a number or nested lists stand for. Raises ValueError, OverflowError or TypeError for others."""
    import numpy as np

    return np.asarray(np.asarray(value).astype(np.float64 if dtype.is_float else object), dtype=dtype.numpy)


def _leaves(value: Any) -> Any:
    if isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _weight(ctx: Context, path: WeightPath, span: Span) -> Tensor | Poison:
    key = (id(path.table), path.path)
    tensor = ctx.shared.weights.get(key)
    if tensor is None:
        weight = path.table.get(path.path)
        if weight is None:
            if path.table.may_have_lost(path.path):
                return POISON
            missing = path.table.missing_group(path.path)
            if missing is not None:  # one finding for the group, not one for each weight of it
                if (id(path.table), missing) in ctx.shared.missing_groups:
                    ctx.shared.failures += 1
                    return POISON
                ctx.shared.missing_groups.add((id(path.table), missing))
            group = path.path if path.table.has_prefix(path.path) else path.path.rpartition(".")[0]
            what = f"`{group}` is a group of weights, not one," if group == path.path else f"no weight `{path.path}`"
            inside = ", ".join(f"`{c}`" for c in path.table.children(group)[:8])
            near = ctx.advice(lambda: path.table.suggest(path.path) or "") if group != path.path else ""
            where = path.table.source.path if path.table.source is not None else f"manifest `{path.table.name}`"
            notes = [f"{f'`{group}`' if group else 'the manifest'} has {inside}"] if inside else []
            ctx.error("E0501", f"{what} in {where}", span, notes=notes, help=f"did you mean `{near}`?" if near else "")
            return POISON
        tensor = ctx.shared.weights[key] = ctx.builder.weight(weight)
    return tensor


def as_dim(ctx: Context, expr: ast.Expr) -> Dim | Poison:
    """An expression that must be an integer or a dim."""
    value = evaluate(ctx, expr)
    if isinstance(value, Poison):
        return POISON
    if isinstance(value, bool) or not isinstance(value, int | Expr):
        ctx.error("E0306", f"a dim is an integer or a named dim, not {describe(value)}", ctx.span(expr))
        return POISON
    return value


# --- operators ---------------------------------------------------------------------------------------------------


def _negate(ctx: Context, expr: ast.Unary, name: str) -> Value:
    value = evaluate(_below(ctx, name), expr.operand)
    if isinstance(value, Poison):
        return POISON
    if is_number(value):
        return -value  # type: ignore[operator]
    span = ctx.span(expr)
    tensor = as_tensor(ctx, value, ctx.span(expr.operand))
    if isinstance(tensor, Poison):
        return POISON
    made = layer(ctx, "neg", [(tensor, ctx.span(expr.operand))], {}, name, span)
    return made[0] if isinstance(made, tuple) else POISON


def _binary(ctx: Context, expr: ast.Binary, name: str) -> Value:
    # A long chain `a + b + c + ..` leans to the left: walk down in a loop, so that its length doesn't use up the stack.
    chain: list[ast.Binary] = []
    leftmost: ast.Expr = expr
    while isinstance(leftmost, ast.Binary):
        chain.append(leftmost)
        leftmost = leftmost.left
    inner = _below(ctx, name)
    left = evaluate(inner, leftmost)
    for node in reversed(chain):
        right = evaluate(inner, node.right)
        left = _apply(ctx, node, left, right, name) if node is expr else _apply(inner, node, left, right, "")
    return left


def _below(ctx: Context, name: str) -> Context:
    """The context of the parts of an expression whose result is called `name`."""
    return ctx.within(prefix=f"{name}.", suffix="") if name else ctx


def _apply(ctx: Context, node: ast.Binary, left: Value, right: Value, name: str) -> Value:
    if isinstance(left, Poison) or isinstance(right, Poison):
        return POISON
    if is_static(left) and is_static(right):
        return compute(ctx, node, left, right)
    spans = ctx.span(node.left), ctx.span(node.right)
    known = next((v.dtype for v in (left, right) if isinstance(v, Tensor)), None)
    if known is None:
        for value, span in ((left, spans[0]), (right, spans[1])):
            if isinstance(value, WeightPath):
                tensor = _weight(ctx, value, span)
                if isinstance(tensor, Poison):
                    return POISON
                known = tensor.dtype
                break
    inner = _below(ctx, name)
    a, b = as_tensor(inner, left, spans[0], known), as_tensor(inner, right, spans[1], known)
    if isinstance(a, Poison) or isinstance(b, Poison):
        return POISON
    made = layer(ctx, INFIX[node.op], [(a, spans[0]), (b, spans[1])], {}, name, ctx.span(node))
    return made[0] if isinstance(made, tuple) else POISON


# --- calls -------------------------------------------------------------------------------------------------------


def _call(ctx: Context, call: ast.Call, name: str) -> Value:
    from trtn.dsl.elaborate.calls import call_results

    static = static_call(ctx, call)
    if static is not None:
        return static
    results = call_results(ctx, call, name, [], 1)
    if isinstance(results, Poison):
        return POISON
    if len(results) != 1:
        ctx.error(
            "E0208",
            f"`{call.callee.name}` gives {len(results)} results; one is wanted here",
            ctx.span(call),
        )
        return POISON
    return results[0]


def static_call(ctx: Context, call: ast.Call) -> Value | None:
    """`min`, `max`, `ceildiv`, `sqrt` of numbers; None for calls that make layers."""
    function = call.callee.name
    if function not in FUNCTIONS or call.kwargs or not call.args:
        return None
    if not all(_may_be_static(ctx, a) for a in call.args):
        return None
    values = [evaluate(ctx, a) for a in call.args]
    if any(isinstance(v, Poison) for v in values):
        return POISON
    if not all(is_number(v) for v in values):
        return None
    return apply_function(ctx, call, function, values)


def _may_be_static(ctx: Context, expr: ast.Expr) -> bool:
    """Whether an expression holds no tensor, seen without evaluating it (that would make layers)."""
    match expr:
        case ast.IntLit() | ast.FloatLit():
            return True
        case ast.Ref():
            bound = ctx.scope.find(expr.name) if expr.name is not None else None
            return bound is not None and is_number(bound.value)
        case ast.Unary():
            return _may_be_static(ctx, expr.operand)
        case ast.Binary():
            return _may_be_static(ctx, expr.left) and _may_be_static(ctx, expr.right)
        case ast.Call():
            return expr.callee.name in FUNCTIONS and all(_may_be_static(ctx, a) for a in expr.args)
    return False


def layer(
    ctx: Context,
    op: Op | str,
    inputs: list[tuple[Tensor | None, Span]],
    attrs: dict[str, Any],
    name: str,
    span: Span,
    *,
    results: Sequence[str] = (),
    data_dims: Sequence[str] = (),
    regions: Sequence[Graph] = (),
    wanted: int | None = None,
    attr_spans: Mapping[str, Span] | None = None,
) -> tuple[Tensor, ...] | Poison:
    """Add a layer; a failure is reported. Without a name it is called after its op, below the statement's name."""
    found = find_op(op) if isinstance(op, str) else op
    assert found is not None, op
    try:
        return ctx.builder.add(
            found,
            [t for t, _ in inputs],
            attrs,
            name=name or ctx.path(found.name),
            origin=Origin(span, ctx.source, ctx.precision),
            results=results,
            data_dims=data_dims,
            regions=regions,
            input_spans=[s for _, s in inputs],
            wanted=wanted,
        )
    except InferFailure as failure:
        ctx.refuse(failure, span, [(s, t) for t, s in inputs], attr_spans or {})
        return POISON
