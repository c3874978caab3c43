"""The Pygments lexer, found by the name `trtn` where trtn is installed."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pygments.lexer import RegexLexer, bygroups
from pygments.token import Text, string_to_tokentype

from trtn.dsl.highlight.rules import RULES, Rule

__all__ = ["TrtnLexer"]


def _rule(rule: Rule) -> tuple[str, Any]:
    tokens = [string_to_tokentype(kind.token) for kind in rule.kinds]
    return (rule.pattern, tokens[0] if len(tokens) == 1 else bygroups(*tokens))


class TrtnLexer(RegexLexer):  # type: ignore[misc]
    """Specs and weight manifests."""

    name = "trtn"
    aliases: ClassVar[list[str]] = ["trtn"]
    filenames: ClassVar[list[str]] = ["*.trtn"]
    mimetypes: ClassVar[list[str]] = ["text/x-trtn"]
    version_added = ""
    flags = re.MULTILINE
    tokens: ClassVar[dict[str, list[tuple[str, Any]]]] = {
        # One at a time: what begins a line is told by the rules above, which look for its blanks too.
        "root": [*map(_rule, RULES), (r"\n|[ \t\r]+", Text.Whitespace)]
    }
