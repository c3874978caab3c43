"""The changes that a comparison finds: one fact each, with what it was and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Change", "Comparison", "Subject", "Verb"]

Subject = Literal["network", "dim", "assert", "input", "output", "layer", "weight", "profile", "target"]
Verb = Literal["added", "removed", "changed", "renamed"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one thing. `name` is its path in the new network (in the old one, where it was removed).

    what: the part that changed (`attribute axis`, `type`, `input 0`), empty where the whole came or went.
    before, after: as the language writes them; empty where there was or is nothing.
    line: where the thing stands in the new spec (in the old one, where it was removed), as `file:line`.
    """

    subject: Subject
    verb: Verb
    name: str
    what: str = ""
    before: str = ""
    after: str = ""
    line: str = ""
    amount: tuple[float, float] | None = None
    """Of weights whose values were compared: the largest change of an element, and the mean of all."""
    places: tuple[str, ...] = ()
    """All names, where one change stands for several that differ in nothing but an index."""

    @property
    def count(self) -> int:
        return max(1, len(self.places))

    @property
    def is_semantic(self) -> bool:
        """Whether what is computed or how it is called from outside may differ. An inner name is nobody's business."""
        return not (self.verb == "renamed" and self.subject in ("layer", "weight"))

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"subject": self.subject, "verb": self.verb, "name": self.name}
        found |= {k: v for k in ("what", "before", "after", "line") if (v := getattr(self, k))}
        if self.amount is not None:
            found["max_change"], found["mean_change"] = self.amount
        if self.places:
            found["places"] = list(self.places)
        return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two networks compared: the changes by subject, and how many things are as they were."""

    before: str
    after: str
    changes: tuple[Change, ...]
    same: Mapping[str, int] = field(default_factory=dict)
    """How many layers, weights, .. did not change, by subject."""

    @property
    def is_same(self) -> bool:
        """Whether both compute the same and are called the same way; inner names may differ."""
        return not any(c.is_semantic for c in self.changes)

    def of(self, subject: str) -> tuple[Change, ...]:
        return tuple(c for c in self.changes if c.subject == subject)

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": "1.0",
            "before": self.before,
            "after": self.after,
            "same": self.is_same,
            "unchanged": dict(self.same),
            "changes": [c.to_json() for c in self.changes],
        }
