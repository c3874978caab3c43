"""Trees whose text moved: the same nodes, some characters further on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

from trtn.dsl.syntax.ast import Node
from trtn.dsl.syntax.walk import node_fields

__all__ = ["moved"]

_Node = TypeVar("_Node", bound=Node)
_Layout = tuple[Callable[[Node], Sequence[Any]], tuple[int, ...], tuple[int, ...]]
_layouts: dict[type, _Layout] = {}


def moved(node: _Node, by: int) -> _Node:
    """A copy of a tree, `by` characters further on. An offset of 0 says that there is no such place, and stays."""
    kind = type(node)
    values_of, offsets, inner = _layouts.get(kind) or _layout(kind)
    values = list(values_of(node))
    for at in offsets:
        if values[at]:
            values[at] += by
    for at in inner:
        value = values[at]
        if isinstance(value, Node):
            values[at] = moved(value, by)
        elif value and type(value) is tuple:
            values[at] = tuple([moved(item, by) if isinstance(item, Node) else item for item in value])
    return kind(*values)


def _layout(kind: type[Node]) -> _Layout:
    """How to read all fields of a class at once, and which of them are offsets, which may hold nodes."""
    names = [f.name for f in fields(kind)]
    offsets = [at for at, name in enumerate(names) if name in ("start", "end") or name.endswith(("_start", "_end"))]
    inner = [at for at, name in enumerate(names) if name in node_fields(kind)]
    found = _layouts[kind] = attrgetter(*names), tuple(offsets), tuple(inner)
    return found
