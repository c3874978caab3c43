"""A person at an editor: opens files, types, asks. Speaks to the server through a client of the protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lsprotocol import types as lsp
from pytest_lsp import LanguageClient

__all__ = ["Editor"]


class Editor:
    """One open file."""

    def __init__(self, client: LanguageClient, path: Path) -> None:
        self.client = client
        self.path = path
        self.uri = path.as_uri()
        self.text = ""
        self.version = 0

    @property
    def document(self) -> lsp.TextDocumentIdentifier:
        return lsp.TextDocumentIdentifier(self.uri)

    # --- typing --------------------------------------------------------------------------------------------------

    async def open(self, text: str | None = None) -> list[lsp.Diagnostic]:
        """Open the file, or a buffer with another text; gives the findings."""
        self.text = self.path.read_text() if text is None else text
        self.version += 1
        item = lsp.TextDocumentItem(self.uri, "trtn", self.version, self.text)
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))
        return await self.findings()

    def type(self, text: str) -> None:
        """Change the whole text, and don't wait."""
        self.text = text
        self.version += 1
        self.client.text_document_did_change(
            lsp.DidChangeTextDocumentParams(
                lsp.VersionedTextDocumentIdentifier(self.version, self.uri),
                [lsp.TextDocumentContentChangeWholeDocument(text)],
            )
        )

    async def change(self, old: str, new: str) -> list[lsp.Diagnostic]:
        """Change a part of the text that is there once; gives the findings."""
        assert self.text.count(old) == 1, old
        self.type(self.text.replace(old, new))
        return await self.findings()

    async def findings(
        self, until: Callable[[list[lsp.Diagnostic]], bool] = lambda found: True
    ) -> list[lsp.Diagnostic]:
        """The next list of findings for the text as it is now."""
        while True:
            shown = await self.client.wait_for_notification(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
            if shown.uri == self.uri and shown.version == self.version and until(list(shown.diagnostics)):
                return list(shown.diagnostics)

    def close(self) -> None:
        self.client.text_document_did_close(lsp.DidCloseTextDocumentParams(self.document))

    # --- places, in code points -----------------------------------------------------------------------------------

    def at(self, text: str, after: int = 0) -> lsp.Position:
        """The position `after` characters behind the start of a text that is there (its first place counts)."""
        offset = self.text.index(text) + after
        line = self.text.count("\n", 0, offset)
        return lsp.Position(line, offset - (self.text.rfind("\n", 0, offset) + 1))

    def text_of(self, where: lsp.Range) -> str:
        return self.text[self.offset(where.start) : self.offset(where.end)]

    def offset(self, position: lsp.Position) -> int:
        lines = self.text.split("\n")
        return sum(len(line) + 1 for line in lines[: position.line]) + position.character

    def edited(self, edits: list[lsp.TextEdit]) -> str:
        text = self.text
        for edit in sorted(edits, key=lambda e: self.offset(e.range.start), reverse=True):
            text = text[: self.offset(edit.range.start)] + edit.new_text + text[self.offset(edit.range.end) :]
        return text

    # --- asking --------------------------------------------------------------------------------------------------

    async def hover(self, position: lsp.Position) -> str:
        found = await self.client.text_document_hover_async(lsp.HoverParams(self.document, position))
        assert found is None or isinstance(found.contents, lsp.MarkupContent)
        return found.contents.value if found is not None else ""

    async def definition(self, position: lsp.Position) -> list[tuple[str, str]]:
        """Each place's file and the text that stands there."""
        found = await self.client.text_document_definition_async(lsp.DefinitionParams(self.document, position))
        places = []
        for place in found or []:
            name = place.uri.rpartition("/")[2]
            lines = (self.text if place.uri == self.uri else (self.path.parent / name).read_text()).split("\n")
            line = lines[place.range.start.line]
            places.append((name, line[place.range.start.character : place.range.end.character]))
        return places

    async def complete(self, position: lsp.Position) -> dict[str, lsp.CompletionItem]:
        found = await self.client.text_document_completion_async(lsp.CompletionParams(self.document, position))
        return {item.label: item for item in found or []}
