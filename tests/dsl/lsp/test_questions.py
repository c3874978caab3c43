"""The parts without a server: types in control flow, texts in any state of being typed, positions, renaming."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol import types as lsp

from tests.dsl.lsp.large_spec import BLOCKS, MANIFEST, SHORT, write
from trtn.dsl.diagnostics import Source
from trtn.dsl.lint import Edit, fixed
from trtn.dsl.lsp.analysis import analyse, hints
from trtn.dsl.lsp.buffers import Buffers, Cancelled, Token
from trtn.dsl.lsp.completion import completions
from trtn.dsl.lsp.definition import definition
from trtn.dsl.lsp.formatting import format_document
from trtn.dsl.lsp.glance import glance
from trtn.dsl.lsp.hover import hover
from trtn.dsl.lsp.inlay import inlay_hints
from trtn.dsl.lsp.outline import outline
from trtn.dsl.lsp.positions import Positions
from trtn.dsl.lsp.publishing import code_actions
from trtn.dsl.lsp.rename import Refused, rename
from trtn.dsl.lsp.signatures import signature_help
from trtn.dsl.lsp.view import View

FLOW = """\
trtn 1

block both(x: T[N, D], *, scale: float = 1.0) -> (a: T[N, D], b: T[N]) {
  r = reduce_sum(x, axes=[1], keepdims=false)
  return x * scale, r
}

