"""Lark's parser for a grammar: built once, kept on disk, lent to one parse at a time."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lark

from trtn.dsl.syntax.automaton import Automaton
from trtn.dsl.syntax.build import Builder
from trtn.dsl.syntax.collecting import rare_collections
from trtn.grammar import GrammarName, grammar_text

__all__ = ["Machine", "lend_machine"]


class Machine:
    """A parser with the builder that it calls. Serves one parse at a time."""

    def __init__(self, grammar: GrammarName) -> None:
        self.builder = Builder()
        self.automaton = Automaton(_build(grammar, self.builder))


_idle: dict[GrammarName, list[Machine]] = {"trtn": [], "weights": []}


@contextmanager
def lend_machine(grammar: GrammarName) -> Iterator[Machine]:
    """A machine for one parse. Several threads get several; an idle one is used again."""
    idle = _idle[grammar]
    try:
        machine = idle.pop()
    except IndexError:
        machine = Machine(grammar)
    try:
        with rare_collections():
            yield machine
    finally:
        machine.builder.reset()
        idle.append(machine)


def _build(grammar: GrammarName, builder: Builder) -> lark.Lark:
    text = grammar_text(grammar)
    options = {"parser": "lalr", "lexer": "contextual", "transformer": builder}
    folder = _cache_folder()
    if folder is None:
        return lark.Lark(text, **options)
    # Everything that the tables depend on; trtn's own code is not in them.
    key = f"{text}\0{lark.__version__}\0{sys.version}"
    final = folder / f"{grammar}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.lark"
    # Lark rebuilds where it finds no file or a damaged one, and says nothing where it can't write.
    return lark.Lark(text, cache=str(final), **options)


def _cache_folder() -> Path | None:
    """The user's cache folder, or None where there is none that only this user can write to: what lies there is
    unpickled.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        root = Path(base) if base and os.path.isabs(base) else Path.home() / ".cache"
        folder = root / "trtn" / "grammar"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except (OSError, RuntimeError):
        return None
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    owned = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return folder if private and owned else None
