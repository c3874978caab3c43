"""The types of values, read off the layers that a place of the text became."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from trtn.dsl.dims import DimError, evaluate
from trtn.dsl.elaborate import Unit
from trtn.dsl.lsp.analysis import Analysis
from trtn.dsl.lsp.callees import find_block
from trtn.dsl.lsp.symbols import Kind, Occurrence, Symbol
from trtn.dsl.network import Layer, Network, TensorType, walk
from trtn.dsl.syntax import ast
from trtn.dsl.syntax.walk import nodes

__all__ = ["Corner", "Typed", "Types"]

Seen = set[int]
"""The names and calls that a question has come to: each is followed once, or a circle would have no end."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A type that a value has in a network."""

    type: TensorType
    network: Network


@dataclass(frozen=True, slots=True)
class Corner:
    """A type's shape at the corners of a profile."""

    profile: str
    minimum: str
    optimum: str
    maximum: str


class Types:
    """Questions about the types in one analysed file."""

    def __init__(self, analysis: Analysis) -> None:
        assert analysis.unit is not None
        self.analysis = analysis
        self.unit = analysis.unit
        self._layers: dict[tuple[str, int, int], list[tuple[Layer, Network]]] = defaultdict(list)
        self._inputs = {n.name: {t.name: t for t in n.inputs} for n in analysis.known}
        for network in analysis.known:
            for layer in walk(network.graph):
                if (span := layer.origin.span) is not None:
                    self._layers[span.source.path, span.start, span.end].append((layer, network))

    def of(self, symbol: Symbol, occurrence: Occurrence | None = None) -> list[Typed]:
        """The types that a name of this file has, each once; several where a block or a round differs."""
        return _distinct(self._symbol(self.unit, symbol, (), set(), occurrence))

    def of_expression(self, expr: ast.Expr, result: int = 0) -> list[Typed]:
        return _distinct(self._expression(self.unit, expr, result, (), set()))

    def layers_at(self, node: ast.Node) -> list[Layer]:
        """The layers that a call's callee, or an operator's expression, became."""
        return [layer for layer, _ in self._layers.get((self.unit.source.path, node.start, node.end), ())]

    # --- names -------------------------------------------------------------------------------------------------

    def _symbol(
        self, unit: Unit, symbol: Symbol, under: Sequence[str], seen: Seen, occurrence: Occurrence | None = None
    ) -> Iterator[Typed]:
        if id(symbol) in seen:
            return
        seen.add(id(symbol))
        match symbol.node:
            case ast.Input():
                for network in self.analysis.known:
                    tensor = self._inputs[network.name].get(symbol.name)
                    if tensor is not None and self._is_in(symbol, network):
                        yield Typed(tensor.type, network)
            case ast.Assign() as statement:
                statement = _rebinding(self.analysis.table_of(unit).module, occurrence) or statement
                yield from self._assigned(unit, statement, symbol.name, under, seen)
            case ast.Param(type=ast.TypeExpr()) as param:
                yield from self._arguments(symbol, param, seen)
            case ast.ScanInput() | ast.Carry() | ast.Loop() as node:
                yield from self._region_input(unit, symbol, node)

    def _is_in(self, symbol: Symbol, network: Network) -> bool:
        return self.analysis.table.network_scope(network.name) is symbol.scope

    def _assigned(
        self, unit: Unit, statement: ast.Assign, name: str, under: Sequence[str], seen: Seen
    ) -> Iterator[Typed]:
        index = next((n for n, t in enumerate(statement.targets) if t.name == name), 0)
        match statement.value:
            case ast.If() | ast.Scan() | ast.Loop() as node:
                yield from self._results(unit, node, index, ())
            case value:
                first = next((t.name for t in statement.targets if t.name != "_"), name)
                yield from self._expression(unit, value, index, (*under, first), seen)

    def _arguments(self, symbol: Symbol, param: ast.Param, seen: Seen) -> Iterator[Typed]:
        """What the calls in this file hand to a block's parameter."""
        for block in self.unit.blocks.values():
            if param in block.sig.tensors:
                at = block.sig.tensors.index(param)
                for call in nodes(self.unit.module.items):
                    if isinstance(call, ast.Call) and call.callee.name == block.name and at < len(call.args):
                        yield from self._expression(self.unit, call.args[at], 0, (), seen)

    def _region_input(self, unit: Unit, symbol: Symbol, node: ast.Node) -> Iterator[Typed]:
        """The slices of a scan, what a body carries, a loop's number: the inputs of the layer's body."""
        for holder in nodes(unit.module.items):
            if isinstance(holder, ast.Scan | ast.Loop) and holder.start <= node.start and node.end <= holder.end:
                names = _body_names(holder)
                place = next((at for at, (n, name) in enumerate(names) if n is node and name == symbol.name), None)
                for layer, network in self._layers.get((unit.source.path, holder.start, holder.end), ()):
                    if place is not None:
                        yield Typed(layer.regions[0].inputs[place].type, network)

    # --- expressions -------------------------------------------------------------------------------------------

    def _expression(self, unit: Unit, expr: ast.Expr, result: int, under: Sequence[str], seen: Seen) -> Iterator[Typed]:
        """under: the names of the statements around, outermost first, which the layers' paths have in this order."""
        match expr:
            case ast.Call() if id(expr) not in seen:
                seen.add(id(expr))
                found = list(self._results(unit, expr.callee, result, under))
                yield from found or self._block(unit, expr, result, under, seen)
            case ast.Binary() | ast.Unary():
                yield from self._results(unit, expr, 0, under)
            case ast.Ref():
                occurrence = self.analysis.table_of(unit).at(expr.start)
                if occurrence is not None and occurrence.symbol.kind is not Kind.WEIGHTS:
                    yield from self._symbol(unit, occurrence.symbol, under[:-1], seen)

    def _results(self, unit: Unit, node: ast.Node, index: int, under: Sequence[str]) -> Iterator[Typed]:
        layers = self._layers.get((unit.source.path, node.start, node.end), ())
        inside = [(layer, network) for layer, network in layers if _is_under(layer.name, under)]
        for layer, network in inside or layers:
            if index < len(layer.outputs):
                yield Typed(layer.outputs[index].type, network)

    def _block(self, unit: Unit, call: ast.Call, index: int, under: Sequence[str], seen: Seen) -> Iterator[Typed]:
        found = find_block(unit, call.callee.name or "")
        returned = next((s for s in found[1].body if isinstance(s, ast.Return)), None) if found is not None else None
        if found is None or returned is None:
            return
        other = found[0]
        # A name in a block is bound below the call's name: its own comes after that.
        below = (*under, "")
        if len(returned.values) == 1:
            yield from self._expression(other, returned.values[0], index, below, seen)
        elif index < len(returned.values):
            yield from self._expression(other, returned.values[index], 0, below, seen)

    def corners(self, typed: Typed) -> list[Corner]:
        """The shape at each profile's corners; a size that the data decides stays a name."""
        found = []
        for profile in typed.network.profiles:
            shapes = []
            for which in ("minimum", "optimum", "maximum"):
                corner = profile.corner(which)
                shapes.append(f"{typed.type.dtype}[{', '.join(_at(d, corner) for d in typed.type.shape)}]")
            found.append(Corner(profile.name, *shapes))
        return found


