from __future__ import annotations

import math
from typing import Any

import pytest

from tests.dsl.syntax.reading import expression, places, read, show, statements
from trtn.dsl.syntax import ast


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a + b * c", ("+", "a", ("*", "b", "c"))),
        ("a - b - c", ("-", ("-", "a", "b"), "c")),
        ("a * b / c // d % e @ f", ("@", ("%", ("//", ("/", ("*", "a", "b"), "c"), "d"), "e"), "f")),
        ("a ** b ** c", ("**", "a", ("**", "b", "c"))),
        ("-a ** 2", ("-", ("**", "a", 2))),
        ("2 ** -1", ("**", 2, ("-", 1))),
        ("(-a) ** 2", ("**", ("-", "a"), 2)),
        ("-a * b", ("*", ("-", "a"), "b")),
        ("a * -b + c", ("+", ("*", "a", ("-", "b")), "c")),
        ("- -a", ("-", ("-", "a"))),
        ("a -1", ("-", "a", 1)),
        ("a + b <= c * 2", ("<=", ("+", "a", "b"), ("*", "c", 2))),
        ("(a < b) == c", ("==", ("<", "a", "b"), "c")),
        ("(a)", "a"),
        ("a@b", ("@", "a", "b")),
        ("[]", []),
        ("[1, -2,]", [1, ("-", 2)]),
        ("[[1, 2], [x]]", [[1, 2], ["x"]]),
        ("f(a, b.c, d[0].e, k=[1, 2], m=g(x))", ("f", ["a", "b.c", "d.[0].e"], {"k": [1, 2], "m": ("g", ["x"], {})})),
        ("f (\n a # why\n , b,)", ("f", ["a", "b"], {})),
        ("attn.layer(x)", ("attn.layer", ["x"], {})),
        ("p[i]", "p.[i]"),
        ("p.q[2 * i].r[0].s", "p.q.[('*', 2, 'i')].r.[0].s"),
        ("`/stem/x.0` + `a`.b", ("+", "/stem/x.0", "a.b")),
        (r"`a\u{60}b\\`", "a`b\\"),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e-5", 1e-5),
        ("1_0.2_5E+1", 102.5),
        ("-inf", ("-", math.inf)),
        ("true", True),
        ("false", False),
        ('"a\\n\\t\\"\\\\\\u{1F600}"', 'a\n\t"\\\U0001f600'),
        ("4GiB", 4 * 1024**3),
        ("438MB", 438_000_000),
        ("16kB", 16_000),
        ("1.5KiB", 1536),
        ("512B", 512),
    ],
)
def test_values(text: str, tree: Any) -> None:
    assert show(expression(text)) == tree


def test_nan_and_kinds() -> None:
    value = expression("nan")
    assert isinstance(value, ast.FloatLit)
    assert math.isnan(value.value)
    assert isinstance(expression("1"), ast.IntLit)
    assert isinstance(expression("true"), ast.BoolLit)
    assert expression("1e-05").text == "1e-05"
    assert expression("4GiB").text == "4GiB"


def test_offsets() -> None:
    text = "network n {\n  x = f(ab, `c d`.e, k=-g[1].h, m=[10, -20]) : f32[B, 3], T[]\n}"
    module, found = read(text)
    assert not found
    source = module.source.text

    def at(node: ast.Node) -> str:
        return source[node.start : node.end]

    (assign,) = module.items[0].members  # type: ignore[union-attr]
    call = assign.value  # type: ignore[union-attr]
    assert at(assign) == "x = f(ab, `c d`.e, k=-g[1].h, m=[10, -20]) : f32[B, 3], T[]"
    assert at(call) == "f(ab, `c d`.e, k=-g[1].h, m=[10, -20])"  # type: ignore[arg-type]
    assert at(call.callee) == "f"  # type: ignore[union-attr]
    assert [at(a) for a in call.args] == ["ab", "`c d`.e"]  # type: ignore[union-attr]
    assert call.args[1].quoted == (0,)  # type: ignore[union-attr]
    assert [at(k.value) for k in call.kwargs] == ["-g[1].h", "[10, -20]"]  # type: ignore[union-attr]
    assert [source[k.start : k.name_end] for k in call.kwargs] == ["k", "m"]  # type: ignore[union-attr]
    assert [at(i) for i in call.kwargs[1].value.items] == ["10", "-20"]  # type: ignore[union-attr]
    assert at(call.kwargs[0].value.operand.parts[1]) == "1"  # type: ignore[union-attr]
    assert [at(t) for t in assign.types] == ["f32[B, 3]", "T[]"]  # type: ignore[union-attr]
    assert [at(d.value) for d in assign.types[0].dims] == ["B", "3"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("f32[N, 3, 224]", ["f32[N, 3, 224]"]),
        ("f32[]", ["f32[]"]),
        ("T[2 * B, S // 2, min(A, B)]", ["T[('*', 2, 'B'), ('//', 'S', 2), ('min', ['A', 'B'], {})]"]),
        ("i64[2, K in 0..N * 4]", ["i64[2, ('K', 0, ('*', 'N', 4))]"]),
        ("f32[B, # rows\n S,], i8[1]", ["f32[B, S]", "i8[1]"]),
    ],
)
def test_types(text: str, types: list[str]) -> None:
    (assign,) = statements(f"x, y = f(a) : {text}")
    assert show(assign.types) == types


@pytest.mark.parametrize(
    ("text", "code", "column", "words"),
    [
        ("a < b < c", "E0101", 15, "can't be chained"),
        ("12abc", "E0105", 9, "`12abc` is not a number"),
        ("0xff", "E0105", 9, "decimal"),
        ("4gib", "E0105", 9, "sizes end in"),
        ("1.0001kB", "E0101", 9, "whole number of bytes"),
        ("9" * 41, "E0107", 9, "41 characters"),
        ("a[" + "9" * 41 + "]", "E0107", 11, "41 characters"),
        ("[1, " + "9" * 41 + "]", "E0107", 13, "41 characters"),
        ("1e999", "E0107", 9, "largest float"),
        (r'"a\q"', "E0105", 11, r"unknown escape `\q`"),
        (r'"\u{110000}"', "E0105", 10, "unknown escape"),
        (r"`a\q`", "E0105", 11, "unknown escape"),
        ("f(k=1, a)", "E0101", 16, "positional argument after"),
        ("f(a.b=1)", "E0101", 11, "plain name"),
        ("-".join("a" * 102), "E0107", 9, "more than 100 operators"),
        ("f(-" * 60 + "a" + ")" * 60, "E0107", None, "nests deeper"),
    ],
)
def test_wrong_values(text: str, code: str, column: int | None, words: str) -> None:
    _, found = read(f"network n {{\nlet v = {text}\n}}")
    assert [d.code for d in found] == [code]
    assert column is None or places(found) == [(code, 2, column)]
    assert words in f"{found[0].message} {found[0].help}"
