"""What the formatter asks the syntax tree about single tokens: which start a line, which brackets touch the name
before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from trtn.dsl.syntax import ast
from trtn.dsl.syntax.walk import nodes

__all__ = ["Marks", "mark"]


@dataclass
class Marks:
    """Offsets in the text. `starts` says what begins there: a `declaration`, `import`, `statement`, `field`,
    `entry`, `row`.
    """

    starts: dict[int, str] = field(default_factory=dict)
    precisions: list[tuple[int, int]] = field(default_factory=list)
    callee_ends: set[int] = field(default_factory=set)
    signatures: set[int] = field(default_factory=set)
    lists: set[int] = field(default_factory=set)
    prefixes: set[int] = field(default_factory=set)
    """Signs, and the `@` of annotations."""
    argument_names: set[int] = field(default_factory=set)
    """Where the names of keyword arguments end."""
    stated_types: set[int] = field(default_factory=set)
    """First types behind an assignment's colon."""
    devices: dict[int, int] = field(default_factory=dict)
    """Start to end: `cuda:sm_90` is one word."""


_STARTS: dict[type[ast.Node], str] = {
    ast.Import: "import", ast.WeightsDecl: "import",
    ast.Plugin: "declaration", ast.Block: "declaration", ast.NetworkDecl: "declaration", ast.Profile: "declaration",
    ast.Target: "declaration", ast.Manifest: "declaration",
    ast.Doc: "statement", ast.DimDecl: "statement", ast.Input: "statement", ast.Output: "statement",
    ast.Annotation: "statement", ast.Assign: "statement", ast.Repeat: "statement", ast.Let: "statement",
    ast.Assert: "statement", ast.Yield: "statement", ast.Return: "statement",
    ast.Field: "field", ast.PluginWhere: "field", ast.ProfileEntry: "entry",
    ast.WeightFile: "row", ast.TensorEntry: "row",
}  # fmt: skip


def mark(module: ast.Module) -> Marks:
    """The marks of a module that was read without errors."""
    marks = Marks()
    text = module.source.text
    for node in nodes(module.items):
        kind = type(node)
        if kind in _STARTS:
            marks.starts[node.start] = _STARTS[kind]
        if isinstance(node, ast.Call):
            marks.callee_ends.add(node.callee.end)
        elif isinstance(node, ast.Kwarg):
            marks.argument_names.add(node.name_end)
        elif isinstance(node, ast.ListLit):
            marks.lists.add(node.start)
        elif isinstance(node, ast.Unary):
            marks.prefixes.add(node.start)
        elif isinstance(node, ast.Assign):
            if node.types:
                marks.stated_types.add(node.types[0].start)
        elif isinstance(node, ast.Annotation):
            marks.prefixes.add(node.start)
            marks.callee_ends.add(node.start + 1 + len(node.name))
        elif isinstance(node, ast.Sig):
            marks.signatures.add(node.start)
        elif isinstance(node, ast.Precision):
            marks.precisions.append((node.start, node.end))
        elif isinstance(node, ast.TensorEntry) and node.generator is not None and node.args:
            marks.callee_ends.add(node.source_start + len(node.generator))
        elif isinstance(node, ast.Field) and isinstance(node.value, ast.StrLit) and text[node.value.start] != '"':
            marks.devices[node.value.start] = node.value.end
    return marks
