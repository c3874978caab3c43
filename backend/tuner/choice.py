"""What the tuner decides: the tactic that runs a group, at each tuned point."""

from __future__ import annotations

from collections.abc import Mapping

from trtn.dsl.records import record

__all__ = ["UNTUNED", "Choice", "TunedPoint"]

UNTUNED = "untuned"
"""Stands for the tactic where the device was not there to decide it: the first one is taken when the engine runs."""


@record()
class Choice:
    """The tactic that runs a group, and how it was decided: `only` (there is no other), `default` (the first of the
    most specialised provider), `lock`, `cache`, `measured`, or `engine` (read from an engine file)."""

    provider: str
    tactic: str
    origin: str = "only"
    seconds: float | None = None
    """Its time where one was measured or cached."""


@record()
class TunedPoint:
    """The choice of each group at given sizes of the dims."""

    sizes: Mapping[str, int]
    choices: tuple[Choice, ...]
