"""A tree that is made from an earlier one is the tree that reading the whole text gives."""

from __future__ import annotations

import random
from dataclasses import fields
from typing import Any

import pytest

from tests.dsl.random_edits import session
from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.syntax import ast, parse
from trtn.dsl.syntax.edits import reparsed
from trtn.dsl.syntax.moving import moved
from trtn.dsl.syntax.walk import nodes

SPEC = """\
trtn 1
weights w = "w.trtn"   # of a manifest

block twice(x: T[B, S], *, scale: float = 1.0) -> T[B, S] {
  return relu(x) * scale
}

network n {
  doc "a { brace"
  dim B in 1..8
  input x: f32[B, 8]
  output y: f32[B, 8]
  a = relu(x)   # the first
  b = linear(a, w.layer[0].weight) : f32[B, 8]
  # a comment of its own
  repeat i in 0..2 carry b as layer {
    b = linear(b, w.layer[i].weight) - b
  }
  `c/d` = twice(b, scale=0.5)
  e, f = top_k(`c/d`, k=2)
  k = nonzero(x) : i64[2, K in 0..B * 8]
  g = if reduce_max(b) > 0.5 { yield a } else { yield -a }
  h = scan over t = a axis 1 carry s = reduce_sum(a, axes=[1]) { s = s + t  yield s }
  @precision(f32)
  y = a + b * 2.0
}

profile p for n {
  B: min 1, opt 2, max 8   # and a last one
}

target cpu {
  network n
  precision { default f16  keep f32 for [softmax] }
}
"""


def dump(value: Any) -> Any:
    """A tree as plain data, offsets included."""
    if isinstance(value, ast.Node):
        kept = [f.name for f in fields(value) if f.name != "source"]
        return type(value).__name__, *(dump(getattr(value, name)) for name in kept)
    if isinstance(value, tuple):
        return tuple(map(dump, value))
    return value


def read(text: str) -> tuple[ast.Module, int]:
    sink = Sink()
    return parse(Source("m.trtn", text), sink), len(sink.diagnostics)


def test_every_class_of_nodes_moves() -> None:
    module, _ = read(SPEC)
    ahead, findings = read(SPEC.replace("trtn 1\n", "trtn 1\n\n\n#!\n", 1))
    assert not findings
    assert [dump(moved(item, 5)) for item in module.items] == [dump(item) for item in ahead.items]
    seen = {type(n) for n in nodes(module.items)}
    assert {ast.Scan, ast.If, ast.Repeat, ast.Annotation, ast.Precision, ast.DimType, ast.ProfileEntry} <= seen


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("relu(x)   # the", "gelu(x)   # the"),
        ("# a comment of its own", "z = neg(b)\n  # a longer comment of its own"),
        ("b = linear(b, ", "b = linear(b + b, "),
        ("  y = a + b * 2.0", "  y = a"),
        ("b = linear(a, w.layer[0].weight) : f32[B, 8]", ""),
        ("yield s }", "yield s * s }"),
    ],
)
def test_a_change_of_statements_needs_no_reading_of_the_rest(old: str, new: str) -> None:
    before, _ = read(SPEC)
    after = reparsed(before, Source("m.trtn", SPEC.replace(old, new, 1)))
    assert after is not None
    assert dump(after) == dump(read(SPEC.replace(old, new, 1))[0])
    assert after.items[0] is before.items[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  a = relu(x)", "}\nnetwork m {\n  a = relu(x)"),
        ("e, f = top_k(", "e, f = = top_k("),
        ("# a comment of its own", "(a)"),
        ("x) : i64", "x) : i64 #"),
        ("dim B in 1..8", "dim B in 1..9"),
        ("relu(x) * scale", "relu(x)"),
    ],
)
def test_a_change_of_more_is_read_whole(old: str, new: str) -> None:
    before, _ = read(SPEC)
    source = Source("m.trtn", SPEC.replace(old, new, 1))
    after = reparsed(before, source)
    assert after is None or dump(after) == dump(read(source.text)[0])


@pytest.mark.parametrize("seed", range(12))
def test_random_edits(seed: int) -> None:
    """Each made from the last text without errors, as an editor's is."""
    before, _ = read(SPEC)
    for text in session(SPEC, random.Random(seed), 30):
        whole, findings = read(text)
        after = reparsed(before, Source("m.trtn", text))
        if after is not None:
            assert not findings, text
            assert dump(after) == dump(whole), text
        if not findings:
            before = whole if after is None else after
