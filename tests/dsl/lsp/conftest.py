"""The server as an editor starts it, once a module, with a client that counts columns as we do."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import pytest_lsp
from lsprotocol import types as lsp
from pytest_lsp import ClientServerConfig, LanguageClient

from tests.dsl.lsp.editor import Editor
from tests.dsl.lsp.large_spec import SPEC, write

SERVER = ClientServerConfig([sys.executable, "-m", "trtn", "lsp"])


def capabilities(*encodings: lsp.PositionEncodingKind) -> lsp.ClientCapabilities:
    """A client that reads Markdown and counts columns in one of these, or says nothing on that."""
    markdown = [lsp.MarkupKind.Markdown]
    return lsp.ClientCapabilities(
        general=lsp.GeneralClientCapabilities(position_encodings=list(encodings) or None),
        text_document=lsp.TextDocumentClientCapabilities(
            hover=lsp.HoverClientCapabilities(content_format=markdown),
            completion=lsp.CompletionClientCapabilities(
                completion_item=lsp.ClientCompletionItemOptions(documentation_format=markdown)
            ),
            signature_help=lsp.SignatureHelpClientCapabilities(
                signature_information=lsp.ClientSignatureInformationOptions(documentation_format=markdown)
            ),
        ),
    )


@pytest_lsp.fixture(config=SERVER, scope="module")
async def client(lsp_client: LanguageClient) -> AsyncIterator[None]:
    wanted = capabilities(lsp.PositionEncodingKind.Utf32)
    await lsp_client.initialize_session(lsp.InitializeParams(wanted))
    yield
    await lsp_client.shutdown_session()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the large spec."""
    path = tmp_path_factory.mktemp("large")
    write(path)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(client: LanguageClient, folder: Path) -> Editor:
    editor = Editor(client, folder / "large.trtn")
    await editor.open()
    return editor


@pytest.fixture
def large(opened: Editor) -> Iterator[Editor]:
    """The large spec, open; what a test types there is taken back."""
    yield opened
    if opened.text != SPEC:
        opened.type(SPEC)


@pytest_asyncio.fixture(loop_scope="module")
async def short(client: LanguageClient, folder: Path) -> AsyncIterator[Editor]:
    """The short one, open."""
    editor = Editor(client, folder / "short.trtn")
    await editor.open()
    yield editor
    editor.close()
