"""The grammars: the language's single source of truth, written for Lark's LALR parser with its contextual lexer.

`trtn.lark` is the grammar of specs, `weights.lark` that of weight manifests; both end with what they share,
`common.lark`.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

__all__ = ["GrammarName", "grammar_text"]

GrammarName = Literal["trtn", "weights"]


def grammar_text(name: GrammarName) -> str:
    """The whole text of a grammar, ready for `lark.Lark`."""
    folder = files(__name__)
    return "\n".join(folder.joinpath(f"{part}.lark").read_text(encoding="utf-8") for part in (name, "common"))
