"""How a verb ends when it does not end well: the one place that turns exceptions into messages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum

import typer

__all__ = ["EnvironmentProblem", "Exit", "failures_become_exit_codes", "usage_error"]


class Exit(IntEnum):
    """The exit codes, the same for every verb."""

    FINE = 0
    FINDINGS = 1
    """The input has findings, or is not what it should be."""
    USAGE = 2
    """Wrong usage, or an environment in which the verb can't work."""
    BUG = 70
    """A bug in trtn (EX_SOFTWARE)."""
    INTERRUPTED = 130
    """Ctrl-C, or a signal to end."""


class EnvironmentProblem(Exception):
    """Something that the verb needs is not there: a package, a device. The message says how to get it."""


def usage_error(message: str, option: str | None = None) -> typer.BadParameter:
    """What a verb raises for wrong usage; `option` is the option or argument that is at fault."""
    return typer.BadParameter(message, param_hint=f"'{option}'" if option else None)


@contextmanager
def failures_become_exit_codes() -> Iterator[None]:
    """Ends in typer.Exit whatever happens inside. Findings the verb's console has reported; this is for the rest."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        _say("interrupted")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except EnvironmentProblem as error:
        _say(f"error: {error}")
        raise typer.Exit(Exit.USAGE) from None
    except MemoryError:
        _say("error: out of memory")
        raise typer.Exit(Exit.USAGE) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _tells_of_itself(sys.argv[1:]):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
            raise typer.Exit(Exit.FINE) from None
        where = f"`{error.filename}`: " if error.filename is not None else ""
        _say(f"error: {where}{error.strerror or error}")
        raise typer.Exit(Exit.USAGE) from None
    except Exception as error:
        if hasattr(error, "format_message"):  # wrong usage, which typer prints; it does not export the base class
            raise
        _report_bug(error)
        raise typer.Exit(Exit.BUG) from None


def _tells_of_itself(arguments: list[str]) -> bool:
    """Whether no verb has any work: what is printed is the help or the version."""
    return not arguments or not {"-h", "--help", "--version", "-V"}.isdisjoint(arguments)


def _report_bug(error: Exception) -> None:
    from trtn.cli.bug_report import write_bug_report

    if os.environ.get("TRTN_BACKTRACE") == "1":
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    _say(f"error: this is a bug in trtn: {type(error).__name__}")
    path = write_bug_report(error, sys.argv)
    if path is not None:
        _say(f"Please report it with the file {path}: it has the traceback, versions and the command line, no weights.")
    _say("TRTN_BACKTRACE=1 shows the traceback here.")


def _say(text: str) -> None:
    """To standard error; that it is closed must not hide how the verb ended."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
