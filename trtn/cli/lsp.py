"""`trtn lsp`: the language server, for editors to start."""

from __future__ import annotations

from typing import Annotated

import typer

from trtn.cli.failures import EnvironmentProblem
from trtn.cli.options import epilog, verb

__all__ = ["app"]

app = verb()


@app.command(epilog=epilog("trtn lsp        # editors start it; editors/vscode does", one="not used here"))
def lsp(
    stdio: Annotated[
        bool, typer.Option("--stdio", help="Speak on standard input and output. It always does; editors say so.")
    ] = True,
) -> None:
    """Serve editors: findings as you type, types, completion, definitions, formatting, renaming.

    Speaks the Language Server Protocol on standard input and output. Needs the extra `lsp`.
    """
    try:
        from trtn.dsl.lsp.server import serve
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("pygls", "lsprotocol"):
            raise
        raise EnvironmentProblem("the language server needs pygls: pip install 'trtn[lsp]'") from None
    serve()
