"""The grammars themselves: no conflict, no terminal that hides another, no word that is reserved without need."""

from __future__ import annotations

import pytest
from lark import Lark

from tests.dsl.syntax.reading import read, show, statements
from trtn.dsl.syntax import RESERVED
from trtn.grammar import GrammarName, grammar_text


@pytest.mark.parametrize("name", ["trtn", "weights"])
def test_strict(name: GrammarName) -> None:
    """LALR without conflicts, and no two terminals of a state match the same text (interegular checks that)."""
    Lark(grammar_text(name), parser="lalr", lexer="contextual", strict=True)


def _words() -> list[str]:
    parser = Lark(grammar_text("trtn"), parser="lalr")
    return sorted({t.pattern.value for t in parser.terminals if t.pattern.type == "str" and t.pattern.value.isalpha()})


WORDS = _words()


@pytest.mark.parametrize("word", [w for w in WORDS if w not in RESERVED])
def test_keywords_are_names(word: str) -> None:
    """Every keyword but the reserved ones can name a tensor, wherever tensors are named."""
    body = (
        f"dim B in 1..2\n{word} = relu({word})\ny = {word}\n{word}, z = f(a, {word}, axis=1)\n"
        f"q = {word} + {word}.weight[0]\n{word} = y : f32[3]\nrepeat i in 0..2 carry {word} {{\n{word} = y\n}}\n"
        f"{word} = if c {{ {word} = z yield {word} }} else {{ yield z }}\n{word}.a[0] = z\ninput {word}: f32[{word}]\n"
        f"output {word}: f32[3]"
    )
    members = statements(body)
    assert len(members) == 11
    assert members[1].targets[0].name == word
    assert show(members[2].value) == word


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_reserved_words_need_backticks(word: str) -> None:
    bare = f"network n {{\ndim B in 1..2\n{word} = a\ny = {word}\nz = y\n}}"
    quoted = bare.replace(word + " =", f"`{word}` =").replace(f"= {word}", f"= `{word}`")
    module, found = read(quoted)
    assert not found
    assert show(module.items[0])["members"][2]["value"] == word
    module, found = read(bare)
    # `none` is no word of the grammar: the elaborator gives it its meaning.
    assert word == "none" or found or show(module.items[0])["members"][2]["value"] != word
