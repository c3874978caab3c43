"""Networks with errors, without what is at fault: what can still be told about the rest.

The elaborator gives nothing for a network that has errors. Here the statements that the errors point at are left out,
with the outputs; what hangs on them fails without a word, since the file counts as one of which parts are lost.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from trtn.dsl.diagnostics import Diagnostic, Severity, Sink
from trtn.dsl.elaborate import Unit, elaborate_network
from trtn.dsl.network import Network
from trtn.dsl.syntax import ast

__all__ = ["understood"]

ROUNDS = 3
"""An error may have hidden another."""
_Statements = TypeVar("_Statements", bound=ast.Node)
Faults = Mapping[str, Sequence[int]]
"""Where errors start, in order, by file."""


def understood(unit: Unit, names: Iterable[str], findings: Iterable[Diagnostic]) -> Iterator[Network]:
    """What can be understood of these networks of a file that has errors. Names of sizes may be missing."""
    for name in names:
        found = list(findings)
        for _ in range(ROUNDS):
            rest = _without(unit, _faults(found))
            sink = Sink()
            elaborated = elaborate_network(rest, rest.networks[name], sink)
            if elaborated is not None:
                yield elaborated.network
                break
            found += sink.diagnostics


def _faults(findings: Iterable[Diagnostic]) -> Faults:
    places: dict[str, list[int]] = defaultdict(list)
    for d in findings:
        if d.severity is Severity.ERROR and d.span is not None:
            places[d.span.source.path].append(d.span.start)
    return {path: sorted(starts) for path, starts in places.items()}


def _without(unit: Unit, faults: Faults) -> Unit:
    """A unit without its statements that are at fault, and without outputs."""
    at = faults.get(unit.source.path, ())
    return replace(
        unit,
        broken=True,
        blocks={name: replace(b, body=tuple(_sound(b.body, at))) for name, b in unit.blocks.items()},
        networks={name: replace(n, members=tuple(_sound(n.members, at))) for name, n in unit.networks.items()},
        profiles=[p for p in unit.profiles if not _hit(p.start, p.end, at)],
        targets=[],
        imports={alias: _without(u, faults) if u is not None else None for alias, u in unit.imports.items()},
    )


def _sound(statements: Sequence[_Statements], faults: Sequence[int]) -> Iterator[_Statements]:
    for statement in statements:
        if isinstance(statement, ast.Output):
            continue
        if not _hit(statement.start, statement.end, faults):
            yield statement
        elif isinstance(statement, ast.Repeat) and not _hit(statement.start, _head_end(statement), faults):
            yield replace(statement, body=tuple(_sound(statement.body, faults)))


def _head_end(repeat: ast.Repeat) -> int:
    return repeat.body[0].start if repeat.body else repeat.end


def _hit(start: int, end: int, faults: Sequence[int]) -> bool:
    at = bisect_left(faults, start)
    return at < len(faults) and faults[at] < end
