"""Calls: of an op of the catalogue, of a block (expanded in place), of a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trtn.dsl.diagnostics import Label, Span
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dims import Expr
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.elaborate.context import NESTING_LIMIT, Context
from trtn.dsl.elaborate.expressions import as_tensor, evaluate, layer, resolve
from trtn.dsl.elaborate.modules import Unit
from trtn.dsl.elaborate.types import bind_names, bind_type
from trtn.dsl.elaborate.values import POISON, Bound, Poison, Scope, Value, WeightPath, describe
from trtn.dsl.network import Tensor
from trtn.dsl.ops.base import Op, catalogue, find_op
from trtn.dsl.syntax import ast

__all__ = ["call_results"]


def call_results(
    ctx: Context,
    call: ast.Call,
    name: str,
    results: Sequence[str],
    wanted: int,
    data_dims: Sequence[str] = (),
) -> tuple[Tensor, ...] | Poison:
    """The result tensors of a call. `results` names them; `data_dims` names their data-dependent sizes in order."""
    callee = call.callee.name
    span = Span(ctx.unit.source, call.callee.start, call.callee.end)
    if callee is None:
        ctx.error("E0203", "ops and blocks are called by name", span)
        return POISON
    found = _find(ctx, callee, span)
    if isinstance(found, Poison):
        return POISON
    if callee == "constant" and found is None:
        return _constant(ctx, call, span)
    if callee == "activation" and found is None:
        return _activation(ctx, call, name, results, span)
    if isinstance(found, Op):
        return _op(ctx, found, call, name, results, wanted, data_dims, span)
    assert found is not None
    unit, block = found
    return _block(ctx, unit, block, call, name, results, span)


def _find(ctx: Context, callee: str, span: Span) -> Op | tuple[Unit, ast.Block] | Poison | None:
    """A block of this file, `alias.block` of an imported one, a plugin, an op; None for the two built-in forms."""
    alias, dot, rest = callee.partition(".")
    if dot and alias in ctx.unit.imports:
        other = ctx.unit.imports[alias]
        if other is None:
            return POISON
        if rest in other.blocks:
            return other, other.blocks[rest]
        if other.may_have_lost(rest):
            return POISON
        ctx.error(
            "E0203",
            f"no block `{rest}` in {other.source.path}",
            span,
            help=did_you_mean(rest, list(other.blocks)),
        )
        return POISON
    if callee in ctx.unit.blocks:
        return ctx.unit, ctx.unit.blocks[callee]
    if callee in ctx.unit.plugins:
        ctx.error(
            "E0602",
            f"plugin `{callee}` is declared, but this version of trtn can't run plugins",
            span,
            labels=[Label(ctx.unit.spans[callee], "declared here")],
        )
        return POISON
    if callee in ("constant", "activation"):
        return None
    op = find_op(callee)
    if op is None and ctx.unit.may_have_lost(callee):
        return POISON
    if op is None or op.regions:
        names = [
            *ctx.unit.blocks,
            *(n for n, o in catalogue().items() if not o.regions),
            "constant",
            "activation",
        ]
        names += [f"{a}.{b}" for a, other in ctx.unit.imports.items() if other for b in other.blocks]
        near = ctx.advice(lambda: did_you_mean(callee, names))
        cure = f"`{callee}` is a statement: see `trtn explain E0203`" if op is not None else near
        ctx.error("E0203", f"no op or block is called `{callee}`", span, help=cure)
        return POISON
    return op


def _arguments(ctx: Context, call: ast.Call, called: Op | ast.Sig) -> list[tuple[Tensor | None, Span]] | Poison:
    """The positional arguments as tensors. Numbers take the dtype that the signature says, or that of the other tensors
    of their dtype variable; its last input stands for all that follow.
    """
    raw: list[tuple[Value, Span]] = []
    tensors: list[tuple[Tensor | None, Span]] = []
    failed = False
    for arg in call.args:
        span = Span(ctx.unit.source, arg.start, arg.end)
        value: Value
        if not isinstance(arg, ast.Ref):
            value = evaluate(ctx, arg)
        elif arg.name == "none" and not arg.quoted:
            value = ()
        else:
            value = resolve(ctx, arg)
            if isinstance(value, WeightPath):
                value = as_tensor(ctx, value, span)
        if isinstance(value, Tensor):
            tensors.append((value, span))
        failed |= value is POISON
        raw.append((value, span))
    if failed:
        return POISON
    if len(tensors) == len(raw):
        return tensors
    tensors.clear()
    if isinstance(called, Op):
        kinds = [i.type for i in called.spec.inputs]
    else:
        kinds = [p.type.dtype for p in called.tensors if p.type is not None]
    known: dict[str, DType] = {}

    def variable(index: int) -> str:
        return kinds[min(index, len(kinds) - 1)] if kinds else ""

    for index, (value, _) in enumerate(raw):
        if isinstance(value, Tensor):
            known.setdefault(variable(index), value.dtype)
    for index, (value, span) in enumerate(raw):
        if value == () and isinstance(value, tuple):
            tensors.append((None, span))
            continue
        kind = variable(index)
        tensor = as_tensor(ctx, value, span, BY_NAME.get(kind, known.get(kind)) if kind != "any" else None)
        if isinstance(tensor, Poison):
            return POISON
        tensors.append((tensor, span))
    return tensors


def _keywords(ctx: Context, call: ast.Call) -> tuple[dict[str, Value], dict[str, Span]] | Poison:
    values: dict[str, Value] = {}
    spans: dict[str, Span] = {}
    failed = False
    for kwarg in call.kwargs:
        span = Span(ctx.unit.source, kwarg.start, kwarg.end)
        if kwarg.name in values:
            ctx.error(
                "E0202",
                f"`{kwarg.name}` is given twice",
                span,
                labels=[Label(spans[kwarg.name], "first here")],
            )
            failed = True
        value = evaluate(ctx, kwarg.value)
        failed |= isinstance(value, Poison)
        values[kwarg.name], spans[kwarg.name] = value, span
    return POISON if failed else (values, spans)


def _op(
    ctx: Context,
    op: Op,
    call: ast.Call,
    name: str,
    results: Sequence[str],
    wanted: int,
    data_dims: Sequence[str],
    span: Span,
) -> tuple[Tensor, ...] | Poison:
    inner = ctx.within(prefix=f"{name}.", suffix="") if name else ctx
    inputs = _arguments(inner, call, op)
    keywords = _keywords(inner, call)
    if isinstance(inputs, Poison) or isinstance(keywords, Poison):
        return POISON
    attrs, spans = keywords
    for key, value in attrs.items():
        if isinstance(value, Tensor | WeightPath):
            ctx.error(
                "E0304",
                f"`{key}` of `{op.name}` is an attribute; {describe(value)} can't be one",
                spans[key],
                help="tensors are positional arguments",
            )
            return POISON
    return layer(
        ctx,
        op,
        inputs,
        attrs,
        name,
        span,
        results=results,
        data_dims=data_dims,
        wanted=wanted,
        attr_spans=spans,
    )


def _constant(ctx: Context, call: ast.Call, span: Span) -> tuple[Tensor, ...] | Poison:
    """`constant([1, 2, 3], dtype=i32)`."""
    keywords = _keywords(ctx, call)
    if isinstance(keywords, Poison):
        return POISON
    attrs, _ = keywords
    dtype = attrs.pop("dtype", None)
    if isinstance(dtype, str):  # in quotes, where a tensor is called as the dtype is
        dtype = BY_NAME.get(dtype, dtype)
    if len(call.args) != 1 or attrs or not (dtype is None or isinstance(dtype, DType)):
        ctx.error(
            "E0207",
            "`constant` takes one number or list, and a `dtype`",
            span,
            help="write `constant([1, 2], dtype=i32)`",
        )
        return POISON
    value = evaluate(ctx, call.args[0])
    tensor = as_tensor(ctx, value, ctx.span(call.args[0]), dtype)
    return POISON if isinstance(tensor, Poison) else (tensor,)


def _activation(
    ctx: Context, call: ast.Call, name: str, results: Sequence[str], span: Span
) -> tuple[Tensor, ...] | Poison:
    """`activation(x, kind="gelu")`: the op that a block's parameter names."""
    kind = next((k for k in call.kwargs if k.name == "kind"), None)
    value = evaluate(ctx, kind.value) if kind is not None else None
    if isinstance(value, Poison):
        return POISON
    if kind is None or not isinstance(value, str):
        ctx.error("E0212", "`activation` needs `kind`, the name of an op as a string", span)
        return POISON
    op = find_op(value)
    if op is None or not op.pointwise or len([i for i in op.spec.inputs if not i.optional]) != 1:
        names = [n for n, o in catalogue().items() if o.pointwise and len(o.spec.inputs) == 1]
        ctx.error("E0203", f'no activation is called "{value}"', ctx.span(kind), help=did_you_mean(value, names))
        return POISON
    rest = ast.Call(call.start, call.end, call.callee, call.args, tuple(k for k in call.kwargs if k is not kind))
    return _op(ctx, op, rest, name, results, 1, (), span)


