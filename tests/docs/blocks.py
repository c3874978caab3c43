"""The code blocks of a Markdown page, with the marks that say how a test treats them.

A block's first word is its language; `title="NAME"` makes it a file of that name in the page's sandbox. An HTML comment
on the line above a block may hold a mark:

    <!-- no-run: REASON -->     shown only: another program's code, a GPU, a network connection
    <!-- finds: E0312 -->       the spec has exactly these findings (several: with blanks between)
    <!-- exit: 1 -->            the block's last command ends with this status
    <!-- parse-only: REASON --> the spec's form is checked, not what it names
    <!-- needs: FILE -->        a model of `tests/corpus`, put into the folder; the page is skipped where it isn't there
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LANGUAGES", "MARKS", "Block", "Command", "commands", "page_blocks"]

LANGUAGES = {"console", "diff", "json", "python", "text", "toml", "trtn", "yaml"}
"""A block of another language, or of none, would be run by nobody."""
MARKS = {"exit", "finds", "needs", "no-run", "parse-only"}

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w+-]*)(?P<rest>[^\n`]*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_MARK = re.compile(r"^\s*<!-- ([\w-]+): (.+?) -->\s*$")


@dataclass(frozen=True, slots=True)
class Block:
    page: Path
    line: int
    """Of the opening fence, from 1."""
    language: str
    title: str
    mark: tuple[str, str]
    """A mark's name and value, or two empty strings."""
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    text: str
    output: tuple[str, ...]


def page_blocks(page: Path) -> list[Block]:
    return list(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").split("\n")
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        end = lines.index(fence["indent"] + "```", number + 1)
        body = [line.removeprefix(fence["indent"]) for line in lines[number + 1 : end]]
        mark = _MARK.match(lines[number - 1]) if number else None
        title = _TITLE.search(fence["rest"])
        yield Block(
            page,
            number + 1,
            fence["language"],
            title[1] if title else "",
            (mark[1], mark[2]) if mark else ("", ""),
            "".join(f"{line}\n" for line in body),
        )
        number = end + 1


def commands(text: str) -> list[Command]:
    """The commands of a console block, each behind `$ `, with the output that the page shows for it."""
    found: list[tuple[str, list[str]]] = []
    continued = False
    for line in text.rstrip("\n").split("\n"):
        if continued:
            command, output = found[-1]
            found[-1] = (command + "\n" + line, output)
        elif line.startswith("$ "):
            found.append((line[2:], []))
        else:
            assert found, f"output before the first command: {line}"
            found[-1][1].append(line.rstrip())
        continued = line.endswith("\\") and (continued or line.startswith("$ "))
    return [Command(command, tuple(_trimmed(output))) for command, output in found]


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines
