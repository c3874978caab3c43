"""Hover: what a name stands for, its type and its shape at each profile's corners; what an op does."""

from __future__ import annotations

from trtn.dsl.lsp.callees import find_block
from trtn.dsl.lsp.cursor import path_at
from trtn.dsl.lsp.symbols import Kind, Occurrence, Symbol
from trtn.dsl.lsp.types import Typed
from trtn.dsl.lsp.view import View
from trtn.dsl.lsp.weights import entries, pattern, ways
from trtn.dsl.network import Weight, format_type
from trtn.dsl.ops.base import Op, find_op
from trtn.dsl.ops.signature import Attr, show
from trtn.dsl.syntax import ast

__all__ = ["BUILT_IN", "code", "describe_attr", "describe_op", "hover", "weights_at"]

_TYPES_SHOWN = 4
_WEIGHTS_SHOWN = 8
BUILT_IN = {
    "constant": "constant([1, 2, 3], dtype=i32)\n\nA constant of at most 16 elements; larger ones belong in a manifest.",
    "activation": 'activation(x, kind="gelu")\n\nThe pointwise op that `kind` names.',
    "min": "The least of numbers or dims.",
    "max": "The greatest of numbers or dims.",
    "ceildiv": "The quotient of two numbers or dims, rounded up.",
    "sqrt": "The square root of a number.",
}


def hover(view: View, offset: int) -> tuple[str, int, int] | None:
    """Markdown about what is at an offset of a spec, and where in the text that is."""
    if view.analysis.unit is None:
        return None
    path = path_at(view.analysis.module, offset)
    for node, outer in zip(reversed(path), [*reversed(path[:-1]), None], strict=False):
        match node:
            case ast.Ref() if isinstance(outer, ast.Call) and outer.callee is node:
                return _callee(view, outer), node.start, node.end
            case ast.Ref():
                found = weights_at(view, node)
                if found:
                    return _weights(found), node.start, node.end
            case ast.Kwarg() if offset <= node.name_end and isinstance(outer, ast.Call):
                text = _attribute(outer, node.name)
                if text:
                    return text, node.start, node.name_end
    occurrence = view.analysis.table.at(offset)
    if occurrence is None:
        return None
    return _name(view, occurrence), occurrence.start, occurrence.end


def weights_at(view: View, ref: ast.Ref) -> list[Weight]:
    """The manifest's tensors that a path leads to; none where it is no such path."""
    unit = view.analysis.unit
    occurrence = view.analysis.table.at(ref.start)
    if unit is None or occurrence is None or ref.name == occurrence.symbol.name:
        return []
    found = ways(unit, view.analysis.table, occurrence.symbol, pattern(ref))
    return [weight for way in found for weight in entries(way)]


def code(text: str) -> str:
    return f"```trtn\n{text}\n```"


def describe_op(op: Op) -> str:
    """An op as its documentation page says it."""
    where = [f"{v} in {{{', '.join(d.name for d in dtypes)}}}" for v, dtypes in op.where.items()]
    signature = " ".join(op.signature.split())
    return "\n\n".join([code("\n".join([signature, *(f"where {w}" for w in where)])), op.doc])


def describe_attr(attr: Attr) -> str:
    """An attribute's kind and default."""
    default = "" if attr.required or attr.default is None else f" = {show(attr.default)}"
    return f"{attr.text}{'?' * attr.optional}{default}"


def _callee(view: View, call: ast.Call) -> str:
    name = call.callee.name or ""
    block = find_block(view.analysis.unit, name)
    made = view.types.of_expression(call)
    parts = [code("\n".join(_type_lines(made)))] if made else []
    if block is not None:
        unit, declared = block
        parts.append(code(unit.source.text[declared.start : declared.sig.end].strip()))
        parts += [declared.doc] if declared.doc else []
    elif name in BUILT_IN:
        parts.append(BUILT_IN[name])
        parts += [describe_op(layer.op) for layer in view.types.layers_at(call.callee)[:1]]
    elif (op := find_op(name)) is not None:
        parts.append(describe_op(op))
    else:
        parts.append(f"no op or block is called `{name}`")
    return "\n\n".join([*parts, *_corner_tables(view, made)])


def _attribute(call: ast.Call, name: str) -> str:
    op = find_op(call.callee.name or "")
    attr = op.spec.attr(name) if op is not None else None
    return code(f"{name}: {describe_attr(attr)}") if attr is not None else ""


def _weights(found: list[Weight]) -> str:
    lines = [f"{w.name}: {format_type(w.dtype, w.shape)} = {w.source}" for w in found[:_WEIGHTS_SHOWN]]
    if len(found) > _WEIGHTS_SHOWN:
        lines.append(f"# .. {len(found)} tensors in all")
    place = found[0].span
    where = f"{place.source.path}:{place.line}" if place is not None else ""
    return "\n\n".join([code("\n".join(lines)), *([where] if where else [])])


def _name(view: View, occurrence: Occurrence) -> str:
    symbol = occurrence.symbol
    text = view.source.text
    typed = view.types.of(symbol, occurrence)
    head = _declaration(symbol, text)
    if symbol.kind in (Kind.VALUE, Kind.INPUT, Kind.OUTPUT, Kind.INDEX) or (symbol.kind is Kind.PARAMETER and typed):
        names = [f"{symbol.name}: {line}" for line in _type_lines(typed)]
        head = "\n".join([head, *names] if symbol.kind is Kind.PARAMETER or not names else names)
    return "\n\n".join([f"{symbol.kind.value}", code(head), *_corner_tables(view, typed)])


def _declaration(symbol: Symbol, text: str) -> str:
    node = symbol.node
    match node:
        case ast.Block() | ast.Plugin():
            return text[node.start : node.sig.end].strip()
        case ast.NetworkDecl() | ast.Profile() | ast.Target():
            return text[node.start : text.find("{", node.start)].strip()
    return text[node.start : node.end].partition("{")[0].strip()


def _type_lines(typed: list[Typed]) -> list[str]:
    shown = list(dict.fromkeys(str(t.type) for t in typed))
    return [*shown[:_TYPES_SHOWN], *(["# .. and others"] if len(shown) > _TYPES_SHOWN else [])]


def _corner_tables(view: View, typed: list[Typed]) -> list[str]:
    corners = [c for each in typed[:_TYPES_SHOWN] for c in view.types.corners(each)]
    rows = [f"| {c.profile} | `{c.minimum}` | `{c.optimum}` | `{c.maximum}` |" for c in corners]
    return ["\n".join(["| profile | min | opt | max |", "|---|---|---|---|", *rows])] if rows else []