# --- blocks ------------------------------------------------------------------------------------------------------


def _block(
    ctx: Context, unit: Unit, block: ast.Block, call: ast.Call, name: str, results: Sequence[str], span: Span
) -> tuple[Tensor, ...] | Poison:
    from trtn.dsl.elaborate.statements import run_body

    key = f"{unit.source.path}:{block.name}"
    if key in ctx.stack or len(ctx.stack) >= NESTING_LIMIT:
        if key in ctx.stack:
            chain = " -> ".join(s.rsplit(":", 1)[-1] for s in [*ctx.stack[ctx.stack.index(key) :], key])
            ctx.error("E0206", f"blocks call each other in a circle: {chain}", span)
        else:
            ctx.error("E0211", f"blocks are nested more than {NESTING_LIMIT} deep", span)
        return POISON
    path = name or ctx.path(block.name)
    arguments_ctx = ctx.within(prefix=f"{path}.", suffix="") if name else ctx
    inputs = _arguments(arguments_ctx, call, block.sig)
    keywords = _keywords(arguments_ctx, call)
    if isinstance(inputs, Poison) or isinstance(keywords, Poison):
        return POISON
    inner = Context(
        unit,
        ctx.shared,
        Scope(),
        prefix=f"{path}.",
        stack=(*ctx.stack, key),
        precision=ctx.precision,
        source=ctx.source,
    )
    declared = Span(unit.source, block.name_start, block.name_end)
    if len(inputs) != len(block.sig.tensors):
        names = ", ".join(p.name for p in block.sig.tensors)
        count = f"{len(block.sig.tensors)} tensor{'s' * (len(block.sig.tensors) != 1)}"
        ctx.error(
            "E0207",
            f"block `{block.name}` takes {count} ({names}), not {len(inputs)}",
            span,
            labels=[Label(declared, "declared here")],
        )
        return POISON
    if not _bind_attrs(ctx, inner, block, keywords, span, declared):
        return POISON
    for param, (tensor, where) in zip(block.sig.tensors, inputs, strict=True):
        if tensor is None:
            ctx.error("E0207", f"`{param.name}` of block `{block.name}` can't be absent", where)
            return POISON
        assert param.type is not None
        bind_names(inner, param.type, tensor)
    matched = True
    for param, (tensor, where) in zip(block.sig.tensors, inputs, strict=True):
        assert tensor is not None and param.type is not None
        what = f"`{param.name}` of block `{block.name}`"
        matched &= bind_type(ctx, inner, param.type, tensor, where, what, block=path)
        inner.scope.bind(param.name, tensor, inner.span(param))
    if not matched:
        return POISON
    values = run_body(inner, block.body, path, results)
    if isinstance(values, Poison):
        return POISON
    if len(values) != len(block.sig.results):
        if unit.broken and not values:
            return POISON
        inner.error(
            "E0208",
            f"block `{block.name}` promises {len(block.sig.results)} results and returns {len(values)}",
            declared,
        )
        return POISON
    for n, (value, promised) in enumerate(zip(values, block.sig.results, strict=True)):
        if not bind_type(inner, inner, promised, value, inner.span(promised), f"result {n} of block `{block.name}`"):
            return POISON
    return tuple(values)


