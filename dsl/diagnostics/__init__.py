"""Findings: sources with spans come in, diagnostics with stable codes go out, as text or for machines."""

from trtn.dsl.diagnostics.codes import CODES
from trtn.dsl.diagnostics.explain import explain
from trtn.dsl.diagnostics.model import Diagnostic, Label, Severity, Sink
from trtn.dsl.diagnostics.render import FORMATS, render, summary
from trtn.dsl.diagnostics.source import Source, Span
from trtn.dsl.diagnostics.suggest import did_you_mean

__all__ = [
    "CODES",
    "FORMATS",
    "Diagnostic",
    "Label",
    "Severity",
    "Sink",
    "Source",
    "Span",
    "did_you_mean",
    "explain",
    "render",
    "summary",
]
