"""Statements: assignments, repeats (unrolled), and the bodies of `if`, `scan` and `loop`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice, zip_longest

from trtn.dsl.builder import PendingGuard
from trtn.dsl.diagnostics import Label
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dims import Relation, symbol
from trtn.dsl.dtypes import DType
from trtn.dsl.elaborate.calls import call_results
from trtn.dsl.elaborate.context import Context
from trtn.dsl.elaborate.control_flow import run_if, run_loop, run_scan
from trtn.dsl.elaborate.expressions import as_tensor, evaluate, static_call
from trtn.dsl.elaborate.types import check_type, data_dim_names, declare_data_dims, type_of
from trtn.dsl.elaborate.values import POISON, Bound, Poison, Scope, Value, describe
from trtn.dsl.network import Assertion, DataDim, Tensor
from trtn.dsl.ops.infer import Requirement
from trtn.dsl.syntax import ast

__all__ = ["run_body", "run_statement"]

REPEAT_LIMIT = 100_000
"""The most rounds of one repeat."""


def run_body(ctx: Context, body: Sequence[ast.Statement], path: str, results: Sequence[str]) -> list[Tensor] | Poison:
    """A block's statements; gives the returned tensors, called `path` (or `results`) where the return itself makes
    them."""
    returned: list[Tensor] | Poison | None = None
    for statement in body:
        ctx.count(statement)
        if isinstance(statement, ast.Return):
            returned = _returned(ctx, statement, path, results)
        else:
            run_statement(ctx, statement)
    if returned is None:
        return []
    return returned


def _returned(ctx: Context, statement: ast.Return, path: str, results: Sequence[str]) -> list[Tensor] | Poison:
    values = statement.values
    names = (
        list(results)
        if len(results) == len(values)
        else [path]
        if len(values) == 1
        else [f"{path}.{n}" for n in range(len(values))]
    )
    if len(values) == 1 and isinstance(values[0], ast.Call) and static_call(ctx, values[0]) is None:
        found = call_results(ctx, values[0], names[0], results, max(1, len(results)))
        return POISON if isinstance(found, Poison) else list(found)
    tensors: list[Tensor] = []
    for value, name in zip(values, names, strict=True):
        tensor = as_tensor(ctx, evaluate(ctx, value, name), ctx.span(value))
        if isinstance(tensor, Poison):
            return POISON
        tensors.append(tensor)
    return tensors


def run_statement(ctx: Context, statement: ast.Statement) -> None:
    """One statement; whatever is wrong with it is reported, and the names that it binds become poison."""
    match statement:
        case ast.Assign():
            _assign(ctx, statement)
        case ast.Repeat():
            _repeat(ctx, statement)
        case ast.Let():
            _let(ctx, statement)
        case ast.Assert():
            _assert(ctx, statement)
        case ast.Return() | ast.Yield():
            pass  # out of place: the parser has said so


def bind(ctx: Context, target: ast.TargetName, value: Value) -> None:
    if target.name == "_" and not target.quoted:
        return
    earlier = ctx.scope.bind(target.name, value, ctx.span(target))
    if earlier is not None:
        labels = [Label(earlier.span, "first here")] if earlier.span is not None else []
        ctx.error(
            "E0202",
            f"`{target.name}` is bound twice",
            ctx.span(target),
            labels=labels,
            help="rebinding is what `repeat .. carry` is for",
        )


def _annotated(ctx: Context, annotations: Sequence[ast.Annotation]) -> Context:
    for note in annotations:
        values = [evaluate(ctx, a) for a in note.args]
        match note.name, values:
            case "precision", [DType() as dtype] if dtype.is_float:
                ctx = replace(ctx, precision=dtype)
            case "onnx", [str() as source]:
                ctx = replace(ctx, source=source)
            case (("precision" | "onnx"), _):
                usage = "`@precision(f32)`" if note.name == "precision" else '`@onnx("/layer/MatMul")`'
                ctx.error("E0214", f"`@{note.name}` is written {usage}", ctx.span(note))
            case _:
                ctx.error(
                    "E0214",
                    f"no annotation is called `{note.name}`",
                    ctx.span(note),
                    help=did_you_mean(note.name, ["precision", "onnx"]),
                )
    return ctx


def _assign(outer: Context, statement: ast.Assign) -> None:
    ctx = _annotated(outer, statement.annotations) if statement.annotations else outer
    targets = statement.targets
    names = [ctx.path(t.name) if t.name != "_" or t.quoted else "" for t in targets]
    first = next((n for n in names if n), "")
    results = [n or f"{first}.unused{k or ''}" for k, n in enumerate(names)] if len(targets) > 1 else []
    stated = statement.types
    if stated and len(stated) != len(targets):
        named = f"{len(targets)} name{'s' * (len(targets) != 1)}"
        ctx.error("E0208", f"{named} and {len(stated)} type{'s' * (len(stated) != 1)}", ctx.span(stated[0]))
        stated = ()
        statement = replace(statement, types=())
    values = POISON if not declare_data_dims(ctx, stated) else _right_side(ctx, statement, first, results)
    if isinstance(values, Poison):
        for target in targets:
            bind(ctx, target, POISON)
        return
    if len(values) != len(targets):
        span = ctx.span(statement.value)
        ctx.error(
            "E0208",
            f"{len(values)} result{'s' * (len(values) != 1)} for {len(targets)} name{'s' * (len(targets) != 1)}",
            span,
            help="`_` takes a result that is not wanted",
        )
        values, stated = [POISON] * len(targets), ()
    for target, value, expr in zip_longest(targets, values, stated):
        bind(ctx, target, value if expr is None else _stated(ctx, target.name, value, expr))


def _stated(ctx: Context, name: str, value: Value, expr: ast.TypeExpr) -> Value:
    """A value that is bound with a type: the tensor that it is then, even if it is a number or a dim."""
    expected = type_of(ctx, expr)
    if isinstance(expected, Poison):
        return value
    tensor: Tensor | Poison
    if isinstance(value, Tensor):
        tensor = value
    else:
        inner = ctx.within(prefix=f"{ctx.path(name)}.", suffix="")
        tensor = as_tensor(inner, value, ctx.span(expr), expected.dtype)
    if not isinstance(tensor, Poison):
        check_type(ctx, expected, tensor, ctx.span(expr), f"`{name}`")
    return tensor


def _right_side(ctx: Context, statement: ast.Assign, first: str, results: list[str]) -> Sequence[Value] | Poison:
    value = statement.value
    if isinstance(value, ast.If):
        return run_if(ctx, value, first, results)
    if isinstance(value, ast.Scan):
        return run_scan(ctx, value, first, results)
    if not isinstance(value, ast.Call | ast.Loop):
        single = evaluate(ctx, value, first)
        return POISON if isinstance(single, Poison) else [single]
    sizes = ctx.builder.data_dims
    before = len(sizes)
    stated = {path: sizes[path] for path in map(ctx.dim_path, data_dim_names(statement.types))}
    if isinstance(value, ast.Loop):
        found: Sequence[Value] | Poison = run_loop(ctx, value, first, results, list(stated))
    else:
        static = static_call(ctx, value)
        if static is not None:
            return [static]
        found = call_results(ctx, value, first, results, len(statement.targets), list(stated))
    if ctx.builder.in_region:  # a network's own are checked as its results are taken
        _promise(ctx, first, statement, {p: d for p, d in stated.items() if d != sizes[p]}, sizes)
    sizes.update(stated)  # the op has set its own bounds
    made = sorted(set(islice(sizes, before, None)) - ctx.shared.named_dims) if len(sizes) > before else []
    if made and not ctx.stack and not isinstance(found, Poison):
        high = sizes[made[0]].high
        ctx.error(
            "E0314",
            "the size of a result depends on the data and has no name",
            ctx.span(value),
            help=f"name it in the statement's type, e.g. `K in 0..{high}`",
        )
        return POISON
    return found


def _promise(
    ctx: Context, layer: str, statement: ast.Assign, stated: Mapping[str, DataDim], own: Mapping[str, DataDim]
) -> None:
    """The bounds that a body's text states for sizes that the data decides, where they are not those of the op."""
    for path, bound in stated.items():
        size = symbol(path)
        promises = [Relation(">=", size, bound.low)] if bound.low != own[path].low else []
        promises += [Relation("<=", size, bound.high)] if bound.high != own[path].high else []
        for relation in promises:
            message = f"`{path}` is said to lie in {bound.low}..{bound.high}"
            requirement = Requirement(relation, message, "E0401")
            guard = PendingGuard(requirement, layer, ctx.span(statement.types[0]), promised=True)
            ctx.builder.requirements.append(guard)


