"""Statements: one for each layer, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trtn.dsl.dims import Expr
from trtn.dsl.dtypes import DType
from trtn.dsl.network import DataDim, Graph, Layer, Network, Origin, Tensor, walk
from trtn.dsl.printer.attributes import written_attributes
from trtn.dsl.printer.control import write_control
from trtn.dsl.printer.literals import assert_text, value_text
from trtn.dsl.printer.names import Names, Scope
from trtn.dsl.printer.operands import Operand, arguments, infix
from trtn.dsl.printer.placement import Placement
from trtn.dsl.syntax.breaking import INDENT, LINE_LENGTH
from trtn.dsl.syntax.names import quote_name, quote_string

__all__ = ["MANIFEST", "BodyWriter"]

MANIFEST = "\0"
"""Stands in `lines` for the name of the manifest, which is chosen last. No text holds this character."""


@dataclass(slots=True)
class BodyWriter:
    """Writes the layers of a network into `lines`, and the weights that it meets into `placement`.

    The network is one that the syntax can express (see rewrite.py).
    """

    network: Network
    names: Names
    placement: Placement
    provenance: bool
    types: bool
    lines: list[tuple[int, str]] = field(default_factory=list)
    """Logical lines with their depth."""
    depth: int = 1
    origins: list[Origin] = field(default_factory=list)
    """Those of the control flow around the current statement: what its annotations say holds inside too."""
    _read: set[int] = field(init=False)
    _outputs: set[int] = field(init=False)
    _unnamed: dict[str, DataDim] = field(init=False)
    """Data-dependent dims that no statement has named yet."""

    def __post_init__(self) -> None:
        self._unnamed = dict(self.network.data_dims)
        self._outputs = {id(t) for t in self.network.outputs}
        self._read = {id(t) for t in _read_tensors(self.network.graph)}

    def line(self, text: str) -> None:
        """Add a logical line."""
        self.lines.append((self.depth, text))

    def layers(self, layers: Iterable[Layer], scope: Scope, carried: Mapping[int, str]) -> None:
        """The statements of a body. `carried`: the tensors, by id, that are the new values of carried names."""
        for layer in layers:
            if layer.outputs:  # nothing can come of the others, and there is no name to bind
                self.statement(layer, scope, carried)

    def asserts(self, region: Graph) -> list[str]:
        """Write what a body asserts. Gives the lines that belong after its statements: they make the sizes in them."""
        late: list[str] = []
        for guard in region.guards:
            if not guard.layer:
                text = assert_text(guard.relation, guard.message, self.names.dims)
                if guard.relation.symbols.isdisjoint(self._unnamed):
                    self.line(text)
                else:
                    late.append(text)
        return late

    def operand(self, layer: Layer, index: int, tensor: Tensor | None, scope: Scope) -> Operand:
        """How a layer's input (or a value that its body gives) is written."""
        if tensor is None:
            return Operand(None)
        written = scope.text(tensor)
        if tensor.weight is None or written is not None:
            assert written is not None, f"{layer} reads {tensor}, which is not made before it"
            return Operand(tensor, name=written)
        literal = self.placement.literal(layer, index, tensor)
        if literal is not None:
            return Operand(tensor, literal=literal, quoted=scope.is_taken(tensor.dtype.name))
        path = self.placement.path(tensor.weight, layer, index)
        return Operand(tensor, name=f"{MANIFEST}.{quote_name(path)}")

    # --- statements ---

    def statement(self, layer: Layer, scope: Scope, carried: Mapping[int, str]) -> None:
        """One layer as a statement of its own."""
        operands = [self.operand(layer, n, t, scope) for n, t in enumerate(layer.inputs)]
        names = self.targets(layer, scope, carried)
        self.annotate(layer)
        targets = ", ".join("_" if n is None else quote_name(n) for n in names)
        if layer.regions:
            first = next(n for n in names if n is not None)
            end = write_control(self, layer, targets, operands, scope, scope.prefix + first)
        else:
            room = LINE_LENGTH - len(INDENT) * self.depth - len(f"{targets} = ")
            end = f"{targets} = {self._value(layer, operands, scope, room)}"
        self.line(f"{end}{self.types_text(layer.outputs)}")
        for tensor, name in zip(layer.outputs, names, strict=True):
            if name is not None:
                self.names.enter(scope, tensor, name)

    def targets(self, layer: Layer, scope: Scope, carried: Mapping[int, str]) -> list[str | None]:
        """The names that the results get; None for one that nobody reads, where another has a name."""
        read = [id(t) in self._read for t in layer.outputs]
        if not any(read):
            read[0] = True
        names = [
            self._target(t, scope, carried) if wanted else None for t, wanted in zip(layer.outputs, read, strict=True)
        ]
        first = next(n for n in names if n is not None)
        for number, name in enumerate(names):
            if name is None:
                self.names.rebind(scope, f"{first}.unused{number or ''}")
        return names

    def _target(self, tensor: Tensor, scope: Scope, carried: Mapping[int, str]) -> str:
        if id(tensor) in carried:
            return self.names.rebind(scope, carried[id(tensor)])
        if scope.outer is None and id(tensor) in self._outputs:
            return self.names.output(scope, tensor)
        return self.names.choose(scope, tensor)

    def _value(self, layer: Layer, operands: Sequence[Operand], scope: Scope, room: int) -> str:
        """The right side: a call, or operators where they fit into the line (a call is better broken over several)."""
        attrs = written_attributes(layer)
        short = infix(layer, operands) if not attrs else None
        if short is not None and len(short) <= room:
            return short
        return f"{layer.op.name}({', '.join([*arguments(layer, operands), *self.attributes(attrs, scope)])})"

    def attributes(self, attrs: Mapping[str, Any], scope: Scope) -> list[str]:
        """The keyword arguments of a call."""
        parts = []
        for name, value in attrs.items():
            # A tensor may be called as a dtype is: then the dtype goes in quotes.
            hidden = isinstance(value, DType) and scope.is_taken(value.name)
            parts.append(f"{name}={quote_string(str(value)) if hidden else value_text(value, self.names.dims)}")
        return parts

    def types_text(self, outputs: Sequence[Tensor]) -> str:
        """The results' types where they are wanted, or where they name sizes that only the data decides."""
        dims = [_symbol(d) for t in outputs for d in t.shape]
        if not self.types and not any(d in self._unnamed for d in dims):
            return ""
        return f" : {', '.join(self._type(t) for t in outputs)}"

    def _type(self, tensor: Tensor) -> str:
        parts = []
        for dim in tensor.shape:
            bounds = self._unnamed.pop(_symbol(dim), None)
            text = self.names.dims(dim)
            parts.append(
                text if bounds is None else f"{text} in {self.names.dims(bounds.low)}..{self.names.dims(bounds.high)}"
            )
        return f"{tensor.dtype}[{', '.join(parts)}]"

    def annotate(self, layer: Layer) -> None:
        """The annotations of a statement, each in a line above it."""
        origin = layer.origin
        around = self.origins[-1] if self.origins else Origin()
        if origin.precision is not None and origin.precision is not around.precision:
            self.line(f"@precision({origin.precision})")
        if self.provenance and origin.source and origin.source != around.source:
            self.line(f"@onnx({quote_string(origin.source)})")


def _symbol(dim: int | Expr) -> str:
    """The name of a dim that is nothing but a name, else ""."""
    atom = dim.lone_atom() if isinstance(dim, Expr) else None
    return atom.name if atom is not None and atom.op == "symbol" else ""


def _read_tensors(graph: Graph) -> Iterator[Tensor]:
    yield from graph.outputs
    for layer in walk(graph):
        yield from (t for t in layer.inputs if t is not None)
        for region in layer.regions:
            yield from region.outputs
