"""Weight manifests: see `build`."""

from __future__ import annotations

import re
from typing import NamedTuple

from trtn.dsl.syntax import ast
from trtn.dsl.syntax.build_expressions import ExpressionBuilder, Items
from trtn.dsl.syntax.names import NAME_PATTERN, PATH_PATTERN, unquote_path
from trtn.dsl.syntax.tokens import Token

__all__ = ["ManifestBuilder"]

GENERATORS = frozenset({"zeros", "ones", "full", "normal", "uniform", "inline"})
_KEY = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_ROW = re.compile(
    rf"tensor\s+({PATH_PATTERN}):\s+([^\]]+\])\s+=\s+(({NAME_PATTERN})(?:\[{_KEY}\])?(\s+transpose)?)\s+(sha256:\w+)"
)
"""The parts of a ROW: name, type, source (file, key, `transpose`), hash."""


class _Size(NamedTuple):
    value: ast.SizeLit | ast.IntLit


class _Offset(NamedTuple):
    value: int
    end_pos: int


class _Stored(NamedTuple):
    start: int
    end: int
    name: str
    key: str | None
    transpose: bool
    offset: int | None


class _Generated(NamedTuple):
    start: int
    end: int
    name: str
    args: tuple[ast.Expr, ...]


class ManifestBuilder(ExpressionBuilder):
    """The rules of `weights.lark`."""

    def manifest(self, items: Items) -> ast.Manifest:
        keyword, name, _, *entries, closing = items
        files = tuple([e for e in entries if type(e) is ast.WeightFile])
        tensors = tuple([e for e in entries if type(e) is ast.TensorEntry])
        return ast.Manifest(keyword.start_pos, closing.end_pos, unquote_path(name), files, tensors)

    def file(self, items: Items) -> ast.WeightFile:
        keyword, name, path, *rest = items
        size = rest.pop(0).value if rest and type(rest[0]) is _Size else None
        digest: Token | None = rest[0] if rest else None
        end = digest.end_pos if digest is not None else size.end if size is not None else path.end_pos
        file = ast.WeightFile(
            keyword.start_pos, end, unquote_path(name), self.read_string(path), size,
            path_start=path.start_pos, path_end=path.end_pos,
        )  # fmt: skip
        if digest is not None:
            file.digest, file.digest_start, file.digest_end = str(digest), digest.start_pos, digest.end_pos
        return file

    def size(self, items: Items) -> _Size:
        value = self.read_number(str(items[1]), items[1].start_pos)
        if isinstance(value, ast.SizeLit | ast.IntLit):
            return _Size(value)
        self.problem("E0101", value.start, value.end, "expected a size such as `438MB` or a number of bytes")
        return _Size(ast.IntLit(value.start, value.end, 0))

    def row(self, items: Items) -> ast.TensorEntry:
        token: Token = items[0]
        match = _ROW.fullmatch(token)
        assert match is not None
        start, end = token.start_pos, token.end_pos
        name, written_type, _, file, key, transpose, digest = match.groups()
        if "`" in token:
            name, file = unquote_path(name), unquote_path(file)
        if key is not None:
            key = self.read_text(key, start + match.start(5))
        type_ = self.read_plain_type(written_type, start + match.start(2))
        entry = ast.TensorEntry(start, end, name, type_)
        entry.name_end = start + match.end(1)
        entry.source_start, entry.source_end = start + match.start(3), start + match.end(3)
        entry.digest, entry.digest_start, entry.digest_end = digest, start + match.start(7), end
        _refer(entry, file, key, transpose is not None)
        return entry

    def tensor(self, items: Items) -> ast.TensorEntry:
        keyword, name, type_, source, *digest = items
        end = digest[0].end_pos if digest else source.end
        entry = ast.TensorEntry(
            keyword.start_pos, end, unquote_path(name), type_,
            name_end=name.end_pos, source_start=source.start, source_end=source.end,
        )  # fmt: skip
        if type(source) is _Generated:
            entry.generator, entry.args = source.name, source.args
        else:
            _refer(entry, source.name, source.key, source.transpose, source.offset)
        if digest:
            entry.digest, entry.digest_start, entry.digest_end = (
                str(digest[0]), digest[0].start_pos, digest[0].end_pos,
            )  # fmt: skip
        return entry

    def stored(self, items: Items) -> _Stored:
        name, end = items[0], items[0].end_pos
        key: str | None = None
        transpose, offset = False, None
        for item in items[1:]:
            end = item.end_pos
            if type(item) is _Offset:
                offset = item.value
            elif item.type == "STRING":
                key = self.read_string(item)
            elif item.type == "TRANSPOSE":
                transpose = True
        return _Stored(name.start_pos, end, unquote_path(name), key, transpose, offset)

    def offset(self, items: Items) -> _Offset:
        return _Offset(self.read_int(items[1]), items[1].end_pos)

    def generated(self, items: Items) -> _Generated:
        opening, *args, closing = items
        name = unquote_path(opening[:-1].rstrip(" \t"))
        return _Generated(opening.start_pos, closing.end_pos, name, tuple(args))

    def inline(self, items: Items) -> _Generated:
        keyword, values = items
        if type(values) is not ast.ListLit:
            self.problem("E0101", values.start, values.end, "`inline` takes a list of numbers", help="`inline [1, 2]`")
        return _Generated(keyword.start_pos, values.end, "inline", (values,))


def _refer(entry: ast.TensorEntry, name: str, key: str | None, transpose: bool, offset: int | None = None) -> None:
    """What stands behind the `=`: a generator without arguments, or a file."""
    if name in GENERATORS and key is None:
        entry.generator = name
    else:
        entry.file, entry.key, entry.transpose, entry.offset = name, key, transpose, offset
