"""Statements: one for each layer, in order. Control flow has its body between braces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from trtn.dsl.dims import Dim, Expr
from trtn.dsl.network import DataDim, Graph, Layer, Network, Tensor, walk
from trtn.dsl.ops.base import find_op
from trtn.dsl.printer.attributes import follows_value, written_attributes
from trtn.dsl.printer.carried import plan_rebinding
from trtn.dsl.printer.literals import name_text, value_text
from trtn.dsl.printer.names import Names, Scope
from trtn.dsl.printer.operands import Operand, arguments, infix, standalone
from trtn.dsl.printer.placement import Placement
from trtn.dsl.printer.rewrite import expressible
from trtn.dsl.syntax.breaking import INDENT, LINE_LENGTH, break_line
from trtn.dsl.syntax.lines import Piece
from trtn.dsl.syntax.names import quote_name, quote_string
from trtn.dsl.syntax.tokens import TOKEN

__all__ = ["BodyWriter"]


@dataclass(slots=True)
class BodyWriter:
    """Writes the layers of a network into `lines`, and into `placement` the weights that it meets."""

    network: Network
    names: Names
    placement: Placement
    provenance: bool
    types: bool
    lines: list[str] = field(default_factory=list)
    depth: int = 1
    _read: set[int] = field(default_factory=set)
    _open_dims: dict[str, DataDim] = field(default_factory=dict)
    """Data-dependent dims that no statement has named yet."""
    _around: list[Layer] = field(default_factory=list)
    """The control flow that the current body belongs to; its annotations hold inside."""

    def __post_init__(self) -> None:
        self._open_dims = dict(self.network.data_dims)
        self._read = {id(t) for t in _read_tensors(self.network.graph)}

    def line(self, text: str) -> None:
        """One logical line, over several physical ones where it is long."""
        indent = INDENT * self.depth
        if len(indent) + len(text) <= LINE_LENGTH:
            self.lines.append(indent + text)
        else:
            self.lines += break_line(list(_pieces(text)), indent)

    def layers(self, layers: Iterable[Layer], scope: Scope, carried: Mapping[int, str]) -> None:
        """The statements of a body. `carried`: tensors by id that are the new values of carried names."""
        for layer in layers:
            for part in expressible(layer):
                self._statement(part, scope, carried)

    # --- statements ---

    def _statement(self, layer: Layer, scope: Scope, carried: Mapping[int, str]) -> None:
        if not layer.outputs:
            return  # nothing can come of it, and there is no name to bind
        operands = [self.operand(layer, n, t, scope) for n, t in enumerate(layer.inputs)]
        names, first = self._targets(layer, scope, carried)
        self._annotations(layer)
        targets = ", ".join(names.get(id(t), "_") for t in layer.outputs)
        if layer.regions:
            end = self._control(layer, targets, operands, scope, scope.prefix + first)
        else:
            end = f"{targets} = {self._value(layer, operands, scope)}"
        self.line(f"{end}{self._types(layer.outputs)}")
        for t in layer.outputs:
            if id(t) in names:
                self.names.enter(scope, t, self._plain[id(t)])

    def _targets(self, layer: Layer, scope: Scope, carried: Mapping[int, str]) -> tuple[dict[int, str], str]:
        """The names that the results get, by tensor, and the first of them. Results that nobody reads have none."""
        wanted = [t for t in layer.outputs if id(t) in self._read] or list(layer.outputs[:1])
