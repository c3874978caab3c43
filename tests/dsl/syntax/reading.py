"""How the tests of the parser read a text, and show what came of it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from trtn.dsl.diagnostics import Diagnostic, Sink, Source
from trtn.dsl.syntax import ast, parse, parse_manifest

HEADER = "trtn 1\n"


def read(text: str) -> tuple[ast.Module, list[Diagnostic]]:
    """A spec's tree and its findings; the edition line is put in front."""
    sink = Sink()
    return parse(Source("test.trtn", HEADER + text), sink), sink.diagnostics


def read_ok(text: str) -> ast.Module:
    module, found = read(text)
    assert not found, [str(d) for d in found]
    return module


def read_manifest_ok(text: str) -> ast.Manifest:
    sink = Sink()
    module = parse_manifest(Source("test.weights.trtn", HEADER + text), sink)
    assert not sink.diagnostics, [str(d) for d in sink.diagnostics]
    (manifest,) = module.items
    assert isinstance(manifest, ast.Manifest)
    return manifest


def statements(body: str) -> tuple[Any, ...]:
    """The members of a network with this body."""
    (network,) = read_ok(f"network n {{\n{body}\n}}").items
    assert isinstance(network, ast.NetworkDecl)
    return network.members


def expression(text: str) -> Any:
    (let,) = statements(f"let v = {text}")
    return let.value


def show(node: Any) -> Any:
    """A node without its offsets: expressions as nested tuples that are easy to compare."""
    match node:
        case ast.Binary():
            return (node.op, show(node.left), show(node.right))
        case ast.Unary():
            return (node.op, show(node.operand))
        case ast.Ref():
            return ".".join(p if isinstance(p, str) else f"[{show(p)}]" for p in node.parts)
        case ast.IntLit() | ast.FloatLit() | ast.BoolLit() | ast.StrLit() | ast.SizeLit():
            return node.value
        case ast.ListLit():
            return [show(item) for item in node.items]
        case ast.Call():
            return (show(node.callee), [show(a) for a in node.args], {k.name: show(k.value) for k in node.kwargs})
        case ast.TypeExpr():
            return f"{node.dtype}[{', '.join(str(show(d)) for d in node.dims)}]"
        case ast.DimType():
            return show(node.value) if node.low is None else (show(node.value), show(node.low), show(node.high))
        case ast.Node():
            names = [f.name for f in fields(node) if f.name not in ("start", "end")]
            return {name: show(getattr(node, name)) for name in names if not name.endswith(("_start", "_end"))}
        case tuple():
            return [show(item) for item in node]
    return node


def places(found: list[Diagnostic]) -> list[tuple[str, int, int]]:
    """Code, line and column of each finding, lines counted without the edition's."""
    result = []
    for diagnostic in found:
        assert diagnostic.span is not None
        result.append((diagnostic.code, diagnostic.span.line - 1, diagnostic.span.column))
    return result
