"""`trtn explain`: the long text of a diagnostic's code."""

from __future__ import annotations

from typing import Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.failures import usage_error
from trtn.cli.options import DocumentFormat, DocumentOption, epilog, verb

__all__ = ["app"]

app = verb()


@app.command(
    epilog=epilog(
        "trtn explain E0312",
        "trtn explain              # all codes, a line each",
        one="not used here: a code that does not exist is wrong usage",
    )
)
def explain(
    code: Annotated[
        str | None, typer.Argument(metavar="CODE", help="The code in brackets, like E0312. Without it, all are listed.")
    ] = None,
    format: DocumentOption = DocumentFormat.HUMAN,  # noqa: A002
) -> None:
    """Say what a diagnostic's code means, with an example and the cure."""
    with Console(format) as console:
        from trtn.dsl.diagnostics import CODES, did_you_mean, explain

        if code is None:
            console.result("\n".join(f"{name}  {page.title}" for name, page in CODES.items()))
            console.document({"format_version": "1.0", "codes": {name: page.title for name, page in CODES.items()}})
            return
        text = explain(code)
        if text is None:
            near = did_you_mean(code.strip().upper(), CODES)
            raise usage_error(f"no code `{code}`; {near or '`trtn explain` lists all'}", "CODE")
        name = code.strip().upper()
        page = CODES[name]
        console.result(text)
        console.document(
            {
                "format_version": "1.0",
                "code": name,
                "title": page.title,
                "cause": page.cause,
                "example": page.example,
                "cure": page.cure,
            }
        )
