"""A spec as others know it: its blocks and plugins, its networks with what they take and give, and where each stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtn.dsl.diagnostics import Sink, Source, Span
from trtn.dsl.network import Network
from trtn.dsl.syntax import ast

__all__ = ["Release", "read_release"]


@dataclass(frozen=True, slots=True)
class Release:
    """One version of one spec. `places`: where a thing is declared, by kind and path (`("input", "bert", "ids")`)."""

    source: Source
    networks: Mapping[str, Network]
    blocks: Mapping[str, ast.Block]
    plugins: Mapping[str, ast.Plugin]
    places: Mapping[tuple[str, ...], Span] = field(default_factory=dict)

    def place(self, *key: str) -> Span | None:
        """Where a thing stands; where it is gone, what it was part of; at last the first line."""
        for end in range(len(key), 1, -1):
            if (span := self.places.get(key[:end])) is not None:
                return span
        if len(key) > 2 and (span := self.places.get(("network", key[1]))) is not None:
            return span
        return self.source.span(0, min(len(self.source.text), len("trtn 1")))

    def text(self, node: ast.Node) -> str:
        return self.source.text[node.start : node.end]


def read_release(source: Source, sink: Sink, *, allow_outside: bool = False) -> Release:
    """Parse and check a spec. Findings go to the sink; what has errors is left out."""
    from trtn.dsl.load import check_source
    from trtn.dsl.syntax import parse

    networks = {n.name: n for n in check_source(source, sink, allow_outside=allow_outside)}
    module = parse(source, Sink())  # what is wrong with the text has been said
    blocks: dict[str, ast.Block] = {}
    plugins: dict[str, ast.Plugin] = {}
    places: dict[tuple[str, ...], Span] = {}
    for item in module.items:
        match item:
            case ast.Block():
                blocks[item.name] = item
                places["block", item.name] = source.span(item.name_start, item.name_end)
            case ast.Plugin():
                plugins[item.name] = item
                places["plugin", item.name] = source.span(item.name_start, item.name_end)
            case ast.NetworkDecl():
                places["network", item.name] = source.span(item.name_start, item.name_end)
                places |= {key: source.span(n.start, n.end) for key, n in _members(item)}
            case ast.Profile():
                places["profile", item.network, item.name] = source.span(item.name_start, item.name_end)
                for entry in item.entries:
                    places["profile", item.network, item.name, entry.name] = source.span(entry.start, entry.end)
            case ast.Target():
                places["target", item.name] = source.span(item.name_start, item.name_end)
                for f in item.fields:
                    places["target", item.name, f.name] = source.span(f.start, f.end)
    return Release(source, networks, blocks, plugins, places)


def _members(network: ast.NetworkDecl) -> list[tuple[tuple[str, ...], ast.Node]]:
    found: list[tuple[tuple[str, ...], ast.Node]] = []
    for member in network.members:
        match member:
            case ast.Input():
                found.append((("input", network.name, member.name), member))
            case ast.Output():
                found.append((("output", network.name, member.name), member))
            case ast.DimDecl():
                found.append((("dim", network.name, member.name), member))
    return found
