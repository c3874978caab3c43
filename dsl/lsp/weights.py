"""Ways into the manifests: `w.layer[i].fc1.weight`, or `p.fc1.weight` where a block's caller says what `p` is.

Indexes that are not literal stand for every number, so that a way may lead to several tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from trtn.dsl.elaborate import Unit
from trtn.dsl.lsp.symbols import Kind, Symbol
from trtn.dsl.lsp.table import Table
from trtn.dsl.network import Weight
from trtn.dsl.syntax import ast
from trtn.dsl.syntax.names import split_path
from trtn.dsl.syntax.walk import nodes
from trtn.dsl.weights.table import WeightTable

__all__ = ["entries", "next_steps", "ways"]

Way = tuple[WeightTable, str]
"""A manifest, and the pattern of the paths in it."""
_STEP = re.compile(r"\.?([^.\[\]]+)|\[\d+\]")
DEEPEST = 8
"""Blocks hand weights to blocks."""


def ways(unit: Unit, names: Table, root: Symbol, rest: str, depth: int = 0) -> Iterator[Way]:
    """Where a name of kind weights, with what follows it as a pattern, leads to."""
    if root.kind is Kind.WEIGHTS:
        table = unit.weights.get(root.name)
        if table is not None:
            yield table, rest.removeprefix(r"\.")
        return
    if root.kind is not Kind.PARAMETER or depth >= DEEPEST:
        return
    seen: set[str] = set()
    for call in nodes(names.module.items):
        if not isinstance(call, ast.Call) or names.block_scope(call.callee.name or "") is not root.scope:
            continue
        for kwarg in call.kwargs:
            if kwarg.name == root.name and isinstance(kwarg.value, ast.Ref):
                given = names.text[kwarg.value.start : kwarg.value.end]
                outer = names.at(kwarg.value.start)
                if outer is not None and given not in seen and outer.symbol is not root:
                    seen.add(given)
                    yield from ways(unit, names, outer.symbol, pattern(kwarg.value) + rest, depth + 1)


def pattern(ref: ast.Ref) -> str:
    """What follows a path's first part, as a regular expression over the paths of a manifest."""
    return "".join(_part(part) for part in ref.parts[1:])


def text_pattern(way: str) -> str:
    """The same for a text: `.layer[3]` or `.layer[i]`."""
    indexed = re.sub(r"\[[^\]]*[A-Za-z_][^\]]*\]", "[0]", way)
    variable = re.findall(r"\[([^\]]*)\]", way)
    parts = ""
    at = 0
    for _, _, part, _ in split_path("_" + indexed)[1:]:
        if isinstance(part, str):
            parts += rf"\.{re.escape(part)}"
        else:
            parts += rf"\[{part}\]" if variable[at].isdigit() else r"\[\d+\]"
            at += 1
    return parts


def _part(part: str | ast.Expr) -> str:
    if isinstance(part, str):
        return rf"\.{re.escape(part)}"
    return rf"\[{part.value}\]" if isinstance(part, ast.IntLit) else r"\[\d+\]"


def entries(way: Way) -> list[Weight]:
    """The tensors at the end of a way, or below it."""
    table, pattern = way
    matches = re.compile(rf"{pattern}(?=$|[.\[])").match
    return [table[name] for name in table if not pattern or matches(name)]


def next_steps(way: Way) -> dict[str, Weight | None]:
    """How a way can go on: names and indexes, each with the tensor that it is, if it is one."""
    table, pattern = way
    matches = re.compile(pattern).match
    steps: dict[str, Weight | None] = {}
    for name in table:
        match = matches(name)
        step = _STEP.match(name, match.end()) if match is not None else None
        if step is not None and (match is None or match.end() == 0 or name[match.end()] in ".["):
            steps.setdefault(step[1] or step[0], table[name] if step.end() == len(name) else None)
    return steps
