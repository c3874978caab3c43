"""The open files and what is known of each: one thread checks what is typed, another answers questions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from lsprotocol import types as lsp

from trtn.dsl.diagnostics import Source
from trtn.dsl.lsp.analysis import Analysis, analyse, hints
from trtn.dsl.lsp.buffers import Buffers, Cancelled, Token
from trtn.dsl.lsp.glance import glance
from trtn.dsl.lsp.view import View

__all__ = ["DEBOUNCE", "Session"]

DEBOUNCE = 0.03
"""Seconds after a change in which another one may come before the text is looked at."""
_Answer = TypeVar("_Answer")
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _File:
    """An open file. `view` is there when its newest text has been checked."""

    view: asyncio.Future[View]
    token: Token = field(default_factory=Token)
    last: View | None = None
    sound: View | None = None
    """The last view without errors, of these imports and manifests."""
    version: int | None = None
    task: asyncio.Task[None] | None = None


class Session:
    """`publish` is called in the event loop with each new view, first without hints where there are errors to show."""

    def __init__(self, publish: Callable[[str, View], None], retract: Callable[[str], None]) -> None:
        self.buffers = Buffers()
        self.encoding: lsp.PositionEncodingKind | str | None = None
        self.allow_outside = False
        self._publish = publish
        self._retract = retract
        self._files: dict[str, _File] = {}
        self._checking = ThreadPoolExecutor(1, "check")
        self._answering = ThreadPoolExecutor(1, "answer")

    # --- what the editor says ------------------------------------------------------------------------------------

    def change(self, uri: str, text: str, version: int | None) -> None:
        """A file was opened, or its text is another now."""
        path = self.buffers.put(uri, text).path
        self._schedule(uri, typed=True)
        self._files[uri].version = version
        self._schedule_readers(path)

    def close(self, uri: str) -> None:
        source = self.buffers.source(uri)
        self.buffers.close(uri)
        file = self._files.pop(uri, None)
        if file is not None:
            file.token.cancelled = True
            if file.task is not None:
                file.task.cancel()
            file.view.cancel()
        self._retract(uri)
        if source is not None:
            self._schedule_readers(source.path)

    def refresh(self) -> None:
        """Files on the disk may have changed."""
        self.buffers.forget()
        for uri in list(self._files):
            self._schedule(uri)

    def end(self) -> None:
        for file in self._files.values():
            file.token.cancelled = True
        for pool in (self._checking, self._answering):
            pool.shutdown(wait=False, cancel_futures=True)

    # --- questions -----------------------------------------------------------------------------------------------

    async def ask(self, uri: str, question: Callable[[View], _Answer]) -> _Answer | None:
        """Answer a question about the newest text of an open file, outside of the event loop; None if it is not open."""
        file = self._files.get(uri)
        if file is None:
            return None
        try:
            view = await asyncio.shield(file.view)
        except asyncio.CancelledError:
            if file.view.cancelled():  # closed meanwhile, or beyond us
                return None
            raise
        return await asyncio.get_running_loop().run_in_executor(self._answering, question, view)

    # --- checking ------------------------------------------------------------------------------------------------

    def _schedule_readers(self, path: str) -> None:
        """What imports a file is looked at anew with it."""
        here = self.buffers.key(path)
        for uri, file in list(self._files.items()):
            if file.last is not None and here in file.last.analysis.files:
                self._schedule(uri)

    def _schedule(self, uri: str, *, typed: bool = False) -> None:
        """typed: whether nothing but the text itself has changed."""
        loop = asyncio.get_running_loop()
        file = self._files.get(uri)
        if file is None:
            file = self._files[uri] = _File(loop.create_future())
        file.token.cancelled = True
        file.token = Token()
        if not typed:
            file.sound = None
        if file.task is not None:
            file.task.cancel()
        if file.view.done():
            file.view = loop.create_future()
        file.task = loop.create_task(self._check(uri, file, file.token))

    async def _check(self, uri: str, file: _File, token: Token) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(DEBOUNCE)
        source = self.buffers.source(uri)
        if source is None:
            return
        try:
            await self._glance(uri, file, source)
        except Exception:
            _log.exception("the first look at %s failed: this is a bug in trtn", uri)
        try:
            analysis = await loop.run_in_executor(self._checking, self._analyse, source, token)
            view = View(analysis, self.buffers, self.encoding, version=file.version)
            before, file.last = file.last, view
            file.view.set_result(view)
            if analysis.broken or before is None or before.analysis.broken:
                self._publish(uri, view)
            if not analysis.broken:
                file.sound = view
                view.hints = await loop.run_in_executor(self._checking, hints, analysis, token)
                self._publish(uri, view)
                await loop.run_in_executor(self._answering, view.prepare)
        except Cancelled:
            pass  # the newer run, which is scheduled already, fulfils the promise
        except Exception:
            _log.exception("checking %s failed: this is a bug in trtn", uri)
            if not file.view.done():
                file.view.cancel()  # who asks is not kept waiting

    async def _glance(self, uri: str, file: _File, source: Source) -> None:
        """Show what can be told at once."""
        if file.sound is None:
            return
        first = await asyncio.get_running_loop().run_in_executor(self._answering, glance, file.sound, source)
        if first is not None:
            first.version = file.version
            self._publish(uri, first)

    def _analyse(self, source: Source, token: Token) -> Analysis:
        token.check()
        return analyse(source, self.buffers, token, allow_outside=self.allow_outside)
