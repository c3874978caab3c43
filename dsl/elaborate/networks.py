"""A network declaration: its dims first, then inputs, statements in order, outputs. Profiles and targets after it."""

from __future__ import annotations

from collections.abc import Collection, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING

from trtn.dsl.builder import Builder, PendingGuard
from trtn.dsl.check import check_network
from trtn.dsl.diagnostics import Label, Sink, Span
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dims import Range, Relation, symbol
from trtn.dsl.dtypes import DType
from trtn.dsl.elaborate.context import EXPANSION_LIMIT, Context, ExpansionLimit, Shared
from trtn.dsl.elaborate.expressions import as_tensor, evaluate
from trtn.dsl.elaborate.modules import Unit
from trtn.dsl.elaborate.profiles import elaborate_profile
from trtn.dsl.elaborate.statements import run_statement
from trtn.dsl.elaborate.targets import elaborate_target
from trtn.dsl.elaborate.types import DIM_LIMIT, check_type, demand_size, type_of
from trtn.dsl.elaborate.values import POISON, Bound, Poison, Scope, describe
from trtn.dsl.network import Assertion, Network, Tensor
from trtn.dsl.records import record
from trtn.dsl.syntax import ast

if TYPE_CHECKING:
    from trtn.dsl.elaborate.replay import Past

__all__ = ["ASSERT_LIMIT", "Elaborated", "elaborate_network"]

ASSERT_LIMIT = 256
"""How many asserts a network may have: each is held against all others."""


@record()
class Elaborated:
    """A network whose names and types are settled; `requirements` is what the checker has yet to prove.

    `spans` are the places where dims and inputs are declared.
    """

    network: Network
    requirements: tuple[PendingGuard, ...]
    declaration: ast.NetworkDecl
    spans: dict[str, Span]


def elaborate_network(
    unit: Unit,
    decl: ast.NetworkDecl,
    sink: Sink,
    *,
    limit: int = EXPANSION_LIMIT,
    history: MutableMapping[str, Past] | None = None,
) -> Elaborated | None:
    """Elaborate one network with its profiles and targets. None where errors left nothing to check.

    history: what the file's networks came to in an earlier text, by name. This one's takes its place there.
    """
    errors_before = sink.error_count
    doc = "\n".join(m.text for m in decl.members if isinstance(m, ast.Doc))
    replay = None
    if history is None:
        ctx, run = Context(unit, Shared(Builder(decl.name, doc=doc), sink, limit), Scope()), run_statement
    else:
        from trtn.dsl.elaborate.replay import Replay  # most commands elaborate a network once

        replay = Replay(unit, decl.name, doc, history.get(decl.name))
        shared = Shared(replay.builder, sink, limit, weights=replay.now.weights)
        ctx, run = Context(unit, shared, Scope(names=replay.names)), replay.run
    builder = ctx.builder
    spans: dict[str, Span] = {}
    try:
        for member in decl.members:
            if isinstance(member, ast.DimDecl):
                _dim(ctx, member, spans)
        for member in decl.members:
            match member:
                case ast.Let():
                    run_statement(ctx, member)
                case ast.Input():
                    _input(ctx, member, spans)
        for member in decl.members:
            ctx.pace(member)
            match member:
                case ast.Assert():  # it may be about sizes that a statement above it has named
                    _assert(ctx, member)
                case ast.Assign() | ast.Repeat() | ast.Return() | ast.Yield():
                    run(ctx, member)
    except ExpansionLimit:
        return None
    if history is not None and replay is not None and not unit.broken:
        history[decl.name] = replay.now
    finals = _outputs(ctx, [m for m in decl.members if isinstance(m, ast.Output)])
    if not any(isinstance(m, ast.Output) for m in decl.members) and not unit.broken:
        where = Span(unit.source, decl.name_start, decl.name_end)
        ctx.error("E0210", f"network `{decl.name}` has no output", where, help="declare one: `output y: f32[N, 10]`")
    failed = sink.error_count > errors_before
    if failed or finals is None:
        # What can be said all the same: about the dims, the profiles and targets, the layers that were understood.
        unknown = {name for name, bound in ctx.scope.names.items() if isinstance(bound.value, Poison)}
        complete = not unit.broken and not unknown & {m.name for m in decl.members if isinstance(m, ast.Input)}
        rest = _attach(unit, builder.finish([]), spans, sink, unknown)
        check_network(rest, builder.requirements, sink, spans, complete=complete)
        return None
    network = _attach(unit, builder.finish(finals), spans, sink)
    return Elaborated(network, tuple(builder.requirements), decl, spans)


def _attach(unit: Unit, network: Network, spans: dict[str, Span], sink: Sink, unknown: Collection[str] = ()) -> Network:
    """The network with its profiles and targets. `unknown` are the names whose declarations have errors."""
    declared = (d for d in unit.profiles if d.network == network.name)
    profiles = [p for p in (elaborate_profile(unit, d, network, spans, sink, unknown) for d in declared) if p]
    network = replace(network, profiles=tuple(profiles))
    targets = [t for t in (elaborate_target(unit, d, network, sink) for d in unit.targets) if t]
    return replace(network, targets=tuple(targets))


