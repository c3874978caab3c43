"""Op signatures, written as the language would write them and parsed once:

    conv(x: T, weight: T, bias: T?, *, strides: ints = 1, mode: "valid" | "same" = "valid") -> T
    split(x: T, *, axis: int = 0, sizes: dims) -> T...
    lstm(x: T, w: T, r: T, bias: T?, *, hidden: int) -> (y: T, h: T, c: T)
    cast(x: any, *, to: dtype) -> to

A type is a dtype variable (limited by the op's `where`), a dtype, `any`, or, for results, the name of an attribute
of kind dtype.
`?` marks what may be absent, `...` a list of inputs or results.
"""

from __future__ import annotations

import re
from typing import Any

from trtn.dsl.dims import Expr
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.records import record

__all__ = ["Attr", "Input", "Result", "Signature", "parse_signature"]

KINDS = ("int", "float", "bool", "str", "dtype", "dim", "ints", "floats", "bools", "strs", "dims", "values")
"""`dim` and `dims` take dim expressions; `values` takes nested lists of numbers."""
REQUIRED = object()


@record()
class Input:
    name: str
    type: str
    optional: bool = False
    variadic: bool = False


@record()
class Result:
    name: str
    type: str
    variadic: bool = False


@record()
class Attr:
    """An attribute: its kind, the words it may be (of a str), its default. `optional` ones may be absent (None)."""

    name: str
    kind: str
    choices: tuple[str, ...] = ()
    default: Any = REQUIRED
    optional: bool = False

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def text(self) -> str:
        """The kind as the documentation and the messages write it."""
        return " | ".join(f'"{c}"' for c in self.choices) or self.kind

    def coerce(self, value: Any) -> Any:
        """The canonical value, or a ValueError that says what was expected: ints fit floats, one number fits a list."""
        if value is None:
            if self.optional:
                return None
            raise ValueError(f"`{self.name}` takes {self.text}")
        try:
            return _COERCE[self.kind](value, self)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"`{self.name}` takes {self.text}, not {show(value)}") from None


@record()
class Signature:
    name: str
    inputs: tuple[Input, ...]
    attrs: tuple[Attr, ...]
    results: tuple[Result, ...]

    def attr(self, name: str) -> Attr | None:
        return next((a for a in self.attrs if a.name == name), None)


def show(value: Any) -> str:
    """A value as the language writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(show, value))}]"
    return str(value)


def _int(value: Any, attr: Attr) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    if not -(2**63) <= value < 2**63:
        raise OverflowError
    return value


def _float(value: Any, attr: Attr) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _bool(value: Any, attr: Attr) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _str(value: Any, attr: Attr) -> str:
    if not isinstance(value, str) or (attr.choices and value not in attr.choices):
        raise TypeError
    return value


def _dtype(value: Any, attr: Attr) -> DType:
    return value if isinstance(value, DType) else BY_NAME[value] if value in BY_NAME else _fail()


def _dim(value: Any, attr: Attr) -> int | Expr:
    return value if isinstance(value, Expr) else _int(value, attr)


def _fail() -> Any:
    raise TypeError


def _list_of(one: Any) -> Any:
    def many(value: Any, attr: Attr) -> tuple[Any, ...]:
        items = (
            value if isinstance(value, list | tuple) else (value,) if not isinstance(attr.default, tuple) else _fail()
        )
        return tuple(one(v, attr) for v in items)

    return many


def _values(value: Any, attr: Attr) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_values(v, attr) for v in value)
    return value if isinstance(value, bool | int | float | Expr) else _fail()


_COERCE = {
    "int": _int, "float": _float, "bool": _bool, "str": _str, "dtype": _dtype, "dim": _dim, "ints": _list_of(_int),
    "floats": _list_of(_float), "bools": _list_of(_bool), "strs": _list_of(_str), "dims": _list_of(_dim), "values": _values,
}  # fmt: skip

_HEAD = re.compile(r"\s*(\w+)\s*\((.*)\)\s*->\s*(.+?)\s*$", re.S)
_ITEM = re.compile(r"\s*(\w+)\s*:\s*([^=]+?)\s*(?:=\s*(.+?)\s*)?$", re.S)


def _split(text: str) -> list[str]:
    """Split at commas outside brackets and strings."""
    parts, depth, quoted, start = [], 0, False, 0
    for at, c in enumerate(text):
        if c == '"':
            quoted = not quoted
        elif not quoted and c in "[(":
            depth += 1
        elif not quoted and c in "])":
            depth -= 1
        elif c == "," and not quoted and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return [p.strip() for p in parts if p.strip()]


def _literal(text: str) -> Any:
    if text in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text]
    if text.startswith('"'):
        return text[1:-1]
    if text.startswith("["):
        return tuple(_literal(t) for t in _split(text[1:-1]))
    try:
        return int(text)
    except ValueError:
        return BY_NAME[text] if text in BY_NAME else float(text)


def _attr(text: str) -> Attr:
    match = _ITEM.match(text)
    assert match, text
    name, kind, default = match.groups()
    optional = kind.endswith("?")
    kind = kind.rstrip("?").strip()
    choices: tuple[str, ...] = ()
    if kind.startswith('"'):
        choices, kind = tuple(c.strip().strip('"') for c in kind.split("|")), "str"
    assert kind in KINDS, text
    value = _literal(default) if default is not None else None if optional else REQUIRED
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    return Attr(name, kind, choices, value, optional)


def _type(text: str) -> tuple[str, bool, bool]:
    variadic = text.endswith("...")
    text = text.removesuffix("...")
    return text.removesuffix("?"), text.endswith("?"), variadic


def parse_signature(text: str) -> Signature:
    match = _HEAD.match(text)
    assert match, text
    name, body, results = match.groups()
    inputs: list[Input] = []
    attrs: list[Attr] = []
    starred = False
    for part in _split(body):
        if part == "*":
            starred = True
        elif starred:
            attrs.append(_attr(part))
        else:
            item = _ITEM.match(part)
            assert item, part
            inputs.append(Input(item[1], *_type(item[2])))
    parts = _split(results[1:-1]) if results.startswith("(") else [results]
    outs = []
    for number, part in enumerate(parts):
        label, _, type_text = part.rpartition(":")
        kind, _, variadic = _type(type_text.strip())
        outs.append(Result(label.strip() or f"y{number or ''}", kind, variadic))
    return Signature(name, tuple(inputs), tuple(attrs), tuple(outs))
