"""`trtn breaking`: what a change breaks for those who rely on a spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.failures import usage_error
from trtn.cli.grouped import grouped
from trtn.cli.options import AllowOutside, Reporting, epilog, verb
from trtn.cli.specs import find_specs
from trtn.cli.tables import plural

if TYPE_CHECKING:
    from trtn.dsl.diagnostics import Diagnostic
    from trtn.dsl.review.breaking import Kind
    from trtn.dsl.review.release import Release

__all__ = ["app"]

app = verb()


@app.command(
    epilog=epilog(
        "trtn breaking specs/ --against main",
        "trtn breaking specs/bert.trtn --against v1.4 --kind engine",
        "trtn breaking new.trtn --against-file old.trtn",
        "trtn breaking specs/ --against main --ignore WEIGHTS_SAME --format github",
        "trtn breaking --rules",
        one="something breaks, or a spec has findings",
    )
)
@grouped
def breaking(
    specs: Annotated[list[str] | None, typer.Argument(metavar="SPEC", help="Specs, or folders of them.")] = None,
    against: Annotated[
        str, typer.Option("--against", metavar="REV", help="The revision of git that they are compared with.")
    ] = "HEAD",
    against_file: Annotated[
        str | None, typer.Option("--against-file", metavar="OLD", help="A file to compare with, instead.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Only rules of this class: source, engine or numeric. May repeat."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="RULE", help="Leave a rule out. May repeat.")
    ] = None,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules and exit.")] = False,
    allow_outside: AllowOutside = False,
    *,
    reporting: Reporting,
) -> None:
    """Check that a new version of specs breaks nobody who relies on the old one.

    SOURCE rules are about specs that import their blocks, ENGINE rules about programs that feed their engines and builds
    that name their targets, NUMERIC rules about the numbers. A line of the new version may allow a rule:
    `# trtn: allow(INPUT_SAME_DTYPE)`. Specs that are new break nothing.
    """
    with Console.of(reporting) as console:
        from trtn.dsl.review.breaking import RULES

        if rules:
            console.result("\n".join(f"{r.kind:8} {r.name:24} {r.about}" for r in RULES.values()))
            return
        if not specs:
            raise usage_error("name the specs to be checked", "SPEC")
        if against_file is not None and len(find_specs(specs)) != 1:
            raise usage_error("one spec can be compared with a file", "--against-file")
        kinds = _kinds(kind or [])
        if unknown := [r for r in ignore or [] if r not in RULES]:
            raise usage_error(f"no rule is called {unknown[0]}; see --rules", "--ignore")
        for spec in find_specs(specs):
            _check(console, spec, against_file or f"{against}:{spec}", kinds, ignore or [], allow_outside)


def _kinds(names: list[str]) -> tuple[Kind, ...]:
    from trtn.dsl.review.breaking import Kind

    if unknown := [n for n in names if n not in tuple(Kind)]:
        raise usage_error(f"{unknown[0]} is none of {', '.join(Kind)}", "--kind")
    return tuple(Kind(n) for n in names) or tuple(Kind)


def _check(
    console: Console, spec: str, before: str, kinds: tuple[Kind, ...], ignore: list[str], allow_outside: bool
) -> None:
    from trtn.cli.sides import opened
    from trtn.dsl.review.breaking import breaks
    from trtn.dsl.review.revisions import exists

    if not Path(before).is_file() and not exists(before):
        console.status(f"{spec}: not in {before.partition(':')[0]}, nothing can break")
        return
    new = _release(console, spec, allow_outside)
    with opened(before) as path:
        old = _release(console, str(path), allow_outside)
    if old is None or new is None:
        return
    found: list[Diagnostic] = breaks(old, new, kinds=kinds, ignore=ignore)
    console.found(found)
    if not found:
        count = plural(len(new.networks), "network")
        console.status(f"{spec}: {count}, nothing breaks against {before}")


def _release(console: Console, path: str, allow_outside: bool) -> Release | None:
    """A version of a spec; None for a manifest, or where it has findings, which the console gets."""
    from trtn.dsl.diagnostics import Sink
    from trtn.dsl.load import is_manifest
    from trtn.dsl.review.release import read_release
    from trtn.dsl.syntax import read_source

    sink = Sink()
    source = read_source(path, sink)
    release = None
    if source is not None and not is_manifest(source):
        release = read_release(source, sink, allow_outside=allow_outside)
    console.found(d for d in sink.diagnostics if d.severity == "error")
    return None if sink.has_errors else release
