"""`trtn diff`: what changed between two networks, by names and structure."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.options import AllowOutside, Color, ColorOption, DocumentFormat, NetworkOption, epilog, verb

if TYPE_CHECKING:
    from trtn.cli.sides import Side
    from trtn.dsl.review import Comparison

__all__ = ["app"]

app = verb()


class DiffFormat(StrEnum):
    HUMAN = "human"
    JSON = "json"
    MARKDOWN = "markdown"


@app.command(
    epilog=epilog(
        "trtn diff old.trtn new.trtn",
        "trtn diff HEAD~1:specs/bert.trtn specs/bert.trtn",
        "trtn diff main:specs specs                     # every spec of a folder",
        "trtn diff model-v1.onnx model-v2.onnx --values # and by how much weights changed",
        "trtn diff bert.engine bert.trtn                # is the engine still what the spec says?",
        "trtn diff main:specs specs --format markdown > comment.md",
        one="they differ in more than inner names, or a side has findings",
    )
)
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A spec, folder, ONNX model, engine, or `REV:path`.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The same, to compare with.")],
    values: Annotated[
        bool, typer.Option("--values", help="Load weights that changed and say by how much (max and mean).")
    ] = False,
    network: NetworkOption = None,
    format: Annotated[DiffFormat, typer.Option("--format", help="How the result is printed.")] = DiffFormat.HUMAN,  # noqa: A002
    color: ColorOption = Color.AUTO,
    allow_outside: AllowOutside = False,
) -> None:
    """Compare two networks: layers, types, weights, profiles, targets, precision.

    Layers are known by their names and by what they compute, so that a layer that was renamed or moved into a block is
    still the same layer. Changes that differ in nothing but an index are one line. No weight's bytes are read without
    --values. Beside an engine, a spec is compared as a build leaves it, its weights by their values.

    JSON: format_version, comparisons: [{before, after, same, unchanged, changes: [{subject, verb, name, what, before,
    after, line, places}]}].
    """
    document = DocumentFormat.JSON if format is DiffFormat.JSON else DocumentFormat.HUMAN
    with Console(document, color=color) as console, ExitStack() as stack:
        from trtn.cli.sides import networks_of, opened

        old, new = (
            networks_of(name, stack.enter_context(opened(name)), network=network, allow_outside=allow_outside)
            for name in (before, after)
        )
        comparisons = _compare(old, new, values)
        if format is DiffFormat.MARKDOWN:
            from trtn.dsl.review.report import markdown

            console.result(markdown(comparisons))
        else:
            from trtn.dsl.review.report import human

            console.result(human(comparisons, color=console.color(sys.stdout)))
        console.document({"format_version": "1.0", "comparisons": [c.to_json() for c in comparisons]})
        console.failed = any(not c.is_same for c in comparisons)


def _compare(old: dict[str, Side], new: dict[str, Side], values: bool) -> list[Comparison]:
    """Pairs by key; two single networks are a pair whatever they are called."""
    from trtn.cli.sides import Side
    from trtn.dsl.network import Graph, Network

    if len(old) == len(new) == 1:
        new = dict(zip(old, new.values(), strict=True))
    found = []
    for key in [*new, *(k for k in old if k not in new)]:
        there = (new.get(key) or old[key]).network
        nothing = Side("nothing", Network(there.name, Graph((), (), ()), doc=there.doc))
        a, b = old.get(key, nothing), new.get(key, nothing)
        comparison = _pair(a, b, values)
        for side in (a, b):
            changes = (replace(c, line=c.line.replace(side.path or side.title, side.title)) for c in comparison.changes)
            comparison = replace(comparison, changes=tuple(changes))
        found.append(comparison)
    return found


def _pair(a: Side, b: Side, values: bool) -> Comparison:
    """Beside an engine, a spec is what a build makes of it."""
    titles = a.title, b.title
    if a.engine is not None and b.engine is None:
        from trtn.backend.report.built import compare_built

        return compare_built(a.engine, b.network, titles=titles, engine_first=True)
    if b.engine is not None and a.engine is None:
        from trtn.backend.report.built import compare_built

        return compare_built(b.engine, a.network, titles=titles, engine_first=False)
    from trtn.dsl.review import compare

    return compare(a.network, b.network, titles=titles, values=values)
