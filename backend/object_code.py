"""Machine code that LLVM has made before, without LLVM: an object file is put into memory, its addresses are filled in,
and its functions can be called. Loading LLVM for that would take longer than a small network's first run, and 60 MB.

Object files are those of x86-64 Linux in the large code model, which MCJIT's target machines have: what they refer to is
written as whole addresses. Layouts and numbers are those of the System V ABI, chapters 4 and 5, and its supplement for
x86-64.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
from functools import cache
from typing import Any, NamedTuple

from trtn.dsl.records import record

__all__ = ["Loaded", "load_object"]

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_IDENT = b"\x7fELF\x02\x01"
"""64 bits, little-endian."""
_RELOCATABLE = 1
_X86_64 = 62
_PROGBITS, _SYMTAB, _RELA = 1, 2, 4
_ALLOCATED = 2
_WHOLE_ADDRESS = 1
"""R_X86_64_64: the symbol's address plus the addend, 8 bytes."""
_LIBRARY = ("memcpy", "memmove", "memset")
"""What LLVM puts calls of into any code."""
_READ, _EXECUTE = 1, 4


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry: int


class _Symbol(NamedTuple):
    name: int
    info: int
    other: int
    section: int
    value: int
    size: int


class _UnknownError(Exception):
    """Something that such object files have no need of."""


@record(eq=False)
class Loaded:
    """A function in memory; it stays as long as this object."""

    address: int
    memory: mmap.mmap


def load_object(code: bytes, name: str) -> Loaded | None:
    """A function of an object file, which must be one that is trusted. None where this is no such file, or has anything
    that LLVM would have to be asked for."""
    if sys.platform != "linux":
        return None
    try:
        return _load(code, name.encode())
    except (_UnknownError, struct.error, OSError, ValueError, IndexError):
        return None


def _load(code: bytes, name: bytes) -> Loaded:
    sections = _sections(code)
    symbols, names = _symbols(code, sections)
    places, size = _places(code, sections)
    memory = mmap.mmap(-1, size)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for number, place in places.items():
        section = sections[number]
        memory[place : place + section.size] = _bytes(code, section)

    def address_of(symbol: _Symbol) -> int:
        if symbol.section in places:
            return base + places[symbol.section] + symbol.value
        return _library(_text(names, symbol.name)) if symbol.section == 0 else _refuse("a symbol in no section")

    for section in sections:
        if section.kind != _RELA or section.info not in places:
            continue
        for offset, info, addend in _RELOCATION.iter_unpack(_bytes(code, section)):
            if info & 0xFFFFFFFF != _WHOLE_ADDRESS or not 0 <= offset <= sections[section.info].size - 8:
                _refuse("an address of another form")
            address = (address_of(symbols[info >> 32]) + addend) % (1 << 64)
            struct.pack_into("<Q", memory, places[section.info] + offset, address)
    found = [s for s in symbols if s.section in places and _text(names, s.name) == name]
    if len(found) != 1:
        _refuse("no such function")
    if _libc().mprotect(ctypes.c_void_p(base), ctypes.c_size_t(size), _READ | _EXECUTE):
        _refuse("no memory for code")
    return Loaded(address_of(found[0]), memory)


def _sections(code: bytes) -> list[_Section]:
    ident, kind, machine, _, _, _, start, _, _, _, _, entry, count, _ = _HEADER.unpack_from(code)
    if ident[:6] != _IDENT or kind != _RELOCATABLE or machine != _X86_64 or entry != _SECTION.size:
        _refuse("another kind of file")
    return [_Section(*_SECTION.unpack_from(code, start + n * entry)) for n in range(count)]


def _symbols(code: bytes, sections: list[_Section]) -> tuple[list[_Symbol], bytes]:
    """The symbols, and the text that their names lie in."""
    (table,) = (s for s in sections if s.kind == _SYMTAB)
    return [_Symbol(*row) for row in _SYMBOL.iter_unpack(_bytes(code, table))], _bytes(code, sections[table.link])


def _places(code: bytes, sections: list[_Section]) -> tuple[dict[int, int], int]:
    """Where the sections go that are there at run time, and how much memory they take together."""
    places, end = {}, 0
    for number, section in enumerate(sections):
        if section.kind == _PROGBITS and section.flags & _ALLOCATED:
            end += -end % max(section.alignment, 1)
            places[number] = end
            end += section.size
    if not end:
        _refuse("no code")
    return places, end


def _bytes(code: bytes, section: _Section) -> bytes:
    data = code[section.offset : section.offset + section.size]
    return data if len(data) == section.size else _refuse("a section that is cut short")


def _text(names: bytes, start: int) -> bytes:
    return names[start : names.index(b"\0", start)]


def _library(name: bytes) -> int:
    """The address of a function of the C library."""
    if name.decode() not in _LIBRARY:
        _refuse("a function of some library")
    return ctypes.cast(getattr(_libc(), name.decode()), ctypes.c_void_p).value or _refuse("no address")


@cache
def _libc() -> Any:
    return ctypes.CDLL(None)


def _refuse(what: str) -> Any:
    raise _UnknownError(what)
