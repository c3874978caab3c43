"""From a flat network to the text that a person wants to review: known patterns as their op, repeated structure as
blocks."""

from __future__ import annotations

from trtn.dsl.structure.document import print_structured, structured_document
from trtn.dsl.structure.recognise import recognise

__all__ = ["print_structured", "recognise", "structured_document"]
