"""What a lint rule is: a function from a spec to findings, with a code and a name, found by its module's import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from trtn.dsl.diagnostics import Source, Span
from trtn.dsl.network import Network
from trtn.dsl.syntax import ast
from trtn.dsl.syntax.walk import nodes

__all__ = ["RULES", "Edit", "Finding", "Rule", "Subject", "mentioned", "rule"]


@dataclass(frozen=True, eq=False)
class Subject:
    """A spec that has no errors: its text, its tree, the networks that it says."""

    source: Source
    module: ast.Module
    networks: Mapping[str, Network]

    @cached_property
    def mentioned(self) -> frozenset[str]:
        """Every name that the text reads."""
        return frozenset(mentioned(self.module.items))


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


def mentioned(roots: Iterable[ast.Node]) -> set[str]:
    """Every name that is read: whole paths (a value may be called by one) and their first parts, and what carries and
    bodies hand on by name."""
    found: set[str] = set()
    for node in nodes(roots):
        match node:
            case ast.Ref():
                found |= {node.root} if node.name is None else {node.root, node.name}
            case ast.Repeat():
                found |= {t.name for t in node.carry}
            case ast.Carry():
                found.add(node.name)
            case ast.Loop() if node.condition is not None:
                found.add(node.condition)
    return found


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
