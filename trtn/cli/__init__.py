"""The command line: one module a verb, loaded when it is called for. Verbs read options, call the API, print."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """The entry point of the command `trtn`. Always ends in SystemExit, with one of the codes of
    `trtn.cli.failures.Exit`.
    """
    for stream in (sys.stdout, sys.stderr):
        # Names of files and tensors may have characters that the terminal's encoding lacks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # A supervisor's stop, or a closed terminal, ends a verb as Ctrl-C does: nothing half-done is left behind.
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    try:
        from trtn.cli.app import app

        app(prog_name="trtn")
    except KeyboardInterrupt:  # before the verb had begun
        sys.exit(130)
