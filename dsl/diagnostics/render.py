"""Diagnostics as text, in the format that the reader asks for."""

from __future__ import annotations

from collections.abc import Sequence

from trtn.dsl.diagnostics.model import Diagnostic, Severity

__all__ = ["FORMATS", "render", "summary"]

FORMATS = ("human", "concise", "json", "sarif", "github")


def render(
    diagnostics: Sequence[Diagnostic],
    format: str = "human",  # noqa: A002 - the name of the option that it comes from
    *,
    color: bool = False,
    width: int | None = None,
) -> str:
    """The diagnostics in one of `FORMATS`, without a last line end.

    `color` (ANSI) and `width` (columns; long source lines are cut to it) concern the human format. No
    diagnostics give an empty text, or an empty document. Raises ValueError where there is no such format.
    """
    # Imported here: a run that finds nothing needs no renderer.
    from trtn.dsl.diagnostics import human, machine

    match format:
        case "human":
            return human.render_human(diagnostics, color=color, width=width)
        case "concise":
            return machine.render_concise(diagnostics)
        case "json":
            return machine.render_json(diagnostics, width=width)
        case "sarif":
            return machine.render_sarif(diagnostics)
        case "github":
            return machine.render_github(diagnostics)
    raise ValueError(f"no such format: {format!r}; there are {', '.join(FORMATS)}")


def summary(diagnostics: Sequence[Diagnostic]) -> str:
    """`2 errors, 1 warning`; `no findings` where there are none."""
    severities = [diagnostic.severity for diagnostic in diagnostics]
    counts = ((severities.count(severity), str(severity)) for severity in Severity)
    return ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in counts if n) or "no findings"
