"""A code's page as text, for `trtn explain`."""

from __future__ import annotations

from trtn.dsl.diagnostics.codes import CODES

__all__ = ["explain"]

_WIDTH = 88


def explain(code: str) -> str | None:
    """The page of a code (`E0312`, in either case), or None where there is no such code."""
    code = code.strip().upper()
    page = CODES.get(code)
    if page is None:
        return None
    from textwrap import fill, indent

    return "\n\n".join(
        [
            f"{code}: {page.title}",
            fill(page.cause, _WIDTH),
            "Example:",
            indent(page.example, "    "),
            fill(f"Cure: {page.cure}", _WIDTH),
        ]
    )
