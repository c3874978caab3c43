"""Names that nobody uses, and names that hide others."""

from __future__ import annotations

from collections.abc import Iterator, Set
from os.path import normpath
from pathlib import PurePath

from trtn.dsl.dependencies import Manifest
from trtn.dsl.diagnostics import Source
from trtn.dsl.lint.base import Body, Edit, Finding, Subject, rule
from trtn.dsl.syntax import ast
from trtn.dsl.syntax.walk import nodes

__all__: list[str] = []

NAMED = 4
"""Tensors that a finding lists."""


@rule("L0101")
def unused_name(subject: Subject) -> Iterator[Finding]:
    """A value that nothing reads is computed for nothing."""
    for item in subject.items:
        body = subject.body(item)
        used = body.mentioned | {output.name for output in body.all(ast.Output)}
        for statement in _assignments(body):
            yield from _unused(subject.source, statement, used)


def _unused(source: Source, statement: ast.Assign, used: Set[str]) -> Iterator[Finding]:
    targets = [t for t in statement.targets if t.name not in used and t.name != "_"]
    for t in targets:
        whole = len(targets) == len(statement.targets)
        edits = (_without(source, statement),) if whole and t is targets[0] else ()
        yield Finding(f"nothing reads `{t.name}`", source.span(t.start, t.end), "remove it" if whole else "", edits)


@rule("L0102")
def unused_parameter(subject: Subject) -> Iterator[Finding]:
    """A block's parameter that its body does not read misleads its callers."""
    for item in subject.module.items:
        if isinstance(item, ast.Block):
            used = subject.body(item).mentioned
            for p in (*item.sig.tensors, *item.sig.attrs):
                if p.name not in used and p.name not in _in_types(item.sig):
                    span = subject.source.span(p.start, p.end)
                    yield Finding(f"block `{item.name}` does not use its parameter `{p.name}`", span, "take it out")


@rule("L0103")
def unused_import(subject: Subject) -> Iterator[Finding]:
    """An import or a manifest that nothing mentions."""
    used = subject.mentioned
    for item in subject.module.items:
        if isinstance(item, ast.Import | ast.WeightsDecl) and item.alias not in used:
            what = "import" if isinstance(item, ast.Import) else "manifest"
            span = subject.source.span(item.start, item.end)
            yield Finding(
                f"nothing uses the {what} `{item.alias}`", span, "remove the line", (_without(subject.source, item),)
            )


@rule("L0104")
def unused_block(subject: Subject) -> Iterator[Finding]:
    """A block that nothing calls, in a file that has networks (one without may be there for others)."""
    if not subject.networks:
        return
    used = subject.mentioned
    for item in subject.module.items:
        if isinstance(item, ast.Block) and item.name not in used:
            span = subject.source.span(item.name_start, item.name_end)
            yield Finding(f"nothing calls block `{item.name}`", span, "remove it, or move it to a file of blocks")


@rule("L0105")
def shadowing(subject: Subject) -> Iterator[Finding]:
    """A value or parameter with the name of a block, an import or a manifest hides it from the reader."""
    outer = {i.name: "block" for i in subject.module.items if isinstance(i, ast.Block | ast.Plugin)}
    outer |= {i.alias: "import" for i in subject.module.items if isinstance(i, ast.Import)}
    outer |= {i.alias: "manifest" for i in subject.module.items if isinstance(i, ast.WeightsDecl)}
    for item in subject.items:
        parameters = (*item.sig.tensors, *item.sig.attrs) if isinstance(item, ast.Block) else ()
        named = [(p.name, p.start) for p in parameters]
        named += [(t.name, t.start) for s in _assignments(subject.body(item)) for t in s.targets]
        for name, start in named:
            if name in outer:
                span = subject.source.span(start, start + len(name))
                yield Finding(f"`{name}` is also the name of a {outer[name]} of this file", span, "rename it")


@rule("L0106")
def unused_weight(subject: Subject) -> Iterator[Finding]:
    """Tensors of a manifest that no network of the file reads are shipped for nothing."""
    networks = subject.networks.values()
    tables = {d.name: d.table for n in networks for d in n.dependencies or () if isinstance(d, Manifest)}
    read = {id(t.weight) for n in networks for t in n.weights}
    for item in subject.module.items:
        if not isinstance(item, ast.WeightsDecl) or item.alias not in subject.mentioned:
            continue
        table = tables.get(PurePath(normpath(item.path)).as_posix())
        if table is None:
            continue
        unread = [name for name, weight in table.items() if id(weight) not in read]
        if unread:
            listed = ", ".join(f"`{name}`" for name in unread[:NAMED]) + (", .." if len(unread) > NAMED else "")
            what = f"{len(unread)} of {len(table)} tensors of the manifest `{item.alias}`"
            span = subject.source.span(item.start, item.end)
            yield Finding(f"no network reads {what}: {listed}", span, "take them out, unless other specs read them")


def _assignments(body: Body) -> list[ast.Assign]:
    """The assignments of a body, those inside repeats and branches among them, in the order of the text."""
    return sorted(body.all(ast.Assign), key=lambda n: n.start)


def _in_types(sig: ast.Sig) -> set[str]:
    types = [p.type for p in sig.tensors if p.type is not None]
    return {n.root for t in (*types, *sig.results) for d in t.dims for n in nodes([d]) if isinstance(n, ast.Ref)}


def _without(source: Source, node: ast.Node) -> Edit:
    """Take out a statement with its line, where it has one to itself."""
    text = source.text
    start = text.rfind("\n", 0, node.start) + 1
    end = text.find("\n", node.end)
    end = len(text) if end < 0 else end + 1
    alone = not text[start : node.start].strip() and not text[node.end : end].strip()
    return Edit(start, end, "") if alone else Edit(node.start, node.end, "")
