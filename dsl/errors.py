"""Every error that a caller of trtn may catch. All derive from `TrtnError`; nothing else leaves the public API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trtn.dsl.diagnostics import Diagnostic

__all__ = ["BuildError", "EngineError", "ImportModelError", "ShapeError", "SpecError", "TrtnError"]


class TrtnError(Exception):
    """The root of trtn's errors. `diagnostics` holds what was found, with positions; it may be empty."""

    def __init__(self, message: str, diagnostics: Sequence[Diagnostic] = ()) -> None:
        super().__init__(message)
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)


class SpecError(TrtnError):
    """A spec or a manifest has findings: one diagnostic each, all of them collected."""


class ImportModelError(TrtnError):
    """A foreign model can't be imported. The diagnostics list every unsupported node, not the first."""


class BuildError(TrtnError):
    """A network can't be built: weights that are missing or differ, a lock that misses an entry, no such device."""


class EngineError(TrtnError):
    """An engine file is damaged, of another format version, or does not fit this machine."""


class ShapeError(TrtnError):
    """Feeds that the engine can't serve: a name, dtype, rank, or a shape outside every profile."""
