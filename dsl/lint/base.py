"""What a lint rule is: a function from a spec to findings, with a code and a name, found by its module's import."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar, cast

from trtn.dsl.diagnostics import Source, Span
from trtn.dsl.network import Layer, Network, walk
from trtn.dsl.syntax import ast
from trtn.dsl.syntax.walk import nodes

__all__ = ["RULES", "Body", "Edit", "Finding", "Rule", "Subject", "rule"]


@dataclass(frozen=True, eq=False)
class Subject:
    """A spec that has no errors: its text, its tree, the networks that it says."""

    source: Source
    module: ast.Module
    networks: Mapping[str, Network]
    _bodies: dict[int, Body] = field(default_factory=dict)

    @property
    def items(self) -> Iterator[ast.Block | ast.NetworkDecl]:
        """The declarations that have a body."""
        return (item for item in self.module.items if isinstance(item, ast.Block | ast.NetworkDecl))

    def body(self, item: ast.Block | ast.NetworkDecl) -> Body:
        """What stands in the body of a declaration of the file. Every rule asks: it is walked once."""
        if id(item) not in self._bodies:
            self._bodies[id(item)] = Body(item.body if isinstance(item, ast.Block) else item.members)
        return self._bodies[id(item)]

    @cached_property
    def mentioned(self) -> frozenset[str]:
        """Every name that the text reads."""
        signatures = (item.sig for item in self.module.items if isinstance(item, ast.Block))
        others = (item for item in self.module.items if not isinstance(item, ast.Block | ast.NetworkDecl))
        return Body((*signatures, *others)).mentioned.union(*(self.body(item).mentioned for item in self.items))

    @cached_property
    def places(self) -> Mapping[Span, Sequence[Layer]]:
        """The layers that each place of the text became, of all networks."""
        found: dict[Span, list[Layer]] = defaultdict(list)
        for layer in self.layers:
            span = layer.origin.span
            if span is not None and span.source.path == self.source.path:
                found[span].append(layer)
        return found

    @cached_property
    def layers(self) -> Sequence[Layer]:
        return [layer for network in self.networks.values() for layer in walk(network.graph)]

    @cached_property
    def makers(self) -> Mapping[int, Layer]:
        """The layer that makes each tensor, by the tensor's id."""
        return {id(t): layer for layer in self.layers for t in layer.outputs}


_Node = TypeVar("_Node", bound=ast.Node)


class Body:
    """The nodes under some others, by their class."""

    def __init__(self, roots: Iterable[ast.Node]) -> None:
        self._by_class: dict[type, list[ast.Node]] = defaultdict(list)
        for node in nodes(roots):
            self._by_class[type(node)].append(node)

    def all(self, kind: type[_Node]) -> list[_Node]:
        """Those of one class, in no order."""
        return cast(list[_Node], self._by_class.get(kind, []))

    @cached_property
    def mentioned(self) -> frozenset[str]:
        """Every name that is read: whole paths (a value may be called by one) and their first parts, and what carries
        and bodies hand on by name."""
        refs = self.all(ast.Ref)
        paths = {ref.name for ref in refs if ref.name is not None and not ref.spelled}
        found = paths | {path.partition(".")[0].partition("[")[0] for path in paths}
        for ref in refs:
            if ref.spelled:
                found |= {ref.root} if ref.name is None else {ref.root, ref.name}
        found |= {t.name for repeat in self.all(ast.Repeat) for t in repeat.carry}
        found |= {carry.name for carry in self.all(ast.Carry)}
        return frozenset(found | {loop.condition for loop in self.all(ast.Loop) if loop.condition is not None})


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Put `text` in the place of what stands from `start` to `end`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """`edits` cure it without changing what any network computes; there are none where that takes thought."""

    message: str
    span: Span | None
    help: str = ""
    edits: tuple[Edit, ...] = ()


Check = Callable[[Subject], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Rule:
    code: str
    name: str
    check: Check

    @property
    def about(self) -> str:
        return (self.check.__doc__ or "").strip().partition("\n")[0]


RULES: dict[str, Rule] = {}
"""All rules by code."""


def rule(code: str) -> Callable[[Check], Check]:
    """Declares a function as the rule of a code; its name is the rule's, with dashes."""

    def declare(check: Check) -> Check:
        assert code not in RULES, code
        RULES[code] = Rule(code, check.__name__.replace("_", "-"), check)
        return check

    return declare
