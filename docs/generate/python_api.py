"""The Python API: the hand-written page, then every name of `trtn.__all__` from its docstring."""

from __future__ import annotations

import inspect
import re
from typing import Any

import trtn
from docs.generate.markdown import prose

__all__ = ["python_page"]

_ARGUMENT = re.compile(r"^(\w+): ")


def python_page(written: str) -> str:
    functions, classes = [], []
    for name in sorted(set(trtn.__all__) - {"__version__"}, key=str.lower):
        value = getattr(trtn, name)
        (classes if inspect.isclass(value) else functions).append((name, value))
    return "\n".join(
        [
            written.rstrip("\n"),
            "",
            "## Functions",
            "",
            *(_function(f"trtn.{name}", f, "###") for name, f in functions),
            "## Classes",
            "",
            *(_class(name, c) for name, c in classes),
        ]
    )


def _function(name: str, function: Any, level: str) -> str:
    block = ["```python", f"{name}{_signature(function)}", "```"]
    return "\n".join([f"{level} {name}", "", *block, "", *_doc(function), ""])


def _class(name: str, value: type) -> str:
    lines = [f"### trtn.{name}", "", *_doc(value), ""]
    for member, found in inspect.getmembers_static(value):
        if member.startswith("_") or issubclass(value, BaseException):
            continue
        if inspect.isfunction(found):
            lines.append(_function(member, found, "####"))
        elif inspect.getdoc(found) and (isinstance(found, property) or hasattr(found, "func")):
            lines += [f"#### {member}", "", *_doc(found), ""]
    return "\n".join(lines)


def _signature(function: Any) -> str:
    """Its signature as a caller sees it, a parameter a line where it is long."""
    signature = inspect.signature(function)
    parts: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        if parameter.name != "self":
            parts.append(str(parameter).replace("'", ""))
    result = f") -> {str(signature.return_annotation).strip(chr(39))}"
    short = f"({', '.join(parts)}{result}"
    return short if len(short) <= 80 else "(\n" + "".join(f"    {part},\n" for part in parts) + result


def _doc(value: Any) -> list[str]:
    """A docstring, its lines `name: what it is` as a list."""
    lines: list[str] = []
    listing = False
    for line in prose(inspect.getdoc(value) or "").split("\n"):
        match = _ARGUMENT.match(line)
        if match or not line or line.startswith("Raises"):
            lines += [""] if lines and lines[-1] and not (match and listing) else []
            listing = match is not None
        if match:
            lines.append(f"- `{match[1]}`: {line[match.end() :]}")
        elif line:
            lines.append(f"  {line}" if listing else line)
    return lines
