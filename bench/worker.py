"""The process behind `harness.isolated`: `python -m bench.worker MODULE FUNCTION ARGUMENTS` prints a line of JSON.

It imports little: the whole process is measured where a first result is."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

__all__ = ["main"]


def main(module: str, function: str, arguments: str) -> int:
    """Call the function; an exception's type and first line go to the standard error, and the exit code is 1."""
    try:
        value = getattr(import_module(module), function)(**json.loads(arguments))
    except Exception as error:  # whatever it is, it becomes a row's failure
        lines = str(error).splitlines() or [""]
        print(f"{type(error).__name__}: {lines[0]}", file=sys.stderr)
        return 1
    print(json.dumps({"value": value, "peak_bytes": peak_memory()}))
    return 0


def peak_memory() -> int:
    """The most memory, in bytes, that this process has held. 0 where the system does not tell.

    `getrusage` would count the parent's memory too: a child starts as a copy of it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(lines["VmHWM"].split()[0]) * 1024


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
