"""What the layout of a text tells without parsing it: lines that start a statement or a declaration, and its
brackets.
"""

from __future__ import annotations

import re
from heapq import merge

from trtn.dsl.syntax.names import NAME_PATTERN as _NAME
from trtn.dsl.syntax.names import PATH_PATTERN as _PATH

__all__ = ["layout_events"]

_LINE = re.compile(
    rf"""^[ \t]*(?:
      (?P<declaration>(?=
          (?:network|target|manifest)[ \t]+{_NAME}\s*\{{
        | (?:block|plugin)[ \t]+{_NAME}\s*\(
        | profile[ \t]+{_NAME}[ \t]+for\b
        | import[ \t]*"
        | weights[ \t]+{_NAME}[ \t]*=[ \t]*"
      ))
    | (?P<statement>(?=
          {_PATH}(?:[ \t]*,[ \t]*{_PATH})*[ \t]*=(?!=)
        | (?:repeat|dim)[ \t]+{_NAME}[ \t]+in\b
        | let[ \t]+{_NAME}[ \t]*=
        | (?:assert|yield|return)[ \t]+[^\s=,]
        | (?:input|output|tensor)[ \t]+{_PATH}[ \t]*:
        | file[ \t]+{_NAME}[ \t]*=
        | doc[ \t]*"
        | {_PATH}:[ \t]+min\b
        | @[A-Za-z_]
      ))
    | (?P<field>(?=[A-Za-z_]\w*[ \t]+[^\s=,:]))
    )""",
    re.MULTILINE | re.VERBOSE,
)
_BRACKET = re.compile(r'"(?:[^"\\\n]|\\[^\n])*+"|`[^`\n]*+`|\#[^\n]*+|([()\[\]{}])')


def layout_events(text: str) -> list[tuple[int, str]]:
    """Offsets with what is there, in order: `declaration`, `statement`, `field` (a line that may be one) or a bracket.

    A line's event stands in front of the bracket's at the same offset; brackets in strings and comments don't count.
    """
    lines = ((m.end(), m.lastgroup or "") for m in _LINE.finditer(text))
    brackets = ((m.start(), m.group()) for m in _BRACKET.finditer(text) if m.lastindex)
    return list(merge(lines, brackets, key=lambda event: event[0]))
