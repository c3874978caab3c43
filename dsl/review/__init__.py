"""What changed between two networks: by names and structure, never by lines."""

from __future__ import annotations

from trtn.dsl.review.changes import Change, Comparison
from trtn.dsl.review.compare import compare

__all__ = ["Change", "Comparison", "compare"]
