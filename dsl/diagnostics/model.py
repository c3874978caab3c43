"""What a finding is, and the sink that collects all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from trtn.dsl.diagnostics.codes import CODES
from trtn.dsl.diagnostics.source import Span
from trtn.dsl.records import record

__all__ = ["Diagnostic", "Label", "Severity", "Sink"]


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@record()
class Label:
    """A secondary place that has a part in the finding, with a few words on that part."""

    span: Span
    text: str


@record()
class Diagnostic:
    """One finding. The message stands alone: lower case, no full stop, names in backticks, values in it.

    `values` is the witness where there is one: sizes of the dims for which what is demanded does not hold.
    """

    code: str
    message: str
    span: Span | None = None
    severity: Severity = Severity.ERROR
    label: str = ""
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: str = ""
    values: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        where = f"{self.span}: " if self.span is not None else ""
        return f"{where}{self.severity}[{self.code}]: {self.message}"


class Sink:
    """Collects diagnostics in the order found; the same code at the same place is kept once."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._seen: set[tuple[object, ...]] = set()

    def add(self, diagnostic: Diagnostic) -> None:
        assert diagnostic.code in CODES, diagnostic.code
        span = diagnostic.span
        place = (span.source.path, span.start, span.end) if span is not None else None
        key = (diagnostic.code, place, diagnostic.message)
        if key not in self._seen:
            self._seen.add(key)
            self.diagnostics.append(diagnostic)

    def error(
        self,
        code: str,
        message: str,
        span: Span | None = None,
        *,
        label: str = "",
        labels: tuple[Label, ...] = (),
        notes: tuple[str, ...] = (),
        help: str = "",  # noqa: A002 - the word that every compiler prints
        values: Mapping[str, int] | None = None,
    ) -> None:
        self.add(Diagnostic(code, message, span, Severity.ERROR, label, labels, notes, help, values or {}))

    def warning(
        self,
        code: str,
        message: str,
        span: Span | None = None,
        *,
        notes: tuple[str, ...] = (),
        help: str = "",  # noqa: A002
    ) -> None:
        self.add(Diagnostic(code, message, span, Severity.WARNING, notes=notes, help=help))

    @property
    def error_count(self) -> int:
        return sum(d.severity is Severity.ERROR for d in self.diagnostics)

    @property
    def has_errors(self) -> bool:
        return any(d.severity is Severity.ERROR for d in self.diagnostics)
