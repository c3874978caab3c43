"""A parser for a grammar: its tables loaded once, lent to one parse at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trtn.dsl.syntax.automaton import Automaton
from trtn.dsl.syntax.build import Builder
from trtn.dsl.syntax.collecting import no_collections
from trtn.dsl.syntax.tables import load_tables
from trtn.grammar import GrammarName

__all__ = ["Machine", "lend_machine"]


class Machine:
    """A parser with the builder that it calls. Serves one parse at a time."""

    def __init__(self, grammar: GrammarName) -> None:
        self.builder = Builder()
        self.automaton = Automaton(load_tables(grammar), self.builder)


_idle: dict[GrammarName, list[Machine]] = {"trtn": [], "weights": []}


@contextmanager
def lend_machine(grammar: GrammarName) -> Iterator[Machine]:
    """A machine for one parse. Several threads get several; an idle one is used again."""
    idle = _idle[grammar]
    try:
        machine = idle.pop()
    except IndexError:
        machine = Machine(grammar)
    try:
        with no_collections():
            yield machine
    finally:
        machine.builder.reset()
        idle.append(machine)
