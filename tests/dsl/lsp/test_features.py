"""Every feature, over standard input and output, on a spec of 2,000 lines."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pytest_lsp import LanguageClient

from tests.dsl.lsp.editor import Editor
from tests.dsl.lsp.large_spec import LINES, SHORT, SPEC

pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- diagnostics -------------------------------------------------------------------------------------------------


async def test_findings_as_you_type(large: Editor) -> None:
    assert LINES - 10 <= SPEC.count("\n") <= LINES
    found = await large.change("q100 = linear(h100,", "q100 = linear(h1000,")

    assert [(d.code, large.text_of(d.range), d.severity) for d in found] == [
        ("E0201", "h1000", lsp.DiagnosticSeverity.Error)
    ]
    assert "did you mean `h100`?" in found[0].message
    assert await large.change("q100 = linear(h1000,", "q100 = linear(h100,") == []


async def test_only_the_newest_text_counts(large: Editor) -> None:
    for n in range(5):
        large.type(SPEC.replace("q100 = linear(h100,", f"q100 = linear(zz{n},"))

    found = await large.findings()

    assert [large.text_of(d.range) for d in found] == ["zz4"]


async def test_questions_while_typing(large: Editor) -> None:
    """Each is answered, for the newest text."""
    asked = []
    line = "  new = softmax(r9, axis=-1)"
    for end in range(3, len(line), 4):
        large.type(SPEC.replace("  y = relu(", f"{line[:end]}\n  y = relu("))
        asked.append(asyncio.create_task(large.complete(large.at(f"{line[:end]}\n  y = relu", end))))
        asked.append(asyncio.create_task(large.hover(large.at("k7 = reshape"))))
        await asyncio.sleep(0.02)

    answers = await asyncio.gather(*asked)

    assert all("k7: f32[B, S, 4, 16]" in str(answer) for answer in answers[1::2])
    assert "r9" in answers[-2]
    large.type(SPEC)
    assert await large.findings() == []


async def test_a_broken_file_keeps_what_can_be_told(large: Editor) -> None:
    found = await large.change("s50 = softmax(t50 * 0.125, axis=-1)", "s50 = softmax(t50 *")
    assert {d.code for d in found} == {"E0102"}  # and no error that follows from it

    assert "f32[4, 128, 64]" in await large.hover(large.at("q40 ="))
    assert "q51" in await large.hover(large.at("q51 ="))  # it hangs on what is lost: no type
    assert await large.definition(large.at("linear(h70", 7)) == [("large.trtn", "h70")]
    assert "axis=" in await large.complete(large.at("s51 = softmax(t51 * 0.125, ", 27))


async def test_lint_findings_are_hints_with_fixes(large: Editor) -> None:
    large.type(SPEC.replace("  y = relu(", "  idle = abs(r3)\n  y = relu("))
    found = await large.findings(until=bool)

    assert [(d.code, d.severity, large.text_of(d.range)) for d in found] == [
        ("L0101", lsp.DiagnosticSeverity.Hint, "idle")
    ]
    [action] = await actions(large, found[0].range)
    assert action.edit is not None and action.edit.changes is not None
    assert large.edited(list(action.edit.changes[large.uri])) == SPEC


async def test_a_near_name_is_a_fix(large: Editor) -> None:
    large.type(SPEC.replace("q100 = linear(h100,", "q100 = linaer(h100,"))
    await large.findings(until=bool)

    [action] = await actions(large, lsp.Range(large.at("linaer"), large.at("linaer", 6)))

    assert action.title == "write `linear`" and action.kind == lsp.CodeActionKind.QuickFix
    assert action.edit is not None and action.edit.changes is not None
    assert large.edited(list(action.edit.changes[large.uri])) == SPEC


async def actions(editor: Editor, where: lsp.Range) -> list[lsp.CodeAction]:
    params = lsp.CodeActionParams(editor.document, where, lsp.CodeActionContext([]))
    found = await editor.client.text_document_code_action_async(params)
    return [action for action in found or [] if isinstance(action, lsp.CodeAction)]


# --- hover, definitions ------------------------------------------------------------------------------------------


async def test_hover(large: Editor) -> None:
    value = await large.hover(large.at("k7 = reshape"))
    assert "k7: f32[B, S, 4, 16]" in value
    assert "| small | `f32[1, 8, 4, 16]` | `f32[1, 64, 4, 16]` | `f32[4, 128, 4, 16]` |" in value

    call = await large.hover(large.at("softmax(t9 "))
    assert "softmax(x: T" in call and "f32[B, 4, S, 16]" in call
    assert "axis: int = -1" in await large.hover(large.at("axis=-1"))
    assert "block ffn(x: T[B, S, D]" in await large.hover(large.at("ffn(u9"))
    assert "block residual(" in await large.hover(large.at("common.residual(f9", 8))
    assert "h: f32[B, S, 128]" in await large.hover(large.at("h = activation"))
    assert "act: str" in await large.hover(large.at("kind=act", 5))
    assert "dim S in 8..512 step 8" in await large.hover(large.at("[B, S, 64]", 4))
    assert "layer[5].q.weight: f32[64, 64] = zeros" in await large.hover(large.at("w.layer[5].q.weight", 12))
    assert "# .. 12 tensors in all" in await large.hover(large.at("p.fc1.weight", 4))
    assert await large.hover(large.at("# layer 3")) == ""


@pytest.mark.parametrize(
    ("at", "after", "expected"),
    [
        ("linear(h70,", 7, [("large.trtn", "h70")]),
        ("ffn(u9", 0, [("large.trtn", "ffn")]),
        ("common.residual(f9", 0, [("large.trtn", "common")]),
        ("common.residual(f9", 8, [("blocks.trtn", "residual")]),
        ("w.layer[5].q.weight", 12, [("large.weights.trtn", "tensor layer[5].q.weight")]),
        ("w.layer[5].q.weight", 0, [("large.trtn", "w")]),
        ("[B, S, 64]", 1, [("large.trtn", "B")]),
        ("S: min 8", 0, [("large.trtn", "S")]),
        ("profile small for large", 20, [("large.trtn", "large")]),
        ("output y", 7, [("large.trtn", "y")]),
        ('"blocks.trtn"', 3, [("blocks.trtn", "")]),
    ],
)
async def test_definition(large: Editor, at: str, after: int, expected: list[tuple[str, str]]) -> None:
    assert await large.definition(large.at(at, after)) == expected


async def test_weights_of_a_block_are_those_of_all_its_callers(large: Editor) -> None:
    found = await large.definition(large.at("p.fc1.weight", 8))

    assert found == [("large.weights.trtn", f"tensor layer[{k}].ffn.fc1.weight") for k in range(12)]


# --- completion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "offered", "missing"),
    [
        ("  new = soft", {"softmax", "softplus", "ffn", "common", "r3", "B"}, {"axis="}),
        ("  new = softmax(r3, ", {"axis=", "r3"}, {"approximate="}),
        ("  new = ffn(r3, ", {"p=", "act="}, {"axis="}),
        ("  new = common.", {"residual"}, {"softmax"}),
        ("  new = cast(r3, to=", {"f16", "bf16"}, set()),
        ("  new = linear(r3, w.", {"layer"}, {"[0]"}),
        ("  new = linear(r3, w.layer.", {"[0]", "[11]"}, {"layer"}),
        ("  new = linear(r3, w.layer[3].q.", {"weight", "bias"}, {"fc1"}),
        ('  new = resize(r3, mode="', {"nearest", "linear"}, {"softmax"}),
        ("  new = relu(r3) : ", {"f32", "i64"}, {"softmax"}),
        ("  new = relu(r3) : f32[", {"B", "S", "width"}, {"softmax", "r3"}),
        ("  new = reshape(r3, shape=[B, ", {"S", "width"}, {"shape="}),
        ("  repeat j in 0..2 { a = relu(w.layer[", {"j"}, {"doc"}),
        ('  new = ffn(r3, p=w.layer[0].ffn, act="', set(), {"softmax"}),
        ('  new = activation(r3, kind="', {"gelu", "relu"}, {"conv"}),
        ("  ", {"repeat", "output", "dim"}, {"network", "softmax"}),
        ("  @", {"precision", "onnx"}, {"softmax"}),
        ("  # soft", set(), {"softmax", "repeat"}),
    ],
)
async def test_completion(short: Editor, typed: str, offered: set[str], missing: set[str]) -> None:
    short.type(SHORT.replace("  y = relu(", f"{typed}\n  y = relu("))

    found = await short.complete(short.at(f"{typed}\n  y", len(typed)))

    assert offered <= found.keys() and not missing & found.keys()


async def test_completion_in_blocks_targets_and_profiles(short: Editor) -> None:
    tail = "\ntarget t {\n  network \n  \n}\n\nprofile other for large {\n  \n}\n"
    text = SHORT.replace("  return linear(h,", "  new = linear(h, p.f\n  return linear(h,") + tail
    short.type(text)

    assert {"fc1", "fc2"} <= (await short.complete(short.at("p.f\n", 3))).keys()
    assert {"large"} <= (await short.complete(short.at("  network \n", 10))).keys()
    assert {"device", "precision"} <= (await short.complete(short.at("network \n  \n", 11))).keys()
    assert {"B", "S"} <= (await short.complete(short.at("other for large {\n  ", 20))).keys()


async def test_attributes_tell_kind_and_default(short: Editor) -> None:
    found = await short.complete(short.at("softmax(t3 * 0.125, ", 20))

    assert found["axis="].detail == "int = -1" and found["axis="].insert_text == "axis="
    assert found["t2"].detail == "t2 = transpose(k2, perm=[0, 2, 1, 3])"
    assert found["softmax"].detail is not None and found["softmax"].detail.startswith("softmax(x: T")


async def test_an_index_takes_the_place_of_the_dot(short: Editor) -> None:
    short.type(SHORT.replace("  y = relu(", "  new = linear(r3, w.layer.\n  y = relu("))

    item = (await short.complete(short.at("w.layer.\n", 8)))["[3]"]

    assert isinstance(item.text_edit, lsp.TextEdit)
    assert "linear(r3, w.layer[3]\n" in short.edited([item.text_edit])


async def test_signature_help(large: Editor) -> None:
    found = await large.client.text_document_signature_help_async(
        lsp.SignatureHelpParams(large.document, large.at("layer_norm(r9, w.", 15))
    )

    assert found is not None and found.active_parameter == 1
    label = found.signatures[0].label
    start, end = found.signatures[0].parameters[1].label
    assert label.startswith("layer_norm(") and label[start:end] == "scale"


# --- the rest ----------------------------------------------------------------------------------------------------


async def test_formatting(large: Editor) -> None:
    large.type(SPEC.replace("  q77 = linear(h77, ", "  q77=linear( h77,\n"))

    edits = await formatted(large)

    assert large.edited(edits) == SPEC
    assert edits[0].range.end.line - edits[0].range.start.line < 5
    assert await large.change("q77=linear( h77,", "q77=linear(((") != []
    assert await formatted(large) == []


async def formatted(editor: Editor) -> list[lsp.TextEdit]:
    params = lsp.DocumentFormattingParams(editor.document, lsp.FormattingOptions(2, True))
    return list(await editor.client.text_document_formatting_async(params) or [])


async def test_inlay_hints(large: Editor) -> None:
    where = lsp.Range(large.at("  # layer 20"), large.at("  # layer 21"))

    hints = await large.client.text_document_inlay_hint_async(lsp.InlayHintParams(large.document, where))

    assert hints is not None
    lines = SPEC.split("\n")
    shown = {lines[h.position.line].split()[0]: h.label for h in hints}
    assert shown == {
        "h20": ": f32[B, S, 64]", "k20": ": f32[B, S, 4, 16]", "t20": ": f32[B, 4, S, 16]",
        "s20": ": f32[B, 4, S, 16]", "u20": ": f32[B, S, 64]", "f20": ": f32[B, S, 64]", "r20": ": f32[B, S, 64]",
    }  # fmt: skip
    large.type(large.edited([edit for h in hints for edit in h.text_edits or []]))
    assert all(d.severity == lsp.DiagnosticSeverity.Hint for d in await large.findings())


async def test_document_symbols(large: Editor) -> None:
    symbols = await large.client.text_document_document_symbol_async(lsp.DocumentSymbolParams(large.document))

    found = [s for s in symbols or [] if isinstance(s, lsp.DocumentSymbol)]
    assert [s.name for s in found] == ["common", "w", "ffn", "large", "small"]
    names = [s.name for s in found[3].children or []]
    assert names[:7] == ["B", "S", "width", "x", "y", "stem", "h0"] and "r200" in names
    assert all(inside(s) for s in found)


def inside(symbol: lsp.DocumentSymbol) -> bool:
    """What the protocol demands: the name lies in what it names."""

    def key(p: lsp.Position) -> tuple[int, int]:
        return p.line, p.character

    whole, name = symbol.range, symbol.selection_range
    return key(whole.start) <= key(name.start) <= key(name.end) <= key(whole.end) and all(
        inside(s) for s in symbol.children or []
    )


async def test_references(large: Editor) -> None:
    found = await large.client.text_document_references_async(
        lsp.ReferenceParams(lsp.ReferenceContext(True), large.document, large.at("dim S", 4))
    )

    assert found is not None and {large.text_of(place.range) for place in found} == {"S"}
    assert len(found) > 600


# --- rename ------------------------------------------------------------------------------------------------------


async def renamed(editor: Editor, at: lsp.Position, name: str) -> str:
    edit = await editor.client.text_document_rename_async(lsp.RenameParams(editor.document, at, name))
    assert edit is not None and edit.changes is not None
    return editor.edited(list(edit.changes[editor.uri]))


@pytest.mark.parametrize(
    ("at", "after", "name"),
    [
        ("h7 =", 0, "hidden"),  # bound, read
        ("stem {\n    x = ", 11, "image"),  # what a repeat carries is the name outside of it
        ("dim S", 4, "T"),
        ("ffn(u3", 0, "feed_forward"),
        ("act: str", 0, "kind"),
        ("w.layer[5].q.weight", 0, "weights_of"),
        ("output y", 7, "result"),
        ("network large", 9, "encoder"),
    ],
)
async def test_rename(short: Editor, at: str, after: int, name: str) -> None:
    text = await renamed(short, short.at(at, after), name)

    assert text.count(name) - SHORT.count(name) > 0
    short.type(text)
    assert await short.findings() == []


@pytest.mark.parametrize(
    ("at", "after", "name", "why"),
    [
        ("h7 =", 0, "q7", "means something else"),
        ("h7 =", 0, "B", "means something else"),
        ("h7 =", 0, "w", "means something else"),
        ("ffn(u3", 0, "relu", "means something else"),
        ("ffn(u3", 0, "common", "means something else"),
        ("h7 =", 0, "if", "a word of the language"),
        ("h7 =", 0, "f32", "a word of the language"),
        ("h7 =", 0, "two words", "not a name"),
        ("dim S", 4, "a.b", "not a name"),
        ("relu(r", 0, "other", "no name here"),
    ],
)
async def test_rename_is_refused(short: Editor, at: str, after: int, name: str, why: str) -> None:
    with pytest.raises(JsonRpcException, match=why):
        await renamed(short, short.at(at, after), name)


async def test_rename_in_a_long_spec(large: Editor) -> None:
    large.type(await renamed(large, large.at("dim S", 4), "Sequence"))

    assert large.text.count("Sequence") > 600
    assert await large.findings() == []


async def test_rename_needs_a_text_that_can_be_read(short: Editor) -> None:
    short.type(SHORT.replace("t3 = transpose(k3", "t3 = transpose((k3"))

    with pytest.raises(JsonRpcException, match="syntax errors"):
        await renamed(short, short.at("h7 ="), "other")


async def test_prepare_rename(short: Editor) -> None:
    ask = short.client.text_document_prepare_rename_async

    found = await ask(lsp.PrepareRenameParams(short.document, short.at("h7 =", 1)))

    assert isinstance(found, lsp.Range) and short.text_of(found) == "h7"
    assert await ask(lsp.PrepareRenameParams(short.document, short.at("relu(r"))) is None


async def test_the_server_says_what_it_can(client: LanguageClient, folder: Path) -> None:
    editor = Editor(client, folder / "tiny.trtn")

    assert [d.code for d in await editor.open("")] == ["E0103"]  # a new file, not saved yet
    editor.close()