def _dim(ctx: Context, member: ast.DimDecl, spans: dict[str, Span]) -> None:
    span = ctx.span(member)
    values = [evaluate(ctx, e) for e in (member.low, member.high, *([member.step] if member.step is not None else []))]
    value: object = symbol(member.name)
    if any(isinstance(v, Poison) for v in values):
        value = POISON
    elif not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        odd = next(v for v in values if not isinstance(v, int) or isinstance(v, bool))
        ctx.error("E0306", f"a dim's range is made of integers, not {describe(odd)}", span)
        value = POISON
    else:
        low, high, step = (*values, 1)[:3]
        assert isinstance(low, int) and isinstance(high, int) and isinstance(step, int)
        if not 0 <= low <= high <= DIM_LIMIT or step < 1:
            ctx.error(
                "E0401",
                f"`{member.name}` in {low}..{high}{f' step {step}' if member.step else ''}: no such range",
                span,
                help=f"a range is 0 <= low <= high <= {DIM_LIMIT}, with a step of 1 or more",
            )
            value = POISON
        else:
            if (high - low) % step:
                high -= (high - low) % step
            ctx.builder.dims[member.name] = Range(low, high, step)
    earlier = ctx.scope.bind(member.name, value, span)  # type: ignore[arg-type]
    if earlier is not None and earlier.span is not None:
        ctx.error(
            "E0202",
            f"dim `{member.name}` is declared twice",
            span,
            labels=[Label(earlier.span, "first here")],
        )
    spans[member.name] = span


def _input(ctx: Context, member: ast.Input, spans: dict[str, Span]) -> None:
    stated = type_of(ctx, member.type)
    value: Tensor | Poison = POISON
    if not isinstance(stated, Poison):
        value = ctx.builder.input(member.name, stated.dtype, stated.shape)
        spans[member.name] = ctx.span(member)
        for n, d in enumerate(stated.shape):
            message = f"dim {n} of `{member.name}` may be negative: {d}"
            demand_size(ctx, member.name, d, message, ctx.span(member.type.dims[n]))
    earlier = ctx.scope.bind(member.name, value, ctx.span(member))
    if earlier is not None:
        labels = [Label(earlier.span, "first here")] if earlier.span is not None else []
        ctx.error("E0202", f"`{member.name}` is defined twice", ctx.span(member), labels=labels)


def _assert(ctx: Context, member: ast.Assert) -> None:
    value = evaluate(ctx, member.relation)
    span = ctx.span(member.relation)
    if len(ctx.builder.asserts) == ASSERT_LIMIT:
        ctx.error("E0107", f"network `{ctx.builder.name}` has more than {ASSERT_LIMIT} asserts", span)
        raise ExpansionLimit
    if isinstance(value, Relation) and value.symbols:
        ctx.builder.asserts.append(Assertion(value, member.message or "", span))
    elif value is True or (isinstance(value, Relation) and value.holds({})):
        ctx.error("E0404", "this assert holds whatever the dims are", span)
    elif value is False or isinstance(value, Relation):
        ctx.error("E0403", f"this assert never holds{': ' + member.message if member.message else ''}", span)
    elif not isinstance(value, Poison):
        ctx.error("E0306", f"an assert is a relation over dims and numbers, not {describe(value)}", span)


def _outputs(ctx: Context, outputs: list[ast.Output]) -> list[tuple[str, Tensor]] | None:
    """The outputs' tensors, after all statements: only then are data-dependent sizes known by name."""
    finals: list[tuple[str, Tensor]] = []
    good = True
    declared: set[str] = set()
    for member in outputs:
        if member.name in declared:
            ctx.error("E0202", f"output `{member.name}` is declared twice", ctx.span(member))
            good = False
            continue
        declared.add(member.name)
        bound: Bound | None = ctx.scope.names.get(member.name)
        span = ctx.span(member)
        failed = ctx.unit.may_have_lost(member.name) if bound is None else isinstance(bound.value, Poison)
        # What failed may have been about to name a size that the type has.
        stated = POISON if failed else type_of(ctx, member.type)
        if isinstance(stated, Poison):
            good = False
            continue
        if bound is None:
            near = did_you_mean(member.name, [n for n, b in ctx.scope.names.items() if isinstance(b.value, Tensor)])
            ctx.error(
                "E0210",
                f"output `{member.name}` is never bound",
                span,
                help=near or f"bind it: `{member.name} = ..`",
            )
            good = False
            continue
        if isinstance(bound.value, DType | str):
            ctx.error("E0306", f"output `{member.name}` is {describe(bound.value)}, not a tensor", span)
            good = False
            continue
        tensor = as_tensor(ctx.within(prefix=f"{member.name}."), bound.value, span, stated.dtype)
        if isinstance(tensor, Poison):
            good = False
            continue
        good &= check_type(ctx, stated, tensor, span, f"output `{member.name}`")
        finals.append((member.name, tensor))
    return finals if good else None
