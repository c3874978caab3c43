"""The server: each request of the protocol, handed to the module that answers it."""

from __future__ import annotations

import gc
import sys

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from trtn.dsl.lsp.completion import TRIGGERS, completions
from trtn.dsl.lsp.definition import definition, references
from trtn.dsl.lsp.formatting import format_document
from trtn.dsl.lsp.hover import hover
from trtn.dsl.lsp.inlay import inlay_hints
from trtn.dsl.lsp.outline import outline
from trtn.dsl.lsp.publishing import Board, code_actions
from trtn.dsl.lsp.rename import Refused, prepare, rename
from trtn.dsl.lsp.session import Session
from trtn.dsl.lsp.signatures import signature_help
from trtn.dsl.lsp.view import View
from trtn.dsl.version import VERSION

__all__ = ["make_server", "serve"]


def serve() -> None:
    """Speak the protocol on standard input and output until the client says goodbye."""
    server = make_server()
    # What is loaded by now stays: the collector need not look at it again. While a check runs in its thread, requests
    # should not wait for the interpreter's lock.
    gc.freeze()
    sys.setswitchinterval(0.001)
    server.start_io()


class _Server(LanguageServer):
    """Takes whole texts: what a line's end is the protocol says one way and `str.splitlines` another."""

    def __init__(self) -> None:
        super().__init__("trtn", VERSION, text_document_sync_kind=lsp.TextDocumentSyncKind.Full)
        self.board = Board()
        self.session = Session(self.publish, self.retract)

    def publish(self, uri: str, view: View) -> None:
        for changed, found in self.board.put(uri, view).items():
            version = view.version if changed == uri else None
            self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(changed, found, version))

    def retract(self, uri: str) -> None:
        for changed, found in self.board.put(uri, None).items():
            self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(changed, found))

    def shutdown(self) -> None:
        self.session.end()
        super().shutdown()  # type: ignore[no-untyped-call]


def make_server() -> LanguageServer:
    """A server with its features, not started."""
    server = _Server()
    _follow_files(server)
    _answer_questions(server)
    _change_texts(server)
    return server


def _follow_files(server: _Server) -> None:
    session = server.session

    @server.feature(lsp.INITIALIZE)
    def initialize(params: lsp.InitializeParams) -> None:
        session.encoding = server.workspace.position_encoding
        options = params.initialization_options
        session.allow_outside = bool(isinstance(options, dict) and options.get("allowOutside"))

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    async def did_open(params: lsp.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        session.change(document.uri, document.text, document.version)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    async def did_change(params: lsp.DidChangeTextDocumentParams) -> None:
        document = params.text_document
        session.change(document.uri, server.workspace.get_text_document(document.uri).source, document.version)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    async def did_close(params: lsp.DidCloseTextDocumentParams) -> None:
        session.close(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    async def did_save(params: lsp.DidSaveTextDocumentParams) -> None:
        session.refresh()

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    async def did_change_files(params: lsp.DidChangeWatchedFilesParams) -> None:
        session.refresh()


def _answer_questions(server: _Server) -> None:
    session = server.session

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    async def on_hover(params: lsp.HoverParams) -> lsp.Hover | None:
        def answer(view: View) -> lsp.Hover | None:
            found = hover(view, view.positions.offset(params.position))
            if found is None:
                return None
            text, start, end = found
            return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, text), view.positions.range(start, end))

        return await session.ask(params.text_document.uri, answer)

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    async def on_definition(params: lsp.DefinitionParams) -> list[lsp.Location] | None:
        return await session.ask(
            params.text_document.uri, lambda view: definition(view, view.positions.offset(params.position))
        )

    @server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    async def on_references(params: lsp.ReferenceParams) -> list[lsp.Location] | None:
        uri = params.text_document.uri
        return await session.ask(
            uri,
            lambda view: [lsp.Location(uri, r) for r in references(view, view.positions.offset(params.position))],
        )

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    async def on_highlight(params: lsp.DocumentHighlightParams) -> list[lsp.DocumentHighlight] | None:
        return await session.ask(
            params.text_document.uri,
            lambda view: [lsp.DocumentHighlight(r) for r in references(view, view.positions.offset(params.position))],
        )

    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=list(TRIGGERS)))
    async def on_completion(params: lsp.CompletionParams) -> list[lsp.CompletionItem] | None:
        return await session.ask(
            params.text_document.uri, lambda view: completions(view, view.positions.offset(params.position))
        )

    @server.feature(lsp.TEXT_DOCUMENT_SIGNATURE_HELP, lsp.SignatureHelpOptions(trigger_characters=["(", ",", "="]))
    async def on_signature_help(params: lsp.SignatureHelpParams) -> lsp.SignatureHelp | None:
        return await session.ask(
            params.text_document.uri, lambda view: signature_help(view, view.positions.offset(params.position))
        )

    @server.feature(lsp.TEXT_DOCUMENT_INLAY_HINT)
    async def on_inlay_hint(params: lsp.InlayHintParams) -> list[lsp.InlayHint] | None:
        def answer(view: View) -> list[lsp.InlayHint]:
            offset = view.positions.offset
            return inlay_hints(view, offset(params.range.start), offset(params.range.end))

        return await session.ask(params.text_document.uri, answer)

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    async def on_document_symbol(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol] | None:
        return await session.ask(params.text_document.uri, outline)


def _change_texts(server: _Server) -> None:
    session = server.session

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    async def on_formatting(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit] | None:
        return await session.ask(params.text_document.uri, format_document)

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix])
    )
    async def on_code_action(params: lsp.CodeActionParams) -> list[lsp.CodeAction] | None:
        uri = params.text_document.uri

        def answer(view: View) -> list[lsp.CodeAction]:
            offset = view.positions.offset
            return code_actions(view, uri, offset(params.range.start), offset(params.range.end))

        return await session.ask(uri, answer)

    @server.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
    async def on_prepare_rename(params: lsp.PrepareRenameParams) -> lsp.Range | None:
        def answer(view: View) -> lsp.Range | None:
            found = prepare(view, view.positions.offset(params.position))
            return view.positions.range(found.start, found.end) if found is not None else None

        return await session.ask(params.text_document.uri, answer)

    @server.feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
    async def on_rename(params: lsp.RenameParams) -> lsp.WorkspaceEdit | None:
        uri = params.text_document.uri
        try:
            edits = await session.ask(
                uri, lambda view: rename(view, view.positions.offset(params.position), params.new_name)
            )
        except Refused as why:
            raise JsonRpcException(str(why), lsp.LSPErrorCodes.RequestFailed.value) from None
        return lsp.WorkspaceEdit({uri: edits}) if edits is not None else None
