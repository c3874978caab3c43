"""Text to syntax tree and back: the parser with its error recovery, the formatter, the tree's classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trtn.dsl.syntax.names import RESERVED, quote_name, quote_string
from trtn.dsl.syntax.parser import is_manifest, parse, parse_manifest
from trtn.dsl.syntax.reading import read_source

if TYPE_CHECKING:
    from trtn.dsl.syntax.formatter import format_source

__all__ = [
    "RESERVED",
    "format_source",
    "is_manifest",
    "parse",
    "parse_manifest",
    "quote_name",
    "quote_string",
    "read_source",
]


def __getattr__(name: str) -> Any:
    if name == "format_source":  # most commands read texts and format none
        from trtn.dsl.syntax.formatter import format_source

        return format_source
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