def _bind_attrs(
    ctx: Context,
    inner: Context,
    block: ast.Block,
    keywords: tuple[dict[str, Value], dict[str, Span]],
    span: Span,
    declared: Span,
) -> bool:
    given, spans = keywords
    params = {p.name: p for p in block.sig.attrs}
    good = True
    for name in given:
        if name not in params:
            ctx.error(
                "E0204",
                f"block `{block.name}` has no parameter `{name}`",
                spans[name],
                labels=[Label(declared, "declared here")],
                help=did_you_mean(name, list(params)),
            )
            good = False
    for name, param in params.items():
        if name in given:
            value = given[name]
        elif param.default is not None:
            value = evaluate(inner, param.default)
        else:
            ctx.error(
                "E0212",
                f"block `{block.name}` needs `{name}` ({param.kind})",
                span,
                labels=[Label(declared, "declared here")],
            )
            good = False
            continue
        if isinstance(value, Poison):
            good = False
            continue
        fitted = _fit(value, param.kind or "")
        if fitted is None:
            where = spans.get(name) or inner.span(param)
            ctx.error(
                "E0306",
                f"`{name}` of block `{block.name}` is of kind {param.kind}, not {describe(value)}",
                where,
            )
            good = False
            continue
        inner.scope.names[name] = Bound(fitted, inner.span(param))
    return good


def _fit(value: Any, kind: str) -> Value | None:
    """A keyword argument as the kind that the block declares, or None where it does not fit."""
    match kind:
        case "weights":
            return value if isinstance(value, WeightPath) else None
        case "int":
            return value if isinstance(value, int | Expr) and not isinstance(value, bool) else None
        case "float":
            return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "str":
            return value if isinstance(value, str) else None
        case "bool":
            return value if isinstance(value, bool) else None
        case "dtype":
            return value if isinstance(value, DType) else None
        case "ints":
            fits = isinstance(value, tuple) and all(
                isinstance(v, int | Expr) and not isinstance(v, bool) for v in value
            )
            return value if fits else None
        case "floats":
            fits = isinstance(value, tuple) and all(
                isinstance(v, int | float) and not isinstance(v, bool) for v in value
            )
            return tuple(float(v) for v in value) if fits else None
    return None
