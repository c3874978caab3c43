"""Profiles that are too wide to be tuned well, and sizes that stand in the text as numbers."""

from __future__ import annotations

from collections.abc import Iterator

from trtn.dsl.lint.base import Edit, Finding, Subject, rule
from trtn.dsl.syntax import ast

__all__: list[str] = []

WIDE = 64
"""A profile is tuned at its opt, min and max: with shapes further apart than this, what is fast at one is slow at most
others."""
SMALLEST_NAMED = 8
"""Numbers below this are as clear as a name."""


@rule("L0121")
def wide_profile(subject: Subject) -> Iterator[Finding]:
    """A profile whose largest shape is many times its smallest is tuned for neither."""
    entries = {
        (p.network, p.name, e.name): e for p in subject.module.items if isinstance(p, ast.Profile) for e in p.entries
    }
    for network in subject.networks.values():
        for profile in network.profiles:
            for dim, r in profile.dims.items():
                entry = entries.get((network.name, profile.name, dim))
                if entry is not None and r.maximum > WIDE * max(r.minimum, 1):
                    message = f"profile `{profile.name}`: `{dim}` goes from {r.minimum} to {r.maximum:,}"
                    cure = "split it into profiles of smaller ranges: a context picks the one that fits"
                    yield Finding(message, subject.source.span(entry.start, entry.end), cure)


@rule("L0122")
def hard_coded_size(subject: Subject) -> Iterator[Finding]:
    """A size written as a number where the same scope has a name for it."""
    for item in subject.items:
        members = item.body if isinstance(item, ast.Block) else item.members
        lets = [m for m in members if isinstance(m, ast.Let) and isinstance(m.value, ast.IntLit)]
        named = {m.value.value: m for m in lets if isinstance(m.value, ast.IntLit) and m.value.value >= SMALLEST_NAMED}
        for stated in subject.body(item).all(ast.TypeExpr) if named else ():
            for d in stated.dims:
                let = named.get(d.value.value) if isinstance(d.value, ast.IntLit) else None
                if let is not None and d.value.start > let.end:
                    span = subject.source.span(d.value.start, d.value.end)
                    edit = Edit(d.value.start, d.value.end, let.name)
                    yield Finding(f"{let.name} has this value", span, f"write `{let.name}`", (edit,))
