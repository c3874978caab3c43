"""The long text of a code."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Page", "page"]


class Page(NamedTuple):
    cause: str
    example: str
    cure: str


def page(*, cause: str, example: str, cure: str) -> Page:
    """A page whose texts may be indented as the code around them is.

    An example is a whole file that gives the code, or a command line after `$`. Where it takes several files,
    each follows a line `==> NAME <==`.
    """
    lines = example.strip("\n")
    indent = len(lines) - len(lines.lstrip(" "))
    lines = lines[indent:].replace("\n" + " " * indent, "\n").strip()
    return Page(" ".join(cause.split()), lines, " ".join(cure.split()))
