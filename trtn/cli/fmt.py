"""`trtn fmt`: the one canonical format of specs and manifests."""

from __future__ import annotations

import sys
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.files import replace_text
from trtn.cli.grouped import grouped
from trtn.cli.options import (
    Format,
    Reporting,
    StdinFilename,
    epilog,
    verb,
)
from trtn.cli.specs import find_specs, read
from trtn.cli.tables import plural

if TYPE_CHECKING:
    from trtn.dsl.diagnostics import Diagnostic, Source

__all__ = ["app"]

app = verb()

_DIFF_COLORS = {"+": "\x1b[32m", "-": "\x1b[31m", "@": "\x1b[36m"}


@app.command(
    epilog=epilog(
        "trtn fmt models/bert.trtn        # rewrites the file",
        "trtn fmt --check specs/          # for CI: changes nothing, fails where something would change",
        "trtn fmt --diff specs/",
        "trtn fmt - < in.trtn > out.trtn",
        one="a file can't be parsed, or (--check, --diff) is not formatted",
    )
)
@grouped
def fmt(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC", help="Specs, manifests, folders of them, or `-`.")],
    check: Annotated[bool, typer.Option("--check", help="Only say which files would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Only print how files would change.")] = False,
    stdin_filename: StdinFilename = None,
    *,
    reporting: Reporting,
) -> None:
    """Rewrite specs and weight manifests in the canonical format.

    Comments and single blank lines stay. There are no style options. Files are replaced whole or not at all; standard
    input goes, formatted, to standard output.
    """
    with Console.of(reporting) as console:
        from trtn.dsl.diagnostics import Sink
        from trtn.dsl.errors import SpecError
        from trtn.dsl.syntax import format_source

        changed = 0
        paths = find_specs(specs)
        for path in paths:
            sink = Sink()
            source = read(path, sink, stdin_filename)
            if source is None:
                console.found(sink.diagnostics)
                continue
            try:
                text = format_source(source)
            except SpecError as error:
                console.found(error.diagnostics)
                continue
            differs = text != source.text
            changed += differs
            if diff and differs:
                console.result(_diff(source, text, console.color(sys.stdout)))
            if check or diff:
                _would_change(console, source, text, differs, listed=check and not diff)
            elif path == "-":
                console.write(sys.stdout, text.removesuffix("\n"))
            elif differs:
                replace_text(Path(path), text)
                console.status(f"formatted {path}")
        if not (check or diff or paths == ["-"]):
            console.status(f"{plural(changed, 'file')} formatted, {len(paths) - changed:,} left as they were")


def _would_change(console: Console, source: Source, text: str, differs: bool, *, listed: bool) -> None:
    """Records a file that is not formatted: as a line for people, as a finding for programs."""
    if not differs:
        return
    console.failed = True
    if console.format is not Format.HUMAN:
        console.found([_unformatted(source, text)])
    elif listed:
        console.result(f"would reformat {source.path}")


def _unformatted(source: Source, text: str) -> Diagnostic:
    """E0110 at the first line that would change."""
    from trtn.dsl.diagnostics import Diagnostic

    old, new = source.text.splitlines(), text.splitlines()
    at = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = source.line_starts[min(at, len(source.line_starts) - 1)]
    span = source.span(start, start + len(old[at]) if at < len(old) else start)
    return Diagnostic("E0110", "the text is not in the canonical format", span, help=f"run `trtn fmt {source.path}`")


def _diff(source: Source, text: str, color: bool) -> str:
    old, new = source.text.splitlines(), text.splitlines()
    lines = list(unified_diff(old, new, f"{source.path}", f"{source.path} (formatted)", lineterm=""))
    if not color:
        return "\n".join(lines)
    return "\n".join(f"{_DIFF_COLORS[line[0]]}{line}\x1b[0m" if line[:1] in _DIFF_COLORS else line for line in lines)
