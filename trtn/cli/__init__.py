"""The command line: one module a verb, loaded when it is called for. Verbs read options, call the API, print."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """The entry point of the command `trtn`. Always ends in SystemExit, with one of the codes of
    `trtn.cli.failures.Exit`.
    """
    for stream in (sys.stdout, sys.stderr):
        # Names of files and tensors may have characters that the terminal's encoding lacks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        from trtn.cli.app import app

        app(prog_name="trtn")
    except KeyboardInterrupt:  # before the verb had begun
        sys.exit(130)
