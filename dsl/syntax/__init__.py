"""Text to syntax tree and back: the parser with its error recovery, the formatter, the tree's classes."""

from trtn.dsl.syntax.formatter import format_source
from trtn.dsl.syntax.names import RESERVED, quote_name, quote_string
from trtn.dsl.syntax.parser import is_manifest, parse, parse_manifest
from trtn.dsl.syntax.reading import read_source

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
