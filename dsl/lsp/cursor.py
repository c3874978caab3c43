"""Where in the text the cursor is: in which node of the tree, or, while the text is being typed, in which brackets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from trtn.dsl.syntax import ast
from trtn.dsl.syntax.tokens import TOKEN
from trtn.dsl.syntax.walk import children

__all__ = ["Call", "Place", "path_at", "place_at"]

_BODIES = {"network", "block", "plugin", "profile", "target", "manifest", "repeat", "precision"}
_INNER_BODIES = {"if", "else", "scan", "loop"}
_PATH = re.compile(r"(?:[A-Za-z_]\w*|`[^`\n]*`?)(?:\.(?:[A-Za-z_]\w*|`[^`\n]*`?)?|\[[^\]\n]*\])*$")
_SOUND = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`')


def path_at(module: ast.Module, offset: int) -> list[ast.Node]:
    """The nodes around an offset, outermost first."""
    path: list[ast.Node] = []
    inner: ast.Node | None = next((n for n in module.items if n.start <= offset <= n.end), None)
    while inner is not None:
        path.append(inner)
        # Of two that touch at the cursor, the one that starts there.
        inside = [n for n in children(path[-1]) if n.start <= offset <= n.end]
        inner = max(inside, key=lambda n: n.start, default=None)
    return path


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose arguments are being written: how many commas are behind, the keywords given so far."""

    callee: str
    argument: int
    given: tuple[str, ...]
    keyword: str = ""
    """The keyword whose value the cursor is in."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is to the left of the cursor."""

    path: str = ""
    """The path that is being written."""
    string: str | None = None
    """The string that is being written, as far as it goes."""
    comment: bool = False
    bodies: tuple[str, ...] = ()
    """The words that opened the bodies around, outermost first; `precision {` is one."""
    call: Call | None = None
    type_of: str | None = None
    """The name right before the bracket in which the cursor is: a dtype's, or a path's."""
    line: tuple[str, ...] = ()
    """The tokens of the line before the path."""


@dataclass(slots=True)
class _Open:
    bracket: str
    word: str
    commas: int = 0
    given: list[str] = field(default_factory=list)
    keyword: str = ""


def place_at(text: str, offset: int) -> Place:
    """What can be told from the text alone: what is being typed can't be parsed yet."""
    line_start = text.rfind("\n", 0, offset) + 1
    line = text[line_start:offset]
    sound = _SOUND.sub(lambda m: "x" * len(m[0]), line)
    if "#" in sound.partition('"')[0]:
        return Place(comment=True)
    quote = sound.find('"')
    written = line[quote + 1 :] if quote >= 0 else None
    end = line_start + quote if quote >= 0 else offset
    path = _PATH.search(text[line_start:end]) if quote < 0 else None
    before = line_start + path.start() if path is not None else end
    opened = _brackets(text, before)
    inner = opened[-1] if opened else None
    call = None
    if inner is not None and inner.bracket in "([" and (around := _call(opened)) is not None:
        call = Call(around.word, around.commas, tuple(around.given), around.keyword)
    return Place(
        path=path[0] if path is not None else "",
        string=written,
        bodies=tuple(o.word for o in opened if o.bracket == "{"),
        call=call,
        type_of=inner.word if inner is not None and inner.bracket == "[" and inner.word else None,
        line=tuple(m.group() for m in TOKEN.finditer(text, line_start, before)),
    )


def _call(opened: list[_Open]) -> _Open | None:
    """The innermost call around lists and groups."""
    for item in reversed(opened):
        if item.bracket == "{":
            return None
        if item.bracket == "(" and item.word:
            return item
    return None


def _brackets(text: str, end: int) -> list[_Open]:
    opened: list[_Open] = []
    word, path, last_end, previous = "", "", -1, ""
    for match in TOKEN.finditer(text, 0, end):
        token = match.group()
        if match.lastgroup == "comment":
            continue
        inner = opened[-1] if opened else None
        if match.lastgroup == "name":
            if token in _BODIES or token in _INNER_BODIES:
                word = token
            path = path + token if previous == "." and match.start() == last_end else token
        elif token == "{":
            opened.append(_Open("{", word))
        elif token in ("(", "["):
            opened.append(_Open(token, path if match.start() == last_end else ""))
        elif token in (")", "]", "}"):
            if opened:
                closed = opened.pop()
                path = path + "[]" if closed.bracket == "[" and closed.word else ""
        elif token == "." and match.start() == last_end:
            path += "."
        elif inner is not None and token == ",":
            inner.commas += 1
            inner.keyword = ""
        elif inner is not None and token == "=":
            inner.given.append(previous)
            inner.keyword = previous
        if match.lastgroup != "name" and token not in (".", "]"):
            path = ""
        last_end, previous = match.end(), token
    return opened
