"""The user's cache folder: timings and compiled plans that any build or engine may use again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]

OFF = "off"


def cache_folder() -> Path | None:
    """`$TRTN_CACHE`, or `trtn` in the user's cache folder; None where `$TRTN_CACHE` is `off`."""
    named = os.environ.get("TRTN_CACHE", "")
    if named:
        return None if named == OFF else Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trtn"
