"""Pygments and TextMate colour the language alike, and as the grammar says it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pygments.lexers import get_lexer_by_name
from pygments.token import Error, Keyword, string_to_tokentype
from textmate_grammar.parsers.base import LanguageParser

from tests.editors.examples import MANIFEST, SPEC
from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.highlight.lexer import TrtnLexer
from trtn.dsl.highlight.rules import KEYWORDS, RULES, Kind
from trtn.dsl.highlight.textmate import textmate_grammar
from trtn.dsl.syntax import parse, parse_manifest
from trtn.grammar import grammar_text

ROOT = Path(__file__).parent.parent.parent
EXTENSION = ROOT / "editors" / "vscode"
SPECS = sorted((ROOT / "specs").rglob("*.trtn"))
PARSER = LanguageParser(json.loads(textmate_grammar()))


def pygments_kinds(text: str) -> list[Kind]:
    """The kind of each character."""
    by_token = {string_to_tokentype(k.token): k for k in reversed(Kind)}
    kinds: list[Kind] = []
    for _, token, piece in TrtnLexer().get_tokens_unprocessed(text):
        kinds += [by_token[token]] * len(piece)
    return kinds


def textmate_kinds(text: str) -> list[Kind]:
    by_scope = {f"{k.scope}.trtn": k for k in Kind}
    starts = [0, *(m.end() for m in re.finditer("\n", text))]
    kinds = [Kind.BLANK] * len(text)
    found = PARSER.parse_string(text)
    for (line, column), piece, scopes in found.flatten():
        kind = by_scope.get(scopes[-1], Kind.BLANK)
        for at in range(starts[line] + column, starts[line] + column + len(piece)):
            kinds[at] = kind
    return kinds


Colours = Callable[[str], list[Kind]]
ENGINES = pytest.mark.parametrize("kinds", [pygments_kinds, textmate_kinds], ids=["pygments", "textmate"])


def words(text: str, word: str) -> Iterator[int]:
    return (m.start() for m in re.finditer(rf"(?<![\w.`\"]){word}(?![\w\"])", text))


def test_the_examples_are_right_and_have_every_keyword() -> None:
    sink = Sink()
    parse(Source("all.trtn", SPEC), sink)
    parse_manifest(Source("all.weights.trtn", MANIFEST), sink)

    assert not sink.diagnostics
    assert set(re.findall(r"[a-z]+", SPEC + MANIFEST)) >= KEYWORDS
    assert len(KEYWORDS) >= 45 and {"network", "repeat", "step", "tensor", "inline"} <= KEYWORDS


@ENGINES
@pytest.mark.parametrize("word", sorted(KEYWORDS))
def test_keywords(kinds: Colours, word: str) -> None:
    marked = {Kind.KEYWORD, Kind.DECLARATION, Kind.CONSTANT}
    texts = [SPEC, MANIFEST]
    assert any(kinds(text)[at] in marked for text in texts for at in words(text, word)), word


@ENGINES
@pytest.mark.parametrize(
    ("line", "piece", "kind"),
    [
        ("  input = x @ w.proj", "input", Kind.NAME),  # a keyword's name
        ("  y = h ** 2 // 3 + output(input - 1)", "output", Kind.FUNCTION),
        ("  y = h ** 2 // 3 + output(input - 1)", "input", Kind.NAME),
        ("  y = h ** 2 // 3 + output(input - 1)", "**", Kind.OPERATOR),
        ("  input = x @ w.proj", "@", Kind.OPERATOR),
        ("  @precision(f32)", "@precision", Kind.ANNOTATION),
        ("  `odd name` = scaled(", "`odd name`", Kind.QUOTED),
        ("  `odd name` = scaled(", "scaled", Kind.FUNCTION),
        ("    s = s + max(row, min(row, inf))", "max", Kind.FUNCTION),
        ("    s = s + max(row, min(row, inf))", "inf", Kind.CONSTANT),
        ("    g = g * 2.5e-3", "2.5e-3", Kind.NUMBER),
        ("  workspace 4GiB", "4GiB", Kind.NUMBER),
        ("  dim N in 1..64 step 1", "..", Kind.OPERATOR),
        ("  dim N in 1..64 step 1", "64", Kind.NUMBER),
        ("  device cuda:sm_90", "cuda:sm_90", Kind.DEVICE),
        ("target device {", "device", Kind.DECLARED),
        ("network all {", "all", Kind.DECLARED),
        ("  input x: f32[N, width]", "f32", Kind.TYPE),
        ("*, p: weights, act", "weights", Kind.TYPE),
        ("block scaled(x: T[N, D]", "T", Kind.TYPE),
        ("h = blocks.step(h, axis=-1", "blocks.step", Kind.FUNCTION),
        ("h = blocks.step(h, axis=-1", "axis", Kind.ARGUMENT),
        ('  doc "Every word \\"in\\" its place."', '"Every word \\"in\\" its place."', Kind.STRING),
        ("# a comment with", '# a comment with "quotes" and network', Kind.COMMENT),
    ],
)
def test_chosen_tokens(kinds: Colours, line: str, piece: str, kind: Kind) -> None:
    start = SPEC.index(piece, SPEC.index(line))
    assert set(kinds(SPEC)[start : start + len(piece)]) == {kind}


def test_digests() -> None:
    for kinds in (pygments_kinds(MANIFEST), textmate_kinds(MANIFEST)):
        start = MANIFEST.index("sha256:0123")
        assert set(kinds[start : MANIFEST.index("\n", start)]) == {Kind.DIGEST}


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.name)
def test_specs_have_no_error_tokens(path: Path) -> None:
    text = path.read_text()
    tokens = list(TrtnLexer().get_tokens_unprocessed(text))

    assert "".join(piece for _, _, piece in tokens) == text
    assert not [piece for _, token, piece in tokens if token is Error]
    assert [piece for _, token, piece in tokens if token in Keyword]


@pytest.mark.parametrize("text", [SPEC, MANIFEST, (ROOT / "specs" / "bert_base.trtn").read_text()])
def test_both_engines_agree(text: str) -> None:
    ours, theirs = pygments_kinds(text), textmate_kinds(text)

    assert [at for at in range(len(text)) if not text[at].isspace() and ours[at] is not theirs[at]] == []


def test_an_open_string_ends_with_its_line() -> None:
    text = 'weights w = "open\nnetwork n {\n'
    for kinds in (pygments_kinds(text), textmate_kinds(text)):
        assert kinds[text.index("network")] is Kind.DECLARATION


def test_the_terminals_of_the_grammar_have_rules() -> None:
    """What the grammar has beyond keywords and signs: a new terminal needs a rule and a line in this test."""
    text = grammar_text("trtn") + grammar_text("weights")
    assert set(re.findall(r"^([A-Z]+)(?:\.\d)?: (?=.*[/A-Z])", text, re.M)) == {
        "NAME", "PATH", "TAIL", "PATHS", "CALL", "TYPE", "INTS", "NUMBER", "STRING", "OPERATOR", "COMMENT", "BLANK",
        "DEVICE", "ANNOTATION", "ROW", "DIGEST", "LAYER", "ATTRIBUTE", "PLAIN", "DECIMAL",
    }  # fmt: skip
    assert all(re.compile(rule.pattern).groups in (0, 1, len(rule.kinds)) for rule in RULES)


def test_the_extension_has_the_grammar_that_is_generated() -> None:
    assert (EXTENSION / "syntaxes" / "trtn.tmLanguage.json").read_text() == textmate_grammar(), (
        "python -m trtn.dsl.highlight.textmate > editors/vscode/syntaxes/trtn.tmLanguage.json"
    )


def test_the_lexer_is_installed() -> None:
    assert get_lexer_by_name("trtn").name == "trtn"


def test_the_extension_names_files_that_are_there() -> None:
    package = json.loads((EXTENSION / "package.json").read_text())
    contributed = package["contributes"]
    named = [
        package["main"],
        contributed["languages"][0]["configuration"],
        *(g["path"] for g in contributed["grammars"]),
    ]

    assert all((EXTENSION / name).is_file() for name in named)
    assert contributed["configuration"]["properties"]["trtn.command"]["default"] == ["trtn", "lsp"]
    json.loads((EXTENSION / "language-configuration.json").read_text())