def _let(ctx: Context, statement: ast.Let) -> None:
    value = evaluate(ctx, statement.value)
    if isinstance(value, Tensor):
        ctx.error(
            "E0306",
            f"`let` names compile-time values, not {describe(value)}",
            ctx.span(statement.value),
            help="leave `let` away",
        )
        value = POISON
    bind(ctx, ast.TargetName(statement.start, statement.end, statement.name), value)


def _assert(ctx: Context, statement: ast.Assert) -> None:
    """An assert in a block: shown or refuted like any other relation that a layer needs."""
    value = evaluate(ctx, statement.relation)
    span = ctx.span(statement.relation)
    text = statement.message or span.text
    if isinstance(value, Relation):
        requirement = Requirement(value, f"assert fails: {text}", "E0403")
        assertion = Assertion(value, statement.message or "", span)
        where = ctx.path("").rstrip(".")
        ctx.builder.requirements.append(PendingGuard(requirement, where, span, assertion=assertion))
    elif value is False:
        ctx.error("E0403", f"assert fails: {text}", span)
    elif value is not True and not isinstance(value, Poison):
        ctx.error("E0306", f"an assert is a relation over dims and numbers, not {describe(value)}", span)


def _repeat(outer: Context, statement: ast.Repeat) -> None:
    ctx = replace(_annotated(outer, statement.annotations), unrolled=True)
    low, high = evaluate(ctx, statement.low), evaluate(ctx, statement.high)
    carried = [t.name for t in statement.carry]
    initial: dict[str, Value] = {}
    for target in statement.carry:
        bound = ctx.scope.find(target.name)
        if bound is None:
            ctx.error(
                "E0201",
                f"`{target.name}` is carried but not defined",
                ctx.span(target),
                help=did_you_mean(target.name, list(ctx.scope.all_names())),
            )
        initial[target.name] = POISON if bound is None else bound.value
    values = dict(initial)
    good = not any(isinstance(v, Poison) for v in (low, high))
    if good and not (isinstance(low, int) and isinstance(high, int)):
        odd = statement.low if not isinstance(low, int) else statement.high
        ctx.error(
            "E0306",
            f"the rounds of a repeat are integers known here, not {describe(low if not isinstance(low, int) else high)}",
            ctx.span(odd),
        )
        good = False
    if good and isinstance(low, int) and isinstance(high, int):
        if high - low > REPEAT_LIMIT:
            ctx.error("E0211", f"{high - low} rounds; a repeat has at most {REPEAT_LIMIT}", ctx.span(statement.high))
            high = low
        for i in range(low, high):
            ctx.count(statement)
            names = {n: Bound(v, None) for n, v in values.items()}
            names[statement.variable] = Bound(i, ctx.span(statement))
            scope = Scope(ctx.scope, names, dict.fromkeys(carried, True))
            if statement.label is not None:
                inner = ctx.within(scope, prefix=f"{ctx.path(statement.label)}[{i}].", suffix="")
            else:
                inner = ctx.within(scope, suffix=f"{ctx.suffix}[{i}]")
            for part in statement.body:
                inner.count(part)
                run_statement(inner, part)
            values = {n: scope.names[n].value for n in carried}
            if any(isinstance(v, Poison) for v in values.values()):
                break
    for name in carried:
        bound = ctx.scope.names.get(name)
        ctx.scope.names[name] = Bound(values[name], bound.span if bound is not None else None)
