"""Over the nodes of a syntax tree, whatever their class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

from trtn.dsl.syntax.ast import Expr, Node

__all__ = ["children", "node_fields", "nodes", "too_deep"]


# Fields of these types never hold nodes; most fields are of them.
_PLAIN = {"int", "str", "bool", "float", "str | None", "int | None", "tuple[str, ...]", "tuple[int, ...]"}
_fields: dict[type, tuple[str, ...]] = {}


def node_fields(kind: type[Node]) -> tuple[str, ...]:
    """The fields of a class of nodes that may hold nodes."""
    names = _fields.get(kind)
    if names is None:
        names = _fields[kind] = tuple(f.name for f in fields(kind) if f.type not in _PLAIN)
    return names


def children(node: Node) -> Iterator[Node]:
    """The nodes directly under a node, field by field."""
    for name in node_fields(type(node)):
        value = getattr(node, name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            for item in value:
                if isinstance(item, Node):
                    yield item


def nodes(roots: Iterable[Node]) -> Iterator[Node]:
    """Every node under the roots and the roots themselves, parents first, in no other order. Not recursive."""
    stack = list(roots)
    while stack:
        node = stack.pop()
        yield node
        for name in node_fields(type(node)):  # as `children`, without a generator for each node
            value = getattr(node, name)
            if isinstance(value, Node):
                stack.append(value)
            elif isinstance(value, tuple) and value:
                stack += [item for item in value if isinstance(item, Node)]


def too_deep(roots: Iterable[Node], limit: int) -> Node | None:
    """An expression whose tree is deeper than `limit` nodes, or None."""
    stack = [(root, 0) for root in roots]
    while stack:
        node, depth = stack.pop()
        depth = depth + 1 if isinstance(node, Expr) else 0
        if depth > limit:
            return node
        stack.extend((child, depth) for child in children(node))
    return None