def _at(dim: object, corner: dict[str, int]) -> str:
    try:
        return str(evaluate(dim, corner))  # type: ignore[arg-type]
    except (DimError, KeyError):
        return str(dim)


def _distinct(found: Iterable[Typed]) -> list[Typed]:
    kept: dict[tuple[str, str], Typed] = {}
    for typed in found:
        kept.setdefault((str(typed.type), typed.network.name), typed)
    return list(kept.values())


def _is_under(name: str, under: Sequence[str]) -> bool:
    """Whether a layer's path has these names in this order: `layer[3].ffn.h` is under `ffn`."""
    at = 0
    for part in under:
        match = re.compile(rf"(?:^|\.){re.escape(part)}(?=$|[.\[])").search(name, max(0, at - 1)) if part else None
        if part and match is None:
            return False
        at = match.end() if match is not None else at
    return True


def _rebinding(module: ast.Module, occurrence: Occurrence | None) -> ast.Assign | None:
    """The statement that binds a carried name anew at this place."""
    if occurrence is None or not occurrence.defines or occurrence.start == occurrence.symbol.definition.start:
        return None
    for node in nodes(module.items):
        if isinstance(node, ast.Assign) and any(t.start == occurrence.start for t in node.targets):
            return node
    return None


def _body_names(node: ast.Scan | ast.Loop) -> list[tuple[ast.Node, str]]:
    """What the inputs of a body are called, each with the node that says so."""
    carried: list[tuple[ast.Node, str]] = [(c, c.name) for c in node.carry]
    if isinstance(node, ast.Loop):
        return [(node, node.variable), *carried]
    return [*carried, *((i, i.name) for i in node.inputs)]
