"""What a lint rule is: a function from a spec to findings, with a code and a name, found by its module's import."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from trtn.dsl.diagnostics import Source, Span
from trtn.dsl.network import Network
from trtn.dsl.syntax import ast

__all__ = ["RULES", "Edit", "Finding", "Rule", "Subject", "rule"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A spec that has no errors: its text, its tree, the networks that it says."""

    source: Source
    module: ast.Module
    networks: Mapping[str, Network]


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
