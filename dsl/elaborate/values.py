"""What names stand for while a spec is elaborated: compile-time values, tensors, weights by path, and scopes that
hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from trtn.dsl.dims import Expr, Relation
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Tensor, format_type
from trtn.dsl.records import record

if TYPE_CHECKING:
    from trtn.dsl.diagnostics import Span
    from trtn.dsl.weights.table import WeightTable

__all__ = ["POISON", "Bound", "Poison", "Scope", "Value", "WeightPath", "describe", "is_number"]


class Poison:
    """The value of what failed. Whatever uses it fails too, without a word: the cause has been reported."""

    def __repr__(self) -> str:
        return "<poison>"


POISON: Final = Poison()


@record()
class WeightPath:
    """A place in a manifest: a tensor's path, or the common start of several (`w.encoder.layer[3]`)."""

    table: WeightTable
    path: str

    def child(self, name: str) -> WeightPath:
        return WeightPath(self.table, f"{self.path}.{name}" if self.path else name)

    def below(self, way: str) -> WeightPath:
        """The place at the end of a way of names and literal indexes: `.layer[3].weight`, `[0]`, or none."""
        return WeightPath(self.table, self.path + way if self.path else way.removeprefix("."))

    def index(self, number: int) -> WeightPath:
        return WeightPath(self.table, f"{self.path}[{number}]")


Value = int | float | str | bool | Expr | Relation | DType | Tensor | WeightPath | Poison | tuple[Any, ...]
"""tuple: a list of values."""


def is_number(value: Value) -> bool:
    """Whether a value is a compile-time number (a dim expression is one)."""
    return isinstance(value, int | float | Expr) and not isinstance(value, bool)


def describe(value: Value) -> str:
    """A value's kind in the words of the messages."""
    match value:
        case bool():
            return "a bool"
        case int():
            return "an integer"
        case float():
            return "a float"
        case str():
            return "a string"
        case Expr():
            return "a dim"
        case Relation():
            return "a relation"
        case DType():
            return "a dtype"
        case WeightPath():
            return f"the weights at `{value.path}`"
        case Tensor():
            return f"a tensor ({format_type(value.dtype, value.shape)})"
        case tuple():
            return "a list"
    return "nothing"


@dataclass(slots=True)
class Bound:
    """What a name stands for, and where that was said."""

    value: Value
    span: Span | None


@dataclass(slots=True)
class Scope:
    """Names of one body. `carried` are those that its statements may bind once more."""

    parent: Scope | None = None
    names: dict[str, Bound] = field(default_factory=dict)
    carried: dict[str, bool] = field(default_factory=dict)
    region: bool = False
    """Whether it is the body of an `if`, a `scan` or a `loop`."""

    def find(self, name: str) -> Bound | None:
        scope: Scope | None = self
        while scope is not None:
            bound = scope.names.get(name)
            if bound is not None:
                return bound
            scope = scope.parent
        return None

    def bind(self, name: str, value: Value, span: Span | None) -> Bound | None:
        """Bind a name. Gives the earlier binding where the name can't be bound again."""
        earlier = self.find(name)
        if earlier is not None and not (name in self.names and self.carried.get(name)):
            return earlier
        if name in self.carried:
            self.carried[name] = False
        self.names[name] = Bound(value, span)
        return None

    def all_names(self) -> Iterator[str]:
        scope: Scope | None = self
        while scope is not None:
            yield from scope.names
            scope = scope.parent

    def around_regions(self) -> Scope:
        """The scope of the network, block or round: there the data's sizes are named, since results carry them out."""
        scope = self
        while scope.region and scope.parent is not None:
            scope = scope.parent
        return scope
