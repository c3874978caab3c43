"""Rename a name everywhere in its file. Afterwards every name must mean what it meant, or it is refused."""

from __future__ import annotations

from lsprotocol import types as lsp

from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.lint import Edit, fixed
from trtn.dsl.lsp.symbols import Kind, Occurrence, Space
from trtn.dsl.lsp.table import Table
from trtn.dsl.lsp.view import View
from trtn.dsl.syntax import RESERVED, parse
from trtn.dsl.syntax.names import is_plain_name, is_plain_path

__all__ = ["Refused", "prepare", "rename"]


class Refused(Exception):
    """Why a name can't be changed."""


def prepare(view: View, offset: int) -> Occurrence | None:
    """The name at an offset, if it is one of this file's."""
    return view.analysis.table.at(offset)


def rename(view: View, offset: int, name: str) -> list[lsp.TextEdit]:
    """The edits of a renaming. Raises Refused."""
    occurrence = view.analysis.table.at(offset)
    if occurrence is None:
        raise Refused("there is no name here that this file defines")
    symbol = occurrence.symbol
    _check_name(name, path=symbol.kind in (Kind.VALUE, Kind.INPUT, Kind.OUTPUT))
    places = sorted({(o.start, o.end) for o in symbol.occurrences})
    text = fixed(view.source.text, [Edit(start, end, name) for start, end in places])
    sink = Sink()
    before, after = view.analysis.table, Table(parse(Source(view.source.path, text), sink))
    if _lost(view):
        raise Refused("the text has syntax errors, which may hide places that have the name: mend them first")
    if sink.has_errors or _meanings(before) != _meanings(after) or _clash(view, symbol.space, name):
        raise Refused(f"`{name}` means something else here already")
    return [lsp.TextEdit(view.positions.range(start, end), name) for start, end in places]


def _check_name(name: str, *, path: bool) -> None:
    if not (is_plain_path(name) if path else is_plain_name(name)) or name == "_":
        raise Refused(f"`{name}` is not a name: letters, digits and underscores")
    if name in RESERVED or name in BY_NAME:
        raise Refused(f"`{name}` is a word of the language")


def _lost(view: View) -> bool:
    return view.analysis.unit is None or view.analysis.unit.broken


def _meanings(table: Table) -> list[int]:
    """The names of a text in its order, each as the number of what it stands for."""
    numbers: dict[int, int] = {}
    return [numbers.setdefault(id(o.symbol), len(numbers)) for o in table.occurrences]


def _clash(view: View, space: Space, name: str) -> bool:
    """Whether a name that nobody mentions is taken all the same: declared twice in one file, or an op's."""
    from trtn.dsl.ops.base import find_op

    if space is Space.CALL:
        return view.analysis.table.file.find(space, name) is not None or find_op(name) is not None
    return False
