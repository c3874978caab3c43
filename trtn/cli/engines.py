"""Engines as the command line names them: a file, or standard input."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trtn.backend.runtime import Engine

__all__ = ["load"]


def load(path: str, trusted: bool | None = None) -> Engine:
    """The engine of a file or, for `-`, of standard input. Raises EngineError."""
    from trtn.backend.engine.file import load_engine

    return load_engine(sys.stdin.buffer.read() if path == "-" else path, trusted=trusted)