network flow {
  dim T in 1..64
  input x: f32[T, 8]
  input flag: bool[]
  input n: i64[]
  output a: f32[T, 8]
  output total: f32[8]
  output sums: f32[T, 8]
  output grown: f32[8]
  output found: i64[1, K]
  output twice: f32[T, 8]
  output row_sums: f32[T]

  a = if flag {
    inner = relu(x)
    yield inner
  } else {
    yield -x
  }
  zero = constant([0, 0, 0, 0, 0, 0, 0, 0], dtype=f32)
  total, sums = scan over row = x carry s = zero {
    s = s + row
    yield s
  }
  grown = loop i in 0..n max 10 carry g = total {
    g = g * 2.0
  }
  flat = reshape(x, shape=[8 * T])
  found = nonzero(flat) : i64[1, K in 0..8 * T]
  twice, row_sums = both(x, scale=2.0)
}
"""


def view_of(text: str, path: str = "flow.trtn") -> View:
    buffers = Buffers()
    source = buffers.put(Path(path).absolute().as_uri(), text)
    analysis = analyse(source, buffers, Token())
    return View(analysis, buffers, lsp.PositionEncodingKind.Utf32, hints(analysis, Token()))


@pytest.fixture(scope="module")
def flow() -> View:
    view = view_of(FLOW)
    assert not view.analysis.broken, view.analysis.findings
    return view


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> View:
    path = write(tmp_path_factory.mktemp("short"))
    view = view_of(SHORT, str(path))
    assert not view.analysis.findings
    return view


@pytest.mark.parametrize(
    ("at", "after", "expected"),
    [
        ("a = if", 0, "a: f32[T, 8]"),
        ("inner = ", 0, "inner: f32[T, 8]"),
        ("row = x", 0, "row: f32[8]"),
        ("s = zero", 0, "s: f32[8]"),
        ("s = s + row", 0, "s: f32[8]"),
        ("sums = scan", 0, "sums: f32[T, 8]"),
        ("loop i in", 5, "i: i64[]"),
        ("g = total", 0, "g: f32[8]"),
        ("found = nonzero", 0, "found: i64[1, K]"),
        ("row_sums = both", 0, "row_sums: f32[T]"),
        ("twice, row_sums", 0, "twice: f32[T, 8]"),
        ("r = reduce_sum", 0, "r: f32[T]"),
        ("x: T[N, D]", 0, "x: f32[T, 8]"),
        ("K in 0..", 0, "dim"),
        ("scale=2.0", 0, "scale: float = 1.0"),
    ],
)
def test_types_of_names(flow: View, at: str, after: int, expected: str) -> None:
    found = hover(flow, FLOW.index(at) + after)

    assert found is not None and expected in found[0]


def test_blocks_that_hand_on_what_they_get_are_followed_once() -> None:
    """Each of the calls may be what each of the parameters stands for."""
    calls = "".join(f"  h{n + 1} = same(h{n})\n" for n in range(200))
    head = "trtn 1\n\nblock same(x: T[N]) -> T[N] {\n  return x\n}\n\nnetwork n {\n  dim N in 1..4\n"
    text = f"{head}  input h0: f32[N]\n  output y: f32[N]\n{calls}  y = relu(h200)\n}}\n"

    found = hover(view_of(text), text.index("h200 ="))

    assert found is not None and "h200: f32[N]" in found[0]


def test_blocks_that_call_each_other_have_no_types() -> None:
    text = FLOW.replace("return x * scale, r", "return both(x, scale=scale)")

    found = hover(view_of(text), text.index("twice, row_sums"))

    assert found is not None and "twice" in found[0]


@pytest.mark.parametrize(("typed", "offered"), [("x: ", "bool"), ("x: T[N], *, p: ", "weights")])
def test_completion_in_signatures(typed: str, offered: str) -> None:
    text = f"{FLOW}\nblock new({typed}"

    assert offered in {item.label for item in completions(view_of(text), len(text))}


def test_types_written_as_offered_are_right(flow: View) -> None:
    """Every inlay hint that offers an edit."""
    offered = [h for h in inlay_hints(flow, 0, len(FLOW)) if h.text_edits]
    edits = [e for h in offered for e in h.text_edits or []]
    at = flow.positions.offset
    text = fixed(FLOW, [Edit(at(e.range.start), at(e.range.end), e.new_text) for e in edits])

    assert len(edits) >= 6 and not view_of(text).analysis.broken


# --- texts in any state ------------------------------------------------------------------------------------------


def ask_everything(view: View, offset: int) -> None:
    hover(view, offset)
    definition(view, offset)
    completions(view, offset)
    signature_help(view, offset)
    with suppress(Refused):
        rename(view, offset, "another")


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_text_is_too_broken(data: st.DataObject) -> None:
    """A piece is taken out, another put in: no question fails, whatever the answer."""
    text = data.draw(st.sampled_from([FLOW, BLOCKS, SHORT, MANIFEST]))
    start = data.draw(st.integers(0, len(text)))
    end = min(len(text), start + data.draw(st.integers(0, 40)))
    piece = data.draw(
        st.sampled_from(["", "(", "{", "}", '"', "`", " = ", "h0.", "\n@", "[", "if ", "𝔸", "\r\n", "0.."])
    )
    before = view_of(text)
    view = view_of(text[:start] + piece + text[end:])
    if before.analysis.unit is not None and not before.analysis.broken:
        glance(before, view.source)

    for offset in {start, start + len(piece), data.draw(st.integers(0, len(view.source.text)))}:
        ask_everything(view, offset)
    inlay_hints(view, 0, len(view.source.text))
    outline(view)
    format_document(view)
    code_actions(view, "file:///flow.trtn", 0, len(view.source.text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "trtn",
        "trtn 2\n",
        "trtn 1\n",
        "trtn 1\nnetwork",
        "trtn 1\nmanifest m {\n tensor a: f32[1] = inline f(x=b)\n}",
        "trtn 1\nmanifest m {",
        "\x00\ud800",
    ],
)
def test_texts_that_are_hardly_there(text: str) -> None:
    for offset in range(len(text) + 1):
        ask_everything(view_of(text), offset)


def test_an_outdated_check_ends() -> None:
    token = Token(cancelled=True)
    with pytest.raises(Cancelled):
        analyse(Source("flow.trtn", FLOW), Buffers(), token)


def test_a_check_ends_in_the_middle() -> None:
    class Late(Token):
        calls = 0

        def check(self) -> None:
            self.calls += 1
            self.cancelled = self.calls > 20
            super().check()

    token = Late()
    with pytest.raises(Cancelled):
        analyse(Source("flow.trtn", FLOW), Buffers(), token)
    assert token.calls == 21


# --- the first look ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("q3 = linear(h3,", "q3 = linear(h33,"),
        ("q3 = linear(h3,", "q3 = linaer(h3,"),
        ("q3 = linear(h3,", "q3 = linear(x,"),
        ("k3 = reshape(q3, shape=[B, S, 4, 16])", "k3 = reshape(q3, shape=[B, S, 4, 17])"),
        ("s3 = softmax(t3 * 0.125, axis=-1)", "s3 = softmax(t3 * 0.125, axes=-1)"),
        ("s3 = softmax(t3 * 0.125, axis=-1)", "s3 = softmax(t3 * "),
        ("r3 = common.residual(f3", "r3 = common.residul(f3"),
        ("p=w.layer[3].ffn)", "p=w.layer[13].ffn)"),
        ("    x = layer_norm(x, w.layer[i].norm.weight", "    x = layer_norm(x, w.layer[i].norn.weight"),
        ("  # layer 3\n", "  extra = relu(r2)\n\n  # layer 3\n"),
        ("  # layer 3\n", ""),
        ("  r2 = common.residual(f2, r1)\n", "  r2 = common.residual(f2, r1)\n    : f32[B, S, 64]\n"),
        ("  r2 = common.residual(f2, r1)\n", "  r2 = common.residual(f2, r1)\n  @onnx(3)\n"),
        ("  r2 = common.residual(f2, r1)\n", "  r2 = common.residual(f2, r1) + zz\n"),
        ("", ""),
    ],
)
def test_the_first_look_says_what_the_check_says(short: View, old: str, new: str) -> None:
    """Of the statement that was changed: what it does to others, the check says."""
    text = SHORT.replace(old, new)
    source = Source(short.source.path, text)

    first = glance(short, source)
    whole = analyse(source, short.buffers, Token())

    assert first is not None
    same = set(SHORT.split("\n"))
    expected = [d for d in whole.findings if d.span is not None and source.line(d.span.line) not in same]
    assert [str(d) for d in first.analysis.findings] == [str(d) for d in expected]
    assert [d.help for d in first.analysis.findings] == [d.help for d in expected]


@pytest.mark.parametrize("old", ["dim S in 8", "block ffn(", "profile small", "let width = 64", "trtn 1\n"])
def test_the_first_look_leaves_what_is_not_a_statement(short: View, old: str) -> None:
    text = SHORT.replace(old, old.replace("l", "z").replace("d", "e").replace("t", "u"))

    assert glance(short, Source(short.source.path, text)) is None


def test_findings_elsewhere_move_with_the_text(short: View) -> None:
    idle = view_of(SHORT.replace("  y = relu(", "  idle = abs(r3)\n  y = relu("), short.source.path)
    text = idle.source.text.replace("  # layer 3\n", "  # a comment\n  # layer 3\n")

    first = glance(idle, Source(short.source.path, text))

    assert first is not None and [h.code for h in first.hints] == ["L0101"]
    assert first.hints[0].finding.span is not None and first.hints[0].finding.span.text == "idle"


# --- positions ---------------------------------------------------------------------------------------------------

TEXTS = st.text(st.sampled_from("ab é𝔸\r\n\u2028\x0b"), max_size=30)
ENCODINGS = ["utf-8", "utf-16", "utf-32"]


@given(TEXTS, st.sampled_from(ENCODINGS), st.data())
def test_positions_and_offsets_are_inverse(text: str, encoding: str, data: st.DataObject) -> None:
    positions = Positions(text, encoding)
    offset = data.draw(st.integers(0, len(text)))
    inside_of_line_end = text[offset - 1 : offset + 1] == "\r\n" and offset > 0

    assert positions.offset(positions.position(offset)) == offset - inside_of_line_end


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 6), ("utf-16", 3), ("utf-32", 2)])
def test_columns_count_units(encoding: str, column: int) -> None:
    positions = Positions("x\né𝔸b", encoding)

    assert positions.position(4) == lsp.Position(1, column)
    assert positions.offset(lsp.Position(1, column)) == 4


def test_columns_behind_the_line_mean_its_end() -> None:
    positions = Positions("ab\r\ncd", "utf-16")

    assert positions.offset(lsp.Position(0, 99)) == 2
    assert positions.offset(lsp.Position(9, 0)) == 6


# --- formatting, renaming ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("old", "new"),
    [("  flat = ", "flat=  "), ("\n\nblock", "\n\n\n\nblock"), ("}\n\nnetwork", "}\nnetwork"), ("}\n\n", "}\n")],
)
def test_formatting_edits_give_the_format(line_end: str, old: str, new: str) -> None:
    view = view_of(FLOW.replace(old, new).replace("\n", line_end))
    at = view.positions.offset
    edits = [Edit(at(e.range.start), at(e.range.end), e.new_text) for e in format_document(view)]

    assert fixed(view.source.text, edits).replace("\r\n", "\n") == FLOW


def test_every_name_can_be_renamed(flow: View) -> None:
    """The networks that come out are right, whichever name it is."""
    for symbol in {id(o.symbol): o.symbol for o in flow.analysis.table.occurrences}.values():
        at = flow.positions.offset
        edits = rename(flow, symbol.definition.start, "Another")
        text = fixed(FLOW, [Edit(at(e.range.start), at(e.range.end), e.new_text) for e in edits])
        assert not view_of(text).analysis.broken, symbol.name


# --- the house ---------------------------------------------------------------------------------------------------


def test_nothing_else_imports_the_server() -> None:
    code = (
        "import sys, trtn, trtn.cli.app, trtn.dsl.load; print([m for m in sys.modules if 'lsp' in m or 'pygls' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_without_pygls_the_verb_says_what_is_missing() -> None:
    code = "import sys; sys.modules['pygls'] = None; from trtn.cli import main; sys.argv = ['trtn', 'lsp']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 2 and "pip install 'trtn[lsp]'" in done.stderr
