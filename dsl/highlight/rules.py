"""The rules: regular expressions that Python's `re` and Oniguruma read alike, none of which goes beyond its line.

Keywords come from the grammar. Most of them are names too (`output = softmax(input)`): what is around a word tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from trtn.dsl.dtypes import BY_NAME
from trtn.grammar import grammar_text

__all__ = ["KEYWORDS", "RULES", "Kind", "Rule"]


class Kind(Enum):
    """What a piece of text is: the TextMate scope and the Pygments token of each."""

    COMMENT = "comment.line.number-sign", "Comment.Single"
    STRING = "string.quoted.double", "Literal.String.Double"
    UNCLOSED = "invalid.illegal.unclosed", "Literal.String.Double"
    DIGEST = "constant.other.digest", "Literal.String.Other"
    DEVICE = "constant.other.device", "Name.Constant"
    ANNOTATION = "entity.name.function.decorator", "Name.Decorator"
    DECLARATION = "keyword.declaration", "Keyword.Declaration"
    KEYWORD = "keyword.other", "Keyword"
    CONSTANT = "constant.language", "Keyword.Constant"
    DECLARED = "entity.name.type", "Name.Class"
    TYPE = "storage.type", "Keyword.Type"
    FUNCTION = "entity.name.function", "Name.Function"
    ARGUMENT = "variable.parameter", "Name.Attribute"
    NAME = "variable.other", "Name"
    QUOTED = "variable.other.quoted", "Name.Variable"
    NUMBER = "constant.numeric", "Literal.Number"
    OPERATOR = "keyword.operator", "Operator"
    PUNCTUATION = "punctuation", "Punctuation"
    BLANK = "", "Text.Whitespace"

    @property
    def scope(self) -> str:
        return self.value[0]

    @property
    def token(self) -> str:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Rule:
    """`kinds` are those of the pattern's groups; a single one is that of the whole match."""

    pattern: str
    kinds: tuple[Kind, ...]


def _keywords() -> frozenset[str]:
    """The words that the grammars have as terminals."""
    text = grammar_text("trtn") + grammar_text("weights")
    return frozenset(re.findall(r'^[A-Z]+: "([a-z]+)"', text, re.M))


KEYWORDS = _keywords()
_CONSTANTS = frozenset({"true", "false", "inf", "nan", "none"})
_DECLARATIONS = frozenset({"network", "block", "plugin", "profile", "target", "manifest"})
_HEADS = frozenset({"import", "weights", "doc", "dim", "input", "output", "file", "tensor", "where"})
"""Words that are keywords where a line or a body begins only."""
_REST = KEYWORDS - _CONSTANTS - _DECLARATIONS - _HEADS - {"trtn"}
_KINDS = ("weights", "int", "float", "str", "bool", "dtype", "ints", "floats")


def _words(words: frozenset[str] | tuple[str, ...]) -> str:
    return "|".join(sorted(words))


_NAME = r"(?:[A-Za-z_][A-Za-z0-9_]*|`[^`\n]+`)"
_BEGINS = r"(?:^|(?<=[{}]))([ \t]*)"
_OPERAND = r"(?:[A-Za-z0-9_\"`(\[{]|-[0-9])"
_ALONE = r"(?<![A-Za-z0-9_.`])"

RULES: tuple[Rule, ...] = (
    Rule(r"#[^\n]*", (Kind.COMMENT,)),
    Rule(r'"(?:[^"\\\n]|\\[^\n])*"', (Kind.STRING,)),
    Rule(r'"[^\n]*', (Kind.UNCLOSED,)),
    Rule(r"sha256:[0-9a-fA-F]+", (Kind.DIGEST,)),
    Rule(r"(?:^|(?<=[ \t{}]))@[A-Za-z_][A-Za-z0-9_]*", (Kind.ANNOTATION,)),
    Rule(r"^([ \t]*)(trtn)(?=[ \t]+[0-9])", (Kind.BLANK, Kind.DECLARATION)),
    Rule(rf"{_BEGINS}({_words(_DECLARATIONS)})([ \t]+)({_NAME})(?=[ \t]*[({{]|[ \t]+for\b)",
         (Kind.BLANK, Kind.DECLARATION, Kind.BLANK, Kind.DECLARED)),
    Rule(rf"{_BEGINS}(device)([ \t]+)([a-z]+:[A-Za-z0-9_]+|[a-z]+)", (Kind.BLANK, Kind.KEYWORD, Kind.BLANK, Kind.DEVICE)),
    Rule(rf"{_BEGINS}({_words(_HEADS)})(?=[ \t]+{_OPERAND})", (Kind.BLANK, Kind.KEYWORD)),
    Rule(rf"{_ALONE}({_words(_CONSTANTS)})(?![A-Za-z0-9_])", (Kind.CONSTANT,)),
    Rule(rf"{_ALONE}({_words(frozenset(BY_NAME))})(?![A-Za-z0-9_])", (Kind.TYPE,)),
    Rule(rf"(:)([ \t]*)({_words(_KINDS)})(?![A-Za-z0-9_\[])", (Kind.PUNCTUATION, Kind.BLANK, Kind.TYPE)),
    Rule(rf"{_ALONE}({_words(_REST)})(?=[ \t]+{_OPERAND}|[ \t]*(?:$|#)|[ \t]+sha256:)", (Kind.KEYWORD,)),
    Rule(r"([A-Za-z_][A-Za-z0-9_]*)(=)(?=[^= \t\n])", (Kind.ARGUMENT, Kind.OPERATOR)),
    Rule(r"[A-Z][A-Za-z0-9_]*(?=\[)", (Kind.TYPE,)),
    Rule(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*(?=[ \t]*\()", (Kind.FUNCTION,)),
    Rule(r"[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][+-]?[0-9]+)?[A-Za-z0-9_]*", (Kind.NUMBER,)),
    Rule(r"`[^`\n]+`", (Kind.QUOTED,)),
    Rule(r"[A-Za-z_][A-Za-z0-9_]*", (Kind.NAME,)),
    Rule(r"->|\.\.|\*\*|//|==|!=|<=|>=|[-+*/%@<>=]", (Kind.OPERATOR,)),
    Rule(r"[(){}\[\],.:]", (Kind.PUNCTUATION,)),
)  # fmt: skip
"""In the order in which they are tried at each place."""
