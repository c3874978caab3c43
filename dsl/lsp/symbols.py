"""Names: what one stands for, the scope that it belongs to, the places that mention it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from trtn.dsl.syntax import ast

__all__ = ["Kind", "Occurrence", "Scope", "Space", "Symbol"]


class Space(Enum):
    """Names of different spaces don't meet: a block may be called as a value is."""

    VALUE = "value"
    CALL = "call"
    NETWORK = "network"
    PROFILE = "profile"
    TARGET = "target"


class Kind(Enum):
    VALUE = "value"
    INPUT = "input"
    OUTPUT = "output"
    DIM = "dim"
    LET = "constant"
    INDEX = "index"
    PARAMETER = "parameter"
    DTYPE = "dtype variable"
    WEIGHTS = "weights"
    IMPORT = "import"
    BLOCK = "block"
    PLUGIN = "plugin"
    NETWORK = "network"
    PROFILE = "profile"
    TARGET = "target"


@dataclass(slots=True, eq=False)
class Symbol:
    """`node` is what defines it: an assignment's whole statement, a declaration, a parameter."""

    name: str
    kind: Kind
    space: Space
    scope: Scope
    node: ast.Node
    occurrences: list[Occurrence] = field(default_factory=list)

    @property
    def definition(self) -> Occurrence:
        return next((o for o in self.occurrences if o.defines), self.occurrences[0])


@dataclass(slots=True, eq=False)
class Occurrence:
    """A name in the text, backticks included."""

    start: int
    end: int
    symbol: Symbol
    defines: bool = False


@dataclass(slots=True, eq=False)
class Scope:
    start: int
    end: int
    parent: Scope | None = None
    region: bool = False
    symbols: dict[tuple[Space, str], Symbol] = field(default_factory=dict)
    inner: list[Scope] = field(default_factory=list)

    def find(self, space: Space, name: str) -> Symbol | None:
        scope: Scope | None = self
        while scope is not None:
            if (found := scope.symbols.get((space, name))) is not None:
                return found
            scope = scope.parent
        return None

    def within(self) -> Iterator[Scope]:
        """This scope and all inside of it."""
        yield self
        for scope in self.inner:
            yield from scope.within()
