"""The TextMate grammar, which editors/vscode has: `python -m trtn.dsl.highlight.textmate > trtn.tmLanguage.json`."""

from __future__ import annotations

import json
from typing import Any

from trtn.dsl.highlight.rules import RULES, Rule

__all__ = ["textmate_grammar"]


def textmate_grammar() -> str:
    """The grammar's JSON text."""
    grammar = {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "trtn",
        "scopeName": "source.trtn",
        "fileTypes": ["trtn"],
        "patterns": [_pattern(rule) for rule in RULES],
    }
    return json.dumps(grammar, indent=2) + "\n"


def _pattern(rule: Rule) -> dict[str, Any]:
    if len(rule.kinds) == 1:
        return {"match": rule.pattern, "name": f"{rule.kinds[0].scope}.trtn"}
    captures = {str(n): {"name": f"{kind.scope}.trtn"} for n, kind in enumerate(rule.kinds, 1) if kind.scope}
    return {"match": rule.pattern, "captures": captures}


if __name__ == "__main__":
    print(textmate_grammar(), end="")
