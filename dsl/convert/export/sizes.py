"""Dim expressions as nodes: read from the shapes of the tensors that have them, computed on i64 tensors, each once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from trtn.dsl.convert.export.registry import refuse
from trtn.dsl.convert.export.values import I64, Value
from trtn.dsl.convert.export.writer import Writer
from trtn.dsl.dims import Dim, DimError, Domain, Expr, bounds, symbol
from trtn.dsl.dims.expr import Atom, from_terms, terms_of
from trtn.dsl.network import Shape

__all__ = ["Sizes"]


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a dim is read: axis `axis` of a value of the graph at `depth`, whose size is `slope` * dim + `offset`."""

    value: Value
    axis: int
    depth: int
    slope: Dim = 1
    offset: Dim = 0


@dataclass(slots=True)
class Sizes:
    writer: Writer
    domain: Domain
    _sources: dict[str, _Source] = field(default_factory=dict)

    # --- where dims come from ---

    def learn_inputs(self, inputs: Iterable[tuple[Value, Shape]]) -> None:
        """The network's inputs: every declared dim is the solution of an equation over their sizes."""
        equations = [(v, axis, d) for v, shape in inputs for axis, d in enumerate(shape) if isinstance(d, Expr)]
        equations.sort(key=lambda e: len(str(e[2])))
        progress = True
        while progress:
            progress = False
            for value, axis, dim in equations:
                unknown = [s for s in dim.symbols if s not in self._sources]
                solved = _linear(dim, unknown[0]) if len(unknown) == 1 else None
                if solved is not None:
                    self._sources[unknown[0]] = _Source(value, axis, 0, *solved)
                    progress = True

    def learn(self, value: Value, shape: Shape) -> None:
        """A layer's result: it may be the first to have a size that only the data decides."""
        for axis, d in enumerate(shape):
            atom = d.lone_atom() if isinstance(d, Expr) else None
            if atom is not None and atom.op == "symbol" and not self._known(atom.name):
                self._sources[atom.name] = _Source(value, axis, self.writer.depth)

    def forget_body(self) -> None:
        """Called where a body ends: what was read inside it can't be read outside."""
        self._sources = {name: s for name, s in self._sources.items() if s.depth < self.writer.depth}

    def _known(self, name: str) -> bool:
        return name in self._sources

    # --- dims as values ---

    def vector(self, dims: Sequence[Dim]) -> Value:
        """The dims as i64[n]."""
        if all(isinstance(d, int) for d in dims):
            return self.writer.ints([d for d in dims if isinstance(d, int)])
        parts: list[Value] = []
        run: list[int] = []
        for d in dims:
            if isinstance(d, int):
                run.append(d)
                continue
            if run:
                parts.append(self.writer.ints(run))
                run = []
            parts.append(self.size(d))
        if run:
            parts.append(self.writer.ints(run))
        if len(parts) == 1:
            return parts[0]
        return self._node("Concat", parts, f"dims/{', '.join(map(str, dims))}", axis=0)

    def scalar(self, dim: Dim) -> Value:
        """A dim as i64[]."""
        import numpy as np

        if isinstance(dim, int):
            return self.writer.constant(np.asarray(dim, np.int64))
        return self._node("Squeeze", [self.size(dim), self.writer.ints([0])], f"dim/{dim}/scalar")

    def size(self, dim: Dim) -> Value:
        """A dim as i64[1], computed in the outermost graph that knows all of its symbols."""
        if isinstance(dim, int):
            return self.writer.ints([dim])
        for scope in self.writer.scopes:
            if dim in scope.sizes:
                return scope.sizes[dim]
        missing = [s for s in sorted(dim.symbols) if s not in self._sources]
        if missing:
            refuse(f"no tensor before it has the dim `{missing[0]}`")
        depth = max(self._sources[s].depth for s in dim.symbols)
        with self.writer.outside(depth):
            made = self._sum(dim)
            self.writer.scope.sizes[dim] = made
        return made

    def at_least(self, dim: Dim) -> int:
        """The least value that a dim can have; less where that is hard to say."""
        try:
            return dim if isinstance(dim, int) else bounds(dim, self.domain)[0]
        except DimError:
            return -(2**62)

    # --- arithmetic ---

    def _sum(self, dim: Expr) -> Value:
        atom = dim.lone_atom()
        if atom is not None:
            return self._atom(atom)
        # A negative term first would need a zero to subtract it from.
        terms = sorted(dim.terms, key=lambda term: term[1] < 0)
        total: Value | None = None
        for monomial, factor in terms:
            negative = total is not None and factor < 0
            term = self._product(monomial, abs(factor) if negative else factor)
            op = "Sub" if negative else "Add"
            total = term if total is None else self._node(op, [total, term], f"dim/{dim}")
        assert total is not None
        return total

    def _product(self, monomial: Sequence[Atom], factor: int) -> Value:
        total: Value | None = None if monomial and factor == 1 else self.writer.ints([factor])
        for atom in monomial:
            one = self.size(Expr((((atom,), 1),)))
            total = (
                one
                if total is None
                else self._node("Mul", [one, total], f"dim/{from_terms(((tuple(monomial), factor),))}")
            )
        assert total is not None
        return total

    def _atom(self, atom: Atom) -> Value:
        if atom.op == "symbol":
            return self._read(atom.name)
        a, b = (self.size(d) for d in atom.args[:2])
        label = f"dim/{atom.key}"
        if atom.op == "%":
            return self._node("Mod", [a, b], label)
        if atom.op == "//":
            if self.at_least(atom.args[0]) < 0:  # ONNX cuts off the fraction; dims round down
                a = self._node("Sub", [a, self._node("Mod", [a, b], f"{label}/rest")], f"{label}/whole")
            return self._node("Div", [a, b], label)
        return self._node("Min" if atom.op == "min" else "Max", [self.size(d) for d in atom.args], label)

    def _read(self, name: str) -> Value:
        source = self._sources[name]
        plain = source.slope == 1 and source.offset == 0
        label = f"dim/{name}" if plain else f"dim/{source.value.name}.{source.axis}"
        size = self._node("Shape", [source.value], label, start=source.axis, end=source.axis + 1)
        if source.offset != 0:
            size = self._node("Sub", [size, self.size(source.offset)], f"dim/{name}/whole")
        if source.slope != 1:
            size = self._node("Div", [size, self.size(source.slope)], f"dim/{name}")
        return size

    def _node(self, op: str, inputs: Sequence[Value], label: str, **attrs: int) -> Value:
        name = self.writer.names.unique(label)
        (value,) = self.writer.node(op, inputs, [name], dtypes=[I64], attrs=attrs)
        return value


def _linear(dim: Expr, name: str) -> tuple[Dim, Dim] | None:
    """(slope, offset) where `dim` is slope * name + offset and neither of them has `name` in it."""
    atom = symbol(name).terms[0][0][0]
    slope: Dim = 0
    offset: Dim = 0
    for monomial, factor in terms_of(dim):
        rest = list(monomial)
        if atom in rest:
            rest.remove(atom)
            slope = slope + from_terms(((tuple(rest), factor),))
        else:
            offset = offset + from_terms(((monomial, factor),))
    if slope == 0 or any(not isinstance(d, int) and name in d.symbols for d in (slope, offset)):
        return None
    return slope, offset
