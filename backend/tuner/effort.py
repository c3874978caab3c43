"""How long the tuner looks: a number from 0 to 5."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EFFORTS", "Effort", "default_effort"]


@dataclass(frozen=True, slots=True)
class Effort:
    """What an effort means."""

    candidates: int
    """Tactics of one provider that are tried for a problem; 0: none, the first of the most specialised provider is
    taken."""
    patience: int
    """After so many tactics of a provider that are no better than its best, the others are left."""
    finalists: int
    """The fastest tactics that are timed again, in turns."""
    rounds: int
    """Turns."""


EFFORTS = (
    Effort(candidates=0, patience=0, finalists=0, rounds=0),
    Effort(candidates=1, patience=1, finalists=2, rounds=3),
    Effort(candidates=6, patience=4, finalists=3, rounds=4),
    Effort(candidates=40, patience=20, finalists=5, rounds=6),
    Effort(candidates=100, patience=50, finalists=8, rounds=10),
    Effort(candidates=1000, patience=1000, finalists=12, rounds=20),
)


def default_effort(device: str) -> int:
    """3 for GPUs. On a CPU nothing is timed unless asked for: its libraries choose among their kernels themselves, and
    builds stay quick and repeatable without a lock."""
    return 0 if device == "cpu" else 3
