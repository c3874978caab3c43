"""A check that starts from the last one finds what a check from nothing finds, after any edits."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.dsl.lsp.large_spec import SHORT, write
from tests.dsl.random_edits import session
from tests.dsl.syntax.test_edits import dump
from trtn.dsl.diagnostics import Diagnostic, Source, Span
from trtn.dsl.lsp.analysis import Analysis, analyse, hints
from trtn.dsl.lsp.buffers import Buffers, Cancelled, Token
from trtn.dsl.network import Graph, Guard, Layer, Network, Tensor

MIXED = """\
trtn 1

block double(x: T[B, D], *, by: int = 2) -> T[B, D] {
  y = x * 2.0
  return reshape(y, shape=[B, D // by, by]) * 1.0
}

block wide(x: T[B, D]) -> T[B, D] {
  return relu(x) + relu(x)
}

network first {
  dim B in 1..8
  dim S in 4..64 step 4
  let width = 8
  input x: f32[B, S, width]
  input ids: i64[B]
  output y: f32[B, S, 8]
  a = relu(x) + relu(x)
  b = a * 2.0 + a
  c, places = top_k(b, k=2, axis=-1)
  found = nonzero(ids) : i64[1, K in 0..B]
  g = if reduce_max(x) > 0.5 { yield a } else { yield -a }
  flat = reshape(g, shape=[B, S * width])
  w = wide(flat)
  # rounds
  repeat i in 0..3 carry w as layer {
    w = wide(w) + i
  }
  @precision(f32)
  s = softmax(w, axis=-1)
  assert S <= 60, "short"
  halves = reshape(s, shape=[B, 2, S * width // 2])
  y = reshape(halves, shape=[B, S, width])
}

network second {
  dim N in 1..4
  input x: f32[N, 8]
  output y: f32[N, 8]
  a = wide(x)
  y = wide(a)
}

profile small for first {
  B: min 1, opt 2, max 4
  S: min 4, opt 8, max 16
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def check(text: str, folder: Path, buffers: Buffers) -> Analysis:
    return analyse(Source(str(folder / "spec.trtn"), text), buffers, Token())


def told(analysis: Analysis) -> Any:
    """All that a check says, as plain data; which tensors are the same one counts, not which objects they are."""
    found = [
        (h.code, h.finding.message, place(h.finding.span), h.finding.help, h.edits) for h in hints(analysis, Token())
    ]
    return (
        [finding(d) for d in analysis.findings],
        [network(n) for n in analysis.networks],
        [dump(item) for item in analysis.module.items],
        analysis.module.comments,
        found,
    )


def place(span: Span | None) -> Any:
    return None if span is None else (span.source.path, span.start, span.end, span.source.text)


def finding(d: Diagnostic) -> Any:
    return d.code, d.severity, d.message, place(d.span), [(place(x.span), x.text) for x in d.labels], d.notes, d.help


def network(n: Network) -> Any:
    numbers: dict[int, int] = {}

    def tensor(t: Tensor | None) -> Any:
        if t is None:
            return None
        source = None if t.weight is None else (t.weight.name, t.weight.digest, t.weight.load().tobytes())
        return numbers.setdefault(id(t), len(numbers)), t.name, str(t.type), repr(t.value), source

    def layer(x: Layer) -> Any:
        attrs = [(name, repr(value)) for name, value in x.attrs.items()]
        ends = [tensor(t) for t in (*x.inputs, *x.outputs)]
        return x.name, x.op.name, ends, attrs, [graph(r) for r in x.regions], place(x.origin.span), x.origin.precision

    def guard(g: Guard) -> Any:
        return str(g.relation), g.message, g.layer, place(g.span)

    def graph(g: Graph) -> Any:
        ends = [tensor(t) for t in g.inputs], [layer(x) for x in g.layers], [tensor(t) for t in g.outputs]
        return *ends, [guard(x) for x in g.guards]

    rest = [
        f.name for f in fields(n) if f.name not in ("graph", "guards", "asserts", "profiles", "targets", "dependencies")
    ]
    asserts = [(str(a.relation), a.message, place(a.span)) for a in n.asserts]
    profiles = [(p.name, dict(p.dims), place(p.span)) for p in n.profiles]
    return graph(n.graph), [guard(g) for g in n.guards], asserts, profiles, [repr(getattr(n, name)) for name in rest]


@pytest.mark.parametrize("text", [SHORT, MIXED], ids=["short", "mixed"])
@pytest.mark.parametrize("seed", range(3))
def test_any_edits(folder: Path, text: str, seed: int) -> None:
    buffers = Buffers()
    check(text, folder, buffers)
    for edited in session(text, random.Random(seed), 20):
        assert told(check(edited, folder, buffers)) == told(check(edited, folder, Buffers())), edited


def layers(analysis: Analysis) -> dict[str, Layer]:
    return {x.name: x for n in analysis.networks for x in n.layers}


def test_what_an_edit_leaves_alone_is_not_made_again(folder: Path) -> None:
    """A layer changes its op, not its result's type: those that read it, and read these, are as they were."""
    buffers = Buffers()
    before = layers(check(MIXED, folder, buffers))
    after = layers(check(MIXED.replace("b = a * 2.0 + a", "b = gelu(a) * 2.0 + a"), folder, buffers))

    assert len(before) > 30
    assert after["b"].output is before["b"].output
    changed = {name for name, x in after.items() if name not in before or x.inputs != before[name].inputs}
    flow = {name for name in after if name.partition(".")[0] == "g"}  # control flow is always elaborated
    assert changed - flow == {"b.gelu", "b.mul"}


BREAKS: list[tuple[str, Callable[[str], str]]] = [
    ("a statement", lambda text: text.replace("a = relu(x) + relu(x)", "a = relu(zz) + relu(x)")),
    ("the syntax", lambda text: text.replace("flat = reshape(g, ", "flat = reshape((g, ")),
    ("a block", lambda text: text.replace("return relu(x) + relu(x)", "return relu(z) + relu(x)")),
    ("a declaration", lambda text: text.replace("dim S in 4..64 step 4", "dim S in 4..")),
]


@pytest.mark.parametrize(("what", "broken"), BREAKS, ids=[what for what, _ in BREAKS])
def test_what_was_broken_and_is_mended(folder: Path, what: str, broken: Callable[[str], str]) -> None:
    buffers = Buffers()
    before = check(MIXED, folder, buffers)
    for _ in range(2):
        assert check(broken(MIXED), folder, buffers).broken, what
        again = check(MIXED, folder, buffers)
        assert told(again) == told(before)


def test_a_check_that_was_broken_off_leaves_the_last_one(folder: Path) -> None:
    class Late(Token):
        calls = 0

        def check(self) -> None:
            self.calls += 1
            self.cancelled = self.calls > 12
            super().check()

    buffers = Buffers()
    before = layers(check(MIXED, folder, buffers))
    with pytest.raises(Cancelled):
        analyse(Source(str(folder / "spec.trtn"), MIXED.replace("2.0", "3.0")), buffers, Late())
    after = layers(check(MIXED, folder, buffers))
    assert all(after[name].output is x.output for name, x in before.items() if not x.regions)


def test_a_block_of_another_file_changes(folder: Path) -> None:
    buffers = Buffers()
    check(SHORT, folder, buffers)
    other = folder / "blocks.trtn"
    other.write_text(other.read_text().replace("x * scale + r", "x * scale - r"))

    after = check(SHORT, folder, buffers)
    assert "sub" in {x.op.name for x in after.networks[0].layers}
    assert told(after) == told(check(SHORT, folder, Buffers()))


def test_a_manifest_changes(folder: Path) -> None:
    buffers = Buffers()
    check(SHORT, folder, buffers)
    manifest = folder / "large.weights.trtn"
    manifest.write_text(
        manifest.read_text().replace("layer[1].q.weight: f32[64, 64]", "layer[1].q.weight: f32[32, 64]")
    )

    after = check(SHORT, folder, buffers)
    assert after.broken
    assert told(after) == told(check(SHORT, folder, Buffers()))
