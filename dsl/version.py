"""The version of trtn. Here, where every part may read it; `trtn.__version__` is the same."""

from __future__ import annotations

__all__ = ["VERSION"]

VERSION = "0.1.0"
