"""Where a verb's words go: results to stdout, findings and status to stderr, or one document to stdout for programs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

import typer

from trtn.cli.failures import Exit
from trtn.cli.options import MAX_ERRORS, Color, DocumentFormat, Format, Printing, Reporting
from trtn.dsl.errors import TrtnError

if TYPE_CHECKING:
    from trtn.dsl.diagnostics import Diagnostic

__all__ = ["Console", "wants_color"]


class Console:
    """Used as `with Console(..) as console:` around a verb's work.

    Findings are collected and printed once, at the end; a TrtnError that is raised inside is a finding too. Where
    there are errors, the verb ends with exit code 1. In the formats for programs stdout gets exactly one document: the
    verb's own, or, where there are errors or it has none, that of the diagnostics.
    """

    def __init__(
        self,
        format: Format | DocumentFormat = Format.HUMAN,  # noqa: A002 - the name of the option
        *,
        color: Color = Color.AUTO,
        quiet: bool = False,
        max_errors: int = MAX_ERRORS,
    ) -> None:
        self.format = Format(format)
        self.quiet = quiet
        self.max_errors = max_errors
        self.diagnostics: list[Diagnostic] = []
        self.failed = False
        """Whether the exit code is 1 without a diagnostic that says so."""
        self._color = color
        self._document: str | None = None
        self._attached: dict[str, Any] = {}

    @classmethod
    def of(cls, options: Reporting | Printing) -> Console:
        limit = options.max_errors if isinstance(options, Reporting) else MAX_ERRORS
        return cls(options.format, color=options.color, quiet=options.quiet, max_errors=limit)

    @property
    def human(self) -> bool:
        """Whether results are printed for people, and not as a document."""
        return self.format in (Format.HUMAN, Format.CONCISE)

    def color(self, stream: TextIO) -> bool:
        return wants_color(self._color, stream)

    # --- what a verb says ---

    def found(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Findings, to be printed at the end."""
        self.diagnostics += diagnostics

    @property
    def has_errors(self) -> bool:
        return any(d.severity == "error" for d in self.diagnostics)

    def result(self, text: str) -> None:
        """A result for people, on stdout."""
        if self.human:
            self.write(sys.stdout, text)

    def status(self, text: str) -> None:
        """What has been done, for people, on stderr; not with --quiet."""
        if not self.quiet:
            self.write(sys.stderr, text)

    def document(self, value: Mapping[str, Any]) -> None:
        """The verb's result for programs."""
        self._document = json.dumps(value, indent=2, allow_nan=False)

    def attach(self, key: str, value: Any) -> None:
        """A further field of the JSON document of the diagnostics."""
        self._attached[key] = value

    @staticmethod
    def write(stream: TextIO, text: str) -> None:
        """A line or several. A reader that has gone away does not stop the verb's work."""
        try:
            stream.write(text + "\n")
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    # --- the end ---

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, TrtnError):
            self.found(error.diagnostics or [_without_code(error)])
        elif error is not None:
            return
        self._flush()
        if self.has_errors or self.failed:
            raise typer.Exit(Exit.FINDINGS) from None

    def _flush(self) -> None:
        if self.human:
            self._print_findings()
        elif self._document is not None and not self.has_errors:
            self.write(sys.stdout, self._document)
        else:
            self._print_document()

    def _print_findings(self) -> None:
        """For people: the first of them on stderr (concise: on stdout), and how many there are."""
        if not self.diagnostics:
            return
        from trtn.dsl.diagnostics import render, summary

        shown = self._within_limit()
        stream = sys.stderr if self.format is Format.HUMAN else sys.stdout
        width = shutil.get_terminal_size().columns if stream.isatty() else None
        self.write(stream, render(shown, self.format.value, color=self.color(stream), width=width))
        hidden = len(self.diagnostics) - len(shown)
        if hidden:
            self.write(sys.stderr, f"\n{hidden:,} more not shown; --max-errors 0 shows all")
        if self.format is Format.HUMAN:
            self.status(f"\n{summary(self.diagnostics)}")

    def _within_limit(self) -> list[Diagnostic]:
        """The first `max_errors` errors, and as many warnings, in the order found."""
        if not self.max_errors:
            return self.diagnostics
        seen: dict[str, int] = {}
        shown = []
        for diagnostic in self.diagnostics:
            seen[diagnostic.severity] = seen.get(diagnostic.severity, 0) + 1
            if seen[diagnostic.severity] <= self.max_errors:
                shown.append(diagnostic)
        return shown

    def _print_document(self) -> None:
        from trtn.dsl.diagnostics import render

        text = render(self.diagnostics, self.format.value)
        if self.format is Format.JSON and self._attached:
            text = json.dumps({**json.loads(text), **self._attached}, indent=2, allow_nan=False)
        if text:
            self.write(sys.stdout, text)


def wants_color(choice: Color, stream: TextIO) -> bool:
    """Whether to colour what is written to a stream: the option, then NO_COLOR, FORCE_COLOR, TERM=dumb, then whether
    it is a terminal.
    """
    if choice is not Color.AUTO:
        return choice is Color.ALWAYS
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def _without_code(error: TrtnError) -> Diagnostic:
    """A diagnostic for an error that carries none."""
    from trtn.dsl.diagnostics import Diagnostic

    codes = {
        "SpecError": "E0213",
        "ImportModelError": "E0801",
        "BuildError": "E0701",
        "EngineError": "E0703",
        "ShapeError": "E0705",
    }
    return Diagnostic(codes.get(type(error).__name__, "E0701"), str(error))
