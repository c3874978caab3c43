"""Profiles: an entry for each dim, in order, inside the dim's range and step; lists for inputs that are read as
shapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from trtn.dsl.diagnostics import Label, Sink, Span
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.elaborate.modules import Unit
from trtn.dsl.network import Network, Profile, ProfileRange
from trtn.dsl.syntax import ast

__all__ = ["elaborate_profile"]


def elaborate_profile(
    unit: Unit,
    decl: ast.Profile,
    network: Network,
    dim_spans: Mapping[str, Span],
    sink: Sink,
    unknown: Collection[str] = (),
) -> Profile | None:
    """A profile for a network, or None where it has errors. Asserts and layers inside the box are the checker's
    business.

    `unknown` are names whose own declarations have errors: entries for them are passed over.
    """
    name_span = Span(unit.source, decl.name_start, decl.name_end)
    dims: dict[str, ProfileRange] = {}
    values: dict[str, tuple[ProfileRange, ...]] = {}
    inputs = {t.name: t for t in network.inputs}
    good = True
    seen: dict[str, Span] = {}
    for entry in decl.entries:
        span = Span(unit.source, entry.start, entry.name_end or entry.end)
        if entry.name in seen:
            sink.error(
                "E0202",
                f"`{entry.name}` has two entries",
                span,
                labels=(Label(seen[entry.name], "first here"),),
            )
            good = False
            continue
        seen[entry.name] = span
        if entry.name in network.dims:
            found = _range(unit, decl, entry, network, dim_spans, sink)
            if found is not None:
                dims[entry.name] = found
        elif entry.name in inputs and inputs[entry.name].dtype.is_integer and inputs[entry.name].rank <= 1:
            listed = _values(unit, decl, entry, inputs[entry.name].shape, sink)
            if listed is not None:
                values[entry.name] = listed
        elif entry.name not in unknown:
            known = [*network.dims, *(n for n, t in inputs.items() if t.dtype.is_integer and t.rank <= 1)]
            sink.error(
                "E0412",
                f"network `{network.name}` has no dim `{entry.name}`, and no integer input of that name with rank 0 or 1",
                span,
                help=did_you_mean(entry.name, known),
            )
    good &= len(dims) + len(values) == len(decl.entries)
    missing = [n for n in network.dims if n not in seen]
    good &= not missing
    if missing and not unit.broken:
        labels = tuple(Label(dim_spans[n], "declared here") for n in missing if n in dim_spans)
        names = ", ".join(f"`{n}`" for n in missing)
        sink.error(
            "E0411",
            f"profile `{decl.name}` has no entry for {names}",
            name_span,
            labels=labels,
            help=f"add `{missing[0]}: min .., opt .., max ..`",
        )
    return Profile(decl.name, dims, values, name_span) if good else None


def _integer(unit: Unit, expr: ast.Expr, sink: Sink) -> int | None:
    if isinstance(expr, ast.IntLit):
        return expr.value
    if isinstance(expr, ast.Unary) and isinstance(expr.operand, ast.IntLit):
        return -expr.operand.value
    sink.error("E0306", "a profile's entry is an integer", Span(unit.source, expr.start, expr.end))
    return None


def _range(
    unit: Unit,
    decl: ast.Profile,
    entry: ast.ProfileEntry,
    network: Network,
    dim_spans: Mapping[str, Span],
    sink: Sink,
) -> ProfileRange | None:
    exprs = (entry.minimum, entry.optimum, entry.maximum)
    numbers = [_integer(unit, e, sink) for e in exprs]
    if any(n is None for n in numbers):
        return None
    low, opt, high = (n for n in numbers if n is not None)
    span = Span(unit.source, entry.start, entry.end)
    if not low <= opt <= high:
        sink.error(
            "E0413",
            f"profile `{decl.name}`: `{entry.name}` has min {low}, opt {opt}, max {high}",
            span,
            notes=("a profile's entries must satisfy min <= opt <= max",),
        )
        return None
    allowed = network.dims[entry.name]
    labels = (Label(dim_spans[entry.name], "declared here"),) if entry.name in dim_spans else ()
    good = True
    for word, value, expr in zip(("min", "opt", "max"), (low, opt, high), exprs, strict=True):
        if value in allowed:
            continue
        step = f" step {allowed.step}" if allowed.step > 1 else ""
        why = "off the step of" if allowed.low <= value <= allowed.high else "outside"
        near = min(max(value, allowed.low), allowed.high)
        near -= (near - allowed.low) % allowed.step
        sink.error(
            "E0414",
            f"profile `{decl.name}`: {word} {value} of `{entry.name}` is {why} {allowed.low}..{allowed.high}{step}",
            Span(unit.source, expr.start, expr.end),
            labels=labels,
            help=f"the nearest value is {near}",
        )
        good = False
    return ProfileRange(low, opt, high) if good else None


def _values(
    unit: Unit, decl: ast.Profile, entry: ast.ProfileEntry, shape: tuple[object, ...], sink: Sink
) -> tuple[ProfileRange, ...] | None:
    span = Span(unit.source, entry.start, entry.end)
    columns: list[list[int]] = []
    for expr in (entry.minimum, entry.optimum, entry.maximum):
        items = expr.items if isinstance(expr, ast.ListLit) else (expr,)
        numbers = [_integer(unit, e, sink) for e in items]
        if any(n is None for n in numbers):
            return None
        columns.append([n for n in numbers if n is not None])
    count = shape[0] if shape else 1
    if any(len(c) != count for c in columns):
        lengths = ", ".join(str(len(c)) for c in columns)
        sink.error(
            "E0412",
            f"profile `{decl.name}`: `{entry.name}` has {count} elements; the entries have {lengths}",
            span,
        )
        return None
    for n, (low, opt, high) in enumerate(zip(*columns, strict=True)):
        if not low <= opt <= high:
            sink.error(
                "E0413",
                f"profile `{decl.name}`: element {n} of `{entry.name}` has min {low}, opt {opt}, max {high}",
                span,
            )
            return None
    return tuple(ProfileRange(*row) for row in zip(*columns, strict=True))
