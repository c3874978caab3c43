"""`trtn lint`: findings about specs that are correct."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.failures import usage_error
from trtn.cli.files import replace_text
from trtn.cli.grouped import grouped
from trtn.cli.options import AllowOutside, Reporting, epilog, verb
from trtn.cli.specs import find_specs
from trtn.cli.tables import plural

if TYPE_CHECKING:
    from trtn.dsl.lint import Subject

__all__ = ["app"]

app = verb()

ROUNDS = 10
"""What one fix leaves behind another may take away: a name that only a removed statement read."""


@app.command(
    epilog=epilog(
        "trtn lint specs/",
        "trtn lint --fix models/bert.trtn         # the files are rewritten, in the canonical format",
        "trtn lint --ignore L0121 --format github specs/",
        "trtn lint --rules",
        one="there are findings (after --fix: that it could not cure), or a spec has errors",
    )
)
@grouped
def lint(
    specs: Annotated[list[str] | None, typer.Argument(metavar="SPEC", help="Specs, or folders of them.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Cure what can be cured without changing any result.")] = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="RULE", help="Leave out a rule, by code or name. May repeat."),
    ] = None,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules and exit.")] = False,
    allow_outside: AllowOutside = False,
    *,
    reporting: Reporting,
) -> None:
    """Find what specs could do better: what nobody uses, what does nothing, what will be slow or imprecise.

    A comment allows a rule for a line, or, alone on the line above: `# trtn: allow(L0101)`. --fix never changes what a
    network computes: a fixed file is read again and compared before it is written.
    """
    with Console.of(reporting) as console:
        from trtn.dsl.lint import RULES

        if rules:
            console.result("\n".join(f"{r.code}  {r.name:20} {r.about}" for r in RULES.values()))
            return
        if not specs:
            raise usage_error("name the specs to be linted", "SPEC")
        known = {*RULES, *(r.name for r in RULES.values())}
        if unknown := [r for r in ignore or [] if r not in known]:
            raise usage_error(f"no rule is called {unknown[0]}; see --rules", "--ignore")
        for spec in find_specs(specs):
            _lint(console, spec, fix, ignore or [], allow_outside)
        console.failed = bool(console.diagnostics)


def _lint(console: Console, spec: str, fix: bool, ignore: list[str], allow_outside: bool) -> None:
    from trtn.dsl.diagnostics import Sink
    from trtn.dsl.lint import lint as find
    from trtn.dsl.lint.linter import read_subject
    from trtn.dsl.load import is_manifest
    from trtn.dsl.syntax import read_source

    sink = Sink()
    source = read_source(spec, sink)
    subject = None
    if source is not None and not is_manifest(source):
        subject = read_subject(source, sink, allow_outside=allow_outside)
    console.found(d for d in sink.diagnostics if d.severity == "error")
    if subject is None:
        return
    if fix and spec != "-":
        subject = _fix(console, spec, subject, ignore, allow_outside)
    console.found(find(subject, ignore=ignore)[0])


def _fix(console: Console, spec: str, subject: Subject, ignore: list[str], allow_outside: bool) -> Subject:
    """Edit, read again, until nothing more can be cured; the file is written once, when all networks are the same."""
    from trtn.dsl.diagnostics import Sink, Source
    from trtn.dsl.lint import fixed
    from trtn.dsl.lint import lint as find
    from trtn.dsl.lint.linter import read_subject
    from trtn.dsl.syntax import format_source

    first, count = subject, 0
    for _ in range(ROUNDS):
        edits = find(subject, ignore=ignore)[1]
        if not edits:
            break
        text = fixed(subject.source.text, edits)
        source = Source(subject.source.path, format_source(Source(subject.source.path, text)))
        after = read_subject(source, Sink(), allow_outside=allow_outside)
        if after is None or not _computes_the_same(first, after):
            break
        subject, count = after, count + len(edits)
    if count:
        replace_text(Path(spec), subject.source.text)
        console.status(f"{spec}: {plural(count, 'fix', 'fixes')}")
    return subject


def _computes_the_same(before: Subject, after: Subject) -> bool:
    """Whether all networks are the same but for layers that do nothing or that nothing reads."""
    from trtn.dsl.lint.sameness import same_results

    return before.networks.keys() == after.networks.keys() and all(
        same_results(before.networks[name], after.networks[name]) for name in before.networks
    )
