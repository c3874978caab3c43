"""The findings of one file: kept in the order of the text, and no more of them than a person would read."""

from __future__ import annotations

from typing import NamedTuple

from trtn.dsl.diagnostics import Label, Sink, Source, Span

__all__ = ["ERROR_LIMIT", "Report"]

ERROR_LIMIT = 100
"""Errors of one file that are reported; reading stops there."""


class _Finding(NamedTuple):
    start: int
    end: int
    code: str
    message: str
    help: str
    labels: tuple[Label, ...]


class Report:
    """Collects findings while a file is read; `flush` hands them to the sink."""

    def __init__(self, source: Source, sink: Sink) -> None:
        self.source = source
        self._sink = sink
        self._findings: list[_Finding] = []
        self._overflow = False

    @property
    def full(self) -> bool:
        return self._overflow

    def __len__(self) -> int:
        return len(self._findings)

    def error(
        self,
        code: str,
        start: int,
        end: int,
        message: str,
        *,
        help: str = "",  # noqa: A002
        labels: tuple[Label, ...] = (),
    ) -> None:
        if len(self._findings) >= ERROR_LIMIT:
            self._overflow = True
            return
        self._findings.append(_Finding(start, end, code, message, help, labels))

    def span(self, start: int, end: int) -> Span:
        """The span, inside the text whatever the offsets are (repairs may stand behind its end)."""
        size = len(self.source.text)
        start = min(start, size)
        return Span(self.source, start, max(start, min(end, size)))

    def has_error_in(self, start: int, end: int) -> bool:
        return any(start <= f.start < end for f in self._findings)

    def flush(self) -> None:
        for finding in sorted(self._findings, key=lambda f: f.start):
            self._sink.error(
                finding.code,
                finding.message,
                self.span(finding.start, finding.end),
                labels=finding.labels,
                help=finding.help,
            )
        if self._overflow:
            last = max(self._findings, key=lambda f: f.start)
            self._sink.error(
                "E0107",
                f"more than {ERROR_LIMIT} errors in `{self.source.path}`: the rest is not shown",
                self.span(last.start, last.end),
            )
        self._findings.clear()
