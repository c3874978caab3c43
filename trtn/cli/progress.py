"""A progress bar for what takes longer than two seconds, on a terminal. Everything else sees nothing of it."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Any

from trtn.cli.console import Console

__all__ = ["ProgressBar"]

DELAY = 2.0
"""Seconds before the bar appears."""


class ProgressBar:
    """`with ProgressBar(console, "building") as progress: build(.., progress=progress)`.

    Called with the stage, how much is done and how much there is; `total` 0, or no call at all, shows that something
    moves.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._shown = sys.stderr.isatty() and not console.quiet
        self._color = console.color(sys.stderr)
        self._stage = title
        self._done, self._total = 0, 0
        self._lock = threading.Lock()
        self._timer = threading.Timer(DELAY, self._show)
        self._timer.daemon = True
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        with self._lock:
            self._stage, self._done, self._total = stage, done, total
            if self._bar is not None:
                self._update()

    def __enter__(self) -> ProgressBar:
        if self._shown:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._shown = False
            if self._bar is not None:
                self._bar.stop()

    def _show(self) -> None:
        # Imported here, in the timer's thread: most runs are over before.
        from rich.console import Console as RichConsole
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        with self._lock:
            if not self._shown:
                return
            console = RichConsole(stderr=True, no_color=not self._color, highlight=False)
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task(self._stage, total=None)
            self._update()
            self._bar.start()

    def _update(self) -> None:
        self._bar.update(self._task, description=self._stage, completed=self._done, total=self._total or None)
