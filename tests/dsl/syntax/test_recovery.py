"""Several errors in one file: each is reported once, at its line, and what stands around them is read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dsl.syntax.reading import places, read
from tests.dsl.syntax.test_parser import SAMPLE
from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.syntax import ast, parse


def test_six_errors_in_one_file() -> None:
    module, found = read(
        """\
block f(x: T[B]) -> T[B] {
  a = relu(x))
  b =
  c = relu(a)
  input = relu(c)
  return input
}
network n {
  let D
  let E = 4
  relu(x)
  repeat i in 0.12 carry x {
    x = relu(x) y
    y = x
  }
  output y: f32[2]
}
profile p for n {
  B: min 1 opt 2, max 3
  S: min 1, opt 2, max 3
}
"""
    )
    assert [line for _, line, _ in places(found)] == [2, 3, 10, 11, 12, 14, 19]
    assert {code for code, _, _ in places(found)} == {"E0101"}
    block, network, profile = module.items
    assert isinstance(block, ast.Block)
    assert isinstance(network, ast.NetworkDecl)
    assert isinstance(profile, ast.Profile)
    assert [type(s).__name__ for s in block.body] == ["Assign", "Assign", "Assign", "Return"]
    assert [type(m).__name__ for m in network.members] == ["Let", "Repeat", "Output"]
    assert [e.name for e in profile.entries] == ["S"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # An open bracket is reported where it was opened, and the statements behind it are read.
        ("network n {\n  x = relu(y,\n    axis=1\n  z = relu(y)\n}", [("E0102", 2, 11)]),
        ("network n {\n  x = f([1, 2\n  z = relu(y)\n}", [("E0102", 2, 8), ("E0102", 2, 9)]),
        ("network n {\n  x = f([1, 2)\n  z = relu(y)\n}", [("E0102", 2, 9)]),
        ("network n {\n  x = relu(y # why (\n  # and )\n  z = relu(y)\n}", [("E0102", 2, 11)]),
        ("network n {\n  x = relu(y\n}\nnetwork m {\n  z = y\n}", [("E0102", 2, 11)]),
        ("network n {\n  x = y\n\nnetwork m {\n  z = y\n}", [("E0102", 1, 11)]),
        ("network n {\n  repeat i in 0..3 {\n    z = y\n  w = z\n}\nnetwork m {\n  z = y\n}", [("E0102", 2, 20)]),
        ("block f(x: T[B] -> T[B] {\n  return x\n}\nnetwork m {\n  z = y\n}", [("E0102", 1, 8)]),
        ("network n {\n  x = relu(", [("E0102", 1, 11), ("E0102", 2, 11)]),
        ("network n {\n  output y: f32[B\n}", [("E0102", 2, 16)]),
        # Closing brackets that close nothing.
        ("network n {\n  x = relu(y))\n  z = y\n}", [("E0101", 2, 14)]),
        ("network n {\n  x = y\n}\n}\nnetwork m {\n  z = y\n}", [("E0101", 4, 1)]),
        # Characters and strings.
        ("network n {\n  x = y; \n  z = y\n}", [("E0105", 2, 8)]),
        ("network n {\n  x = y ? $$\n  z = y\n}", [("E0105", 2, 9), ("E0105", 2, 11)]),
        ("network n {\n  x = f('a')\n  z = y\n}", [("E0105", 2, 9), ("E0105", 2, 11)]),
        ("network n {\n  größe = y\n  z = y\n}", [("E0105", 2, 5)]),
        ('network n {\n  x = f(y, k="abc)\n  z = y\n}', [("E0109", 2, 14)]),
        ('import "ops.trtn as a\nnetwork n {\n  z = y\n}', [("E0109", 1, 8)]),
        ("network n {\n  `x = y\n  z = y\n}", [("E0109", 2, 3)]),
        ("network n {\n  `` = y\n  z = y\n}", [("E0105", 2, 3)]),
        ("network n {\n  x = y\0\n  z = y\n}", [("E0105", 2, 8)]),
        ("network n {\n  x = y # \u202e\n  z = y\n}", [("E0105", 2, 11)]),
        # Headers: what is in the body is read all the same.
        ("network {\n  x y\n  z = y\n}", [("E0101", 1, 9), ("E0101", 2, 5)]),
        ("network n {\n  repeat i in 3 {\n    x y\n  }\n  z = y\n}", [("E0101", 2, 17), ("E0101", 3, 7)]),
        ("network n {\n  z = if c d { yield a } else { yield b }\n}", [("E0101", 2, 12)]),
        ("block f(x: T[B], y) -> T[B] {\n  z = $\n  return z\n}", [("E0101", 1, 19), ("E0105", 2, 7)]),
        ("profile p n {\n  B: min 1, opt 1, max 1\n}\nnetwork m {\n  z = y\n}", [("E0101", 1, 11)]),
        ("network n {\n  z = loop i to 3 {\n    x y\n    yield x\n  }\n}", [("E0101", 2, 14), ("E0101", 3, 7)]),
    ],
)
def test_one_finding_each(text: str, expected: list[tuple[str, int, int]]) -> None:
    module, found = read(text)
    assert places(found) == expected, [str(d) for d in found]
    last = module.items[-1]
    if isinstance(last, ast.NetworkDecl) and "z = " in text:
        assert any(isinstance(m, ast.Assign) and m.targets[0].name == "z" for m in last.members) or "repeat" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network n {\n  x = f(a b)\n}", "expected `)`, `,` or `=`, found `b`"),
        ("network n {\n  x = \n}", "expected an expression, `if`, `loop` or `scan`, found `}`"),
        ("network n {\n  x y\n}", "expected `,` or `=`, found `y`"),
        ("network n {\n  dim B 3\n}", "expected `in`, found `3`"),
        ("network n {\n  input x f32[3]\n}", "expected `:`, found `f32`"),
        ("network n {\n  input x: 3\n}", "expected a type, found `3`"),
        ("network n\n", "expected `{`, found the end of the file"),
        ("hello\n", "expected a declaration or the end of the file, found `hello`"),
        ("network n {\n  x = a\n  3\n}", "expected a statement, `:` or `}`, found `3`"),
        ("network n {\n  x = a +\n  y = b\n}", "statement not finished: line 4 starts another one"),
    ],
)
def test_messages(text: str, message: str) -> None:
    _, found = read(text)
    assert [d.message for d in found] == [message]


def test_open_bracket_says_where_it_should_have_been_closed() -> None:
    _, (found,) = read("network n {\n  x = relu(y\n  z = y\n}")
    (label,) = found.labels
    assert (label.span.line, label.span.column) == (4, 3)
    assert label.text == "`)` expected before this"


def test_findings_come_in_the_order_of_the_text() -> None:
    _, found = read("network n {\n  x = 1a\n  y = (\n  z = $\n  a b\n  w = 'x'\n}")
    lines = [line for _, line, _ in places(found)]
    assert lines == sorted(lines)
    assert len(set(lines)) == 5


TEXT = SAMPLE.read_text()
INSERTED = st.sampled_from(["", "{", "}", "(", ")", '"', "`", "=", "#", " x ", "\n", "$"])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.integers(0, 12), INSERTED)
def test_damaged_texts(at: int, length: int, inserted: str) -> None:
    """Whatever is cut out or put in: no exception, findings inside the text, and not an avalanche of them."""
    source = Source("x", TEXT[:at] + inserted + TEXT[at + length :])
    sink = Sink()
    parse(source, sink)
    assert len(sink.diagnostics) <= 8
    for diagnostic in sink.diagnostics:
        span = diagnostic.span
        assert span is not None
        assert 0 <= span.start <= span.end <= len(source.text)
