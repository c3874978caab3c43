"""Compiled kernels in an engine file: a section of code, and a table in the header that says what each piece is.

The table is a list of [library, target, digest, length], sorted; the pieces lie one behind the other in its order. The
code is used only where the user trusts the file; otherwise it is compiled anew from the tactics' names.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from itertools import pairwise
from typing import Any

from trtn.backend.binaries import BinaryKey
from trtn.backend.engine import canonical_json
from trtn.backend.engine.container import Container, Section
from trtn.backend.engine.fields import DecodeError, demand, read_int, read_list, read_text
from trtn.backend.user_cache import cache_folder
from trtn.dsl.records import record

__all__ = ["SECTION", "Compiled", "is_own", "note_own", "read_compiled"]

_log = logging.getLogger(__name__)

SECTION = "kernels"
"""The name of the section, and of the table in the header."""
TEXT_LIMIT = 255
_DIGEST = re.compile("[0-9a-f]{64}")


@record(eq=False)
class Compiled:
    """Pieces of code by what they are, in the order of their keys."""

    pieces: Mapping[BinaryKey, memoryview] = field(default_factory=dict)

    @classmethod
    def of(cls, binaries: Mapping[BinaryKey, bytes]) -> Compiled:
        return cls({key: memoryview(binaries[key]) for key in sorted(binaries)})

    def table(self) -> list[list[Any]]:
        """As it stands in the header."""
        return [[key.library, key.target, key.digest, len(piece)] for key, piece in self.pieces.items()]

    def section(self) -> Section:
        def chunks() -> Iterator[memoryview]:
            yield from self.pieces.values()

        return Section(SECTION, sum(map(len, self.pieces.values())), chunks)

    @property
    def stamp(self) -> str:
        """What identifies the code and what it is said to be."""
        digest = hashlib.sha256(canonical_json.dump(self.table()))
        for piece in self.pieces.values():
            digest.update(piece)
        return digest.hexdigest()


def read_compiled(container: Container) -> Compiled:
    """The compiled kernels of an engine file, none where it has no such section. Raises DecodeError."""
    is_there = SECTION in container.names
    demand(is_there == (SECTION in container.header), "a table of compiled kernels without the section, or the reverse")
    if not is_there:
        return Compiled()
    whole, start = container.section(SECTION), 0
    pieces: dict[BinaryKey, memoryview] = {}
    for row in read_list(container.header[SECTION]):
        library, target, digest, length = read_list(row, 4)
        key, nbytes = BinaryKey(_read_name(library), _read_name(target), read_text(digest)), read_int(length)
        if not _DIGEST.fullmatch(key.digest):
            raise DecodeError("a compiled kernel has no proper digest")
        demand(0 < nbytes <= len(whole) - start, "a compiled kernel lies outside of its section")
        demand(key not in pieces, "a compiled kernel is listed twice")
        pieces[key] = whole[start : start + nbytes]
        start += nbytes
    demand(all(a < b for a, b in pairwise(pieces)), "the compiled kernels are not sorted")
    demand(start == len(whole) > 0, "the compiled kernels do not fill their section")
    return Compiled(pieces)


def is_own(compiled: Compiled) -> bool:
    """Whether this user's trtn has written these kernels on this machine, as the user's cache folder has it."""
    folder = cache_folder()
    return bool(compiled.pieces) and folder is not None and (folder / "own" / compiled.stamp).is_file()


def note_own(compiled: Compiled) -> None:
    """Note kernels that are being written. A folder that can't be written is said so in the log, and nothing else."""
    folder = cache_folder()
    if folder is None or not compiled.pieces:
        return
    try:
        (folder / "own").mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "own" / compiled.stamp).touch(mode=0o600)
    except OSError as e:
        _log.warning("an engine's kernels can't be noted as this machine's own: %s", e)


def _read_name(value: Any) -> str:
    text = read_text(value)
    demand(0 < len(text) <= TEXT_LIMIT and text.isprintable(), "a compiled kernel has no proper name")
    return text
