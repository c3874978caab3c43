"""Text to syntax tree and back: the parser with its error recovery, the formatter, the tree's classes."""

from trtn.dsl.syntax.names import RESERVED, quote_name, quote_string
from trtn.dsl.syntax.parser import parse, parse_manifest
from trtn.dsl.syntax.reading import read_source

__all__ = ["RESERVED", "parse", "parse_manifest", "quote_name", "quote_string", "read_source"]
