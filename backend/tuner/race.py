"""The choice among tactics by time: candidates are tried once, the fastest of them timed again in turns."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.providers import Prepared, Tactic, TacticError
from trtn.backend.tuner.bench import Bench, DeviceLostError, Trial
from trtn.backend.tuner.cache import Record, TacticId
from trtn.backend.tuner.effort import Effort

__all__ = ["Candidate", "Race", "fastest"]

_log = logging.getLogger(__name__)

SLOW = 2.5
"""A candidate that takes so many times the best's time at its first launch is out."""
CLOSE = 1.3
"""Those within this factor of the best are timed again."""
TIE = 0.015
"""Times that differ by less are equal."""


@dataclass(frozen=True, slots=True)
class Candidate:
    id: TacticId
    tactic: Tactic


class Race:
    """The candidates for one problem, with what was found out about them. Known records are taken as they are."""

    def __init__(self, effort: Effort, known: Mapping[TacticId, Record]) -> None:
        self._effort = effort
        self.records: dict[TacticId, Record] = dict(known)
        self._trials: dict[TacticId, Trial] = {}

    @property
    def best(self) -> float:
        return min((r.seconds for r in self.records.values() if r.seconds is not None), default=float("inf"))

    def enter(self, bench: Bench, entries: Iterable[tuple[Candidate, Prepared | TacticError]]) -> bool:
        """Try candidates, each once. Whether one was faster than all before."""
        improved = False
        for candidate, prepared in entries:
            before = self.best
            try:
                record = self._try(bench, candidate, prepared)
            except MemoryError as e:
                _log.warning("%s is not tried: there is no memory for it: %s", candidate.id, e)
                continue  # without a record: another time there may be
            self.records[candidate.id] = record
            improved |= record.seconds is not None and record.seconds < before * (1 - TIE)
        return improved

    def leave(self, candidates: Iterable[Candidate], effort: int) -> None:
        """Note candidates that are not tried at this effort."""
        for c in candidates:
            self.records[c.id] = Record(None, reason="those before it were no better", left_at=effort)

    def finish(self) -> None:
        """Time the fastest again, in turns, so that a drift of the clock hits all of them; the least of the turns
        counts."""
        limit = self.best * CLOSE
        close = sorted(
            (i for i, r in self.records.items() if r.seconds is not None and r.seconds <= limit and i in self._trials),
            key=lambda i: (self.records[i].seconds, i),
        )
        finalists = close[: self._effort.finalists]
        if len(finalists) > 1:
            times: dict[TacticId, list[float]] = {i: [] for i in finalists}
            for turn in range(self._effort.rounds):
                for i in finalists if turn % 2 == 0 else reversed(finalists):
                    times[i].append(self._trials[i].sample())
            for i in finalists:
                self.records[i] = Record(_rounded(min(times[i])), self.records[i].workspace)
        self._trials.clear()

    def _try(self, bench: Bench, candidate: Candidate, prepared: Prepared | TacticError) -> Record:
        if isinstance(prepared, TacticError):
            return Record(None, reason=str(prepared))
        try:
            trial = bench.trial(prepared, candidate.tactic, self.best * SLOW)
        except TacticError as e:
            return Record(None, prepared.workspace, str(e))
        except DeviceLostError as e:
            self.records[candidate.id] = Record(None, prepared.workspace, f"the device was lost: {e}")
            raise
        seconds = trial.sample()
        if seconds <= self.best * CLOSE:
            self._trials[candidate.id] = trial
        return Record(_rounded(seconds), prepared.workspace)


def fastest(
    candidates: Sequence[Candidate], records: Mapping[TacticId, Record], workspace: int | None = None
) -> Candidate | None:
    """The candidate with the least time, among those that take no more than `workspace` bytes; of those that are equal
    within the noise, the one with the least workspace, then the first by name. None where none has a time. It depends
    on the records alone."""
    timed = [
        (r.seconds, c)
        for c in candidates
        if (r := records.get(c.id)) is not None
        and r.seconds is not None
        and (workspace is None or r.workspace <= workspace)
    ]
    if not timed:
        return None
    limit = min(seconds for seconds, _ in timed) * (1 + TIE)
    close = [c for seconds, c in timed if seconds <= limit]
    return min(close, key=lambda c: (records[c.id].workspace, c.id))


def _rounded(seconds: float) -> float:
    """Four digits: more would be noise."""
    return float(f"{seconds:.4g}")
