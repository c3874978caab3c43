"""What is typed and not saved counts: imports and manifests are read from open buffers; columns in any encoding."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_lsp
from lsprotocol import types as lsp
from pytest_lsp import LanguageClient
from pytest_lsp.client import make_test_lsp_client

from tests.dsl.lsp.conftest import SERVER, capabilities
from tests.dsl.lsp.editor import Editor

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPEC = """\
trtn 1

import "lib.trtn" as lib
weights w = "net.weights.trtn"

network net {
  dim N in 1..4
  input x: f32[N, 4]
  output y: f32[N, 4]
  y = lib.twice(x @ w.proj)
}
"""
LIB = """\
trtn 1

block twice(x: T[N, D]) -> T[N, D] {
  return x * 2.0
}
"""
MANIFEST = "trtn 1\n\nmanifest net {\n  tensor proj: f32[4, 4] = zeros\n}\n"


@pytest_lsp.fixture(config=SERVER, scope="module")
async def utf16(lsp_client: LanguageClient) -> AsyncIterator[None]:
    await lsp_client.initialize_session(lsp.InitializeParams(capabilities(), initialization_options={}))
    yield
    await lsp_client.shutdown_session()


@pytest.fixture
def net(client: LanguageClient, tmp_path: Path) -> Editor:
    (tmp_path / "net.trtn").write_text(SPEC)
    (tmp_path / "lib.trtn").write_text(LIB)
    (tmp_path / "net.weights.trtn").write_text(MANIFEST)
    return Editor(client, tmp_path / "net.trtn")


async def test_an_import_is_read_from_its_buffer(net: Editor) -> None:
    assert await net.open() == []
    lib = Editor(net.client, net.path.parent / "lib.trtn")
    assert await lib.open() == []

    lib.type(LIB.replace("twice", "thrice"))
    found = await net.findings(until=bool)
    assert [(d.code, net.text_of(d.range)) for d in found] == [("E0203", "lib.twice")]

    lib.close()  # the file on the disk counts again
    assert await net.findings(until=lambda found: not found) == []
    net.close()


async def test_a_manifest_is_read_from_its_buffer(net: Editor) -> None:
    assert await net.open() == []
    manifest = Editor(net.client, net.path.parent / "net.weights.trtn")
    assert await manifest.open() == []

    manifest.type(MANIFEST.replace("f32[4, 4]", "f32[5, 4]"))
    found = await net.findings(until=bool)
    assert [d.code for d in found] == ["E0312"] and "5" in found[0].message
    manifest.close()
    net.close()


async def test_findings_in_a_manifest_are_shown_there(net: Editor) -> None:
    path = net.path.parent / "net.weights.trtn"
    path.write_text(MANIFEST.replace("= zeros", "= zeroes"))
    net.client.diagnostics.clear()

    await net.open()
    while not net.client.diagnostics.get(path.as_uri()):
        await net.client.wait_for_notification(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    [found] = net.client.diagnostics[path.as_uri()]
    assert found.range.start.line == 3

    net.close()
    while net.client.diagnostics[path.as_uri()]:
        await net.client.wait_for_notification(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)


async def test_a_saved_file_is_read_anew(net: Editor) -> None:
    assert await net.open() == []
    (net.path.parent / "lib.trtn").write_text(LIB.replace("twice", "thrice"))

    net.client.text_document_did_save(lsp.DidSaveTextDocumentParams(net.document))

    assert [d.code for d in await net.findings(until=bool)] == ["E0203"]
    net.close()


async def test_a_manifest_has_symbols_and_a_format(net: Editor) -> None:
    manifest = Editor(net.client, net.path.parent / "net.weights.trtn")
    await manifest.open(MANIFEST.replace("  tensor", "tensor"))

    symbols = await net.client.text_document_document_symbol_async(lsp.DocumentSymbolParams(manifest.document))
    params = lsp.DocumentFormattingParams(manifest.document, lsp.FormattingOptions(2, True))
    edits = await net.client.text_document_formatting_async(params)

    assert symbols is not None and isinstance(symbols[0], lsp.DocumentSymbol)
    assert [s.name for s in symbols[0].children or []] == ["proj"]
    assert manifest.edited(list(edits or [])) == MANIFEST
    assert await manifest.hover(manifest.at("proj")) == ""
    manifest.close()


async def test_a_closed_file_answers_nothing(net: Editor) -> None:
    await net.open()
    net.close()

    assert await net.hover(net.at("y =")) == ""


async def test_columns_are_utf16_by_default(utf16: LanguageClient, tmp_path: Path) -> None:
    editor = Editor(utf16, tmp_path / "net.trtn")
    text = 'trtn 1\n\nnetwork net {\n  dim N in 1..4\n  input x: f32[N]\n  output y: f32[N]\n  @onnx("𝔸é") y = rleu(x)\n}\n'

    [found] = await editor.open(text)

    line = text.split("\n")[6]
    start = len(line[: line.index("rleu")].encode("utf-16-le")) // 2
    assert (found.range.start.character, found.range.end.character) == (start, start + 4) != (line.index("rleu"), 0)
    found_at = lsp.Position(6, start + 5)
    assert "x: f32[N]" in await editor.hover(found_at)
    editor.close()


async def test_the_server_ends_well() -> None:
    client = make_test_lsp_client()
    await client.start_io(sys.executable, "-m", "trtn", "lsp", "--stdio")
    await client.initialize_session(lsp.InitializeParams(capabilities()))
    server = client._server
    assert server is not None
    await client.shutdown_session()

    assert await server.wait() == 0
    await client.stop()
